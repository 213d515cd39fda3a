//! A server's disk, as a Raft server sees it.
//!
//! Kit-owned. Each save is atomic: a crash leaves what was there before it, or all of it. Only what
//! changed since the last save is written, so saving a long log after a small change is cheap.
//!
//! What lies on the disk is read by others too: a service starts from [`Persister::snapshot`], and goes on with
//! the command after `last_included`. Both are therefore the service's own: its bytes as it made them, and its
//! index. How the log is kept is the server's business alone where its messages are.

use labrpc::codec::{decode, encode};
use labrpc::sync::{Arc, Mutex};
use labrpc::{Bytes, Disk, Write};

use crate::{Entry, Index, PersistentState, ServerId, Term};

/// What a server keeps through a crash: its [`PersistentState`] and the service's snapshot. A clone is
/// another handle to the same disk.
#[derive(Clone, Debug)]
pub struct Persister {
    disk: Disk,
    /// What the disk's records stand for.
    saved: Arc<Mutex<Saved>>,
}

#[derive(Debug, Default)]
struct Saved {
    log: Vec<Entry>,
    last_included: Index,
}

/// The part of a state that is written anew by every save.
type Header = (Term, Option<ServerId>, (Index, Term));

impl Persister {
    /// A persister for what is on `disk`, or will be.
    pub fn new(disk: Disk) -> Persister {
        let persister = Persister { disk, saved: Arc::default() };
        let state = persister.load();
        *persister.saved.lock() = Saved { log: state.log, last_included: state.last_included.0 };
        persister
    }

    /// The state that was saved last; the state of a new server when none was.
    pub fn load(&self) -> PersistentState {
        let content = self.disk.read();
        if content.header.is_empty() {
            return PersistentState::default();
        }
        let (current_term, voted_for, last_included): Header =
            decode(&content.header).expect("the kit itself wrote the header");
        let log =
            content.records.iter().map(|record| decode(record).expect("the kit itself wrote the records"));
        PersistentState { current_term, voted_for, log: log.collect(), last_included }
    }

    /// The snapshot that was saved last; empty when none was.
    pub fn snapshot(&self) -> Bytes {
        self.disk.read_blob()
    }

    /// How many bytes of the disk everything but the snapshot takes.
    pub fn log_bytes(&self) -> usize {
        self.disk.bytes_without_blob()
    }

    /// Saves `state` and keeps the snapshot. Returns once it is on disk.
    #[track_caller]
    pub fn save(&self, state: &PersistentState) {
        self.write(state, None);
    }

    /// Saves `state` together with a new snapshot, as the service has made it, and its index and term in
    /// `state.last_included`. Returns once both are on disk.
    #[track_caller]
    pub fn save_with_snapshot(&self, state: &PersistentState, snapshot: Bytes) {
        self.write(state, Some(snapshot));
    }

    #[track_caller]
    fn write(&self, state: &PersistentState, snapshot: Option<Bytes>) {
        let header: Header = (state.current_term, state.voted_for, state.last_included);
        let mut saved = self.saved.lock();
        let drop_front = match state.last_included.0.checked_sub(saved.last_included) {
            Some(covered) => covered.min(saved.log.len()),
            // The log begins earlier than what is on disk: nothing of that can stay.
            None => saved.log.len(),
        };
        let stays_aligned = saved.last_included + drop_front == state.last_included.0;
        let kept = if stays_aligned { common_prefix(&saved.log[drop_front..], &state.log) } else { 0 };
        let write = Write {
            header: encode(&header),
            drop_front,
            drop_back: saved.log.len() - drop_front - kept,
            append: state.log[kept..].iter().map(|entry| Bytes::from(encode(entry))).collect(),
            blob: snapshot,
        };
        self.disk.write(write, state);
        saved.log.drain(..drop_front);
        saved.log.truncate(kept);
        saved.log.extend_from_slice(&state.log[kept..]);
        saved.last_included = state.last_included.0;
    }
}

/// How many entries at the front of the two logs are the same.
fn common_prefix(old: &[Entry], new: &[Entry]) -> usize {
    let len = old.len().min(new.len());
    // Every save comes by all entries here, and iterators cost twice as much where little is optimized.
    let mut same = 0;
    while same < len {
        let (old, new) = (&old[same], &new[same]);
        // Entries that were only cloned share their bytes, which spares looking into them.
        let shares = Arc::ptr_eq(&old.command.0, &new.command.0);
        if old.term != new.term || !(shares || old.command == new.command) {
            break;
        }
        same += 1;
    }
    same
}

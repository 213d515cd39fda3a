//! The reference Raft, written to be read beside the paper.
//!
//! Staff-owned. One file per noun: this one holds the server and its state,
//! `election.rs` how a leader comes to be, `log.rs` the log and its indexes, `replication.rs` how a leader
//! spreads its log and commits, `follower.rs` what a follower makes of it, `apply.rs` how commands reach
//! the service, `snapshot.rs` how the log is kept short.
//!
//! The design: one lock around all state, never held across a call or a send to the service. A timer
//! thread and an applying thread live as long as the server, a replicating thread as long as its server
//! leads one term, and every call to a peer has a thread of its own, because a call to a dead peer can
//! take seconds. Whatever has changed is saved before the lock is given up, so before anyone hears of it.

mod apply;
mod election;
mod follower;
mod log;
mod replication;
mod snapshot;

use labrpc::channel::Sender;
use labrpc::sync::{Arc, Condvar, Mutex, MutexGuard};
use labrpc::thread;
use labrpc::time::Instant;

use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Entry, Index, InstallSnapshotArgs,
    InstallSnapshotReply, NotLeader, Peer, PersistentState, Persister, RaftHandlers, RaftServer,
    RequestVoteArgs, RequestVoteReply, ServerId, Started, Term,
};

/// One Raft server.
pub struct Raft {
    me: ServerId,
    peers: Vec<Peer>,
    persister: Persister,
    apply: Sender<ApplyMsg>,
    state: Mutex<State>,
    /// Signalled when there is more for the service.
    committed: Condvar,
    /// Signalled when a leader has more to send.
    appended: Condvar,
}

/// All state of a server that changes (Raft Figure 2, "State").
///
/// Invariants: `current_term` and `commit_index` never fall; within a term `voted_for` never changes once
/// it is set, and the role never goes from leader to anything else; `last_applied <= commit_index <=
/// last index`; and `last_applied` is below `last_included` only while a received snapshot waits for the
/// service.
struct State {
    persistent: PersistentState,
    /// False while `persistent` differs from what is on disk.
    is_saved: bool,
    role: Role,
    /// When to stand for election unless a leader is heard of before.
    election_due: Instant,
    commit_index: Index,
    /// The last index handed to the service, or about to be.
    last_applied: Index,
    /// The snapshot that ends at `last_included`, when a leader sent it and the service has yet to get it.
    received_snapshot: Option<Bytes>,
}

/// What a server is at present (Raft Figure 4), with the data that only this role has.
enum Role {
    Follower,
    /// Holds who has granted a vote in this term, the server itself included.
    Candidate {
        votes: Vec<bool>,
    },
    /// Holds, for each server, the index of the next entry to send to it, and the highest index known to
    /// be stored there. The leader's own match is always its last index.
    Leader {
        next_index: Vec<Index>,
        match_index: Vec<Index>,
    },
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let persistent = persister.load();
        // What the snapshot covers is committed, and the service has it from the snapshot.
        let covered = persistent.last_included.0;
        let state = State {
            persistent,
            is_saved: true,
            role: Role::Follower,
            election_due: election::draw_election_due(),
            commit_index: covered,
            last_applied: covered,
            received_snapshot: None,
        };
        let raft = Arc::new(Raft {
            me,
            peers,
            persister,
            apply,
            state: Mutex::new(state),
            committed: Condvar::new(),
            appended: Condvar::new(),
        });
        let (timer, applier) = (raft.clone(), raft.clone());
        spawn("election timer", move || timer.election_timer());
        spawn("applier", move || applier.apply_committed());
        raft
    }

    fn get_state(&self) -> (Term, bool) {
        let state = self.state.lock();
        (state.persistent.current_term, state.is_leader())
    }

    fn start(&self, command: Command) -> Result<Started, NotLeader> {
        let mut state = self.state.lock();
        let started = state.append(self.me, command).ok_or(NotLeader)?;
        self.persist(&mut state);
        self.advance_commit_index(&mut state);
        self.appended.notify_all();
        Ok(started)
    }

    fn snapshot(&self, index: Index, snapshot: Bytes) {
        let mut state = self.state.lock();
        if state.compact(index) {
            self.persist_with_snapshot(&mut state, snapshot);
        }
    }
}

impl RaftHandlers for Raft {
    fn request_vote(&self, args: RequestVoteArgs) -> RequestVoteReply {
        let mut state = self.state.lock();
        let reply = state.request_vote(&args);
        self.persist(&mut state);
        reply
    }

    fn append_entries(&self, args: AppendEntriesArgs) -> AppendEntriesReply {
        let mut state = self.state.lock();
        let reply = state.append_entries(args);
        self.persist(&mut state);
        self.committed.notify_all();
        reply
    }

    fn install_snapshot(&self, args: InstallSnapshotArgs) -> InstallSnapshotReply {
        let mut state = self.state.lock();
        let snapshot = args.snapshot.clone();
        let (reply, is_new) = state.install_snapshot(args);
        if is_new {
            self.persist_with_snapshot(&mut state, snapshot);
            self.committed.notify_all();
        } else {
            self.persist(&mut state);
        }
        reply
    }
}

impl Raft {
    /// The state, if this server still is in `term` and in the role that `is_role` asks for.
    ///
    /// Whatever is done on the strength of an earlier look at the state must look again: the lock was
    /// free in between, and a reply may come long after the term it belongs to.
    fn lock_in_term(&self, term: Term, is_role: fn(&State) -> bool) -> Option<MutexGuard<'_, State>> {
        let state = self.state.lock();
        (state.persistent.current_term == term && is_role(&state)).then_some(state)
    }

    /// A reply carries the answering server's term, which may be later than ours.
    fn observe_reply(&self, term: Term) {
        let mut state = self.state.lock();
        state.observe_term(term);
        self.persist(&mut state);
    }

    /// Saves what has changed. To be called before the lock is given up.
    fn persist(&self, state: &mut State) {
        if !state.is_saved {
            self.persister.save(&state.persistent);
            state.is_saved = true;
        }
    }

    /// Saves the state together with the snapshot that its log now begins after.
    fn persist_with_snapshot(&self, state: &mut State, snapshot: Bytes) {
        self.persister.save_with_snapshot(&state.persistent, snapshot);
        state.is_saved = true;
    }

    /// Every server but this one.
    fn others(&self) -> impl Iterator<Item = ServerId> + use<> {
        let me = self.me;
        (0..self.peers.len()).filter(move |&server| server != me)
    }
}

impl State {
    fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader { .. })
    }

    fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Candidate { .. })
    }

    /// The persistent state, to be changed: it must be saved before the lock is given up.
    fn persistent_mut(&mut self) -> &mut PersistentState {
        self.is_saved = false;
        &mut self.persistent
    }

    /// A message of `term` has come in. A server that sees a higher term than its own adopts it and
    /// becomes a follower, whatever it was before (Raft 5.1). Comes before every other rule.
    fn observe_term(&mut self, term: Term) {
        if term > self.persistent.current_term {
            let persistent = self.persistent_mut();
            persistent.current_term = term;
            persistent.voted_for = None;
            self.role = Role::Follower;
        }
    }

    /// A leader of the current term has spoken: whoever else stood for it has lost (Raft 5.2).
    fn follow(&mut self) {
        assert!(!self.is_leader(), "two leaders in term {}", self.persistent.current_term);
        self.role = Role::Follower;
        self.election_due = election::draw_election_due();
    }
}

/// Starts a thread that reports call `name`.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(name).spawn(body).expect("a thread can be started");
}

//! A correct Raft of another design: a disk that is written behind the back of everybody else.
//!
//! Staff-owned; laid over the student's file by `cargo lab bugs`, which expects it to pass every test.
//!
//! Handlers change memory only. A single writer saves memory again and again, and one save may cover the
//! changes of many; a handler that has promised something waits until a state at least as new as its promise
//! is on disk. What binds nobody does not wait: refusals, a candidate's requests (its own vote counts once
//! it is saved) and a leader's entries (its own copy counts once it is saved, thesis 10.2.1). But nobody
//! leads before the vote for itself is on disk.
//!
//! Entries are sent as soon as they come, without waiting for the answer to those before (a pipeline). After
//! any sign of trouble a leader asks with one message at a time until the logs agree. A thread that wakes up
//! regularly looks after elections and heartbeats. `raft/state.rs` is what becomes of memory.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use labrpc::channel::Sender;
use labrpc::sync::{Arc, Condvar, Mutex, MutexGuard};
use labrpc::time::Instant;
use labrpc::{rng, thread};

use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, ConflictHint, Entry, Index,
    InstallSnapshotArgs, InstallSnapshotReply, NotLeader, Peer, PersistentState, Persister, RaftHandlers,
    RaftServer, RequestVoteArgs, RequestVoteReply, ServerId, Started, Term,
};

mod state;

const TICK: Duration = Duration::from_millis(15);
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
const ELECTION_TIMEOUT: Range<Duration> = Duration::from_millis(350)..Duration::from_millis(700);

/// The most entries that a message carries.
const MESSAGE_LIMIT: usize = 128;

/// One Raft server: what its threads and its callers share.
pub struct Raft(Arc<Server>);

struct Server {
    me: ServerId,
    peers: Vec<Peer>,
    state: Mutex<State>,
    /// Signalled when memory is newer than the disk; the writer waits for it.
    changed: Condvar,
    /// Signalled when the disk has caught up; handlers wait for it.
    saved: Condvar,
    /// Signalled when there is something to deliver.
    deliverable: Condvar,
}

struct State {
    /// What is to be on disk before anybody can rely on it, and the snapshot that belongs to it.
    memory: PersistentState,
    snapshot: Bytes,
    is_snapshot_new: bool,
    /// Counts the changes of memory.
    version: u64,
    disk: OnDisk,
    role: Role,
    election_due: Instant,
    commit_index: Index,
    /// The last index that went to the service, or is on its way there.
    applied: Index,
}

/// What is known of the state that was saved last.
struct OnDisk {
    version: u64,
    vote: (Term, Option<ServerId>),
    last_index: Index,
}

enum Role {
    Follower,
    Candidate { votes: BTreeSet<ServerId> },
    Leader { followers: Vec<Follower>, beat_due: Instant },
}

#[derive(Clone)]
struct Follower {
    next: Index,
    matched: Index,
    /// Whether the logs agree before `next` for all that is known, so that entries go out as they come.
    is_pipelined: bool,
    sent_at: Instant,
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let (memory, snapshot) = (persister.load(), persister.snapshot());
        let state = State {
            disk: OnDisk::of(&memory, 0),
            commit_index: memory.last_included.0,
            // So the first thing to be delivered is the snapshot, if there is one.
            applied: 0,
            memory,
            snapshot,
            is_snapshot_new: false,
            version: 0,
            role: Role::Follower,
            election_due: next_election(),
        };
        let (changed, saved, deliverable) = (Condvar::new(), Condvar::new(), Condvar::new());
        let server = Arc::new(Server { me, peers, state: Mutex::new(state), changed, saved, deliverable });
        let (writer, ticker, applier) = (server.clone(), server.clone(), server.clone());
        thread::spawn(move || writer.write_to(&persister));
        thread::spawn(move || ticker.tick());
        thread::spawn(move || applier.deliver_to(&apply));
        Arc::new(Raft(server))
    }

    fn get_state(&self) -> (Term, bool) {
        let state = self.0.state.lock();
        (state.memory.current_term, matches!(state.role, Role::Leader { .. }))
    }

    fn start(&self, command: Command) -> Result<Started, NotLeader> {
        self.0.start(command)
    }

    fn snapshot(&self, index: Index, snapshot: Bytes) {
        let mut state = self.0.state.lock();
        let covered = state.memory.last_included.0;
        if covered < index && index <= state.applied {
            let term = state.term_at(index).expect("what was applied is in the log");
            state.adopt_snapshot((index, term), snapshot);
            self.0.changed.notify_all();
        }
    }
}

impl RaftHandlers for Raft {
    fn request_vote(&self, args: RequestVoteArgs) -> RequestVoteReply {
        let mut state = self.0.state.lock();
        let reply = state.request_vote(&args);
        self.0.finish(state, reply.vote_granted);
        reply
    }

    fn append_entries(&self, args: AppendEntriesArgs) -> AppendEntriesReply {
        let mut state = self.0.state.lock();
        let reply = state.append_entries(args);
        self.0.finish(state, reply.success);
        reply
    }

    fn install_snapshot(&self, args: InstallSnapshotArgs) -> InstallSnapshotReply {
        let mut state = self.0.state.lock();
        let reply = state.install_snapshot(args);
        self.0.finish(state, true);
        reply
    }
}

/// Threads that run as long as the server.
impl Server {
    /// Saves memory whenever it has changed.
    fn write_to(self: Arc<Self>, persister: &Persister) {
        let mut state = self.state.lock();
        loop {
            self.changed.wait_while(&mut state, |state| state.version == state.disk.version);
            let (memory, version) = (state.memory.clone(), state.version);
            let snapshot = std::mem::take(&mut state.is_snapshot_new).then(|| state.snapshot.clone());
            drop(state);
            match snapshot {
                Some(snapshot) => persister.save_with_snapshot(&memory, snapshot),
                None => persister.save(&memory),
            }
            state = self.state.lock();
            state.disk = OnDisk::of(&memory, version);
            self.saved.notify_all();
            // The vote for itself, or the entries of a leader, may be what was missing.
            self.lead_if_elected(&mut state);
            self.advance_commit(&mut state);
        }
    }

    /// Looks after elections and heartbeats.
    fn tick(self: Arc<Self>) {
        loop {
            thread::sleep(TICK);
            let mut state = self.state.lock();
            let now = Instant::now();
            match &state.role {
                Role::Leader { beat_due, .. } if *beat_due <= now => self.send_heartbeats(&mut state),
                Role::Leader { .. } => {}
                _ if state.election_due <= now => self.stand(&mut state),
                _ => {}
            }
        }
    }

    fn deliver_to(&self, service: &Sender<ApplyMsg>) {
        loop {
            let message = {
                let mut state = self.state.lock();
                self.deliverable.wait_while(&mut state, |state| state.applied == state.commit_index);
                state.next_delivery()
            };
            if service.send(message).is_err() {
                return;
            }
        }
    }

    /// Ends a handler: has the writer save what it changed and, if it is about to promise something, waits
    /// until memory as it is now is on disk. Its own changes are not enough: it may rely on those of others.
    fn finish(&self, mut state: MutexGuard<'_, State>, has_promised: bool) {
        self.changed.notify_all();
        self.deliverable.notify_all();
        let version = state.version;
        if has_promised {
            self.saved.wait_while(&mut state, |state| state.disk.version < version);
        }
    }

    /// A reply has come in.
    fn observe(&self, state: &mut State, term: Term) {
        if state.observe(term) {
            self.changed.notify_all();
        }
    }
}

/// Elections.
impl Server {
    fn stand(self: &Arc<Self>, state: &mut State) {
        state.memory.current_term += 1;
        state.memory.voted_for = Some(self.me);
        state.version += 1;
        state.role = Role::Candidate { votes: BTreeSet::from([self.me]) };
        state.election_due = next_election();
        self.changed.notify_all();
        let args = RequestVoteArgs {
            term: state.memory.current_term,
            candidate_id: self.me,
            last_log_index: state.last_index(),
            last_log_term: state.last_term(),
        };
        for voter in self.others() {
            let (server, args) = (self.clone(), args.clone());
            thread::spawn(move || server.ask_for_vote(voter, &args));
        }
    }

    fn ask_for_vote(self: &Arc<Self>, voter: ServerId, args: &RequestVoteArgs) {
        let Some(reply) = self.peers[voter].call(args) else { return };
        let mut state = self.state.lock();
        self.observe(&mut state, reply.term);
        if reply.vote_granted
            && state.memory.current_term == args.term
            && let Role::Candidate { votes } = &mut state.role
        {
            votes.insert(voter);
            self.lead_if_elected(&mut state);
        }
    }

    /// Makes a candidate with enough votes the leader, provided that the vote for itself is on disk: after a
    /// crash it could otherwise win the same term again, or vote for another.
    fn lead_if_elected(self: &Arc<Self>, state: &mut State) {
        let own_vote = (state.memory.current_term, Some(self.me));
        if let Role::Candidate { votes } = &state.role
            && votes.len() > self.peers.len() / 2
            && state.disk.vote == own_vote
        {
            let (next, now) = (state.last_index() + 1, Instant::now());
            let follower = Follower { next, matched: 0, is_pipelined: false, sent_at: now };
            state.role = Role::Leader { followers: vec![follower; self.peers.len()], beat_due: now };
            self.send_heartbeats(state);
        }
    }
}

/// The leader.
impl Server {
    fn start(self: &Arc<Self>, command: Command) -> Result<Started, NotLeader> {
        let mut state = self.state.lock();
        let Role::Leader { .. } = state.role else { return Err(NotLeader) };
        let term = state.memory.current_term;
        state.memory.log.push(Entry { term, command });
        state.version += 1;
        self.changed.notify_all();
        self.others().for_each(|peer| self.feed(&mut state, peer));
        Ok(Started { index: state.last_index(), term })
    }

    fn send_heartbeats(self: &Arc<Self>, state: &mut State) {
        let Role::Leader { followers, beat_due } = &mut state.role else { return };
        let now = Instant::now();
        *beat_due = now + HEARTBEAT_INTERVAL;
        for follower in followers {
            let is_behind = follower.matched + 1 < follower.next;
            if follower.is_pipelined && is_behind && now - follower.sent_at >= HEARTBEAT_INTERVAL {
                follower.lose_track();
            }
        }
        self.others().for_each(|peer| self.send(state, peer));
    }

    /// Sends a follower in the pipeline what has not been sent to it.
    fn feed(self: &Arc<Self>, state: &mut State, peer: ServerId) {
        let last = state.last_index();
        while let Role::Leader { followers, .. } = &state.role
            && followers[peer].is_pipelined
            && followers[peer].next <= last
        {
            self.send(state, peer);
        }
    }

    /// Sends a follower what comes next, be it nothing at all.
    fn send(self: &Arc<Self>, state: &mut State, peer: ServerId) {
        let (term, covered) = (state.memory.current_term, state.memory.last_included);
        let Role::Leader { followers, .. } = &mut state.role else { return };
        let follower = &mut followers[peer];
        let server = self.clone();
        if follower.next <= covered.0 {
            follower.is_pipelined = false;
            let args = InstallSnapshotArgs {
                term,
                leader_id: self.me,
                last_included_index: covered.0,
                last_included_term: covered.1,
                snapshot: state.snapshot.clone(),
            };
            thread::spawn(move || server.send_snapshot(peer, &args));
            return;
        }
        let prev_log_index = follower.next - 1;
        let unsent = &state.memory.log[prev_log_index - covered.0..];
        let entries = unsent[..unsent.len().min(MESSAGE_LIMIT)].to_vec();
        if follower.is_pipelined {
            follower.next += entries.len();
        }
        if !entries.is_empty() {
            follower.sent_at = Instant::now();
        }
        let args = AppendEntriesArgs {
            term,
            leader_id: self.me,
            prev_log_index,
            prev_log_term: state.term_at(prev_log_index).expect("it is in the log or just before it"),
            entries,
            leader_commit: state.commit_index,
        };
        thread::spawn(move || server.send_entries(peer, &args));
    }

    fn send_entries(self: &Arc<Self>, peer: ServerId, args: &AppendEntriesArgs) {
        let reply = self.peers[peer].call(args);
        let mut state = self.state.lock();
        self.observe(&mut state, reply.as_ref().map_or(0, |reply| reply.term));
        let (prev, end) = (args.prev_log_index, args.prev_log_index + args.entries.len());
        match reply {
            Some(reply) if reply.success => self.matched(&mut state, peer, args.term, end),
            Some(reply) => self.refused(&mut state, peer, args.term, prev, reply.conflict),
            // Lost; the next heartbeat tries again.
            None => {
                if let Some(follower) = state.follower(peer, args.term)
                    && follower.matched < end
                    && follower.is_pipelined
                {
                    follower.lose_track();
                }
            }
        }
    }

    fn send_snapshot(self: &Arc<Self>, peer: ServerId, args: &InstallSnapshotArgs) {
        let Some(reply) = self.peers[peer].call(args) else { return };
        let mut state = self.state.lock();
        self.observe(&mut state, reply.term);
        self.matched(&mut state, peer, args.term, args.last_included_index);
    }

    /// A follower of the leader of `term` agrees with it up to `index`.
    fn matched(self: &Arc<Self>, state: &mut State, peer: ServerId, term: Term, index: Index) {
        let Some(follower) = state.follower(peer, term) else { return };
        follower.matched = follower.matched.max(index);
        let sent = if follower.is_pipelined { follower.next } else { 0 };
        follower.next = sent.max(follower.matched + 1);
        follower.is_pipelined = true;
        self.feed(state, peer);
        self.advance_commit(state);
    }

    /// A follower's log differs at `prev`, or does not reach so far.
    fn refused(
        self: &Arc<Self>,
        state: &mut State,
        peer: ServerId,
        term: Term,
        prev: Index,
        hint: Option<ConflictHint>,
    ) {
        let Some(follower) = state.follower(peer, term) else { return };
        // Refusals of what was agreed on meanwhile, or is not the question any more, are old news.
        if prev <= follower.matched || (!follower.is_pipelined && prev + 1 != follower.next) {
            return;
        }
        let agreed = follower.matched + 1;
        follower.next = hint.map_or(agreed, |hint| hint.index.clamp(agreed, prev));
        follower.is_pipelined = false;
        self.send(state, peer);
    }

    /// On a leader: commits what a majority has on disk, if it is of this term (Raft 5.4.2).
    fn advance_commit(&self, state: &mut State) {
        let Role::Leader { followers, .. } = &state.role else { return };
        let mut stored: Vec<Index> = followers.iter().map(|follower| follower.matched).collect();
        stored[self.me] = state.disk.last_index;
        stored.sort_unstable_by(|a, b| b.cmp(a));
        let by_majority = stored[self.peers.len() / 2];
        if by_majority > state.commit_index && state.term_at(by_majority) == Some(state.memory.current_term) {
            state.commit_index = by_majority;
            self.deliverable.notify_all();
        }
    }

    fn others(&self) -> impl Iterator<Item = ServerId> + use<> {
        let me = self.me;
        (0..self.peers.len()).filter(move |&server| server != me)
    }
}

fn next_election() -> Instant {
    Instant::now() + rng::duration(ELECTION_TIMEOUT)
}

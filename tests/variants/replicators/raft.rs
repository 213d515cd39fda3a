//! A correct Raft of another design: a thread for each peer that lives as long as the server, an election
//! timer that waits on a condition variable, and a leader that steps down when no majority answers it.
//!
//! Staff-owned; laid over the student's file by `cargo lab bugs`, which expects it to pass every test.
//!
//! One lock guards all state, also while it is saved. Every message of a leader, heartbeats included, carries
//! all that its follower lacks; a follower that refuses gets no hint asked and gives none, so the leader goes
//! back by one entry, at once and without entries until the logs agree. Another thread, and it alone,
//! delivers to the service.

use std::time::Duration;

use labrpc::channel::Sender;
use labrpc::sync::{Arc, Condvar, Mutex};
use labrpc::time::Instant;
use labrpc::{rng, thread};

use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Entry, Index, InstallSnapshotArgs,
    InstallSnapshotReply, NotLeader, Peer, PersistentState, Persister, RaftHandlers, RaftServer,
    RequestVoteArgs, RequestVoteReply, ServerId, Started, Term,
};

const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);

/// A leader that has not heard from a majority for so long steps down.
const QUORUM_TIMEOUT: Duration = Duration::from_millis(1_500);

/// One Raft server.
pub struct Raft {
    me: ServerId,
    peers: Vec<Peer>,
    persister: Persister,
    state: Mutex<State>,
    /// Signalled when the role, the term, the election timer or what a follower lacks has changed.
    changed: Condvar,
    /// Signalled when there is something to deliver.
    deliverable: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Follower,
    Candidate,
    Leader,
}

struct State {
    persistent: PersistentState,
    /// Whether `persistent` has changed since it was saved.
    unsaved: bool,
    role: Role,
    votes: usize,
    election_due: Instant,
    /// On a leader: how far it has brought each server.
    followers: Vec<Follower>,
    commit_index: Index,
    /// The last index that the delivering thread has taken.
    taken: Index,
    /// A leader's snapshot that the service has yet to get before anything else.
    snapshot: Option<ApplyMsg>,
}

#[derive(Clone)]
struct Follower {
    next: Index,
    matched: Index,
    /// A refusal has shown that its log differs, and where is not known yet.
    is_searching: bool,
    /// A message to it has not been answered yet.
    is_asked: bool,
    heard_from: Instant,
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let persistent = persister.load();
        let covered = persistent.last_included.0;
        let state = State {
            persistent,
            unsaved: false,
            role: Role::Follower,
            votes: 0,
            election_due: election_timeout(),
            followers: Vec::new(),
            commit_index: covered,
            taken: covered,
            snapshot: None,
        };
        let (changed, deliverable) = (Condvar::new(), Condvar::new());
        let raft = Arc::new(Raft { me, peers, persister, state: Mutex::new(state), changed, deliverable });
        for peer in raft.others() {
            let raft = raft.clone();
            thread::spawn(move || raft.replicate(peer));
        }
        let (timer, courier) = (raft.clone(), raft.clone());
        thread::spawn(move || timer.run_timer());
        thread::spawn(move || courier.deliver_to(&apply));
        raft
    }

    fn get_state(&self) -> (Term, bool) {
        let state = self.state.lock();
        (state.persistent.current_term, state.role == Role::Leader)
    }

    fn start(&self, command: Command) -> Result<Started, NotLeader> {
        let mut state = self.state.lock();
        if state.role != Role::Leader {
            return Err(NotLeader);
        }
        let term = state.persistent.current_term;
        state.persistent.log.push(Entry { term, command });
        state.unsaved = true;
        self.save(&mut state);
        self.advance_commit(&mut state);
        self.changed.notify_all();
        Ok(Started { index: state.last_index(), term })
    }

    fn snapshot(&self, index: Index, snapshot: Bytes) {
        let mut state = self.state.lock();
        let covered = state.persistent.last_included.0;
        if covered < index && index <= state.taken {
            let term = state.term_at(index);
            state.persistent.log.drain(..index - covered);
            state.persistent.last_included = (index, term);
            self.persister.save_with_snapshot(&state.persistent, snapshot);
        }
    }
}

impl RaftHandlers for Raft {
    fn request_vote(&self, args: RequestVoteArgs) -> RequestVoteReply {
        let mut state = self.state.lock();
        self.observe(&mut state, args.term);
        let term = state.persistent.current_term;
        let is_free = state.persistent.voted_for.is_none_or(|candidate| candidate == args.candidate_id);
        let last = (state.term_at(state.last_index()), state.last_index());
        let vote_granted = args.term == term && is_free && (args.last_log_term, args.last_log_index) >= last;
        if vote_granted {
            state.persistent.voted_for = Some(args.candidate_id);
            state.unsaved = true;
            state.election_due = election_timeout();
            self.changed.notify_all();
        }
        self.save(&mut state);
        RequestVoteReply { term, vote_granted }
    }

    fn append_entries(&self, args: AppendEntriesArgs) -> AppendEntriesReply {
        let mut state = self.state.lock();
        let success =
            self.follow(&mut state, args.term) && state.agrees(args.prev_log_index, args.prev_log_term);
        if success {
            let end = args.prev_log_index + args.entries.len();
            state.store(args.prev_log_index, args.entries);
            state.commit_index = state.commit_index.max(args.leader_commit.min(end));
            self.deliverable.notify_all();
        }
        self.save(&mut state);
        AppendEntriesReply { term: state.persistent.current_term, success, conflict: None }
    }

    fn install_snapshot(&self, args: InstallSnapshotArgs) -> InstallSnapshotReply {
        let mut state = self.state.lock();
        let (index, term) = (args.last_included_index, args.last_included_term);
        if self.follow(&mut state, args.term) && index > state.commit_index {
            // What follows the snapshot may have been promised to a leader, so it stays.
            let covered = index - state.persistent.last_included.0;
            if index <= state.last_index() && state.term_at(index) == term {
                state.persistent.log.drain(..covered);
            } else {
                state.persistent.log.clear();
            }
            state.persistent.last_included = (index, term);
            state.commit_index = index;
            state.unsaved = false;
            self.persister.save_with_snapshot(&state.persistent, args.snapshot.clone());
            state.snapshot = Some(ApplyMsg::Snapshot { index, term, snapshot: args.snapshot });
            self.deliverable.notify_all();
        }
        self.save(&mut state);
        InstallSnapshotReply { term: state.persistent.current_term }
    }
}

/// Elections.
impl Raft {
    fn observe(&self, state: &mut State, term: Term) {
        if term > state.persistent.current_term {
            state.persistent.current_term = term;
            state.persistent.voted_for = None;
            state.unsaved = true;
            state.role = Role::Follower;
            // As some production systems do: a new term begins with a whole time-out for everybody.
            state.election_due = election_timeout();
            self.changed.notify_all();
        }
    }

    /// A message of `term`'s leader has come in. Returns whether this server follows it.
    fn follow(&self, state: &mut State, term: Term) -> bool {
        self.observe(state, term);
        let is_current = term == state.persistent.current_term;
        if is_current {
            state.role = Role::Follower;
            state.election_due = election_timeout();
            self.changed.notify_all();
        }
        is_current
    }

    /// Stands for election when the timer runs out, and deposes a leader without a quorum.
    fn run_timer(&self) {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            if state.role == Role::Leader {
                let is_present = |&peer: &ServerId| now - state.followers[peer].heard_from < QUORUM_TIMEOUT;
                if 1 + self.others().filter(is_present).count() <= self.peers.len() / 2 {
                    state.role = Role::Follower;
                    state.election_due = election_timeout();
                }
                self.changed.wait_for(&mut state, HEARTBEAT_INTERVAL);
            } else if state.election_due <= now {
                self.stand(&mut state);
            } else {
                let due = state.election_due;
                self.changed.wait_until(&mut state, due);
            }
        }
    }

    fn stand(&self, state: &mut State) {
        state.persistent.current_term += 1;
        state.persistent.voted_for = Some(self.me);
        state.unsaved = true;
        self.save(state);
        state.role = Role::Candidate;
        state.votes = 0;
        state.election_due = election_timeout();
        self.changed.notify_all();
        self.count_vote(state);
    }

    fn ask_for_vote(&self, peer: ServerId, args: &RequestVoteArgs) {
        let Some(reply) = self.peers[peer].call(args) else { return };
        let mut state = self.state.lock();
        self.observe(&mut state, reply.term);
        self.save(&mut state);
        let is_asking = state.role == Role::Candidate && state.persistent.current_term == args.term;
        if reply.vote_granted && is_asking {
            self.count_vote(&mut state);
        }
    }

    fn count_vote(&self, state: &mut State) {
        state.votes += 1;
        if state.votes > self.peers.len() / 2 {
            let follower = Follower {
                next: state.last_index() + 1,
                matched: 0,
                is_searching: false,
                is_asked: false,
                heard_from: Instant::now(),
            };
            state.role = Role::Leader;
            state.followers = vec![follower; self.peers.len()];
            self.changed.notify_all();
        }
    }
}

/// Replication.
impl Raft {
    /// Tells one peer, for as long as this server lives, whatever it has to hear.
    fn replicate(self: Arc<Self>, peer: ServerId) {
        let mut asked_in = 0;
        let mut beat: Option<(Term, Instant)> = None;
        let mut state = self.state.lock();
        loop {
            let (term, now) = (state.persistent.current_term, Instant::now());
            let due = beat.filter(|&(of, _)| of == term).map_or(now, |(_, due)| due);
            match state.role {
                Role::Candidate if asked_in < term => {
                    asked_in = term;
                    let last_log_index = state.last_index();
                    let last_log_term = state.term_at(last_log_index);
                    let args = RequestVoteArgs { term, candidate_id: self.me, last_log_index, last_log_term };
                    let raft = self.clone();
                    thread::spawn(move || raft.ask_for_vote(peer, &args));
                }
                // What was asked and not answered is asked again with the next heartbeat.
                Role::Leader if due <= now || state.has_news_for(peer) => {
                    beat = Some((term, now + HEARTBEAT_INTERVAL));
                    self.send(&mut state, peer);
                }
                Role::Leader => {
                    self.changed.wait_until(&mut state, due);
                }
                _ => self.changed.wait(&mut state),
            }
        }
    }

    /// Sends a peer all it lacks; only the question whether the logs agree while that is unknown.
    fn send(self: &Arc<Self>, state: &mut State, peer: ServerId) {
        state.followers[peer].is_asked = true;
        let (raft, follower) = (self.clone(), &state.followers[peer]);
        let (term, covered) = (state.persistent.current_term, state.persistent.last_included);
        if follower.next <= covered.0 {
            let args = InstallSnapshotArgs {
                term,
                leader_id: self.me,
                last_included_index: covered.0,
                last_included_term: covered.1,
                snapshot: self.persister.snapshot(),
            };
            thread::spawn(move || raft.send_snapshot(peer, &args));
            return;
        }
        let prev_log_index = follower.next - 1;
        let entries = match follower.is_searching {
            true => Vec::new(),
            false => state.persistent.log[prev_log_index - covered.0..].to_vec(),
        };
        let args = AppendEntriesArgs {
            term,
            leader_id: self.me,
            prev_log_index,
            prev_log_term: state.term_at(prev_log_index),
            entries,
            leader_commit: state.commit_index,
        };
        thread::spawn(move || raft.send_entries(peer, &args));
    }

    fn send_entries(&self, peer: ServerId, args: &AppendEntriesArgs) {
        let Some(reply) = self.peers[peer].call(args) else { return };
        let mut state = self.state.lock();
        self.observe(&mut state, reply.term);
        self.save(&mut state);
        if reply.success {
            self.matched(&mut state, peer, args.term, args.prev_log_index + args.entries.len());
            return;
        }
        let Some(follower) = state.follower(peer, args.term) else { return };
        // A late refusal of an earlier question must not lead too far back.
        if follower.next == args.prev_log_index + 1 && follower.next > follower.matched + 1 {
            follower.next -= 1;
            follower.is_searching = true;
            follower.is_asked = false;
            self.changed.notify_all();
        }
    }

    fn send_snapshot(&self, peer: ServerId, args: &InstallSnapshotArgs) {
        let Some(reply) = self.peers[peer].call(args) else { return };
        let mut state = self.state.lock();
        self.observe(&mut state, reply.term);
        self.save(&mut state);
        self.matched(&mut state, peer, args.term, args.last_included_index);
    }

    /// A peer's log agrees with that of the leader of `term` up to `index`.
    fn matched(&self, state: &mut State, peer: ServerId, term: Term, index: Index) {
        let Some(follower) = state.follower(peer, term) else { return };
        follower.matched = follower.matched.max(index);
        follower.next = follower.next.max(follower.matched + 1);
        follower.is_searching = false;
        follower.is_asked = false;
        self.advance_commit(state);
        self.changed.notify_all();
    }

    /// On a leader: commits what a majority has, if it is of this term (Raft 5.4.2).
    fn advance_commit(&self, state: &mut State) {
        let is_held = |index: Index| {
            let holders = self.others().filter(|&peer| state.followers[peer].matched >= index);
            1 + holders.count() > self.peers.len() / 2
        };
        let term = state.persistent.current_term;
        let mut candidates = (state.commit_index + 1..state.last_index() + 1).rev();
        let committed = candidates.find(|&index| state.term_at(index) == term && is_held(index));
        if let Some(index) = committed {
            state.commit_index = index;
            self.deliverable.notify_all();
        }
    }
}

/// Small things.
impl Raft {
    /// Hands everything to the service that is to be handed to it, for as long as this server lives.
    fn deliver_to(&self, service: &Sender<ApplyMsg>) {
        loop {
            let messages = {
                let mut state = self.state.lock();
                self.deliverable.wait_while(&mut state, |state| {
                    state.snapshot.is_none() && state.taken == state.commit_index
                });
                state.take_deliveries()
            };
            for message in messages {
                if service.send(message).is_err() {
                    return;
                }
            }
        }
    }

    /// Saves what has changed. To be called before anybody can hear of it, so before the lock is released.
    fn save(&self, state: &mut State) {
        if std::mem::take(&mut state.unsaved) {
            self.persister.save(&state.persistent);
        }
    }

    fn others(&self) -> impl Iterator<Item = ServerId> + use<> {
        let me = self.me;
        (0..self.peers.len()).filter(move |&server| server != me)
    }
}

impl State {
    fn last_index(&self) -> Index {
        self.persistent.last_included.0 + self.persistent.log.len()
    }

    /// The term of an entry in the log, or of the last one that the snapshot covers.
    fn term_at(&self, index: Index) -> Term {
        let (covered, term) = self.persistent.last_included;
        if index == covered { term } else { self.persistent.log[index - covered - 1].term }
    }

    /// Whether this log has an entry of `term` at `index`. What the snapshot covers every leader has, too.
    fn agrees(&self, index: Index, term: Term) -> bool {
        let covered = self.persistent.last_included.0;
        index <= covered || index <= self.last_index() && self.term_at(index) == term
    }

    /// Stores what comes after `prev`. Entries that are there already stay, and so does what follows them:
    /// the message may be an old one.
    fn store(&mut self, prev: Index, entries: Vec<Entry>) {
        let known =
            entries.iter().zip(prev + 1..).take_while(|(entry, index)| self.agrees(*index, entry.term));
        let known = known.count();
        if known < entries.len() {
            self.persistent.log.truncate(prev + known - self.persistent.last_included.0);
            self.persistent.log.extend(entries.into_iter().skip(known));
            self.unsaved = true;
        }
    }

    /// What a leader of `term` knows of a peer, if this server still is that leader.
    fn follower(&mut self, peer: ServerId, term: Term) -> Option<&mut Follower> {
        let is_leader = self.role == Role::Leader && self.persistent.current_term == term;
        let follower = is_leader.then(|| &mut self.followers[peer])?;
        follower.heard_from = Instant::now();
        Some(follower)
    }

    fn has_news_for(&self, peer: ServerId) -> bool {
        let Follower { next, is_searching, is_asked, .. } = self.followers[peer];
        !is_asked && (is_searching || next <= self.last_index())
    }

    fn take_deliveries(&mut self) -> Vec<ApplyMsg> {
        let mut messages = Vec::new();
        if let Some(snapshot) = self.snapshot.take() {
            self.taken = self.persistent.last_included.0;
            messages.push(snapshot);
        }
        for index in self.taken + 1..self.commit_index + 1 {
            let entry = &self.persistent.log[index - self.persistent.last_included.0 - 1];
            messages.push(ApplyMsg::Command { index, command: entry.command.clone() });
        }
        self.taken = self.commit_index;
        messages
    }
}

fn election_timeout() -> Instant {
    Instant::now() + rng::duration(Duration::from_millis(250)..Duration::from_millis(500))
}

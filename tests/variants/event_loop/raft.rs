//! A correct Raft of another design: one thread owns all state and works off one channel of events.
//!
//! Staff-owned; laid over the student's file by `cargo lab bugs`, which expects it to pass every test.
//!
//! Nothing is locked. Handlers send their request into the loop and wait for the answer; calls to peers
//! are made on threads of their own that send what they bring into the loop. Whatever an event makes the
//! server say is kept back until the event has been dealt with and its changes are on disk. Committed
//! entries go through a channel without a limit to a thread that does nothing but hand them to the service,
//! so the loop never waits for it.
//!
//! A leader sends batches of few entries, one at a time to each follower, and heartbeats that carry none.
//! `raft/log.rs` is what they both know of the log.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use labrpc::channel::{self, Receiver, RecvTimeoutError, Sender};
use labrpc::sync::Arc;
use labrpc::time::Instant;
use labrpc::{Request, rng, thread};

use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, ConflictHint, Entry, Index,
    InstallSnapshotArgs, InstallSnapshotReply, NotLeader, Peer, PersistentState, Persister, RaftHandlers,
    RaftServer, RequestVoteArgs, RequestVoteReply, ServerId, Started, Term,
};

mod log;

const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(120);
const ELECTION_TIMEOUT: Range<Duration> = Duration::from_millis(500)..Duration::from_millis(1_000);

/// The most entries that one message carries.
const BATCH: usize = 16;

/// One Raft server: the way into its loop.
pub struct Raft {
    events: Sender<Event>,
}

/// Something for the loop to deal with.
type Event = Box<dyn FnOnce(&mut Loop) + Send>;

/// What a leader remembers of a message until its reply comes.
#[derive(Clone, Copy)]
struct Sent {
    to: ServerId,
    term: Term,
    /// The index before the entries in it.
    prev: Index,
    /// The index of the last entry in it; `prev` for a heartbeat.
    end: Index,
}

enum Role {
    Follower,
    Candidate(BTreeSet<ServerId>),
    Leader(Vec<Progress>),
}

/// How far a leader has brought one server.
#[derive(Clone)]
struct Progress {
    next: Index,
    matched: Index,
    /// When entries or a snapshot were sent that have not been answered yet.
    waiting_since: Option<Instant>,
}

/// The owner of all state.
struct Loop {
    me: ServerId,
    peers: Vec<Peer>,
    events: Sender<Event>,
    persister: Persister,
    deliveries: Sender<ApplyMsg>,
    /// What is on disk, once the event at hand has been dealt with.
    disk: PersistentState,
    unsaved: bool,
    unsaved_snapshot: Option<Bytes>,
    role: Role,
    /// The next heartbeat of a leader, the next election of anybody else.
    due: Instant,
    commit_index: Index,
    /// The last index that went to the delivering thread.
    delivered: Index,
    /// What is to be said once everything is saved.
    outbox: Vec<Box<dyn FnOnce() + Send>>,
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let (events, queue) = channel::unbounded();
        let (deliveries, to_deliver) = channel::unbounded();
        let disk = persister.load();
        // Only what is committed is ever in a snapshot, and the service restores that by itself.
        let base = disk.base();
        let state = Loop {
            me,
            peers,
            events: events.clone(),
            persister,
            deliveries,
            disk,
            unsaved: false,
            unsaved_snapshot: None,
            role: Role::Follower,
            due: next_election(),
            commit_index: base,
            delivered: base,
            outbox: Vec::new(),
        };
        thread::spawn(move || state.run(&queue));
        thread::spawn(move || to_deliver.iter().all(|message| apply.send(message).is_ok()));
        Arc::new(Raft { events })
    }

    fn get_state(&self) -> (Term, bool) {
        self.ask(|state| (state.disk.current_term, state.is_leader()))
    }

    fn start(&self, command: Command) -> Result<Started, NotLeader> {
        self.ask(|state| state.start(command))
    }

    fn snapshot(&self, index: Index, snapshot: Bytes) {
        // Nobody has been promised anything, so there is nothing to wait for.
        self.tell(Box::new(move |state| state.compact(index, snapshot)));
    }
}

impl RaftHandlers for Raft {
    fn request_vote(&self, args: RequestVoteArgs) -> RequestVoteReply {
        self.ask(move |state| state.request_vote(&args))
    }

    fn append_entries(&self, args: AppendEntriesArgs) -> AppendEntriesReply {
        self.ask(|state| state.append_entries(args))
    }

    fn install_snapshot(&self, args: InstallSnapshotArgs) -> InstallSnapshotReply {
        self.ask(|state| state.install_snapshot(args))
    }
}

impl Raft {
    fn tell(&self, event: Event) {
        self.events.send(event).expect("the loop runs as long as the server");
    }

    /// Has the loop work out an answer, and waits for it.
    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut Loop) -> T + Send + 'static) -> T {
        let (answer, answered) = channel::bounded(1);
        self.tell(Box::new(move |state| {
            let value = question(state);
            state.say(move || drop(answer.send(value)));
        }));
        answered.recv().expect("the loop answers everything")
    }
}

/// The loop itself.
impl Loop {
    fn run(mut self, queue: &Receiver<Event>) {
        loop {
            // A leader is heard in time even while events pour in. Anybody else looks at what has come in
            // first, because it may be from the leader.
            if self.is_leader() && self.due <= Instant::now() {
                self.send_heartbeats();
            } else {
                match queue.recv_timeout(self.due - Instant::now()) {
                    Ok(event) => event(&mut self),
                    Err(RecvTimeoutError::Timeout) if self.is_leader() => self.send_heartbeats(),
                    Err(RecvTimeoutError::Timeout) => self.stand(),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            self.settle();
        }
    }

    /// Ends the work on an event: first the disk, then the service and everybody else.
    fn settle(&mut self) {
        if let Some(snapshot) = self.unsaved_snapshot.take() {
            self.persister.save_with_snapshot(&self.disk, snapshot);
        } else if self.unsaved {
            self.persister.save(&self.disk);
        }
        self.unsaved = false;
        while self.delivered < self.commit_index {
            self.delivered += 1;
            let entry = self.disk.entry(self.delivered).expect("what is committed is in the log");
            let message = ApplyMsg::Command { index: self.delivered, command: entry.command.clone() };
            // It fails when the service is gone, and then nobody misses it.
            let _ = self.deliveries.send(message);
        }
        self.outbox.drain(..).for_each(|say| say());
    }

    fn say(&mut self, say: impl FnOnce() + Send + 'static) {
        self.outbox.push(Box::new(say));
    }

    /// Calls a peer, and has the loop deal with what that brings.
    fn call<R: Request>(
        &mut self,
        to: ServerId,
        args: R,
        returned: impl FnOnce(&mut Loop, Option<R::Reply>) + Send + 'static,
    ) {
        let (peer, events) = (self.peers[to].clone(), self.events.clone());
        self.say(move || {
            thread::spawn(move || {
                let reply = peer.call(&args);
                drop(events.send(Box::new(move |state: &mut Loop| returned(state, reply))));
            });
        });
    }
}

/// Elections.
impl Loop {
    fn observe(&mut self, term: Term) {
        if term > self.disk.current_term {
            self.disk.current_term = term;
            self.disk.voted_for = None;
            self.unsaved = true;
            if self.is_leader() {
                self.due = next_election();
            }
            self.role = Role::Follower;
        }
    }

    fn stand(&mut self) {
        self.disk.current_term += 1;
        self.disk.voted_for = Some(self.me);
        self.unsaved = true;
        self.role = Role::Candidate(BTreeSet::from([self.me]));
        self.due = next_election();
        let args = RequestVoteArgs {
            term: self.disk.current_term,
            candidate_id: self.me,
            last_log_index: self.disk.last_index(),
            last_log_term: self.disk.last_term(),
        };
        for voter in self.others() {
            let asked_in = args.term;
            self.call(voter, args.clone(), move |state, reply| {
                if let Some(reply) = reply {
                    state.count(asked_in, voter, &reply);
                }
            });
        }
        self.lead_if_elected();
    }

    fn request_vote(&mut self, args: &RequestVoteArgs) -> RequestVoteReply {
        self.observe(args.term);
        let is_free = [None, Some(args.candidate_id)].contains(&self.disk.voted_for);
        let is_up_to_date =
            (args.last_log_term, args.last_log_index) >= (self.disk.last_term(), self.disk.last_index());
        let vote_granted = args.term == self.disk.current_term && is_free && is_up_to_date;
        if vote_granted {
            self.disk.voted_for = Some(args.candidate_id);
            self.unsaved = true;
            self.due = next_election();
        }
        RequestVoteReply { term: self.disk.current_term, vote_granted }
    }

    fn count(&mut self, asked_in: Term, voter: ServerId, reply: &RequestVoteReply) {
        self.observe(reply.term);
        if let Role::Candidate(voters) = &mut self.role
            && asked_in == self.disk.current_term
            && reply.vote_granted
        {
            voters.insert(voter);
            self.lead_if_elected();
        }
    }

    fn lead_if_elected(&mut self) {
        if let Role::Candidate(voters) = &self.role
            && voters.len() > self.peers.len() / 2
        {
            let progress = Progress { next: self.disk.last_index() + 1, matched: 0, waiting_since: None };
            self.role = Role::Leader(vec![progress; self.peers.len()]);
            self.send_heartbeats();
        }
    }
}

/// The leader.
impl Loop {
    fn start(&mut self, command: Command) -> Result<Started, NotLeader> {
        if !self.is_leader() {
            return Err(NotLeader);
        }
        let term = self.disk.current_term;
        self.disk.log.push(Entry { term, command });
        self.unsaved = true;
        self.advance_commit();
        self.others().into_iter().for_each(|follower| self.feed(follower));
        Ok(Started { index: self.disk.last_index(), term })
    }

    fn send_heartbeats(&mut self) {
        self.due = Instant::now() + HEARTBEAT_INTERVAL;
        let (last, base) = (self.disk.last_index(), self.disk.base());
        for follower in self.others() {
            let Role::Leader(progress) = &self.role else { return };
            let Progress { next, waiting_since, .. } = progress[follower];
            // What was sent a whole interval ago counts as lost.
            let is_waiting = waiting_since.is_some_and(|since| since.elapsed() < HEARTBEAT_INTERVAL);
            if next <= last && !is_waiting {
                self.send(follower);
            } else {
                self.append(follower, base.max(next - 1), 0);
            }
        }
    }

    /// Sends a follower what it lacks, unless the last such message is still on its way.
    fn feed(&mut self, follower: ServerId) {
        let last = self.disk.last_index();
        if let Role::Leader(progress) = &self.role
            && progress[follower].next <= last
            && progress[follower].waiting_since.is_none()
        {
            self.send(follower);
        }
    }

    /// Sends the next batch, or the snapshot where the log does not go back so far.
    fn send(&mut self, follower: ServerId) {
        let Role::Leader(progress) = &mut self.role else { return };
        progress[follower].waiting_since = Some(Instant::now());
        let next = progress[follower].next;
        if next > self.disk.base() {
            self.append(follower, next - 1, BATCH);
            return;
        }
        let (term, (index, index_term)) = (self.disk.current_term, self.disk.last_included);
        let args = InstallSnapshotArgs {
            term,
            leader_id: self.me,
            last_included_index: index,
            last_included_term: index_term,
            snapshot: self.persister.snapshot(),
        };
        let sent = Sent { to: follower, term, prev: 0, end: index };
        self.call(follower, args, move |state, reply| {
            // Whoever has the snapshot agrees with the leader up to there.
            let accepted = |reply: InstallSnapshotReply| (reply.term, true, None);
            state.returned(sent, reply.map(accepted));
        });
    }

    /// Sends at most `limit` entries from the one after `prev` on.
    fn append(&mut self, follower: ServerId, prev: Index, limit: usize) {
        let prev_log_term =
            self.disk.term_at(prev).expect("a leader has all entries up to where it sends from");
        let entries = self.disk.entries_after(prev, limit);
        let term = self.disk.current_term;
        let sent = Sent { to: follower, term, prev, end: prev + entries.len() };
        let args = AppendEntriesArgs {
            term,
            leader_id: self.me,
            prev_log_index: prev,
            prev_log_term,
            entries,
            leader_commit: self.commit_index,
        };
        self.call(follower, args, move |state, reply| {
            state.returned(sent, reply.map(|reply| (reply.term, reply.success, reply.conflict)));
        });
    }

    /// A message to a follower has brought a term, whether the logs agree, and a hint; or nothing.
    fn returned(&mut self, sent: Sent, reply: Option<(Term, bool, Option<ConflictHint>)>) {
        self.observe(reply.map_or(0, |(term, ..)| term));
        let Some(progress) = self.progress(sent) else { return };
        if sent.end > sent.prev {
            progress.waiting_since = None;
        }
        match reply {
            Some((_, true, _)) => {
                progress.matched = progress.matched.max(sent.end);
                progress.next = progress.next.max(progress.matched + 1);
                self.advance_commit();
                self.feed(sent.to);
            }
            // A refusal of anything but the present question is old news.
            Some((_, false, hint)) if sent.prev + 1 == progress.next && sent.prev > progress.matched => {
                let lowest = progress.matched + 1;
                let next = self.disk.back_up(sent.prev, hint).clamp(lowest, sent.prev);
                self.progress(sent).expect("it still leads").next = next;
                self.send(sent.to);
            }
            // The next heartbeat sends once more what was lost.
            _ => {}
        }
    }

    /// The progress of the follower to which something was sent, if this server still leads the same term.
    fn progress(&mut self, sent: Sent) -> Option<&mut Progress> {
        match &mut self.role {
            Role::Leader(progress) if sent.term == self.disk.current_term => Some(&mut progress[sent.to]),
            _ => None,
        }
    }

    fn advance_commit(&mut self) {
        let Role::Leader(progress) = &self.role else { return };
        let mut held: Vec<Index> = progress.iter().map(|progress| progress.matched).collect();
        held[self.me] = self.disk.last_index();
        held.sort_unstable();
        let by_majority = held[(held.len() - 1) / 2];
        if by_majority > self.commit_index && self.disk.term_at(by_majority) == Some(self.disk.current_term) {
            self.commit_index = by_majority;
        }
    }
}

/// The follower.
impl Loop {
    fn append_entries(&mut self, args: AppendEntriesArgs) -> AppendEntriesReply {
        self.observe(args.term);
        let term = self.disk.current_term;
        if args.term < term {
            return AppendEntriesReply { term, success: false, conflict: None };
        }
        self.follow();
        let conflict = self.disk.conflict(args.prev_log_index, args.prev_log_term);
        if conflict.is_none() {
            let end = args.prev_log_index + args.entries.len();
            self.unsaved |= self.disk.store(args.prev_log_index, args.entries);
            // Beyond `end` this log may differ from the leader's.
            self.commit_index = self.commit_index.max(args.leader_commit.min(end));
        }
        AppendEntriesReply { term, success: conflict.is_none(), conflict }
    }

    fn follow(&mut self) {
        self.role = Role::Follower;
        self.due = next_election();
    }

    fn install_snapshot(&mut self, args: InstallSnapshotArgs) -> InstallSnapshotReply {
        self.observe(args.term);
        let term = self.disk.current_term;
        if args.term < term {
            return InstallSnapshotReply { term };
        }
        self.follow();
        let (index, index_term) = (args.last_included_index, args.last_included_term);
        if index <= self.commit_index {
            return InstallSnapshotReply { term };
        }
        self.commit_index = index;
        // With all of its entries in the log, the snapshot only tells that they are committed.
        if self.disk.term_at(index) != Some(index_term) {
            self.disk.log.clear();
            self.disk.last_included = (index, index_term);
            self.unsaved_snapshot = Some(args.snapshot.clone());
            self.delivered = index;
            // Even if a crash comes before the save: the service then begins anew from the disk.
            let _ =
                self.deliveries.send(ApplyMsg::Snapshot { index, term: index_term, snapshot: args.snapshot });
        }
        InstallSnapshotReply { term }
    }

    fn compact(&mut self, index: Index, snapshot: Bytes) {
        if self.disk.base() < index && index <= self.delivered {
            self.disk.compact(index);
            self.unsaved_snapshot = Some(snapshot);
        }
    }
}

/// Small things.
impl Loop {
    fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    fn others(&self) -> Vec<ServerId> {
        (0..self.peers.len()).filter(|&server| server != self.me).collect()
    }
}

fn next_election() -> Instant {
    Instant::now() + rng::duration(ELECTION_TIMEOUT)
}

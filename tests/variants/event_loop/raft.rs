//! A correct Raft of another design: one thread owns all state and works off one channel of events.
//!
//! Staff-owned; laid over the student's file by `cargo lab bugs`, which expects it to pass every test.
//! Nothing is locked: handlers send their request into the loop and wait for the answer; calls to peers
//! are made on threads of their own that send the reply into the loop. Finished up to stage 2A.

use std::collections::BTreeSet;
use std::time::Duration;

use labrpc::channel::{self, Receiver, RecvTimeoutError, Sender};
use labrpc::sync::Arc;
use labrpc::time::Instant;
use labrpc::{rng, thread};

use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Index, InstallSnapshotArgs,
    InstallSnapshotReply, NotLeader, Peer, Persister, RaftHandlers, RaftServer, RequestVoteArgs,
    RequestVoteReply, ServerId, Started, Term,
};

const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(120);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(500);
const LONGEST_TIMEOUT: Duration = Duration::from_millis(1_000);

/// One Raft server: the way into its loop.
pub struct Raft {
    events: Sender<Event>,
}

/// Whatever the loop has to deal with.
enum Event {
    GetState(Sender<(Term, bool)>),
    RequestVote(RequestVoteArgs, Sender<RequestVoteReply>),
    AppendEntries(AppendEntriesArgs, Sender<AppendEntriesReply>),
    VoteReply { asked_in: Term, voter: ServerId, reply: RequestVoteReply },
    AppendReply(AppendEntriesReply),
}

enum Role {
    Follower,
    Candidate(BTreeSet<ServerId>),
    Leader,
}

/// The owner of all state.
struct Loop {
    me: ServerId,
    peers: Vec<Peer>,
    events: Sender<Event>,
    term: Term,
    voted_for: Option<ServerId>,
    role: Role,
    /// The next heartbeat of a leader, the next election of anybody else.
    due: Instant,
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, _apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let (events, queue) = channel::unbounded();
        let saved = persister.load();
        let state = Loop {
            me,
            peers,
            events: events.clone(),
            term: saved.current_term,
            voted_for: saved.voted_for,
            role: Role::Follower,
            due: next_election(),
        };
        thread::spawn(move || state.run(&queue));
        Arc::new(Raft { events })
    }

    fn get_state(&self) -> (Term, bool) {
        self.ask(Event::GetState)
    }

    fn start(&self, _command: Command) -> Result<Started, NotLeader> {
        todo!("2B: log replication")
    }

    fn snapshot(&self, _index: Index, _snapshot: Bytes) {
        todo!("2D: snapshots")
    }
}

impl RaftHandlers for Raft {
    fn request_vote(&self, args: RequestVoteArgs) -> RequestVoteReply {
        self.ask(|answer| Event::RequestVote(args, answer))
    }

    fn append_entries(&self, args: AppendEntriesArgs) -> AppendEntriesReply {
        self.ask(|answer| Event::AppendEntries(args, answer))
    }

    fn install_snapshot(&self, _args: InstallSnapshotArgs) -> InstallSnapshotReply {
        todo!("2D: snapshots")
    }
}

impl Raft {
    fn ask<T>(&self, event: impl FnOnce(Sender<T>) -> Event) -> T {
        let (answer, answered) = channel::bounded(1);
        self.events.send(event(answer)).expect("the loop runs as long as the server");
        answered.recv().expect("the loop answers everything")
    }
}

impl Loop {
    fn run(mut self, queue: &Receiver<Event>) {
        loop {
            match queue.recv_timeout(self.due - Instant::now()) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => self.time_out(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::GetState(answer) => {
                let _ = answer.send((self.term, matches!(self.role, Role::Leader)));
            }
            Event::RequestVote(args, answer) => {
                let _ = answer.send(self.request_vote(&args));
            }
            Event::AppendEntries(args, answer) => {
                let _ = answer.send(self.append_entries(&args));
            }
            Event::VoteReply { asked_in, voter, reply } => self.count(asked_in, voter, &reply),
            Event::AppendReply(reply) => self.observe(reply.term),
        }
    }

    fn observe(&mut self, term: Term) {
        if term > self.term {
            self.term = term;
            self.voted_for = None;
            if matches!(self.role, Role::Leader) {
                self.due = next_election();
            }
            self.role = Role::Follower;
        }
    }

    fn request_vote(&mut self, args: &RequestVoteArgs) -> RequestVoteReply {
        self.observe(args.term);
        let vote_granted =
            args.term == self.term && [None, Some(args.candidate_id)].contains(&self.voted_for);
        if vote_granted {
            self.voted_for = Some(args.candidate_id);
            self.due = next_election();
        }
        RequestVoteReply { term: self.term, vote_granted }
    }

    fn append_entries(&mut self, args: &AppendEntriesArgs) -> AppendEntriesReply {
        self.observe(args.term);
        let success = args.term == self.term;
        if success {
            self.role = Role::Follower;
            self.due = next_election();
        }
        AppendEntriesReply { term: self.term, success, conflict: None }
    }

    fn time_out(&mut self) {
        if matches!(self.role, Role::Leader) {
            self.send_heartbeats();
            return;
        }
        self.term += 1;
        self.voted_for = Some(self.me);
        self.role = Role::Candidate(BTreeSet::from([self.me]));
        self.due = next_election();
        let args = RequestVoteArgs {
            term: self.term,
            candidate_id: self.me,
            last_log_index: 0,
            last_log_term: 0,
        };
        for voter in self.others() {
            let (peer, events, args) = (self.peers[voter].clone(), self.events.clone(), args.clone());
            thread::spawn(move || {
                if let Some(reply) = peer.call(&args) {
                    let _ = events.send(Event::VoteReply { asked_in: args.term, voter, reply });
                }
            });
        }
    }

    fn count(&mut self, asked_in: Term, voter: ServerId, reply: &RequestVoteReply) {
        self.observe(reply.term);
        let servers = self.peers.len();
        match &mut self.role {
            Role::Candidate(voters) if asked_in == self.term && reply.vote_granted => {
                voters.insert(voter);
                if voters.len() > servers / 2 {
                    self.role = Role::Leader;
                    self.send_heartbeats();
                }
            }
            _ => {}
        }
    }

    fn send_heartbeats(&mut self) {
        self.due = Instant::now() + HEARTBEAT_INTERVAL;
        let args = AppendEntriesArgs {
            term: self.term,
            leader_id: self.me,
            prev_log_index: 0,
            prev_log_term: 0,
            entries: Vec::new(),
            leader_commit: 0,
        };
        for follower in self.others() {
            let (peer, events, args) = (self.peers[follower].clone(), self.events.clone(), args.clone());
            thread::spawn(move || {
                if let Some(reply) = peer.call(&args) {
                    let _ = events.send(Event::AppendReply(reply));
                }
            });
        }
    }

    fn others(&self) -> Vec<ServerId> {
        (0..self.peers.len()).filter(|&server| server != self.me).collect()
    }
}

fn next_election() -> Instant {
    Instant::now() + rng::duration(SHORTEST_TIMEOUT..LONGEST_TIMEOUT)
}

//! A correct Raft of another design: a thread for each peer that lives as long as the server, an election
//! timer that waits on a condition variable, and a leader that steps down when no majority answers it.
//!
//! Staff-owned; laid over the student's file by `cargo lab bugs`, which expects it to pass every test.
//! Finished up to stage 2A.

use std::time::Duration;

use labrpc::channel::Sender;
use labrpc::sync::{Arc, Condvar, Mutex};
use labrpc::time::Instant;
use labrpc::{rng, thread};

use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Index, InstallSnapshotArgs,
    InstallSnapshotReply, NotLeader, Peer, Persister, RaftHandlers, RaftServer, RequestVoteArgs,
    RequestVoteReply, ServerId, Started, Term,
};

const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);

/// A leader that has not heard from a majority for so long steps down.
const QUORUM_TIMEOUT: Duration = Duration::from_millis(1_500);

/// One Raft server.
pub struct Raft {
    me: ServerId,
    peers: Vec<Peer>,
    state: Mutex<State>,
    /// Signalled when the role, the term or the election timer has changed.
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Follower,
    Candidate,
    Leader,
}

struct State {
    current_term: Term,
    voted_for: Option<ServerId>,
    role: Role,
    votes: usize,
    election_due: Instant,
    /// On a leader: when each server last answered.
    heard_from: Vec<Instant>,
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, _apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let saved = persister.load();
        let state = State {
            current_term: saved.current_term,
            voted_for: saved.voted_for,
            role: Role::Follower,
            votes: 0,
            election_due: election_timeout(),
            heard_from: vec![Instant::now(); peers.len()],
        };
        let raft = Arc::new(Raft { me, peers, state: Mutex::new(state), changed: Condvar::new() });
        for peer in (0..raft.peers.len()).filter(|&peer| peer != me) {
            let raft = raft.clone();
            thread::spawn(move || raft.replicate(peer));
        }
        let timer = raft.clone();
        thread::spawn(move || timer.run_timer());
        raft
    }

    fn get_state(&self) -> (Term, bool) {
        let state = self.state.lock();
        (state.current_term, state.role == Role::Leader)
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
        let mut state = self.state.lock();
        self.observe(&mut state, args.term);
        let mut vote_granted = false;
        if args.term == state.current_term && state.voted_for.unwrap_or(args.candidate_id) == args.candidate_id {
            vote_granted = true;
            state.voted_for = Some(args.candidate_id);
            state.election_due = election_timeout();
            self.changed.notify_all();
        }
        RequestVoteReply { term: state.current_term, vote_granted }
    }

    fn append_entries(&self, args: AppendEntriesArgs) -> AppendEntriesReply {
        let mut state = self.state.lock();
        self.observe(&mut state, args.term);
        let success = args.term == state.current_term;
        if success {
            state.role = Role::Follower;
            state.election_due = election_timeout();
            self.changed.notify_all();
        }
        AppendEntriesReply { term: state.current_term, success, conflict: None }
    }

    fn install_snapshot(&self, _args: InstallSnapshotArgs) -> InstallSnapshotReply {
        todo!("2D: snapshots")
    }
}

impl Raft {
    fn observe(&self, state: &mut State, term: Term) {
        if term > state.current_term {
            state.current_term = term;
            state.voted_for = None;
            state.role = Role::Follower;
            // As some production systems do: a new term begins with a whole time-out for everybody.
            state.election_due = election_timeout();
            self.changed.notify_all();
        }
    }

    /// Stands for election when the timer runs out, and deposes a leader without a quorum.
    fn run_timer(&self) {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            if state.role == Role::Leader {
                let answers = state.heard_from.iter().filter(|&&heard| now - heard < QUORUM_TIMEOUT).count();
                if answers <= self.peers.len() / 2 {
                    state.role = Role::Follower;
                    state.election_due = election_timeout();
                }
                self.changed.wait_for(&mut state, HEARTBEAT_INTERVAL);
            } else if state.election_due <= now {
                state.current_term += 1;
                state.voted_for = Some(self.me);
                state.role = Role::Candidate;
                state.votes = 1;
                state.election_due = election_timeout();
                self.changed.notify_all();
            } else {
                let due = state.election_due;
                self.changed.wait_until(&mut state, due);
            }
        }
    }

    /// Tells one peer, for as long as this server lives, whatever it has to hear.
    fn replicate(self: Arc<Self>, peer: ServerId) {
        let mut asked_in = 0;
        let mut beat: Option<(Term, Instant)> = None;
        let mut state = self.state.lock();
        loop {
            let (term, now) = (state.current_term, Instant::now());
            match state.role {
                Role::Candidate if asked_in < term => {
                    asked_in = term;
                    let raft = self.clone();
                    thread::spawn(move || raft.ask_for_vote(peer, term));
                }
                Role::Leader if beat.is_none_or(|(of, due)| of != term || due <= now) => {
                    beat = Some((term, now + HEARTBEAT_INTERVAL));
                    let raft = self.clone();
                    thread::spawn(move || raft.send_heartbeat(peer, term));
                }
                Role::Leader => {
                    let due = beat.map_or(now, |(_, due)| due);
                    self.changed.wait_until(&mut state, due);
                }
                _ => self.changed.wait(&mut state),
            }
        }
    }

    fn ask_for_vote(&self, peer: ServerId, term: Term) {
        let args = RequestVoteArgs { term, candidate_id: self.me, last_log_index: 0, last_log_term: 0 };
        let Some(reply) = self.peers[peer].call(&args) else { return };
        let mut state = self.state.lock();
        self.observe(&mut state, reply.term);
        if reply.vote_granted && state.role == Role::Candidate && state.current_term == term {
            state.votes += 1;
            if state.votes > self.peers.len() / 2 {
                state.role = Role::Leader;
                state.heard_from = vec![Instant::now(); self.peers.len()];
                self.changed.notify_all();
            }
        }
    }

    fn send_heartbeat(&self, peer: ServerId, term: Term) {
        let args = AppendEntriesArgs {
            term,
            leader_id: self.me,
            prev_log_index: 0,
            prev_log_term: 0,
            entries: Vec::new(),
            leader_commit: 0,
        };
        let Some(reply) = self.peers[peer].call(&args) else { return };
        let mut state = self.state.lock();
        self.observe(&mut state, reply.term);
        if state.current_term == term {
            state.heard_from[peer] = Instant::now();
            let me = self.me;
            state.heard_from[me] = Instant::now();
        }
    }
}

fn election_timeout() -> Instant {
    Instant::now() + rng::duration(Duration::from_millis(250)..Duration::from_millis(500))
}

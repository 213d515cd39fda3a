//! Your Raft server. This is the file you edit in lab 2.
//!
//! Read first: the chapter of your stage in `handouts/`, beside Figure 2 of the Raft paper. Replace each
//! `todo!` when its stage comes: `todo!("2A: ...")` is for stage 2A. Everything here is yours to change,
//! but for the signatures that the two traits ask for: a design with channels instead of one lock, say, is
//! as good. The file may grow into a folder `raft/`.
//!
//! Use `labrpc`'s `thread`, `sync`, `channel`, `time` and `rng`, never std's: only then can the kit run
//! your server in virtual time and replay a failure.

use std::time::Duration;

use labrpc::channel::Sender;
use labrpc::sync::{Arc, Condvar, Mutex};
use labrpc::time::Instant;
use labrpc::{rng, thread};

use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Index, InstallSnapshotArgs,
    InstallSnapshotReply, NotLeader, Peer, PersistentState, Persister, RaftHandlers, RaftServer,
    RequestVoteArgs, RequestVoteReply, ServerId, Started, Term,
};

/// One Raft server.
pub struct Raft {
    /// This server's number.
    me: ServerId,
    /// All servers; `peers[me]` is this one and not called.
    peers: Vec<Peer>,
    /// What survives a crash. From 2C on.
    persister: Persister,
    /// Where committed commands go. From 2B on.
    apply: Sender<ApplyMsg>,
    /// Everything that changes.
    state: Mutex<State>,
}

/// Figure 2, "State".
struct State {
    /// `current_term`, `voted_for` and `log`: saved before the server answers anyone (from 2C on).
    persistent: PersistentState,
    /// What this server is at present (5.1).
    role: Role,
    /// When to start an election unless a leader is heard of before (5.2).
    election_due: Instant,
    /// Index of the highest entry known to be committed. From 2B on.
    commit_index: Index,
    /// Index of the highest entry sent to `apply`. From 2B on.
    last_applied: Index,
    /// On a leader: for each server, the index of the next entry to send to it. From 2B on.
    next_index: Vec<Index>,
    /// On a leader: for each server, the highest index known to be stored there. From 2B on.
    match_index: Vec<Index>,
}

/// What a server can be (Figure 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Follower,
    Candidate,
    Leader,
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let state = State {
            persistent: persister.load(),
            role: Role::Follower,
            election_due: Instant::now(), // 2A: a random time from now on, drawn anew each time
            commit_index: 0,
            last_applied: 0,
            next_index: vec![1; peers.len()],
            match_index: vec![0; peers.len()],
        };
        let raft = Arc::new(Raft { me, peers, persister, apply, state: Mutex::new(state) });
        todo!("2A: start a thread that runs `election_timer`, then return `raft`")
    }

    fn get_state(&self) -> (Term, bool) {
        todo!("2A: return the current term, and whether this server is its leader")
    }

    fn start(&self, command: Command) -> Result<Started, NotLeader> {
        todo!("2B: append the command to a leader's log and have it sent to the others")
    }

    fn snapshot(&self, index: Index, snapshot: Bytes) {
        todo!("2D: drop the log up to `index`, and save the rest together with the snapshot")
    }
}

impl RaftHandlers for Raft {
    fn request_vote(&self, args: RequestVoteArgs) -> RequestVoteReply {
        todo!("2A: grant at most one vote a term; from 2B on only to a log at least as up to date")
    }

    fn append_entries(&self, args: AppendEntriesArgs) -> AppendEntriesReply {
        todo!("2A: accept the leader of this term; from 2B on check and store its entries")
    }

    fn install_snapshot(&self, args: InstallSnapshotArgs) -> InstallSnapshotReply {
        todo!("2D: replace the log by the snapshot, unless this server is ahead of it")
    }
}

impl Raft {
    /// Runs for ever on a thread of its own: starts an election whenever one is due (5.2).
    fn election_timer(self: Arc<Self>) {
        todo!("2A: sleep until the election is due; start one unless a leader was heard of meanwhile")
    }

    /// Stands for election: a new term, a vote for itself, and a request to every other server (5.2).
    fn start_election(self: &Arc<Self>) {
        todo!("2A: become a candidate, ask all others at once, count the votes of this term")
    }

    /// Runs on a leader: lets the others hear of it often enough that none starts an election (5.2).
    fn send_heartbeats(self: Arc<Self>, term: Term) {
        todo!("2A: while still leader of `term`, send AppendEntries to all others, at most 10 times a second")
    }
}

impl State {
    /// A message of `term` has come in: a higher term than ours makes us its follower (5.1).
    fn observe_term(&mut self, term: Term) {
        todo!("2A: adopt a higher term, forget the vote of the old one, become a follower")
    }

    /// Saves what must survive a crash, before anyone hears of it. From 2C on.
    fn persist(&self, persister: &Persister) {
        todo!("2C: save the persistent state, and call this wherever it has changed")
    }
}

//! The reference Raft, written to be read beside the paper.
//!
//! Staff-owned; never part of a student kit. One file per noun: this one holds the server and its state,
//! `election.rs` how a leader comes to be, `replication.rs` what a leader and its followers say to each
//! other.
//!
//! The design: one lock around all state, never held across a call. A timer thread lives as long as the
//! server, a heartbeat thread as long as its server leads one term, and every call to a peer has a thread
//! of its own, because a call to a dead peer can take seconds.

mod election;
mod replication;

use labrpc::channel::Sender;
use labrpc::sync::{Arc, Mutex, MutexGuard};
use labrpc::thread;
use labrpc::time::Instant;

use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Index, InstallSnapshotArgs,
    InstallSnapshotReply, NotLeader, Peer, PersistentState, Persister, RaftHandlers, RaftServer,
    RequestVoteArgs, RequestVoteReply, ServerId, Started, Term,
};

/// One Raft server.
pub struct Raft {
    me: ServerId,
    peers: Vec<Peer>,
    state: Mutex<State>,
}

/// All state of a server that changes (Raft Figure 2, "State").
///
/// Invariants: `current_term` never falls; within a term `voted_for` never changes once it is set, and
/// the role never goes from leader to anything else.
struct State {
    persistent: PersistentState,
    role: Role,
    /// When to stand for election unless a leader is heard of before.
    election_due: Instant,
}

/// What a server is at present (Raft Figure 4), with the data that only this role has.
enum Role {
    Follower,
    /// Holds who has granted a vote in this term, the server itself included.
    Candidate {
        votes: Vec<bool>,
    },
    Leader,
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, _apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let persistent = persister.load();
        let state = State { persistent, role: Role::Follower, election_due: election::draw_election_due() };
        let raft = Arc::new(Raft { me, peers, state: Mutex::new(state) });
        spawn("election timer", {
            let raft = raft.clone();
            move || raft.election_timer()
        });
        raft
    }

    fn get_state(&self) -> (Term, bool) {
        let state = self.state.lock();
        (state.persistent.current_term, state.is_leader())
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
        self.state.lock().request_vote(&args)
    }

    fn append_entries(&self, args: AppendEntriesArgs) -> AppendEntriesReply {
        self.state.lock().append_entries(&args)
    }

    fn install_snapshot(&self, _args: InstallSnapshotArgs) -> InstallSnapshotReply {
        todo!("2D: snapshots")
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

    /// Every server but this one.
    fn others(&self) -> impl Iterator<Item = ServerId> + use<> {
        let me = self.me;
        (0..self.peers.len()).filter(move |&server| server != me)
    }
}

impl State {
    fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader)
    }

    fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Candidate { .. })
    }

    /// A message of `term` has come in. A server that sees a higher term than its own adopts it and
    /// becomes a follower, whatever it was before (Raft 5.1). Comes before every other rule.
    fn observe_term(&mut self, term: Term) {
        if term > self.persistent.current_term {
            self.persistent.current_term = term;
            self.persistent.voted_for = None;
            self.role = Role::Follower;
        }
    }
}

/// Starts a thread that reports call `name`.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(name).spawn(body).expect("a thread can be started");
}

//! Lab 2: the contract between a Raft server and everything around it.
//!
//! Kit-owned: read this file, edit `raft.rs`. The two traits say what your server must be able to do,
//! `messages.rs` holds the messages of the paper's Figure 2, `persister.rs` the disk. The service above
//! your server and the tests know nothing else of it.
//!
//! Read first: the handout's chapter of your stage, then sections 5.1 and 5.2 of the Raft paper.

// What students write has no need of it, and could change whatever a test holds in memory.
#![forbid(unsafe_code)]

mod display;
mod messages;
mod persister;

// What a skeleton does not use yet is no mistake.
// release: omit begin
#[cfg(not(feature = "solution"))]
// release: omit end
#[allow(dead_code, unused_imports, unused_variables, unreachable_code)]
mod raft;

// release: omit begin
// The staff's reference. The student kit comes without it.
#[cfg(feature = "solution")]
#[path = "../../solutions/raft/mod.rs"]
mod raft;
// release: omit end

use labrpc::Services;
use labrpc::channel::Sender;
use labrpc::sync::Arc;

pub use labrpc::{Bytes, Peer};

pub use self::messages::{
    AppendEntriesArgs, AppendEntriesReply, Command, ConflictHint, Entry, Index, InstallSnapshotArgs,
    InstallSnapshotReply, PersistentState, RequestVoteArgs, RequestVoteReply, ServerId, Term,
};
pub use self::persister::Persister;
pub use self::raft::Raft;

/// The hash of the files that this crate was built from.
pub const SOURCE_HASH: &str = env!("LABRAFT_SOURCE");

/// What the service above a Raft server can ask of it.
pub trait RaftServer: Send + Sync + Sized + 'static {
    /// Creates the server, starts its threads, and returns without waiting for anything.
    ///
    /// There are `peers.len()` servers. `peers[i]` calls server `i`; `peers[me]` is not used. After a
    /// crash the server is made anew, and what it saved is in `persister`.
    ///
    /// Everything that is committed goes to `apply`, in the order of the log. A send there waits until
    /// the service takes the message, so do not hold a lock meanwhile: the service may be calling
    /// [`RaftServer::snapshot`].
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, apply: Sender<ApplyMsg>) -> Arc<Self>;

    /// The server's current term, and whether it believes itself to be the leader of that term.
    fn get_state(&self) -> (Term, bool);

    /// Starts agreement on the next entry of the log. Returns at once: the entry may still be lost when
    /// the leader fails, and whoever wants to know waits for it on the apply channel.
    ///
    /// Indexes count commands: the first has index 1, and each leader goes on after the last that it has. A
    /// design whose leaders add entries of their own (a "no-op" after an election, say) hides them: they take
    /// no index, here, on the apply channel and in [`RaftServer::snapshot`], and services receive none.
    ///
    /// # Errors
    ///
    /// When this server is not the leader.
    fn start(&self, command: Command) -> Result<Started, NotLeader>;

    /// The service has made a snapshot of everything up to and including `index`, so the log up to
    /// there is not needed any more. The service may call this as soon as it has received `index`.
    fn snapshot(&self, index: Index, snapshot: Bytes);
}

/// What other servers can ask of a Raft server. Each call runs on a thread of its own.
pub trait RaftHandlers: RaftServer {
    /// Answers a candidate that asks for a vote (Raft Figure 2, RequestVote RPC).
    fn request_vote(&self, args: RequestVoteArgs) -> RequestVoteReply;

    /// Answers a leader's heartbeat or entries (Raft Figure 2, AppendEntries RPC).
    fn append_entries(&self, args: AppendEntriesArgs) -> AppendEntriesReply;

    /// Answers a leader that sends a snapshot (Raft Figure 13, InstallSnapshot RPC).
    fn install_snapshot(&self, args: InstallSnapshotArgs) -> InstallSnapshotReply;

    /// What the server's node offers to the others: the three handlers above.
    ///
    /// A design with messages of its own replaces this, and is then graded by what the service sees of
    /// it alone, since nobody else can read its messages. Points are then out of what was judged. All that
    /// servers know of each other they still know from messages, and after a crash from their disks: that is
    /// watched without reading any.
    fn services(self: &Arc<Self>) -> Services {
        let (voter, follower, receiver) = (self.clone(), self.clone(), self.clone());
        Services::new()
            .with(move |args: RequestVoteArgs| voter.request_vote(args))
            .with(move |args: AppendEntriesArgs| follower.append_entries(args))
            .with(move |args: InstallSnapshotArgs| receiver.install_snapshot(args))
    }
}

/// Where a command that was started will stand in the log, should it be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The index of its entry: how many commands there are up to it.
    pub index: Index,
    /// The term of its entry, which is the leader's current term.
    pub term: Term,
}

/// The answer of a server that is not the leader to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLeader;

/// What a Raft server tells the service above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyMsg {
    /// The entry at `index` is committed; this is its command. Sent once for each index, in order.
    Command {
        /// The entry's index.
        index: Index,
        /// The entry's command.
        command: Command,
    },
    /// The service's state is to become this snapshot, made by another server's service (2D).
    Snapshot {
        /// The last index the snapshot covers.
        index: Index,
        /// The term of the entry at that index.
        term: Term,
        /// What that service passed to [`RaftServer::snapshot`].
        snapshot: Bytes,
    },
}

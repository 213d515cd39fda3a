//! Lab 3: the contract of a key-value service that stands on Raft, and of its client.
//!
//! Kit-owned: read this file, edit `server.rs` and `client.rs`. The two traits say what a server of the
//! service and its client must be able to do, `messages.rs` holds what passes between them. The tests know
//! nothing else of your code.
//!
//! Read first: the handout's chapter of your stage, then section 8 of the Raft paper.

// What students write has no need of it, and could change whatever a test holds in memory.
#![forbid(unsafe_code)]

mod messages;

// What a skeleton does not use yet is no mistake.
// release: omit begin
#[cfg(not(feature = "solution"))]
// release: omit end
#[allow(dead_code, unused_imports, unused_variables, unreachable_code)]
mod client;
// release: omit begin
#[cfg(not(feature = "solution"))]
// release: omit end
#[allow(dead_code, unused_imports, unused_variables, unreachable_code)]
mod server;

// release: omit begin
// The staff's reference. The student kit comes without it.
#[cfg(feature = "solution")]
#[path = "../../solutions/kv/client.rs"]
mod client;
#[cfg(feature = "solution")]
#[path = "../../solutions/kv/server.rs"]
mod server;
// release: omit end

use labrpc::Services;
use labrpc::channel::Receiver;
use labrpc::sync::Arc;

pub use labraft::{
    ApplyMsg, Bytes, Command, Index, NotLeader, Peer, Persister, Raft, RaftServer, Started, Term,
};

pub use self::client::Client;
pub use self::messages::{ClientId, GetArgs, GetReply, PutAppendArgs, PutAppendReply, Write, WrongLeader};
pub use self::server::KvServer;

/// The hash of the files that this crate was built from.
pub const SOURCE_HASH: &str = env!("LABKV_SOURCE");

/// One server of the service. It stands on one Raft server, and with the others makes up one store that
/// clients cannot tell from a single one that never fails.
pub trait KvService: Send + Sync + Sized + 'static {
    /// Creates the server on top of `raft`, starts its threads, and returns without waiting for anything.
    ///
    /// Everything that is committed comes out of `applied`, in the order of the log, and must be taken out
    /// of it for as long as the server lives. After a crash the server is made anew; the snapshot that it
    /// made last is in `persister`, and what follows comes out of `applied` again.
    ///
    /// With `Some(limit)` the service makes a snapshot whenever [`Persister::log_bytes`] is no longer below
    /// `limit`, in bytes; with `None` it never does (3B).
    fn make(
        raft: Arc<Raft>,
        applied: Receiver<ApplyMsg>,
        persister: Persister,
        limit: Option<usize>,
    ) -> Arc<Self>;

    /// Answers a client that reads. Runs on a thread of its own, and returns when the operation has been
    /// applied, or is known to be lost to this server.
    fn get(&self, args: GetArgs) -> GetReply;

    /// Answers a client that writes; as [`KvService::get`].
    fn put_append(&self, args: PutAppendArgs) -> PutAppendReply;

    /// What the server's node offers to clients: the two handlers above.
    fn services(self: &Arc<Self>) -> Services {
        let (reader, writer) = (self.clone(), self.clone());
        Services::new()
            .with(move |args: GetArgs| reader.get(args))
            .with(move |args: PutAppendArgs| writer.put_append(args))
    }
}

/// A client of the service. It runs one operation at a time, and each one until it is done: operations do
/// not fail, they take as long as it takes.
pub trait KvClient: Send + Sync + Sized + 'static {
    /// Creates a client. `servers[i]` calls server `i`; the client does not know which one leads.
    fn make(servers: Vec<Peer>) -> Self;

    /// The value of `key`; empty when it has none.
    fn get(&self, key: &str) -> String;

    /// Makes `value` the value of `key`.
    fn put(&self, key: &str, value: &str);

    /// Adds `value` to the end of the value of `key`; a key that has none counts as empty.
    fn append(&self, key: &str, value: &str);
}

//! Your server of the key-value service. One of the two files you edit in lab 3.
//!
//! Read first: the chapter of your stage in `handouts/`. Replace each `todo!` when its stage comes. Everything
//! here is yours to change, but for the signatures that the trait asks for. The file may grow into a folder
//! `server/`.
//!
//! Use `labrpc`'s `thread`, `sync`, `channel`, `time` and `rng`, never std's.

use std::collections::BTreeMap;
use std::time::Duration;

use labrpc::channel::Receiver;
use labrpc::codec::{decode, encode};
use labrpc::sync::{Arc, Condvar, Mutex};
use labrpc::thread;
use serde::{Deserialize, Serialize};

use crate::{
    ApplyMsg, Bytes, ClientId, Command, GetArgs, GetReply, Index, KvService, NotLeader, Persister,
    PutAppendArgs, PutAppendReply, Raft, RaftServer, Started, Term, Write, WrongLeader,
};

/// One server of the service.
pub struct KvServer {
    /// The Raft server below.
    raft: Arc<Raft>,
    /// For the snapshot after a restart, and the size of the log. From 3B on.
    persister: Persister,
    /// At how many bytes of log to make a snapshot; `None` for never. From 3B on.
    limit: Option<usize>,
    /// Everything that changes.
    state: Mutex<State>,
}

/// What the log has made of the service so far: the same on every server that has applied as much of it.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// The store.
    data: BTreeMap<String, String>,
    /// The last index that was applied.
    last_applied: Index,
}

/// What goes into the log: an operation, as bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Operation {
    client: ClientId,
    number: u64,
    key: String,
    /// `None` for a get.
    write: Option<Write>,
}

impl KvService for KvServer {
    fn make(
        raft: Arc<Raft>,
        applied: Receiver<ApplyMsg>,
        persister: Persister,
        limit: Option<usize>,
    ) -> Arc<KvServer> {
        let state = State::default(); // 3B: what the saved snapshot says
        let server = Arc::new(KvServer { raft, persister, limit, state: Mutex::new(state) });
        todo!("3A: start a thread that runs `apply_all`, then return `server`")
    }

    fn get(&self, args: GetArgs) -> GetReply {
        todo!("3A: put the get into the log, wait until it is applied, answer with what it found then")
    }

    fn put_append(&self, args: PutAppendArgs) -> PutAppendReply {
        todo!("3A: put the write into the log, wait until it is applied, answer")
    }
}

impl KvServer {
    /// Runs for ever on a thread of its own: takes what Raft has committed, and carries it out.
    fn apply_all(self: Arc<Self>, applied: Receiver<ApplyMsg>) {
        todo!(
            "3A: apply each command once, whatever number of times it is in the log, and tell who waits for it"
        )
    }
}

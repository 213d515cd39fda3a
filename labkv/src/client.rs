//! Your client of the key-value service. One of the two files you edit in lab 3.
//!
//! Read first: the chapter on 3A in `handouts/`. The file may grow into a folder `client/`.
//!
//! Use `labrpc`'s `thread`, `sync`, `channel`, `time` and `rng`, never std's.

use std::time::Duration;

use labrpc::sync::Mutex;
use labrpc::{rng, thread};

use crate::{ClientId, GetArgs, KvClient, Peer, PutAppendArgs, Write, WrongLeader};

/// A client of the service.
pub struct Client {
    /// All servers.
    servers: Vec<Peer>,
    /// Everything that changes.
    state: Mutex<State>,
}

/// What a client remembers from one operation to the next.
#[derive(Debug, Default)]
struct State {
    /// The server that answered last.
    leader: usize,
}

impl KvClient for Client {
    fn make(servers: Vec<Peer>) -> Client {
        Client { servers, state: Mutex::default() }
    }

    fn get(&self, key: &str) -> String {
        todo!("3A: ask one server after the other until one answers with a value")
    }

    fn put(&self, key: &str, value: &str) {
        todo!("3A: ask one server after the other until one has done it, always with the same number")
    }

    fn append(&self, key: &str, value: &str) {
        todo!("3A: as `put`")
    }
}

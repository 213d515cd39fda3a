//! The reference client of the key-value service.
//!
//! Staff-owned. An operation keeps its number through all attempts, so a server that meets it twice knows
//! it again. The server that answered last is asked first next time.

use std::time::Duration;

use labrpc::sync::Mutex;
use labrpc::{Request, rng, thread};

use crate::{ClientId, GetArgs, KvClient, Peer, PutAppendArgs, Write, WrongLeader};

/// How long to wait when no server wants to be the leader: most elections take longer.
const NOBODY_LEADS: Duration = Duration::from_millis(20);

/// A client of the service.
pub struct Client {
    servers: Vec<Peer>,
    id: ClientId,
    state: Mutex<State>,
}

/// What a client remembers from one operation to the next.
struct State {
    /// The server that answered last.
    leader: usize,
    /// The number of the last operation.
    number: u64,
}

impl KvClient for Client {
    fn make(servers: Vec<Peer>) -> Client {
        let id = ClientId(rng::next_u64());
        Client { servers, id, state: Mutex::new(State { leader: 0, number: 0 }) }
    }

    fn get(&self, key: &str) -> String {
        let number = self.next_number();
        self.ask(&GetArgs { key: key.into(), client: self.id, number })
    }

    fn put(&self, key: &str, value: &str) {
        self.write(key, Write::Put(value.into()));
    }

    fn append(&self, key: &str, value: &str) {
        self.write(key, Write::Append(value.into()));
    }
}

impl Client {
    fn write(&self, key: &str, write: Write) {
        let number = self.next_number();
        self.ask(&PutAppendArgs { key: key.into(), write, client: self.id, number });
    }

    fn next_number(&self) -> u64 {
        let mut state = self.state.lock();
        state.number += 1;
        state.number
    }

    /// Sends the same request to one server after the other until one has carried it out. No answer says
    /// nothing, so it leads to the next server like a refusal.
    fn ask<T, R: Request<Reply = Result<T, WrongLeader>>>(&self, request: &R) -> T {
        let mut server = self.state.lock().leader;
        for attempt in 1.. {
            if let Some(Ok(answer)) = self.servers[server].call(request) {
                self.state.lock().leader = server;
                return answer;
            }
            server = (server + 1) % self.servers.len();
            if attempt % self.servers.len() == 0 {
                thread::sleep(NOBODY_LEADS);
            }
        }
        unreachable!("the attempts have no end")
    }
}

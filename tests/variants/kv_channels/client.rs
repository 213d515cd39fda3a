//! A correct client of another design: it picks servers at random, and waits longer from time to time.
//!
//! Staff-owned; laid over the student's files together with the server beside it.

use std::time::Duration;

use labrpc::sync::Mutex;
use labrpc::{Request, rng, thread};

use crate::{ClientId, GetArgs, KvClient, Peer, PutAppendArgs, Write, WrongLeader};

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_millis(160);

/// A client of the service.
pub struct Client {
    servers: Vec<Peer>,
    id: ClientId,
    /// The server that has answered last, if it has not failed since.
    favourite: Mutex<Option<usize>>,
    last_number: Mutex<u64>,
}

impl KvClient for Client {
    fn make(servers: Vec<Peer>) -> Client {
        let id = ClientId(rng::next_u64());
        Client { servers, id, favourite: Mutex::new(None), last_number: Mutex::new(0) }
    }

    fn get(&self, key: &str) -> String {
        let number = self.next_number();
        self.until_done(&GetArgs { key: key.into(), client: self.id, number })
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
        self.until_done(&PutAppendArgs { key: key.into(), write, client: self.id, number });
    }

    fn next_number(&self) -> u64 {
        let mut last = self.last_number.lock();
        *last += 1;
        *last
    }

    fn until_done<T, R: Request<Reply = Result<T, WrongLeader>>>(&self, request: &R) -> T {
        let mut pause = Duration::from_millis(5);
        loop {
            let server = {
                let mut favourite = self.favourite.lock();
                *favourite.get_or_insert_with(|| rng::range(0..self.servers.len() as u64) as usize)
            };
            if let Some(Ok(answer)) = self.servers[server].call(request) {
                return answer;
            }
            *self.favourite.lock() = None;
            thread::sleep(rng::duration(Duration::ZERO..pause));
            pause = PAUSE_MAX.min(pause * 2);
        }
    }
}

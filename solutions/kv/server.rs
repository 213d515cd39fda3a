//! The reference server of the key-value service.
//!
//! Staff-owned. One thread owns the state machine: it takes what Raft has committed, in order, and carries it
//! out. A handler puts its operation into the log and waits until that thread has got so far, or until
//! this server is not the leader any more that took the operation.
//!
//! What makes an operation take effect once is part of the state machine: for each client it holds the number
//! of its last operation and what that returned. So every server decides alike whether an entry is a repetition, and
//! after a snapshot too. A client has one operation at a time, so its last one is all there is to remember.

use std::collections::BTreeMap;
use std::time::Duration;

use labrpc::channel::Receiver;
use labrpc::codec::{decode, encode};
use labrpc::sync::{Arc, Condvar, Mutex};
use labrpc::thread;
use serde::{Deserialize, Serialize};

use crate::{
    ApplyMsg, ClientId, Command, GetArgs, GetReply, Index, KvService, Persister, PutAppendArgs,
    PutAppendReply, Raft, RaftServer, Write, WrongLeader,
};

/// How often a handler that waits looks whether this server still leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// After how many looks a handler lets its client try elsewhere: a leader that is cut off from the others
/// does not know that it is not one any more.
const LOOKS_MAX: u32 = 10;

/// One server of the service.
pub struct KvServer {
    raft: Arc<Raft>,
    persister: Persister,
    limit: Option<usize>,
    state: Mutex<State>,
    /// Signalled when an operation was applied.
    applied: Condvar,
}

/// The state machine, and how far it has got. It is what a snapshot holds.
#[derive(Default, Serialize, Deserialize)]
struct State {
    last_applied: Index,
    data: BTreeMap<String, String>,
    sessions: BTreeMap<ClientId, Session>,
}

/// A client's last operation.
#[derive(Serialize, Deserialize)]
struct Session {
    number: u64,
    /// What it returned: the value for a get, nothing for a write.
    reply: String,
}

/// An operation, as it stands in the log.
#[derive(Serialize, Deserialize)]
struct Operation {
    client: ClientId,
    number: u64,
    key: String,
    action: Action,
}

#[derive(Serialize, Deserialize)]
enum Action {
    Get,
    Write(Write),
}

impl KvService for KvServer {
    fn make(
        raft: Arc<Raft>,
        applied: Receiver<ApplyMsg>,
        persister: Persister,
        limit: Option<usize>,
    ) -> Arc<KvServer> {
        let state = Mutex::new(State::restore(&persister.snapshot()));
        let server = Arc::new(KvServer { raft, persister, limit, state, applied: Condvar::new() });
        let applier = server.clone();
        let thread = thread::Builder::new().name("service");
        thread.spawn(move || applier.apply_all(&applied)).expect("a thread can be started");
        server
    }

    fn get(&self, args: GetArgs) -> GetReply {
        let GetArgs { key, client, number } = args;
        self.submit(&Operation { client, number, key, action: Action::Get })
    }

    fn put_append(&self, args: PutAppendArgs) -> PutAppendReply {
        let PutAppendArgs { key, write, client, number } = args;
        self.submit(&Operation { client, number, key, action: Action::Write(write) }).map(|_| ())
    }
}

impl KvServer {
    /// Has an operation applied, and returns what it returned. Gets take the same way: their place in the
    /// log is what makes them see every write that was over before they began.
    fn submit(&self, operation: &Operation) -> Result<String, WrongLeader> {
        if let Some(reply) = self.state.lock().reply_to(operation) {
            return Ok(reply);
        }
        // Not under the lock: whoever applies needs it, and Raft may be waiting for whoever applies.
        let started = self.raft.start(Command(encode(operation).into())).map_err(|_| WrongLeader)?;
        let mut state = self.state.lock();
        for _ in 0..LOOKS_MAX {
            // The index alone says nothing: another leader's entry may have taken it. Whether it was ours
            // shows in the session.
            while state.last_applied < started.index {
                if self.applied.wait_for(&mut state, LOOK_INTERVAL).timed_out() {
                    break;
                }
            }
            if let Some(reply) = state.reply_to(operation) {
                return Ok(reply);
            }
            if state.last_applied >= started.index {
                return Err(WrongLeader);
            }
            drop(state);
            if self.raft.get_state() != (started.term, true) {
                return Err(WrongLeader);
            }
            state = self.state.lock();
        }
        Err(WrongLeader)
    }

    /// Carries out what is committed, for as long as the server lives.
    fn apply_all(&self, applied: &Receiver<ApplyMsg>) {
        for message in applied.iter() {
            let mut state = self.state.lock();
            match message {
                ApplyMsg::Command { index, command } => {
                    let operation = decode(&command.0).expect("the log holds operations only");
                    state.apply(index, operation);
                }
                ApplyMsg::Snapshot { snapshot, .. } => *state = State::restore(&snapshot),
            }
            self.applied.notify_all();
            let snapshot = self.is_log_too_long().then(|| (state.last_applied, encode(&*state)));
            drop(state);
            if let Some((index, bytes)) = snapshot {
                self.raft.snapshot(index, bytes.into());
            }
        }
    }

    fn is_log_too_long(&self) -> bool {
        self.limit.is_some_and(|limit| self.persister.log_bytes() >= limit)
    }
}

impl State {
    /// The state that a snapshot holds; that of an empty store when there is none.
    fn restore(snapshot: &[u8]) -> State {
        if snapshot.is_empty() {
            return State::default();
        }
        decode(snapshot).expect("the service itself made the snapshot")
    }

    /// Carries out an operation, unless it was carried out before.
    fn apply(&mut self, index: Index, operation: Operation) {
        self.last_applied = index;
        let Operation { client, number, key, action } = operation;
        if self.sessions.get(&client).is_some_and(|session| session.number >= number) {
            return;
        }
        let reply = match action {
            Action::Get => self.data.get(&key).cloned().unwrap_or_default(),
            Action::Write(write) => {
                let value = self.data.entry(key).or_default();
                match write {
                    Write::Put(new) => *value = new,
                    Write::Append(more) => value.push_str(&more),
                }
                String::new()
            }
        };
        self.sessions.insert(client, Session { number, reply });
    }

    /// What an operation has returned, if it was its client's last one to be carried out.
    fn reply_to(&self, operation: &Operation) -> Option<String> {
        let session = self.sessions.get(&operation.client)?;
        (session.number == operation.number).then(|| session.reply.clone())
    }
}

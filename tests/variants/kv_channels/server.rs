//! A correct service of another design: one thread owns everything and waits on two channels.
//!
//! Staff-owned; laid over the student's files by `cargo lab bugs`, which expects it to pass every test of lab 3.
//!
//! Nothing is locked. Handlers pass their operation to the owner together with a channel for the answer.
//! The owner starts it, keeps the channel under the index, and answers when that index is applied, or when
//! this server leads that term no more. Gets leave no trace in the state: one that is in the log twice
//! is answered from its latest place, by which it may have become newer.

use std::collections::BTreeMap;
use std::time::Duration;

use labrpc::channel::{self, Receiver, Select, Sender};
use labrpc::codec::{decode, encode};
use labrpc::sync::Arc;
use labrpc::thread;
use serde::{Deserialize, Serialize};

use crate::{
    ApplyMsg, ClientId, Command, GetArgs, GetReply, Index, KvService, Persister, PutAppendArgs,
    PutAppendReply, Raft, RaftServer, Term, Write, WrongLeader,
};

/// How often the owner looks whether those who wait still wait for something.
const TICK: Duration = Duration::from_millis(120);

/// For so many ticks a handler waits at most.
const PATIENCE: u32 = 8;

/// One server of the service.
pub struct KvServer {
    asked: Sender<Asked>,
}

/// A handler's operation, and where its answer goes.
struct Asked {
    operation: Operation,
    answer: Sender<Answer>,
}

type Answer = Result<String, WrongLeader>;

/// What stands in the log.
#[derive(Serialize, Deserialize)]
enum Operation {
    /// Client and number say only that no two of these are the same.
    Get {
        client: ClientId,
        number: u64,
        key: String,
    },
    Write {
        client: ClientId,
        number: u64,
        key: String,
        write: Write,
    },
}

/// A handler that waits for an index of a term.
struct Waiting {
    term: Term,
    ticks: u32,
    /// The operation, as it went into the log.
    command: Command,
    answer: Sender<Answer>,
}

/// The thread's own.
struct Owner {
    raft: Arc<Raft>,
    persister: Persister,
    limit: Option<usize>,
    store: Store,
    waiting: BTreeMap<Index, Waiting>,
}

/// What a snapshot holds.
#[derive(Default, Serialize, Deserialize)]
struct Store {
    values: BTreeMap<String, String>,
    /// The number of each client's last write.
    written: BTreeMap<ClientId, u64>,
}

impl KvService for KvServer {
    fn make(
        raft: Arc<Raft>,
        applied: Receiver<ApplyMsg>,
        persister: Persister,
        limit: Option<usize>,
    ) -> Arc<KvServer> {
        let store = Store::restore(&persister.snapshot());
        let mut owner = Owner { raft, persister, limit, store, waiting: BTreeMap::new() };
        let (asked, requests) = channel::unbounded();
        thread::spawn(move || owner.run(&requests, &applied));
        Arc::new(KvServer { asked })
    }

    fn get(&self, args: GetArgs) -> GetReply {
        let GetArgs { key, client, number } = args;
        self.ask(Operation::Get { client, number, key })
    }

    fn put_append(&self, args: PutAppendArgs) -> PutAppendReply {
        let PutAppendArgs { key, write, client, number } = args;
        self.ask(Operation::Write { client, number, key, write }).map(|_| ())
    }
}

impl KvServer {
    fn ask(&self, operation: Operation) -> Answer {
        let (answer, answered) = channel::bounded(1);
        self.asked.send(Asked { operation, answer }).map_err(|_| WrongLeader)?;
        answered.recv().unwrap_or(Err(WrongLeader))
    }
}

impl Owner {
    fn run(&mut self, requests: &Receiver<Asked>, applied: &Receiver<ApplyMsg>) {
        loop {
            let mut select = Select::new();
            select.recv(requests);
            select.recv(applied);
            if select.ready_timeout(TICK).is_err() {
                self.tick();
                continue;
            }
            // What is committed comes first, so that requests find the store as new as it can be.
            while let Ok(message) = applied.try_recv() {
                self.take(message);
            }
            if let Ok(asked) = requests.try_recv() {
                self.start(asked);
            }
        }
    }

    fn start(&mut self, Asked { operation, answer }: Asked) {
        if let Operation::Write { client, number, .. } = &operation
            && self.store.has_written(*client, *number)
        {
            let _ = answer.send(Ok(String::new()));
            return;
        }
        let command = Command(encode(&operation).into());
        match self.raft.start(command.clone()) {
            Err(_) => {
                let _ = answer.send(Err(WrongLeader));
            }
            Ok(started) => {
                let waiting = Waiting { term: started.term, ticks: 0, command, answer };
                // Who waited here was promised this index by an earlier leadership.
                if let Some(earlier) = self.waiting.insert(started.index, waiting) {
                    let _ = earlier.answer.send(Err(WrongLeader));
                }
            }
        }
    }

    fn take(&mut self, message: ApplyMsg) {
        match message {
            ApplyMsg::Snapshot { index, snapshot, .. } => {
                self.store = Store::restore(&snapshot);
                let later = self.waiting.split_off(&(index + 1));
                for (_, covered) in std::mem::replace(&mut self.waiting, later) {
                    let _ = covered.answer.send(Err(WrongLeader));
                }
            }
            ApplyMsg::Command { index, command } => {
                let operation = decode(&command.0).expect("the log holds operations only");
                let value = self.store.carry_out(operation);
                if let Some(waiting) = self.waiting.remove(&index) {
                    // The same bytes are the same operation, whoever has put them there.
                    let is_ours = waiting.command == command;
                    let _ = waiting.answer.send(if is_ours { Ok(value) } else { Err(WrongLeader) });
                }
                if self.limit.is_some_and(|limit| self.persister.log_bytes() >= limit) {
                    self.raft.snapshot(index, encode(&self.store).into());
                }
            }
        }
    }

    /// Sends away who waits for nothing, or has waited long enough.
    fn tick(&mut self) {
        let (term, is_leader) = self.raft.get_state();
        self.waiting.retain(|_, waiting| {
            waiting.ticks += 1;
            let goes_on = is_leader && waiting.term == term && waiting.ticks < PATIENCE;
            if !goes_on {
                let _ = waiting.answer.send(Err(WrongLeader));
            }
            goes_on
        });
    }
}

impl Store {
    fn restore(snapshot: &[u8]) -> Store {
        if snapshot.is_empty() {
            return Store::default();
        }
        decode(snapshot).expect("the service itself made the snapshot")
    }

    fn has_written(&self, client: ClientId, number: u64) -> bool {
        self.written.get(&client).is_some_and(|last| *last >= number)
    }

    /// Carries out an operation, and returns what a get has found.
    fn carry_out(&mut self, operation: Operation) -> String {
        match operation {
            Operation::Get { key, .. } => self.values.get(&key).cloned().unwrap_or_default(),
            Operation::Write { client, number, key, write } => {
                if !self.has_written(client, number) {
                    self.written.insert(client, number);
                    match write {
                        Write::Put(value) => {
                            self.values.insert(key, value);
                        }
                        Write::Append(more) => self.values.entry(key).or_default().push_str(&more),
                    }
                }
                String::new()
            }
        }
    }
}

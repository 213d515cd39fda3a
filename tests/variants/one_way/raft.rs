//! A correct Raft of another design: every message is a blob of bytes, and no reply says anything.
//!
//! Staff-owned; laid over the student's file by `cargo lab bugs`, which expects it to pass every test that
//! judges a server by what its service sees. This is what a Raft library looks like in the place of a
//! student's own: a machine in `raft/core.rs` that sends and receives messages, each one way, and around it
//! here what carries them.
//!
//! A new leader begins with an entry of its own that carries no command, so its log counts differently from
//! the service: see `raft/log.rs`. A thread of its own saves what has changed; whatever promises something
//! waits for that, and what a leader sends does not.

use std::time::Duration;

use labrpc::channel::{self, Receiver, Sender};
use labrpc::codec::{decode, encode};
use labrpc::sync::{Arc, Mutex};
use labrpc::{Request, Services, thread};
use serde::{Deserialize, Serialize};

use self::core::{Core, Message};
use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Index, InstallSnapshotArgs,
    InstallSnapshotReply, NotLeader, Peer, Persister, RaftHandlers, RaftServer, RequestVoteArgs,
    RequestVoteReply, ServerId, Started, Term,
};

mod core;
mod log;

/// How often the machine looks at the clock.
const TICK: Duration = Duration::from_millis(20);

/// A message, encoded together with its sender.
#[derive(Debug, Serialize, Deserialize)]
struct Blob(Vec<u8>);

impl Request for Blob {
    type Reply = ();
    const KIND: &'static str = "Blob";
}

/// One Raft server.
pub struct Raft {
    me: ServerId,
    peers: Vec<Peer>,
    persister: Persister,
    core: Mutex<Core>,
    /// Rung when there is something to save, or to send after that.
    writer: Sender<()>,
    /// Rung when there may be something to deliver.
    courier: Sender<()>,
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let core = Core::new(me, peers.len(), persister.load(), persister.snapshot());
        let (writer, to_write) = channel::bounded(1);
        let (courier, to_deliver) = channel::bounded(1);
        let raft = Arc::new(Raft { me, peers, persister, core: Mutex::new(core), writer, courier });
        let (clock, saver, server) = (raft.clone(), raft.clone(), raft.clone());
        thread::spawn(move || {
            loop {
                thread::sleep(TICK);
                clock.tell(Core::tick);
            }
        });
        thread::spawn(move || saver.save(&to_write));
        thread::spawn(move || server.deliver(&to_deliver, &apply));
        raft
    }

    fn get_state(&self) -> (Term, bool) {
        self.core.lock().state()
    }

    fn start(&self, command: Command) -> Result<Started, NotLeader> {
        self.tell(|core| core.start(command))
    }

    fn snapshot(&self, index: Index, snapshot: Bytes) {
        self.tell(|core| core.compact(index, snapshot));
    }
}

impl RaftHandlers for Raft {
    fn request_vote(&self, _args: RequestVoteArgs) -> RequestVoteReply {
        unreachable!("this server asks for votes in words of its own")
    }

    fn append_entries(&self, _args: AppendEntriesArgs) -> AppendEntriesReply {
        unreachable!("this server sends entries in words of its own")
    }

    fn install_snapshot(&self, _args: InstallSnapshotArgs) -> InstallSnapshotReply {
        unreachable!("this server sends snapshots in words of its own")
    }

    fn services(self: &Arc<Self>) -> Services {
        let server = self.clone();
        Services::new().with(move |Blob(bytes)| {
            let (from, message) = decode(&bytes).expect("a server of this kind has sent it");
            server.tell(|core| core.receive(from, message));
        })
    }
}

impl Raft {
    /// Tells the machine what happened, sends what may go at once, and has the rest seen to.
    fn tell<T>(&self, happen: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.lock();
        let answer = happen(&mut core);
        let messages = core.take_ready();
        let (has_work, has_deliveries) = (core.has_unsaved(), core.has_deliveries());
        drop(core);
        self.send(messages);
        // A bell that is ringing already need not be rung.
        if has_work {
            let _ = self.writer.try_send(());
        }
        if has_deliveries {
            let _ = self.courier.try_send(());
        }
        answer
    }

    fn send(&self, messages: Vec<(ServerId, Message)>) {
        // Its own vote a server has when it has saved it.
        for (to, message) in messages.into_iter().filter(|(to, _)| *to != self.me) {
            let (peer, blob) = (self.peers[to].clone(), Blob(encode(&(self.me, message))));
            thread::spawn(move || peer.call(&blob));
        }
    }

    /// Saves what has changed, and then sends what has waited for it.
    fn save(&self, rings: &Receiver<()>) {
        for () in rings.iter() {
            loop {
                let Some(work) = self.core.lock().take_unsaved() else { break };
                match (&work.state, work.snapshot.clone()) {
                    (Some(state), Some(snapshot)) => self.persister.save_with_snapshot(state, snapshot),
                    (Some(state), None) => self.persister.save(state),
                    (None, _) => {}
                }
                self.tell(|core| core.saved(&work));
                self.send(work.promises);
            }
        }
    }

    /// Hands the service what there is for it whenever the bell has rung.
    fn deliver(&self, rings: &Receiver<()>, service: &Sender<ApplyMsg>) {
        for () in rings.iter() {
            loop {
                let next = self.core.lock().next_delivery();
                let Some(message) = next else { break };
                if service.send(message).is_err() {
                    return;
                }
            }
        }
    }
}

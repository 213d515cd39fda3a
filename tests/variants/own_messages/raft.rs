//! A correct Raft of another design: with messages of its own, so that nobody but itself can read them.
//!
//! Staff-owned; laid over the student's file by `cargo lab bugs`, which expects it to pass every test that
//! judges a server by what its service sees.
//!
//! A server first asks whether it would be elected (PreVote, thesis 9.6) and stands only if it would, so one
//! that was cut off disturbs nobody when it comes back. Every answer to a leader says up to where the logs
//! agree, be it yes or no. A command goes out at once, with all that the follower has not acknowledged.
//!
//! All of Raft is in `raft/core.rs`, as a machine that does nothing by itself: it is told what happened, and
//! leaves behind what is to be saved, sent and delivered. This file is everything around it.

use std::time::Duration;

use labrpc::channel::{self, Receiver, Sender};
use labrpc::sync::{Arc, Mutex, Weak};
use labrpc::{Request, Services, thread};
use serde::{Deserialize, Serialize};

use self::core::Core;
use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Entry, Index, InstallSnapshotArgs,
    InstallSnapshotReply, NotLeader, Peer, Persister, RaftHandlers, RaftServer, RequestVoteArgs,
    RequestVoteReply, ServerId, Started, Term,
};

mod core;

/// How often the machine looks at the clock.
const TICK: Duration = Duration::from_millis(20);

/// A place in the log together with its term.
type Position = (Index, Term);

/// Asks whether a vote would be granted in `term`, which the sender has not entered yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PreVote {
    term: Term,
    last: Position,
}

/// Asks for the vote of `term`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Vote {
    term: Term,
    candidate: ServerId,
    last: Position,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ballot {
    term: Term,
    is_granted: bool,
}

/// A leader sends what comes after `prev`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Replicate {
    term: Term,
    prev: Position,
    entries: Vec<Entry>,
    commit: Index,
}

/// A leader sends a snapshot of everything up to `last`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Install {
    term: Term,
    last: Position,
    snapshot: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
struct Agreement {
    term: Term,
    /// Whether the message was accepted, so that the logs agree up to `index`. If not, they differ after it.
    is_reached: bool,
    index: Index,
}

impl Request for PreVote {
    type Reply = Ballot;
    const KIND: &'static str = "PreVote";
}

impl Request for Vote {
    type Reply = Ballot;
    const KIND: &'static str = "Vote";
}

impl Request for Replicate {
    type Reply = Agreement;
    const KIND: &'static str = "Replicate";
}

impl Request for Install {
    type Reply = Agreement;
    const KIND: &'static str = "Install";
}

/// A request that the machine wants to be sent.
enum Outgoing {
    PreVote(PreVote),
    Vote(Vote),
    Replicate(Replicate),
    Install(Install),
}

/// One Raft server.
pub struct Raft {
    this: Weak<Raft>,
    peers: Vec<Peer>,
    persister: Persister,
    core: Mutex<Core>,
    /// Rung when there may be something to deliver.
    bell: Sender<()>,
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let core = Core::new(me, peers.len(), persister.load(), persister.snapshot());
        let (bell, rings) = channel::bounded(1);
        let raft = Arc::new_cyclic(|this| Raft {
            this: this.clone(),
            peers,
            persister,
            core: Mutex::new(core),
            bell,
        });
        let (clock, courier) = (raft.clone(), raft.clone());
        thread::spawn(move || {
            loop {
                thread::sleep(TICK);
                clock.tell(Core::tick);
            }
        });
        thread::spawn(move || courier.deliver(&rings, &apply));
        raft
    }

    fn get_state(&self) -> (Term, bool) {
        self.tell(|core| core.state())
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
        let (asked, voter, follower, receiver) = (self.clone(), self.clone(), self.clone(), self.clone());
        Services::new()
            .with(move |question: PreVote| asked.tell(|core| core.pre_vote(&question)))
            .with(move |question: Vote| voter.tell(|core| core.vote(&question)))
            .with(move |message: Replicate| follower.tell(|core| core.replicate(message)))
            .with(move |message: Install| receiver.tell(|core| core.install(message)))
    }
}

impl Raft {
    /// Tells the machine what happened, and does what it wants done: its state is on disk before anybody can
    /// hear of it.
    fn tell<T>(&self, happen: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.lock();
        let answer = happen(&mut core);
        match core.take_unsaved() {
            Some((state, Some(snapshot))) => self.persister.save_with_snapshot(state, snapshot),
            Some((state, None)) => self.persister.save(state),
            None => {}
        }
        let (outgoing, has_deliveries) = core.take_outgoing();
        drop(core);
        if has_deliveries {
            // A bell that is ringing already need not be rung.
            let _ = self.bell.try_send(());
        }
        if let Some(raft) = self.this.upgrade() {
            for (to, message) in outgoing {
                let raft = raft.clone();
                thread::spawn(move || raft.send(to, message));
            }
        }
        answer
    }

    fn send(&self, to: ServerId, message: Outgoing) {
        let peer = &self.peers[to];
        match message {
            Outgoing::PreVote(question) => {
                if let Some(ballot) = peer.call(&question) {
                    self.tell(|core| core.pre_voted(to, question.term, &ballot));
                }
            }
            Outgoing::Vote(question) => {
                if let Some(ballot) = peer.call(&question) {
                    self.tell(|core| core.voted(to, question.term, &ballot));
                }
            }
            Outgoing::Replicate(message) => {
                if let Some(agreement) = peer.call(&message) {
                    self.tell(|core| core.agreed(to, message.term, message.prev.0, &agreement));
                }
            }
            Outgoing::Install(message) => {
                if let Some(agreement) = peer.call(&message) {
                    self.tell(|core| core.agreed(to, message.term, 0, &agreement));
                }
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

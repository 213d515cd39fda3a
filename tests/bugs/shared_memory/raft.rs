//! No Raft at all: servers that meet in a memory outside of all of them.
//!
//! Staff-owned. All servers of a run live in one process and on one thread of the operating system, so a
//! `thread_local!` is a memory that they share and that survives their crashes. These servers keep one log
//! there, elect whoever is reached, and send a single message of their own so that nobody can play their
//! peers. Every service receives the same commands in the same order. The checks of what a server can know
//! must catch it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use labrpc::channel::Sender;
use labrpc::sync::{Arc, Mutex};
use labrpc::{Request, Services, thread};
use serde::{Deserialize, Serialize};

use crate::{
    AppendEntriesArgs, AppendEntriesReply, ApplyMsg, Bytes, Command, Index, InstallSnapshotArgs,
    InstallSnapshotReply, NotLeader, Peer, PersistentState, Persister, RaftHandlers, RaftServer,
    RequestVoteArgs, RequestVoteReply, ServerId, Started, Term,
};

const TICK: Duration = Duration::from_millis(10);

/// A leader whose calls fail is replaced after this long.
const PATIENCE: Duration = Duration::from_millis(300);

thread_local! {
    static MEETING: RefCell<Meeting> = RefCell::default();
}

/// What all servers share.
#[derive(Default)]
struct Meeting {
    term: Term,
    leader: Option<ServerId>,
    log: Vec<(Term, Command)>,
    snapshots: BTreeMap<Index, Bytes>,
    /// When each server last reached a majority.
    well: BTreeMap<ServerId, u64>,
    ticks: u64,
}

/// Asks whether somebody is there.
#[derive(Debug, Serialize, Deserialize)]
struct Hello;

impl Request for Hello {
    type Reply = ();
    const KIND: &'static str = "Hello";
}

/// One server.
pub struct Raft {
    me: ServerId,
    persister: Persister,
    state: Mutex<(Term, bool)>,
}

impl RaftServer for Raft {
    fn make(peers: Vec<Peer>, me: ServerId, persister: Persister, apply: Sender<ApplyMsg>) -> Arc<Raft> {
        let applied = persister.load().last_included.0;
        let raft = Arc::new(Raft { me, persister, state: Mutex::new((0, false)) });
        let majority = peers.len() / 2 + 1;
        let reached = Arc::new(Mutex::new(BTreeMap::new()));
        for (other, peer) in peers.into_iter().enumerate().filter(|(other, _)| *other != me) {
            let reached = reached.clone();
            thread::spawn(move || {
                loop {
                    if peer.call(&Hello).is_some() {
                        reached.lock().insert(other, now());
                    }
                    thread::sleep(TICK * 10);
                }
            });
        }
        let server = raft.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(TICK);
                let recent = now().saturating_sub(PATIENCE.as_millis() as u64);
                let others = reached.lock().values().filter(|at| **at >= recent).count();
                server.meet(others + 1 >= majority);
            }
        });
        let server = raft.clone();
        thread::spawn(move || server.deliver(applied, &apply));
        raft
    }

    fn get_state(&self) -> (Term, bool) {
        *self.state.lock()
    }

    fn start(&self, command: Command) -> Result<Started, NotLeader> {
        let (term, is_leader) = *self.state.lock();
        MEETING.with_borrow_mut(|meeting| {
            if !is_leader || meeting.term != term {
                return Err(NotLeader);
            }
            meeting.log.push((term, command));
            Ok(Started { index: meeting.log.len(), term })
        })
    }

    fn snapshot(&self, index: Index, snapshot: Bytes) {
        let term = MEETING.with_borrow_mut(|meeting| {
            meeting.snapshots.insert(index, snapshot.clone());
            meeting.log[index - 1].0
        });
        let state = PersistentState { last_included: (index, term), ..PersistentState::default() };
        self.persister.save_with_snapshot(&state, snapshot);
    }
}

impl RaftHandlers for Raft {
    fn request_vote(&self, _args: RequestVoteArgs) -> RequestVoteReply {
        unreachable!("nobody votes")
    }

    fn append_entries(&self, _args: AppendEntriesArgs) -> AppendEntriesReply {
        unreachable!("nobody sends entries")
    }

    fn install_snapshot(&self, _args: InstallSnapshotArgs) -> InstallSnapshotReply {
        unreachable!("nobody sends snapshots")
    }

    fn services(self: &Arc<Self>) -> Services {
        Services::new().with(|_: Hello| ())
    }
}

impl Raft {
    /// Takes the lead where nobody has it, and learns who has.
    fn meet(&self, is_well: bool) {
        let now = now();
        let state = MEETING.with_borrow_mut(|meeting| {
            meeting.ticks += 1;
            if is_well {
                meeting.well.insert(self.me, now);
            }
            let is_gone = |leader: ServerId| {
                let seen = meeting.well.get(&leader).copied().unwrap_or(0);
                seen + (PATIENCE.as_millis() as u64) < now
            };
            if is_well && meeting.leader.is_none_or(is_gone) {
                meeting.term += 1;
                meeting.leader = Some(self.me);
            }
            (meeting.term, meeting.leader == Some(self.me))
        });
        // One that is cut off stays as it is.
        if is_well {
            *self.state.lock() = state;
        }
    }

    /// Hands the service what has been started anywhere, while this server reaches a majority.
    fn deliver(&self, mut applied: Index, service: &Sender<ApplyMsg>) {
        loop {
            thread::sleep(TICK);
            loop {
                let next = MEETING.with_borrow(|meeting| {
                    let recent = now().saturating_sub(PATIENCE.as_millis() as u64);
                    let is_well = meeting.well.get(&self.me).is_some_and(|at| *at >= recent);
                    meeting.log.get(applied).filter(|_| is_well).map(|(_, command)| command.clone())
                });
                let Some(command) = next else { break };
                applied += 1;
                if service.send(ApplyMsg::Command { index: applied, command }).is_err() {
                    return;
                }
            }
        }
    }
}

/// Milliseconds of virtual time.
fn now() -> u64 {
    thread_local! {
        static BEGUN: labrpc::time::Instant = labrpc::time::Instant::now();
    }
    BEGUN.with(|begun| begun.elapsed().as_millis() as u64)
}

//! The service above each server of a cluster in lab 2: it takes what its server applies, and snapshots.
//!
//! Kit-owned. It keeps no commands, only how far it is; that what it receives is right is judged by the
//! checks. A snapshot of it says up to which index it goes, and has a tail that grows with that, so that
//! snapshots weigh something on the wire.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use labraft::{ApplyMsg, Bytes, Command, Index, Raft, RaftServer, ServerId};
use labrpc::channel::Receiver;
use labrpc::sync::Arc;
use labrpc::{Disk, World, codec};

use crate::checks::Life;
use crate::server::node_of;
use crate::watch::Watch;

/// What all services of a cluster have received, and how they behave.
#[derive(Debug)]
pub(crate) struct Services {
    /// For each server, the last index its service has.
    applied: RefCell<Vec<Index>>,
    commands: RefCell<BTreeMap<Index, Command>>,
    /// After how many commands a service makes a snapshot; 0 for never.
    snapshot_every: Cell<usize>,
    /// The one server whose service does so; `None` for all.
    snapshot_on: Cell<Option<ServerId>>,
    /// Whether a service asks its server something after each command.
    calls_back: Cell<bool>,
}

/// Bytes that a snapshot has for each command it covers.
const BYTES_PER_COMMAND: usize = 8;

impl Services {
    pub(crate) fn new(servers: usize) -> Services {
        Services {
            applied: RefCell::new(vec![0; servers]),
            commands: RefCell::default(),
            snapshot_every: Cell::new(0),
            snapshot_on: Cell::new(None),
            calls_back: Cell::new(false),
        }
    }

    pub(crate) fn snapshot_every(&self, commands: usize, on: Option<ServerId>) {
        self.snapshot_every.set(commands);
        self.snapshot_on.set(on);
    }

    pub(crate) fn call_back(&self) {
        self.calls_back.set(true);
    }

    /// The last index that the server's service has.
    pub(crate) fn applied(&self, server: ServerId) -> Index {
        self.applied.borrow()[server]
    }

    /// The command that services have received at `index`.
    pub(crate) fn command(&self, index: Index) -> Option<Command> {
        self.commands.borrow().get(&index).cloned()
    }

    /// How many commands services have received.
    pub(crate) fn last(&self) -> Index {
        self.applied.borrow().iter().copied().max().unwrap_or(0)
    }

    /// A service begins a life, with what its server's disk has.
    pub(crate) fn boot(&self, life: Life) {
        let snapshot = Disk::simulated(node_of(life.server)).read_blob();
        self.applied.borrow_mut()[life.server] = index_of(&snapshot).unwrap_or(0);
    }

    /// Takes everything that arrives, for as long as the server lives.
    pub(crate) fn run(&self, watch: &Watch, life: Life, raft: &Raft, messages: &Receiver<ApplyMsg>) {
        for message in messages.iter() {
            watch.applied(life, &message);
            let index = match message {
                ApplyMsg::Command { index, command } => {
                    self.commands.borrow_mut().insert(index, command);
                    index
                }
                ApplyMsg::Snapshot { index, .. } => index,
            };
            self.applied.borrow_mut()[life.server] = index;
            if self.calls_back.get() {
                raft.get_state();
            }
            let every = self.snapshot_every.get();
            let is_meant = self.snapshot_on.get().is_none_or(|server| server == life.server);
            if every > 0 && is_meant && index.is_multiple_of(every) {
                let snapshot = snapshot_of(index);
                watch.snapshotted(Some(life), index, &snapshot);
                raft.snapshot(index, snapshot);
            }
        }
    }
}

fn snapshot_of(index: Index) -> Bytes {
    codec::encode(&(index, vec![0_u8; index * BYTES_PER_COMMAND])).into()
}

fn index_of(snapshot: &Bytes) -> Option<Index> {
    codec::decode::<(Index, Vec<u8>)>(snapshot).ok().map(|(index, _)| index)
}

/// Starts the service of a server, on the server's node.
pub(crate) fn start(
    world: &World,
    services: &Rc<Services>,
    watch: &Rc<Watch>,
    life: Life,
    raft: &Arc<Raft>,
    messages: Receiver<ApplyMsg>,
) {
    let (services, watch, raft) = (services.clone(), watch.clone(), raft.clone());
    services.boot(life);
    world.spawn_on(node_of(life.server), "service", move || services.run(&watch, life, &raft, &messages));
}

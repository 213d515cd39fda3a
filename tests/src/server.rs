//! One real server of a test: a student's Raft on a node of its own.
//!
//! Kit-owned.

use labraft::{Persister, Raft, RaftHandlers, RaftServer, ServerId, Term};
use labrpc::sync::{Arc, Mutex};
use labrpc::{Disk, NoResult, NodeId, Peer, World, channel, thread};

use crate::finding::Finding;
use crate::limits::ANSWER_WITHIN;

/// The node on which a server runs.
pub fn node_of(server: ServerId) -> NodeId {
    NodeId(server as u32 + 1)
}

/// The server that runs on a node other than the tester's.
pub fn server_of(node: NodeId) -> ServerId {
    node.0 as ServerId - 1
}

/// A server, and the way to its present life.
pub(crate) struct Server {
    id: ServerId,
    raft: Arc<Mutex<Option<Arc<Raft>>>>,
}

impl Server {
    pub(crate) fn new(id: ServerId) -> Server {
        Server { id, raft: Arc::default() }
    }

    /// Starts the server, one of `servers`, from what is on its disk.
    ///
    /// # Errors
    ///
    /// When `make` does not return.
    pub(crate) fn start(&self, world: &World, servers: usize) -> Result<(), Finding> {
        let (id, node) = (self.id, node_of(self.id));
        let peers = (0..servers).map(|peer| Peer::simulated(node_of(peer))).collect();
        let slot = self.raft.clone();
        let started = world.start(node, ANSWER_WITHIN, move || {
            let (apply, applied) = channel::bounded(0);
            let service = thread::Builder::new().name("service");
            service.spawn(move || applied.iter().for_each(drop)).expect("a thread can be started");
            let raft = Raft::make(peers, id, Persister::new(Disk::simulated(node)), apply);
            let services = raft.services();
            *slot.lock() = Some(raft);
            services
        });
        match started {
            Ok(()) => Ok(()),
            // A server that crashes while it starts is down, which is no mistake of its own.
            Err(NoResult::Down) if !world.is_up(node) => Ok(()),
            Err(_) => Err(self.never_returned(world, "make")),
        }
    }

    /// What the server says of itself; `None` when it is down.
    ///
    /// # Errors
    ///
    /// When `get_state` does not return.
    pub(crate) fn get_state(&self, world: &World) -> Result<Option<(Term, bool)>, Finding> {
        let slot = self.raft.clone();
        let node = node_of(self.id);
        let answer = world.on(node, ANSWER_WITHIN, move || {
            let raft = slot.lock().clone();
            raft.map(|raft| raft.get_state())
        });
        match answer {
            Ok(state) => Ok(state),
            Err(NoResult::Down) if !world.is_up(node) => Ok(None),
            Err(_) => Err(self.never_returned(world, "get_state")),
        }
    }

    /// Tells where the threads that concern it are: the one that asked, and those that have waited longest.
    fn never_returned(&self, world: &World, function: &str) -> Finding {
        const SHOWN: usize = 6;
        let (id, limit) = (self.id, ANSWER_WITHIN.as_secs());
        let mut waiting = world.waiting_threads(node_of(id));
        waiting.retain(|stuck| !stuck.place.thread.ends_with("'service'"));
        let asked = waiting.iter().position(|stuck| stuck.place.thread.ends_with("'test'"));
        if let Some(asked) = asked {
            waiting[..=asked].rotate_right(1);
        }
        let lines: String = waiting.iter().take(SHOWN).map(|stuck| format!("\n  {stuck}")).collect();
        Finding::liveness(
            format!("`{function}` returns at once"),
            format!("S{id}'s `{function}` returns"),
            format!("S{id}'s `{function}` has not returned for {limit} s. Its threads:{lines}"),
        )
    }
}

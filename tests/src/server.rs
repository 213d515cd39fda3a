//! One real server of a test: a student's Raft on a node of its own.
//!
//! Kit-owned.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use labraft::{
    AppendEntriesArgs, ApplyMsg, Command, Persister, Raft, RaftHandlers, RaftServer, ServerId, Started, Term,
};
use labrpc::channel::{self, Receiver};
use labrpc::sync::{Arc, Mutex};
use labrpc::{Disk, NoResult, NodeId, Peer, Request, Services, World, thread};

use crate::finding::Finding;
use crate::limits::{ANSWER_WITHIN, STALLED_ANSWER_WITHIN};

/// How often the harness looks whether a function has returned.
const ASKED_POLL: Duration = Duration::from_millis(1);

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

    /// Starts the server, one of `servers`, from what is on its disk. `serve` is then called on its node,
    /// to start what takes the messages that the server applies, and returns what that offers to others.
    /// Tells whether the server speaks in the kit's messages.
    ///
    /// # Errors
    ///
    /// When `make` does not return.
    pub(crate) fn start(
        &self,
        world: &World,
        servers: usize,
        serve: impl FnOnce(&Arc<Raft>, Receiver<ApplyMsg>, Persister) -> Services + 'static,
    ) -> Result<bool, Finding> {
        let (id, node) = (self.id, node_of(self.id));
        let peers = (0..servers).map(|peer| Peer::simulated(node_of(peer))).collect();
        let slot = self.raft.clone();
        let is_readable = Rc::new(Cell::new(true));
        let readable = is_readable.clone();
        let started = world.start(node, ANSWER_WITHIN, move || {
            let (apply, applied) = channel::bounded(0);
            let persister = Persister::new(Disk::simulated(node));
            let raft = Raft::make(peers, id, persister.clone(), apply);
            let above = serve(&raft, applied, persister);
            let services = raft.services();
            readable.set(services.offers(AppendEntriesArgs::KIND));
            *slot.lock() = Some(raft);
            services.and(above)
        });
        match started {
            // A server that crashes while it starts is down, which is no mistake of its own.
            Err(NoResult::TimedOut) => Err(self.never_returned(world, "make")),
            Err(NoResult::Down) if world.is_up(node) => Err(self.never_returned(world, "make")),
            _ => Ok(is_readable.get()),
        }
    }

    /// Takes a server that has crashed out of its slot.
    pub(crate) fn forget(&self) {
        *self.raft.lock() = None;
    }

    /// Has the server start agreement on `command`; `None` when it is down or not the leader.
    ///
    /// # Errors
    ///
    /// When `start` does not return.
    pub(crate) fn start_command(&self, world: &World, command: Command) -> Result<Option<Started>, Finding> {
        self.ask(world, "start", move |raft| raft.start(command).ok()).map(Option::flatten)
    }

    /// Has the server start agreement on all of `commands` at the same time; in their order, what it
    /// returned for each.
    ///
    /// # Errors
    ///
    /// When a `start` does not return.
    pub(crate) fn start_together(
        &self,
        world: &World,
        commands: &[Command],
    ) -> Result<Vec<Option<Started>>, Finding> {
        let node = node_of(self.id);
        let results = Rc::new(RefCell::new(vec![None; commands.len()]));
        let running = Rc::new(Cell::new(commands.len()));
        for (place, command) in commands.iter().enumerate() {
            let (slot, command) = (self.raft.clone(), command.clone());
            let (results, running) = (results.clone(), running.clone());
            world.spawn_on(node, "start", move || {
                let raft = slot.lock().clone();
                let started = raft.and_then(|raft| raft.start(command).ok());
                results.borrow_mut()[place] = started;
                running.set(running.get() - 1);
            });
        }
        let deadline = world.now() + self.patience(world);
        while running.get() > 0 && world.is_up(node) {
            if world.now() > deadline {
                return Err(self.never_returned(world, "start"));
            }
            thread::sleep(ASKED_POLL);
        }
        let results = results.borrow().clone();
        Ok(results)
    }

    /// What the server says of itself; `None` when it is down.
    ///
    /// # Errors
    ///
    /// When `get_state` does not return.
    pub(crate) fn get_state(&self, world: &World) -> Result<Option<(Term, bool)>, Finding> {
        self.ask(world, "get_state", |raft| raft.get_state())
    }

    fn ask<T: 'static>(
        &self,
        world: &World,
        function: &str,
        f: impl FnOnce(&Raft) -> T + 'static,
    ) -> Result<Option<T>, Finding> {
        let slot = self.raft.clone();
        let node = node_of(self.id);
        let answer = world.on_named(node, function, self.patience(world), move || {
            let raft = slot.lock().clone();
            raft.map(|raft| f(&raft))
        });
        match answer {
            Ok(answer) => Ok(answer),
            Err(NoResult::Down) if !world.is_up(node) => Ok(None),
            Err(_) => Err(self.never_returned(world, function)),
        }
    }

    /// Asks the server again and again what it says of itself, on a thread of its node, and tells of each time
    /// that it says that it leads. Ends when `is_over` is true, or with the server's life.
    pub(crate) fn keep_asking(&self, world: &World, is_over: Rc<Cell<bool>>, tell: impl Fn(Term) + 'static) {
        let slot = self.raft.clone();
        world.spawn_on(node_of(self.id), "get_state", move || {
            let raft = slot.lock().clone();
            let Some(raft) = raft else { return };
            while !is_over.get() {
                if let (term, true) = raft.get_state() {
                    tell(term);
                }
                thread::sleep(ASKED_POLL);
            }
        });
    }

    /// Has the server start agreement on `command` on a thread of its node, and tells what it returned.
    pub(crate) fn begin_start(&self, world: &World, command: Command, tell: impl FnOnce(Started) + 'static) {
        let slot = self.raft.clone();
        world.spawn_on(node_of(self.id), "start", move || {
            let raft = slot.lock().clone();
            if let Some(Ok(started)) = raft.map(|raft| raft.start(command)) {
                tell(started);
            }
        });
    }

    /// How long the server may take to answer.
    fn patience(&self, world: &World) -> Duration {
        if world.has_stalls(node_of(self.id)) { STALLED_ANSWER_WITHIN } else { ANSWER_WITHIN }
    }

    /// Tells where the threads that concern it are: the one that asked, and those that have waited longest.
    fn never_returned(&self, world: &World, function: &str) -> Finding {
        const SHOWN: usize = 6;
        let (id, limit) = (self.id, self.patience(world).as_secs());
        let mut waiting = world.waiting_threads(node_of(id));
        waiting.retain(|stuck| !stuck.place.thread.ends_with("'service'"));
        let asked = waiting.iter().position(|stuck| stuck.place.thread.ends_with(&format!("'{function}'")));
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

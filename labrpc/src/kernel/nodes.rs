//! The hosts of the simulated world: up or down, paused, slow, and what their clocks show.
//!
//! Kit-owned.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::Kernel;
use super::crash::InFlight;
use super::stalls::StallState;
use super::threads::{NodeId, State, ThreadId};
use super::timers::{Action, Nanos};
use crate::disk::DiskState;
use crate::record::What;
use crate::rpc::Services;
use crate::streams::{Purpose, Stream, nanos};

/// A clock that shows exactly world time has this rate: a million nanoseconds per millisecond.
const TRUE_RATE: u64 = 1_000_000;

pub(crate) struct Node {
    pub(crate) name: Rc<str>,
    /// 0 before the node is first started, then counts its starts.
    pub(crate) incarnation: u32,
    pub(crate) up: bool,
    pub(crate) in_flight_at_crash: InFlight,
    pub(crate) services: Option<Rc<Services>>,
    pub(crate) random: Stream,
    pub(crate) disk: DiskState,
    /// Whether the node has saved something since it last sent a message.
    pub(crate) saved_since_sent: bool,
    paused: bool,
    /// Threads that could run, in the order in which they could, while the node is paused.
    held_up: Vec<ThreadId>,
    /// How late each wake-up of a thread is.
    lateness: Range<Duration>,
    lateness_random: Stream,
    pub(super) stalls: StallState,
    clock: Clock,
}

/// A node's clock: exact, or running fast or slow by a constant rate since it was last set.
struct Clock {
    /// Nanoseconds it shows per millisecond of the world.
    rate: u64,
    set_at: Nanos,
    shown_then: Nanos,
}

impl Node {
    pub(crate) fn new(seed: u64, id: NodeId, name: Rc<str>) -> Node {
        Node {
            name,
            incarnation: 0,
            up: id == NodeId::TESTER,
            in_flight_at_crash: InFlight::Dropped,
            services: None,
            random: Stream::new(seed, Purpose::Node, u64::from(id.0)),
            disk: DiskState::new(Stream::new(seed, Purpose::Disk, u64::from(id.0))),
            saved_since_sent: false,
            paused: false,
            held_up: Vec::new(),
            lateness: Duration::ZERO..Duration::ZERO,
            lateness_random: Stream::new(seed, Purpose::Lateness, u64::from(id.0)),
            stalls: StallState::new(seed, id),
            clock: Clock { rate: TRUE_RATE, set_at: 0, shown_then: 0 },
        }
    }

    /// What a crash takes away: all but the disk. A paused or slow node, or one with stalls, comes back sound.
    /// The services are returned: their destructors must not run while the nodes are being looked at.
    pub(super) fn crash(&mut self) -> Option<Rc<Services>> {
        self.up = false;
        self.saved_since_sent = false;
        self.paused = false;
        self.held_up.clear();
        self.lateness = Duration::ZERO..Duration::ZERO;
        self.stalls.set(None);
        self.services.take()
    }

    /// True when messages that the node sent in this life of it do not arrive any more.
    pub(crate) fn lost_messages_of(&self, incarnation: u32) -> bool {
        let is_over = !self.up || incarnation < self.incarnation;
        is_over && self.in_flight_at_crash == InFlight::Dropped
    }

    /// Drawn from a stream of its own: the node's other stream belongs to the code that runs there.
    fn random_lateness(&mut self) -> Duration {
        self.lateness_random.duration(&self.lateness)
    }

    fn is_impaired(&self) -> bool {
        self.paused || !self.lateness.is_empty()
    }
}

impl Clock {
    fn shown(&self, now: Nanos) -> Nanos {
        if self.rate == TRUE_RATE && self.set_at == self.shown_then {
            return now;
        }
        self.shown_then + scale(now - self.set_at, self.rate, TRUE_RATE)
    }

    /// How much world time passes while the clock advances by `span`.
    fn world_span(&self, span: Nanos) -> Nanos {
        if self.rate == TRUE_RATE { span } else { scale(span, TRUE_RATE, self.rate) }
    }
}

fn scale(span: Nanos, numerator: u64, denominator: u64) -> Nanos {
    let scaled = u128::from(span) * u128::from(numerator) / u128::from(denominator);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

impl Kernel {
    /// Enters a node, which is down until it is started.
    pub(crate) fn add_node(&self, name: &str) -> NodeId {
        let mut nodes = self.nodes.borrow_mut();
        let id = NodeId(nodes.len() as u32);
        nodes.push(Node::new(self.seed, id, name.into()));
        self.net.node_added(nodes.len());
        id
    }

    /// Looks at, or changes, one node.
    pub(crate) fn with_node<R>(&self, node: NodeId, f: impl FnOnce(&mut Node) -> R) -> R {
        f(&mut self.nodes.borrow_mut()[node.0 as usize])
    }

    pub(crate) fn node_names(&self) -> Vec<Rc<str>> {
        self.nodes.borrow().iter().map(|node| node.name.clone()).collect()
    }

    /// Brings a node up with the services it offers.
    ///
    /// # Panics
    ///
    /// When it is up already.
    pub(crate) fn start_node(&self, node: NodeId) {
        let incarnation = self.with_node(node, |found| {
            assert!(!found.up, "node {} is up already", found.name);
            found.up = true;
            found.incarnation += 1;
            found.incarnation
        });
        self.emit(&What::NodeStarted { node, incarnation });
    }

    /// Stops or continues the running of the node's threads. Messages still arrive at a paused node,
    /// and are dealt with when it continues.
    pub(crate) fn set_paused(&self, node: NodeId, paused: bool) {
        self.emit(&if paused { What::NodePaused { node } } else { What::NodeResumed { node } });
        let released = self.with_node(node, |found| {
            found.paused = paused;
            if paused { Vec::new() } else { std::mem::take(&mut found.held_up) }
        });
        self.note_impairments();
        if paused {
            let mut threads_ready = self.ready.borrow_mut();
            let threads = self.threads.borrow();
            let is_here = |id: &ThreadId| threads.get(*id).is_some_and(|thread| thread.node == node);
            let here: Vec<ThreadId> = threads_ready.iter().copied().filter(|id| is_here(id)).collect();
            threads_ready.retain(|id| !is_here(id));
            self.nodes.borrow_mut()[node.0 as usize].held_up.extend(here);
        }
        for thread in released {
            self.make_ready(thread, node);
        }
    }

    /// From now on every wake-up of the node's threads is late by a draw from `lateness`.
    pub(crate) fn set_lateness(&self, node: NodeId, lateness: Range<Duration>) {
        self.emit(&What::NodeSlowed { node, lateness: lateness.end });
        self.with_node(node, |found| found.lateness = lateness);
        self.note_impairments();
    }

    /// From now on the node's clock shows `rate` nanoseconds for each millisecond of the world.
    pub(crate) fn set_clock_rate(&self, node: NodeId, rate: u64) {
        assert!(rate > 0, "a clock that stands still would make every sleep endless");
        self.emit(&What::ClockRate { node, rate });
        let now = self.now();
        self.with_node(node, |found| {
            found.clock = Clock { rate, set_at: now, shown_then: found.clock.shown(now) };
        });
    }

    /// What the clock of the running thread's node shows.
    pub(crate) fn local_now(&self) -> Nanos {
        let now = self.now();
        self.with_node(self.my_node(), |node| node.clock.shown(now))
    }

    /// The world's time at which the clock of the running thread's node will have advanced by `span`.
    pub(crate) fn deadline(&self, span: Duration) -> Nanos {
        let span = nanos(span);
        let world = self.with_node(self.my_node(), |node| node.clock.world_span(span));
        self.now().saturating_add(world)
    }

    pub(super) fn note_impairments(&self) {
        let nodes = self.nodes.borrow();
        self.impaired.set(nodes.iter().any(Node::is_impaired));
        let is_due = self.threads.borrow_mut().all_mut().any(|thread| thread.due_stall.is_some());
        let is_noted = self.stalls_noted.get() > 0;
        self.stalling.set(is_due || is_noted || nodes.iter().any(|node| node.stalls.is_on()));
    }

    /// Keeps a thread of a paused or slow node from running now. False when nothing holds it up.
    pub(super) fn hold_up(&self, thread: ThreadId, node: NodeId) -> bool {
        let delay = {
            let mut nodes = self.nodes.borrow_mut();
            let found = &mut nodes[node.0 as usize];
            if found.paused {
                found.held_up.push(thread);
                return true;
            }
            if found.lateness.is_empty() {
                return false;
            }
            found.random_lateness()
        };
        self.timers.borrow_mut().set(self.now().saturating_add(nanos(delay)), Action::Ready(thread));
        true
    }

    /// A thread that was held up may run at last, unless it was killed or its node paused meanwhile.
    pub(super) fn end_hold_up(&self, thread: ThreadId) {
        let node = match self.threads.borrow_mut().get_mut(thread) {
            Some(found) if matches!(found.state, State::Ready | State::Stalled { .. }) => {
                found.state = State::Ready;
                found.node
            }
            _ => return,
        };
        let mut nodes = self.nodes.borrow_mut();
        let found = &mut nodes[node.0 as usize];
        if found.paused {
            found.held_up.push(thread);
        } else {
            self.ready.borrow_mut().push(thread);
        }
    }
}

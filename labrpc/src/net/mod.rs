//! The network: which links exist, what they do to messages, and what they carried.
//!
//! Kit-owned. `rules.rs` says what may befall a message, `calls.rs` follows one call from its request
//! to its end. Faults are data: a test adds and removes rules, it does not write code that runs per
//! message.

mod calls;
mod rules;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::time::Duration;

pub use self::calls::HeldMessage;
pub(crate) use self::calls::Tap;
pub use self::rules::{Effect, Kinds, Links, Rule, RuleId, long_reordering, unreliable};

use self::calls::{CallTable, Packet};
use self::rules::Fate;
use crate::kernel::NodeId;
use crate::record::Leg;
use crate::sim::Config;
use crate::streams::{Purpose, Stream};

/// What a node sent and was sent, since the run began. Duplicates made by the network do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Calls the node made.
    pub calls_made: u64,
    /// Calls made to the node.
    pub calls_received: u64,
    /// Requests and replies of at least one byte that the node sent: an empty one says no more than that it came.
    pub messages_sent: u64,
    /// Encoded bytes of the requests and replies the node sent.
    pub bytes_sent: u64,
}

/// One directed link.
struct Link {
    cut: bool,
    random: Stream,
}

/// All links, rules and calls of a simulation.
pub(crate) struct Network {
    seed: u64,
    unreachable: Range<Duration>,
    size: Cell<usize>,
    /// `size * size` links, by sender and then receiver.
    links: RefCell<Vec<Link>>,
    rules: RefCell<Vec<(RuleId, Rule)>>,
    rules_made: Cell<u64>,
    calls: RefCell<CallTable>,
    held: RefCell<Vec<Packet>>,
    traffic: RefCell<Vec<Traffic>>,
}

impl Network {
    pub(crate) fn new(config: &Config) -> Network {
        let network = Network {
            seed: config.seed,
            unreachable: config.unreachable.clone(),
            size: Cell::new(0),
            links: RefCell::default(),
            rules: RefCell::default(),
            rules_made: Cell::new(0),
            calls: RefCell::default(),
            held: RefCell::default(),
            traffic: RefCell::default(),
        };
        network.node_added(1);
        network
    }

    /// Makes room for `nodes` nodes. Every link keeps its stream and whether it is cut.
    pub(crate) fn node_added(&self, nodes: usize) {
        let old_size = self.size.replace(nodes);
        let mut old: Vec<Option<Link>> = self.links.take().into_iter().map(Some).collect();
        let mut links = Vec::with_capacity(nodes * nodes);
        for from in 0..nodes {
            for to in 0..nodes {
                let known = from < old_size && to < old_size;
                let link = if known { old[from * old_size + to].take() } else { None };
                links.push(link.unwrap_or_else(|| Link {
                    cut: false,
                    random: Stream::new(self.seed, Purpose::Link, (from as u64) << 28 | to as u64),
                }));
            }
        }
        *self.links.borrow_mut() = links;
        self.traffic.borrow_mut().resize(nodes, Traffic::default());
    }

    /// Cuts or mends the link from one node to another.
    pub(crate) fn set_cut(&self, from: NodeId, to: NodeId, cut: bool) {
        let link = self.index(from, to);
        self.links.borrow_mut()[link].cut = cut;
    }

    pub(crate) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.links.borrow()[self.index(from, to)].cut
    }

    pub(crate) fn add_rule(&self, rule: Rule) -> RuleId {
        let id = RuleId(self.rules_made.get());
        self.rules_made.set(id.0 + 1);
        self.rules.borrow_mut().push((id, rule));
        id
    }

    /// Removes a rule; false when it is gone already.
    pub(crate) fn remove_rule(&self, id: RuleId) -> bool {
        let mut rules = self.rules.borrow_mut();
        let before = rules.len();
        rules.retain(|(present, _)| *present != id);
        rules.len() < before
    }

    pub(crate) fn clear_rules(&self) {
        self.rules.borrow_mut().clear();
    }

    pub(crate) fn traffic(&self, node: NodeId) -> Traffic {
        self.traffic.borrow()[node.0 as usize]
    }

    fn index(&self, from: NodeId, to: NodeId) -> usize {
        from.0 as usize * self.size.get() + to.0 as usize
    }

    /// What befalls a message that leaves now.
    fn fate(&self, from: NodeId, to: NodeId, kind: &str, leg: Leg) -> Fate {
        let link = self.index(from, to);
        let random = &mut self.links.borrow_mut()[link].random;
        Fate::decide(&self.rules.borrow(), from, to, kind, leg, random)
    }

    /// How long a call to a server that cannot be reached takes to come back.
    fn draw_unreachable(&self, from: NodeId, to: NodeId) -> Duration {
        let link = self.index(from, to);
        self.links.borrow_mut()[link].random.duration(&self.unreachable)
    }
}

//! Who can know of what: how far word of each event can have come, over messages and disks.
//!
//! Kit-owned. It looks at no message's meaning, so it holds for servers with messages of their own too. A
//! message tells its receiver, for all that is known here, everything its sender knew when it was sent; a
//! save keeps everything that was known when it became durable; a crash leaves what was saved last. So this
//! never takes a node to know less than it can. Nodes share nothing else: a server that acts on more has it
//! from a memory that is not its own.

use std::collections::BTreeMap;
use std::rc::Rc;

use labrpc::{Address, Leg, Message, NodeId};

/// A moment in the life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    node: usize,
    /// Which of all lives of the run.
    life: usize,
    /// Counts the moments of the life, from 1.
    tick: u32,
}

/// For each life of the run, up to which of its moments something is known; lives that are missing are not.
type Reach = Vec<u32>;

/// What a node, a disk or a message knows.
#[derive(Clone, Debug, Default)]
struct Knowledge {
    /// What the node itself knows, or the sender of the message knew.
    own: Rc<Reach>,
    /// What each other server is known to know.
    of: Vec<Rc<Reach>>,
}

/// The knowledge of all nodes of a run.
#[derive(Debug, Default)]
pub(crate) struct Causality {
    /// The first so many nodes are servers. Nobody asks what a node knows about the knowledge of a client.
    servers: usize,
    nodes: Vec<Node>,
    /// How many lives have begun.
    lives: usize,
    /// What each request knows; that of the call numbered n is at n - 1.
    requests: Vec<Option<Rc<Knowledge>>>,
    /// What each reply knows, by the delivery that it answers.
    replies: BTreeMap<u64, Rc<Knowledge>>,
}

#[derive(Debug, Default)]
struct Node {
    knows: Knowledge,
    on_disk: Knowledge,
    /// Its lives, in order.
    lives: Vec<usize>,
    tick: u32,
    /// No message has left since the last moment: the next one is a moment by itself.
    is_silent: bool,
}

impl Node {
    /// Begins the next moment of its life; `None` before its first life.
    fn next_moment(&mut self) -> Option<(usize, u32)> {
        let life = *self.lives.last()?;
        self.tick += 1;
        set(&mut self.knows.own, life, self.tick);
        Some((life, self.tick))
    }
}

impl Knowledge {
    fn of_mut(&mut self, node: usize) -> &mut Rc<Reach> {
        if self.of.len() <= node {
            self.of.resize_with(node + 1, Rc::default);
        }
        &mut self.of[node]
    }

    /// The node `me`, whose knowledge this is, learns what `message` carries. A message without a single byte
    /// tells that its sender knows, as an acknowledgement does, and not what: no command, no term.
    fn learn(&mut self, me: usize, from: usize, message: &Knowledge, servers: usize, has_bytes: bool) {
        for (node, reach) in message.of.iter().enumerate().filter(|(node, _)| *node != me) {
            join(self.of_mut(node), reach);
        }
        if from < servers && from != me {
            join(self.of_mut(from), &message.own);
        }
        if has_bytes {
            join(&mut self.own, &message.own);
        }
    }
}

/// Takes over what reaches further in `other`.
fn join(reach: &mut Rc<Reach>, other: &Rc<Reach>) {
    let is_news = |(life, tick): (usize, &u32)| *tick > reach.get(life).copied().unwrap_or(0);
    if Rc::ptr_eq(reach, other) || !other.iter().enumerate().any(is_news) {
        return;
    }
    let reach = Rc::make_mut(reach);
    if reach.len() < other.len() {
        reach.resize(other.len(), 0);
    }
    reach.iter_mut().zip(other.iter()).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
}

fn set(reach: &mut Rc<Reach>, life: usize, tick: u32) {
    let reach = Rc::make_mut(reach);
    if reach.len() <= life {
        reach.resize(life + 1, 0);
    }
    reach[life] = tick;
}

impl Causality {
    /// Nothing has happened yet to so many servers, which are the first nodes, and to their clients.
    pub(crate) fn new(servers: usize) -> Causality {
        Causality { servers, ..Causality::default() }
    }

    /// A node begins a life, with what is on its disk.
    pub(crate) fn booted(&mut self, node: NodeId) {
        let life = self.lives;
        self.lives += 1;
        let node = self.node_mut(node);
        node.lives.push(life);
        node.tick = 0;
        node.is_silent = true;
        node.knows = node.on_disk.clone();
    }

    /// What a node has saved is on its disk.
    pub(crate) fn saved(&mut self, node: NodeId) {
        let node = self.node_mut(node);
        node.on_disk = node.knows.clone();
    }

    /// A message has left its sender.
    pub(crate) fn sent(&mut self, message: &Message<'_>) {
        if message.from.node == NodeId::TESTER {
            return;
        }
        let sender = self.node_mut(message.from.node);
        if sender.is_silent && sender.next_moment().is_none() {
            return;
        }
        sender.is_silent = false;
        let carried = Rc::new(sender.knows.clone());
        match message.leg {
            Leg::Request => {
                let place = message.call as usize - 1;
                self.requests.resize(self.requests.len().max(place + 1), None);
                self.requests[place] = Some(carried);
            }
            Leg::Reply => {
                self.replies.insert(message.delivery, carried);
            }
        }
    }

    /// A message has reached its receiver.
    pub(crate) fn delivered(&mut self, message: &Message<'_>) {
        let carried = match message.leg {
            Leg::Request => self.requests.get(message.call as usize - 1).cloned().flatten(),
            Leg::Reply => self.replies.get(&message.delivery).cloned(),
        };
        let Some(carried) = carried else { return };
        let Address { node: from, .. } = message.from;
        let (me, servers, has_bytes) = (index(message.to), self.servers, !message.bytes.is_empty());
        self.node_mut(message.to).knows.learn(me, index(from), &carried, servers, has_bytes);
    }

    /// A new moment in the life of a node, of which it alone knows; `None` before its first life.
    pub(crate) fn moment_of(&mut self, node: NodeId) -> Option<Stamp> {
        let place = index(node);
        let node = self.node_mut(node);
        let (life, tick) = node.next_moment()?;
        node.is_silent = true;
        Some(Stamp { node: place, life, tick })
    }

    /// True if messages or a disk can have brought a node word of that moment.
    pub(crate) fn has_word_of(&self, node: NodeId, stamp: Stamp) -> bool {
        self.knows_told(node, node, stamp)
    }

    /// True if `node` can know that `other` has had word of that moment.
    pub(crate) fn knows_told(&self, node: NodeId, other: NodeId, stamp: Stamp) -> bool {
        self.reach(node, other, stamp.life) >= stamp.tick
    }

    /// True if `node` can know that `other` has heard of its node since that moment, be it from a later life.
    pub(crate) fn knows_heard_since(&self, node: NodeId, other: NodeId, stamp: Stamp) -> bool {
        let mut later = self.nodes[stamp.node].lives.iter().filter(|life| **life > stamp.life);
        self.reach(node, other, stamp.life) > stamp.tick
            || later.any(|life| self.reach(node, other, *life) > 0)
    }

    fn reach(&self, node: NodeId, other: NodeId, life: usize) -> u32 {
        let knows = self.nodes.get(index(node)).map(|node| &node.knows);
        let reach = if node == other {
            knows.map(|knows| &knows.own)
        } else {
            knows.and_then(|knows| knows.of.get(index(other)))
        };
        reach.and_then(|reach| reach.get(life)).copied().unwrap_or(0)
    }

    fn node_mut(&mut self, node: NodeId) -> &mut Node {
        let place = index(node);
        if self.nodes.len() <= place {
            self.nodes.resize_with(place + 1, Node::default);
        }
        &mut self.nodes[place]
    }
}

/// The tester is no node that could know anything: nodes are counted without it.
fn index(node: NodeId) -> usize {
    node.0 as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn three_nodes() -> Causality {
        let mut causality = Causality::new(3);
        [A, B, C].into_iter().for_each(|node| causality.booted(node));
        causality
    }

    /// The call of that number takes `bytes` there, or back.
    fn carry(causality: &mut Causality, call: u64, leg: Leg, from: NodeId, to: NodeId, bytes: &[u8]) {
        let from = Address { node: from, incarnation: 1 };
        let message = Message { call, leg, kind: "any", from, to, delivery: call, bytes, body: None };
        causality.sent(&message);
        causality.delivered(&message);
    }

    #[test]
    fn word_travels_along_messages_and_their_senders_know_when_answered() {
        let mut causality = three_nodes();
        let moment = causality.moment_of(A).unwrap();
        assert!(causality.has_word_of(A, moment) && !causality.has_word_of(B, moment));
        carry(&mut causality, 1, Leg::Request, A, B, b"x");
        carry(&mut causality, 2, Leg::Request, B, C, b"x");
        assert!(causality.has_word_of(C, moment) && causality.knows_told(C, B, moment));
        assert!(!causality.knows_told(A, B, moment) && !causality.knows_told(B, C, moment));
        carry(&mut causality, 1, Leg::Reply, B, A, b"");
        assert!(causality.knows_told(A, B, moment) && causality.knows_heard_since(A, B, moment));
        // That came too late for what B had told C before.
        assert!(!causality.knows_told(A, C, moment));
    }

    #[test]
    fn an_empty_message_brings_no_word() {
        let mut causality = three_nodes();
        let moment = causality.moment_of(A).unwrap();
        carry(&mut causality, 1, Leg::Request, A, B, b"");
        assert!(!causality.has_word_of(B, moment) && causality.knows_told(B, A, moment));
    }

    #[test]
    fn a_crash_leaves_what_was_saved() {
        let mut causality = three_nodes();
        let early = causality.moment_of(A).unwrap();
        causality.saved(A);
        let late = causality.moment_of(A).unwrap();
        causality.booted(A);
        assert!(causality.has_word_of(A, early) && !causality.has_word_of(A, late));
        // Whoever hears from the new life has not heard of what the old one forgot.
        causality.moment_of(A);
        carry(&mut causality, 1, Leg::Request, A, B, b"x");
        assert!(causality.has_word_of(B, early) && !causality.has_word_of(B, late));
        carry(&mut causality, 1, Leg::Reply, B, A, b"x");
        assert!(causality.knows_heard_since(A, B, late));
    }
}

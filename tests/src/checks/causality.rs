//! Who can know of what: how far word of each event can have come, over messages and disks.
//!
//! Kit-owned. It looks at no message's meaning, so it holds for servers with messages of their own too. A
//! message tells its receiver, for all that is known here, everything its sender knew when it was sent; a
//! save keeps everything that was known when it became durable; a crash leaves what was saved last. So this
//! never takes a node to know less than it can. Nodes share nothing else: a server that acts on more has it
//! from a memory that is not its own.

use labrpc::{Leg, Message, NodeId};

/// A moment in the life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    node: usize,
    /// Which of all lives of the run.
    life: usize,
    /// Counts the moments of the life, from 1.
    tick: u32,
}

/// For each life of the run, up to where something of it is known; 0, or no place at all, where nothing is.
type Reach = Vec<u32>;

/// The knowledge of all nodes of a run.
///
/// Most messages carry nothing new. So a node's knowledge is written down when it has changed, and a message or
/// a disk holds only where.
#[derive(Debug, Default)]
pub(crate) struct Causality {
    /// The first so many nodes are servers. Nobody asks what a node knows about the knowledge of a client.
    servers: usize,
    nodes: Vec<Node>,
    rows: Rows,
    /// How many lives have begun.
    lives: usize,
    /// What each request carries, by the number of its call.
    requests: Vec<Option<Carried>>,
    /// What each reply carries, by the number of the delivery that it answers.
    replies: Vec<Option<Carried>>,
}

#[derive(Debug, Default)]
struct Node {
    /// The moments of which it has word.
    moments: Reach,
    /// The latest row of moments of which it knows that this life of a server had word of them.
    others: Reach,
    /// Where the two were written down last.
    written: Written,
    has_changed: bool,
    on_disk: Written,
    /// Its lives, in order.
    lives: Vec<usize>,
    tick: u32,
    /// No message has left since the last moment: the next one is a moment by itself.
    is_silent: bool,
}

/// The numbers of the rows with what a node knew at some time.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    moments: u32,
    others: u32,
}

/// What a message carries.
#[derive(Clone, Copy, Debug)]
struct Carried {
    /// The life of its sender.
    life: usize,
    known: Written,
}

/// What nodes knew, row by row. Rows count from 1, the latest has the highest number, and row 0 is empty.
#[derive(Debug, Default)]
struct Rows {
    cells: Vec<u32>,
    /// Where in `cells` each row ends.
    ends: Vec<usize>,
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
        let place = self.place(node);
        let node = &mut self.nodes[place];
        node.lives.push(life);
        node.written = node.on_disk;
        node.moments = self.rows.get(node.written.moments).to_vec();
        node.others = self.rows.get(node.written.others).to_vec();
        node.has_changed = false;
        node.tick = 0;
        node.is_silent = true;
    }

    /// What a node has saved is on its disk.
    pub(crate) fn saved(&mut self, node: NodeId) {
        let place = self.place(node);
        let node = &mut self.nodes[place];
        node.on_disk = node.write_down(&mut self.rows);
    }

    /// A message has left its sender.
    pub(crate) fn sent(&mut self, message: &Message<'_>) {
        if message.from.node == NodeId::TESTER {
            return;
        }
        let place = self.place(message.from.node);
        let sender = &mut self.nodes[place];
        let Some(&life) = sender.lives.last() else { return };
        if sender.is_silent {
            sender.next_moment(life);
        }
        sender.is_silent = false;
        let carried = Carried { life, known: sender.write_down(&mut self.rows) };
        let (messages, number) = match message.leg {
            Leg::Request => (&mut self.requests, message.call as usize),
            Leg::Reply => (&mut self.replies, message.delivery as usize),
        };
        messages.resize(messages.len().max(number + 1), None);
        messages[number] = Some(carried);
    }

    /// A message has reached its receiver. One without a single byte tells that its sender knows, as an
    /// acknowledgement does, and not what: no command, no term.
    pub(crate) fn delivered(&mut self, message: &Message<'_>) {
        let carried = match message.leg {
            Leg::Request => self.requests.get(message.call as usize),
            Leg::Reply => self.replies.get(message.delivery as usize),
        };
        let Some(Carried { life, known }) = carried.copied().flatten() else { return };
        let place = self.place(message.to);
        let receiver = &mut self.nodes[place];
        let mut has_news = join(&mut receiver.others, self.rows.get(known.others));
        if index(message.from.node) < self.servers {
            has_news |= reach_to(&mut receiver.others, life, known.moments);
        }
        if !message.bytes.is_empty() {
            has_news |= join(&mut receiver.moments, self.rows.get(known.moments));
        }
        receiver.has_changed |= has_news;
    }

    /// A new moment in the life of a node, of which it alone knows; `None` before its first life.
    pub(crate) fn moment_of(&mut self, node: NodeId) -> Option<Stamp> {
        let place = self.place(node);
        let node = &mut self.nodes[place];
        let life = *node.lives.last()?;
        node.next_moment(life);
        node.is_silent = true;
        Some(Stamp { node: place, life, tick: node.tick })
    }

    /// True if messages or a disk can have brought a node word of that moment.
    pub(crate) fn has_word_of(&self, node: NodeId, stamp: Stamp) -> bool {
        let node = self.nodes.get(index(node));
        node.is_some_and(|node| at(&node.moments, stamp.life) >= stamp.tick)
    }

    /// True if `node` can know that `other` has had word of that moment.
    pub(crate) fn knows_told(&self, node: NodeId, other: NodeId, stamp: Stamp) -> bool {
        if node == other {
            return self.has_word_of(node, stamp);
        }
        self.known_of(node, other).any(|moments| at(moments, stamp.life) >= stamp.tick)
    }

    /// True if `node` can know that `other` has heard of its node since that moment, be it from a later life.
    pub(crate) fn knows_heard_since(&self, node: NodeId, other: NodeId, stamp: Stamp) -> bool {
        let lives = &self.nodes[stamp.node].lives;
        let is_since = |moments: &[u32]| {
            let mut later = lives.iter().filter(|life| **life > stamp.life);
            at(moments, stamp.life) > stamp.tick || later.any(|life| at(moments, *life) > 0)
        };
        self.known_of(node, other).any(is_since)
    }

    /// For each life of `other`, the moments of which `node` knows that it had word of them.
    fn known_of(&self, node: NodeId, other: NodeId) -> impl Iterator<Item = &[u32]> {
        let others = self.nodes.get(index(node)).map_or(&[][..], |node| &node.others);
        let lives = self.nodes.get(index(other)).map_or(&[][..], |other| &other.lives);
        lives.iter().map(|life| self.rows.get(at(others, *life)))
    }

    /// Where a node stands among all nodes.
    fn place(&mut self, node: NodeId) -> usize {
        let place = index(node);
        if self.nodes.len() <= place {
            self.nodes.resize_with(place + 1, Node::default);
        }
        place
    }
}

impl Node {
    fn next_moment(&mut self, life: usize) {
        self.tick += 1;
        self.has_changed |= reach_to(&mut self.moments, life, self.tick);
    }

    fn write_down(&mut self, rows: &mut Rows) -> Written {
        if std::mem::take(&mut self.has_changed) {
            let Written { moments, others } = self.written;
            self.written =
                Written { moments: rows.put(&self.moments, moments), others: rows.put(&self.others, others) };
        }
        self.written
    }
}

impl Rows {
    fn get(&self, number: u32) -> &[u32] {
        let Some(place) = (number as usize).checked_sub(1) else { return &[] };
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.cells[start..self.ends[place]]
    }

    /// The number of `row`: the one that it had last, if it is still the same, or a new one.
    fn put(&mut self, row: &[u32], last: u32) -> u32 {
        if self.get(last) == row {
            return last;
        }
        self.cells.extend_from_slice(row);
        self.ends.push(self.cells.len());
        self.ends.len() as u32
    }
}

fn at(reach: &[u32], life: usize) -> u32 {
    reach.get(life).copied().unwrap_or(0)
}

/// Takes over what reaches further in `other`, and tells whether anything did.
fn join(reach: &mut Reach, other: &[u32]) -> bool {
    if reach.len() < other.len() {
        reach.resize(other.len(), 0);
    }
    let mut has_news = false;
    for (mine, theirs) in reach.iter_mut().zip(other) {
        has_news |= *theirs > *mine;
        *mine = (*mine).max(*theirs);
    }
    has_news
}

/// Has `reach` go as far as `tick` in one life, and tells whether it did not.
fn reach_to(reach: &mut Reach, life: usize, tick: u32) -> bool {
    if reach.len() <= life {
        reach.resize(life + 1, 0);
    }
    let has_news = tick > reach[life];
    reach[life] = tick.max(reach[life]);
    has_news
}

/// The tester is no node that could know anything: nodes are counted without it.
fn index(node: NodeId) -> usize {
    node.0 as usize - 1
}

#[cfg(test)]
mod tests {
    use labrpc::Address;

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

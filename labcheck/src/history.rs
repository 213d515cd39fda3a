//! The history of a key-value store: who called what, what came back, and in which order.
//!
//! Kit-owned. Read this file first: everything else in the crate judges what is recorded here.

use std::fmt;

/// What clients of a key-value store did and saw, recorded while it happens.
///
/// Every call of [`invoke`](KvHistory::invoke), [`ok`](KvHistory::ok), [`fail`](KvHistory::fail) and
/// [`unknown`](KvHistory::unknown) is one event, and events are numbered from 0 in the order of
/// recording. That order alone decides what came before what; clocks have no say in it. An operation whose
/// outcome is never recorded counts as one whose outcome is unknown.
///
/// One client may have several operations open at a time; they are then taken as concurrent.
///
/// ```
/// use labcheck::{KvHistory, KvOp, check_kv};
///
/// let mut history = KvHistory::new();
/// let write = history.invoke(1, KvOp::Put { key: "x".into(), value: "new".into() });
/// history.ok(write, None);
/// let read = history.invoke(2, KvOp::Get { key: "x".into() });
/// history.ok(read, Some("".into()));
/// assert!(check_kv(&history).is_illegal());
/// ```
#[derive(Clone, Debug, Default)]
pub struct KvHistory {
    operations: Vec<KvOperation>,
    /// How many events there are.
    events: u64,
    /// Labels, each with the first event that carries it; in the order of events.
    stamps: Vec<(u64, String)>,
}

/// One operation of a [`KvHistory`], in the order of invocation: the first has number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(u32);

/// What a client asked of the store. A key that was never written holds the empty string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvOp {
    /// Reads the value of a key.
    Get {
        /// The key.
        key: String,
    },
    /// Replaces the value of a key.
    Put {
        /// The key.
        key: String,
        /// The value that it holds from then on.
        value: String,
    },
    /// Adds to the end of the value of a key.
    Append {
        /// The key.
        key: String,
        /// What is added.
        value: String,
    },
}

/// An operation with its outcome, as a [`KvHistory`] holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvOperation {
    /// Who called it.
    pub client: u64,
    /// What was asked.
    pub op: KvOp,
    /// What is known of the outcome.
    pub outcome: Outcome,
    /// The number of the event at which it was called.
    pub called: u64,
    /// The number of the event at which its outcome was recorded; `None` while it is open.
    pub returned: Option<u64>,
}

/// What is known of an operation's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was recorded. Judged like [`Outcome::Unknown`].
    Open,
    /// It took effect between its call and its return. Gets carry the value they returned.
    Ok(Option<String>),
    /// It surely did not happen, and never will.
    Failed,
    /// It may have happened, may still happen at any later time, or never.
    Unknown,
}

impl KvHistory {
    /// A history without events.
    pub fn new() -> KvHistory {
        KvHistory::default()
    }

    /// Records that `client` calls `op`.
    pub fn invoke(&mut self, client: u64, op: KvOp) -> OpId {
        let called = self.next_event();
        self.operations.push(KvOperation { client, op, outcome: Outcome::Open, called, returned: None });
        OpId(self.operations.len() as u32)
    }

    /// Records that an operation succeeded.
    ///
    /// A get returns `Some(value)`, the empty string for a missing key, and `None` is taken as that. What a
    /// write returns is ignored. The first outcome of an operation counts: a later one, or one for an `id`
    /// of another history, is ignored.
    pub fn ok(&mut self, id: OpId, value: Option<String>) {
        let value = match self.get(id).map(|operation| &operation.op) {
            Some(KvOp::Get { .. }) => Some(value.unwrap_or_default()),
            _ => None,
        };
        self.finish(id, Outcome::Ok(value));
    }

    /// Records that an operation surely did not happen. See [`ok`](KvHistory::ok) for repeated outcomes.
    pub fn fail(&mut self, id: OpId) {
        self.finish(id, Outcome::Failed);
    }

    /// Records that nobody will learn whether an operation happened. See [`ok`](KvHistory::ok) for repeated
    /// outcomes.
    pub fn unknown(&mut self, id: OpId) {
        self.finish(id, Outcome::Unknown);
    }

    /// Labels the events recorded from now on, up to the next label, with a time such as `1.234 s`.
    ///
    /// Reports show the label in place of the event's number. It takes no part in any verdict.
    pub fn stamp(&mut self, time: String) {
        match self.stamps.last_mut() {
            Some((from, label)) if *from == self.events => *label = time,
            Some((_, label)) if *label == time => {}
            _ => self.stamps.push((self.events, time)),
        }
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is no operation.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// All operations, in the order of invocation: the one with number 1 first.
    pub fn operations(&self) -> impl Iterator<Item = &KvOperation> {
        self.operations.iter()
    }

    /// The operation with this number; `None` if there is no such.
    pub fn get(&self, id: OpId) -> Option<&KvOperation> {
        self.operations.get(id.index())
    }

    /// The label of an event, if it has one.
    pub fn stamp_of(&self, event: u64) -> Option<&str> {
        let after = self.stamps.partition_point(|(from, _)| *from <= event);
        let (_, label) = self.stamps.get(after.checked_sub(1)?)?;
        Some(label)
    }

    /// How many events there are.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    fn finish(&mut self, id: OpId, outcome: Outcome) {
        let Some(operation) = self.operations.get(id.index()) else { return };
        if operation.outcome == Outcome::Open {
            let event = self.next_event();
            let operation = &mut self.operations[id.index()];
            operation.outcome = outcome;
            operation.returned = Some(event);
        }
    }

    fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events - 1
    }
}

impl OpId {
    /// The number, from 1.
    pub fn number(self) -> usize {
        self.0 as usize
    }

    /// The id of the operation at this place of [`KvHistory::operations`].
    pub(crate) fn at(index: usize) -> OpId {
        OpId(index as u32 + 1)
    }

    /// The place in [`KvHistory::operations`].
    pub(crate) fn index(self) -> usize {
        (self.0 as usize).wrapping_sub(1)
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}", self.0)
    }
}

impl KvOp {
    /// The key it is about.
    pub fn key(&self) -> &str {
        match self {
            KvOp::Get { key } | KvOp::Put { key, .. } | KvOp::Append { key, .. } => key,
        }
    }
}

//! The table of simulated threads: who they are, what they wait for, and where.
//!
//! Kit-owned. The table holds data only; `scheduler.rs` decides who runs.

use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::context::Context;
use super::priorities::Priority;
use super::timers::Nanos;

/// A host of the simulated world, by number. Node 0 is the tester, which never crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The node on which a test itself runs.
    pub const TESTER: NodeId = NodeId(0);
}

/// One simulated thread of one simulation. Serials are never used twice, slots are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadId {
    pub(crate) slot: u32,
    pub(crate) serial: u32,
}

impl ThreadId {
    /// The id as one number, for storage in an atomic. Never 0: serials start at 1.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.slot)
    }

    pub(crate) fn from_bits(bits: u64) -> Option<ThreadId> {
        (bits != 0).then_some(ThreadId { slot: bits as u32, serial: (bits >> 32) as u32 })
    }
}

/// What a thread is called in reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ThreadName {
    /// The name it was given.
    Given(Rc<str>),
    /// It handles a request of this kind.
    Handler(&'static str),
    /// It has none and is known by the place that spawned it.
    SpawnedAt(&'static Location<'static>),
}

/// What a blocked thread waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting {
    Sleep,
    Lock { holder: Option<Holder> },
    Condvar,
    Send,
    Receive,
    Select,
    Join,
    Call { kind: &'static str, to: NodeId },
    Disk,
}

/// Who holds a lock, and where it was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pub(crate) thread: ThreadId,
    pub(crate) at: &'static Location<'static>,
}

/// Whether a thread can run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// It runs, or will when it is picked.
    Ready,
    /// It waits.
    Blocked { waiting: Waiting, at: &'static Location<'static>, since: Nanos },
    /// It could run, but for a stall; see `stalls.rs`.
    Stalled { at: &'static Location<'static>, since: Nanos },
    /// Its node has crashed; the next thing it does is unwind.
    Killed,
}

/// How a blocked thread was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Notified,
    TimedOut,
}

pub(crate) struct SimThread {
    pub(crate) id: ThreadId,
    pub(crate) node: NodeId,
    pub(crate) name: ThreadName,
    pub(crate) state: State,
    /// `None` while the thread runs.
    pub(crate) context: Option<Context>,
    /// How often it has blocked. A timer that was set for an earlier wait is stale.
    pub(crate) waits: u32,
    pub(crate) woken: Woken,
    /// What the scheduler by priorities goes by.
    pub(super) priority: Priority,
    /// The number of its last stall in the record, until it is known what it did next.
    pub(super) noted_stall: Option<usize>,
    /// For how long it is to be held up at its next operation.
    pub(super) due_stall: Option<Duration>,
}

/// All threads of a simulation.
#[derive(Default)]
pub(crate) struct ThreadTable {
    slots: Vec<Option<SimThread>>,
    free: Vec<u32>,
    spawned: u32,
}

impl ThreadTable {
    /// Enters a thread, ready to run.
    pub(crate) fn insert(&mut self, node: NodeId, name: ThreadName, context: Context) -> ThreadId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 threads live at once")
        });
        self.spawned += 1;
        let id = ThreadId { slot, serial: self.spawned };
        self.slots[slot as usize] = Some(SimThread {
            id,
            node,
            name,
            state: State::Ready,
            context: Some(context),
            waits: 0,
            woken: Woken::Notified,
            priority: 0,
            noted_stall: None,
            due_stall: None,
        });
        id
    }

    pub(crate) fn remove(&mut self, id: ThreadId) -> Option<SimThread> {
        self.get(id)?;
        self.free.push(id.slot);
        self.slots[id.slot as usize].take()
    }

    /// The thread, or `None` when it has ended.
    #[inline]
    pub(crate) fn get(&self, id: ThreadId) -> Option<&SimThread> {
        self.slots[id.slot as usize].as_ref().filter(|thread| thread.id == id)
    }

    /// The thread, or `None` when it has ended.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: ThreadId) -> Option<&mut SimThread> {
        self.slots[id.slot as usize].as_mut().filter(|thread| thread.id == id)
    }

    /// All living threads, in no order that matters to anyone.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut SimThread> {
        self.slots.iter_mut().flatten()
    }

    /// All living threads, oldest first. The order is that of their spawning on every machine.
    pub(crate) fn by_age(&self) -> Vec<&SimThread> {
        let mut threads: Vec<&SimThread> = self.slots.iter().flatten().collect();
        threads.sort_by_key(|thread| thread.id.serial);
        threads
    }

    /// How many threads were ever spawned.
    pub(crate) fn spawned(&self) -> u32 {
        self.spawned
    }
}

//! Virtual time: what is due when.
//!
//! Kit-owned. Timers fire in the order of their due time, and timers due at one instant in the order
//! in which they were set, so that the order never depends on the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Kernel;
use super::threads::ThreadId;

/// Virtual time in nanoseconds since the simulation began.
pub(crate) type Nanos = u64;

/// What happens when a timer fires.
pub(crate) enum Action {
    /// The thread's wait number `wait` ends by time-out; stale if that wait is over.
    Wake { thread: ThreadId, wait: u32 },
    /// The thread, ready for some time but held up by a slow node or a stall, may be picked.
    Ready(ThreadId),
    /// The kernel does something on its own account, such as delivering a message.
    Run(Box<dyn FnOnce(&Kernel)>),
}

struct Timer {
    due: Nanos,
    sequence: u64,
    action: Action,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Timer) -> std::cmp::Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
    }
}

/// The pending timers of a simulation.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    set: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, due: Nanos, action: Action) {
        self.set += 1;
        self.heap.push(Reverse(Timer { due, sequence: self.set, action }));
    }

    /// When the next timer fires; it may be a stale one.
    #[inline]
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse(timer)| timer.due)
    }

    /// Takes the next timer if it is due at `now`.
    pub(crate) fn take_due(&mut self, now: Nanos) -> Option<Action> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| timer.action)
    }

    /// Drops timers from the front for as long as `is_stale` holds for what they would do.
    pub(crate) fn drop_stale(&mut self, is_stale: impl Fn(&Action) -> bool) {
        while self.heap.peek().is_some_and(|Reverse(timer)| is_stale(&timer.action)) {
            self.heap.pop();
        }
    }
}

//! A scheduler by priorities: the ready thread with the highest one runs, and now and then priorities change.
//!
//! Kit-owned. Chosen by a share of the seeds, beside the scheduler that draws at random. A bug that needs a
//! thread to lag behind all others at one place is likelier here: a random walk seldom keeps one thread waiting
//! for long. In the manner of PCT (Burckhardt and others, "A randomized scheduler with probabilistic guarantees
//! of finding bugs", ASPLOS 2010): every thread begins with a random priority, and at a few random points the
//! one that runs falls below all others.
//!
//! Threads that poll would keep all others from running, so a thread that yields, or tried in vain to take a
//! lock or a message, falls below all others too, and so does one that ran for [`TURN_MAX`] while others were
//! ready.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::threads::{ThreadId, ThreadTable};
use super::timers::Nanos;
use crate::streams::{Purpose, Stream};

/// Seeds that are multiples of this have their threads scheduled by priorities.
const ONE_SEED_IN: u64 = 4;

/// A thread that has run for so long while others were ready falls below them.
pub(super) const TURN_MAX: Duration = Duration::from_millis(1);

/// The next change of priorities comes after 2^n operations, `n` drawn from here.
const CHANGE_AFTER_EXPONENT: std::ops::Range<u64> = 7..15;

/// A thread's priority. Those of threads that fell are negative, and the last one to fall has the lowest.
pub(super) type Priority = i64;

/// The state of the scheduler.
pub(super) struct Priorities {
    random: RefCell<Stream>,
    lowest: Cell<Priority>,
    /// The count of operations at which the next change is due.
    change_at: Cell<u64>,
    /// Who was picked last, and since when it has run.
    turn: Cell<Option<(ThreadId, Nanos)>>,
}

impl Priorities {
    /// The scheduler by priorities, if the seed is one of those that have it.
    pub(super) fn chosen_by(seed: u64) -> Option<Priorities> {
        seed.is_multiple_of(ONE_SEED_IN).then(|| Priorities::of_seed(seed))
    }

    /// The scheduler by priorities, whatever the seed.
    pub(super) fn of_seed(seed: u64) -> Priorities {
        let priorities = Priorities {
            random: RefCell::new(Stream::new(seed, Purpose::Priorities, 0)),
            lowest: Cell::new(0),
            change_at: Cell::new(0),
            turn: Cell::new(None),
        };
        priorities.plan_change(0);
        priorities
    }

    /// The priority of a thread that begins.
    pub(super) fn draw(&self) -> Priority {
        (self.random.borrow_mut().next_u64() >> 2) as Priority
    }

    /// Where in `ready` the thread stands that has the highest priority.
    pub(super) fn pick(&self, ready: &[ThreadId], threads: &ThreadTable, now: Nanos) -> usize {
        let priority = |thread: ThreadId| threads.get(thread).map_or(Priority::MIN, |found| found.priority);
        let places = 0..ready.len();
        let best = places.max_by_key(|&place| (priority(ready[place]), ready[place].serial)).unwrap_or(0);
        let picked = ready[best];
        if self.turn.get().is_none_or(|(thread, _)| thread != picked) {
            self.turn.set(Some((picked, now)));
        }
        best
    }

    /// Puts a thread below all others.
    pub(super) fn demote(&self, thread: ThreadId, threads: &mut ThreadTable) {
        self.lowest.set(self.lowest.get() - 1);
        if let Some(found) = threads.get_mut(thread) {
            found.priority = self.lowest.get();
        }
    }

    /// True when the running thread is to fall: a change is due, or it has had its turn and others are ready.
    pub(super) fn is_due(&self, steps: u64, now: Nanos, others_are_ready: bool) -> bool {
        if steps >= self.change_at.get() {
            self.plan_change(steps);
            return true;
        }
        others_are_ready
            && self.turn.get().is_some_and(|(_, since)| now - since > TURN_MAX.as_nanos() as Nanos)
    }

    fn plan_change(&self, steps: u64) {
        let mut random = self.random.borrow_mut();
        let most = 1 << random.range(CHANGE_AFTER_EXPONENT);
        self.change_at.set(steps + random.range(most / 2..most));
    }
}

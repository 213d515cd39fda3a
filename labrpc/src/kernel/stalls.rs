//! Stalls: now and then an operating system takes the core away from a thread for a while, wherever it stands.
//!
//! Kit-owned. Most bugs between a server's own threads need just that: a thread looks, lets go of its lock,
//! and acts on what it saw when the world has moved on. A node with [`Stalls`] has its threads held up at
//! operations of the facade, after an unlock most of all. The thread is not blocked: nothing can wake it but
//! the end of its stall. It can be crashed meanwhile, and its node paused.

use std::ops::Range;
use std::panic::Location;
use std::time::Duration;

use super::Kernel;
use super::context::Yielded;
use super::report::line;
use super::threads::{NodeId, State, ThreadId, ThreadName};
use super::timers::Action;
use crate::record::{Stall, What};
use crate::streams::{Purpose, Stream, nanos};

/// How often, and for how long, the threads of a node are held up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stalls {
    /// A thread is held up once in so many chances, on average. An operation of the facade is one chance,
    /// the end of a save or of a look at the disk too; an unlock counts as eight.
    pub one_in: u32,
    /// For how long. Short stalls are as probable as long ones: each doubling of the time has the same chance.
    pub span: Range<Duration>,
}

/// Where a thread can be held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chance {
    /// Before an operation of the facade.
    Before,
    /// After it let go of a lock; the place is where it had taken that.
    Unlocked,
    /// After a condition variable was signalled, before it takes the lock again.
    Woken,
    /// Before it learns what is on the disk.
    DiskRead,
    /// After a save, before it learns that it is over.
    Saved,
}

impl Chance {
    /// As how many chances it counts.
    fn weight(self) -> u32 {
        match self {
            Chance::Unlocked => 8,
            Chance::Before | Chance::Woken | Chance::DiskRead | Chance::Saved => 1,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Chance::Before => "before its operation at",
            Chance::Unlocked => "after it unlocked what it had locked at",
            Chance::Woken => "after it was woken at",
            Chance::DiskRead => "before its look at the disk at",
            Chance::Saved => "after its save at",
        }
    }
}

/// A node's stalls, and when the next one is due.
pub(super) struct StallState {
    stalls: Option<Stalls>,
    /// How many chances are left until a thread is held up.
    left: u32,
    /// How many threads are held up now.
    held_up: usize,
    random: Stream,
}

impl StallState {
    pub(super) fn new(seed: u64, node: NodeId) -> StallState {
        StallState {
            stalls: None,
            left: 0,
            held_up: 0,
            random: Stream::new(seed, Purpose::Stalls, u64::from(node.0)),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.stalls.is_some()
    }

    pub(super) fn set(&mut self, stalls: Option<Stalls>) {
        self.stalls = stalls;
        self.wait_for_next();
    }

    fn wait_for_next(&mut self) {
        if let Some(stalls) = &self.stalls {
            self.left = self.random.range(1..2 * u64::from(stalls.one_in).max(1)) as u32;
        }
    }

    /// For how long the running thread is held up now, if it is.
    fn draw(&mut self, weight: u32) -> Option<Duration> {
        let span = self.stalls.as_ref()?.span.clone();
        if self.left > weight {
            self.left -= weight;
            return None;
        }
        let drawn = draw_by_doublings(&mut self.random, &span);
        self.wait_for_next();
        Some(drawn)
    }
}

/// A time in `span`, in which each doubling has the same chance. Whole numbers only, so that it is the same on
/// every machine.
fn draw_by_doublings(random: &mut Stream, span: &Range<Duration>) -> Duration {
    let (low, high) = (nanos(span.start).max(1), nanos(span.end));
    // As many octaves as begin below the end.
    let octaves = (0..u64::from(u64::BITS))
        .take_while(|octave| {
            low.checked_shl(*octave as u32).is_some_and(|from| from >> octave == low && from < high)
        })
        .count()
        .max(1);
    let from = low << random.below(octaves as u64);
    random.duration(&(Duration::from_nanos(from)..Duration::from_nanos((2 * from).min(high))))
}

/// Counts a thread as held up, until it goes on or is crashed.
struct HeldUp<'a> {
    kernel: &'a Kernel,
    node: NodeId,
}

impl<'a> HeldUp<'a> {
    fn new(kernel: &'a Kernel, node: NodeId) -> HeldUp<'a> {
        kernel.with_node(node, |found| found.stalls.held_up += 1);
        HeldUp { kernel, node }
    }
}

impl Drop for HeldUp<'_> {
    fn drop(&mut self) {
        self.kernel.with_node(self.node, |found| found.stalls.held_up -= 1);
    }
}

impl Kernel {
    /// From now on the node's threads are held up now and then; `None` ends it. Threads that are held up stay so
    /// until their time has come.
    pub(crate) fn set_stalls(&self, node: NodeId, stalls: Option<Stalls>) {
        self.emit(&What::NodeStalls { node, stalls: stalls.as_ref() });
        self.with_node(node, |found| found.stalls.set(stalls));
        self.note_impairments();
    }

    /// Holds up those of the node's threads that handle a request of that kind now, each at its next operation.
    pub(crate) fn stall_handlers(&self, node: NodeId, kind: &'static str, span: Duration) {
        let of_kind = ThreadName::Handler(kind);
        let mut threads = self.threads.borrow_mut();
        for thread in threads.all_mut().filter(|thread| thread.node == node && thread.name == of_kind) {
            thread.due_stall = Some(span);
        }
        drop(threads);
        self.note_impairments();
    }

    /// True while the node's threads are held up now and then.
    pub(crate) fn has_stalls(&self, node: NodeId) -> bool {
        self.with_node(node, |found| found.stalls.is_on())
    }

    /// How many threads of the node are held up by a stall.
    pub(crate) fn stalled_on(&self, node: NodeId) -> usize {
        self.with_node(node, |found| found.stalls.held_up)
    }

    /// True while threads of some node may be held up.
    #[inline]
    pub(crate) fn is_stalling(&self) -> bool {
        self.stalling.get()
    }

    /// The running thread has come to a place at which it may be held up. Costs next to nothing while no node
    /// has stalls.
    #[inline]
    pub(crate) fn risk_stall(&self, chance: Chance, at: &'static Location<'static>) {
        if self.stalling.get() {
            self.draw_stall(chance, at);
        }
    }

    #[cold]
    fn draw_stall(&self, chance: Chance, at: &'static Location<'static>) {
        if self.gate.is_closed() || self.observing.get() || self.killed.get() || std::thread::panicking() {
            return;
        }
        let me = self.me();
        self.note_next_step(me, at);
        let due = self.threads.borrow_mut().get_mut(me).and_then(|thread| thread.due_stall.take());
        if let Some(span) = due {
            self.stall(me, chance, at, span);
            // It was the last one that was due, perhaps.
            self.note_impairments();
            return;
        }
        let drawn = self.with_node(self.my_node(), |node| node.stalls.draw(chance.weight()));
        if let Some(span) = drawn {
            self.stall(me, chance, at, span);
        }
    }

    fn stall(&self, me: ThreadId, chance: Chance, at: &'static Location<'static>, span: Duration) {
        let since = self.now();
        let until = since.saturating_add(nanos(span));
        self.recorder.mix(u64::from(me.serial) << 32 ^ until);
        if self.recorder.is_recording() {
            let noted = self.recorder.take_stall(Stall {
                node: self.my_node(),
                thread: self.name_of(me),
                after: chance.words(),
                line: line(at),
                from: Duration::from_nanos(since),
                until: Duration::from_nanos(until),
                then: None,
            });
            self.threads.borrow_mut().get_mut(me).expect("it runs").noted_stall = noted;
            self.stalls_noted.set(self.stalls_noted.get() + 1);
        }
        self.threads.borrow_mut().get_mut(me).expect("it runs").state = State::Stalled { at, since };
        self.timers.borrow_mut().set(until, Action::Ready(me));
        let _held_up = HeldUp::new(self, self.my_node());
        self.suspend(Yielded::Paused);
    }

    /// Completes the record of the thread's last stall by what it did next.
    fn note_next_step(&self, me: ThreadId, at: &'static Location<'static>) {
        let noted = self.threads.borrow_mut().get_mut(me).and_then(|thread| thread.noted_stall.take());
        if let Some(number) = noted {
            self.recorder.complete_stall(number, line(at));
            self.stalls_noted.set(self.stalls_noted.get() - 1);
            self.note_impairments();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_doubling_of_a_stall_has_the_same_chance() {
        let mut random = Stream::new(1, Purpose::Stalls, 0);
        let ms = Duration::from_millis;
        let mut counts = [0_u32; 4];
        for _ in 0..4_000 {
            let drawn = draw_by_doublings(&mut random, &(ms(1)..ms(16)));
            assert!((ms(1)..ms(16)).contains(&drawn), "{drawn:?}");
            counts[drawn.as_millis().ilog2() as usize] += 1;
        }
        assert!(counts.iter().all(|count| (700..1_300).contains(count)), "{counts:?}");
    }
}

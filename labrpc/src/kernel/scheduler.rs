//! Who runs next, and when virtual time moves.
//!
//! Kit-owned. A thread runs until it blocks, ends or is preempted; preemption happens inside an
//! operation of the facade, after a random number of them. The next thread is drawn from those that
//! are ready, or has the highest priority among them (`priorities.rs`), as the seed has it. Only when none is does time jump to the next timer; each operation also costs a little
//! time, so a thread that polls does not stop the world.

use std::panic::{self, AssertUnwindSafe, Location};
use std::time::Duration;

use super::context::{Context, Door, Resume, Resumed, Yielded};
use super::crash::KillToken;
use super::report::{Cause, Place};
use super::stalls::Chance;
use super::threads::{NodeId, State, ThreadId, ThreadName, Waiting, Woken};
use super::timers::{Action, Nanos};
use super::{Kernel, current};
use crate::constants::OPERATION_COST;

/// Whether the running thread may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It may.
    Normal,
    /// Its stack is being unwound, by a crash or a panic. Every operation returns at once: a destructor
    /// must not wait for threads that may never run again.
    Unwinding,
}

const OPERATION_NANOS: Nanos = OPERATION_COST.as_nanos() as Nanos;

impl Kernel {
    /// Runs threads until the main thread, `main`, has ended or the run has failed, then destroys
    /// whatever threads are left.
    pub(crate) fn run(&self, main: ThreadId) {
        while !self.over.get() {
            self.fire_due_timers();
            match self.pick() {
                Some(thread) => {
                    self.resume(thread, Resume::Run);
                    if thread == main && self.threads.borrow().get(main).is_none() {
                        self.over.set(true);
                    }
                }
                None => self.advance(),
            }
        }
        self.destroy_all_threads();
    }

    /// Counts one operation of the facade, called by the running thread at `at`. Time moves, and the
    /// thread may be preempted before this returns.
    #[inline]
    pub(crate) fn step(&self, at: &'static Location<'static>) -> Mode {
        self.at.set(at);
        self.now.set(self.now.get() + OPERATION_NANOS);
        self.risk_stall(Chance::Before, at);
        let left = self.until_preempted.get();
        if left > 1 {
            self.until_preempted.set(left - 1);
            return Mode::Normal;
        }
        self.step_slowly()
    }

    #[cold]
    fn step_slowly(&self) -> Mode {
        if self.killed.get() {
            return self.step_while_killed();
        }
        if std::thread::panicking() {
            return Mode::Unwinding;
        }
        self.pulse.beat();
        let interval = self.random.borrow_mut().range(1..u64::from(2 * self.preemption_mean));
        self.until_preempted.set(interval as u32);
        self.steps.set(self.steps.get() + interval);
        if self.steps.get() > self.step_limit {
            self.fail(Cause::StepLimit {
                limit: self.step_limit,
                place: Place::new(self.describe_me(), self.at.get()),
            });
            self.wait_for_the_end();
        }
        if self.now() > self.time_limit {
            self.fail(Cause::TimeLimit { limit: Duration::from_nanos(self.time_limit) });
            self.wait_for_the_end();
        }
        if let Some(priorities) = &self.priorities
            && priorities.is_due(self.steps.get(), self.now(), !self.ready.borrow().is_empty())
        {
            self.fall_behind();
        }
        self.give_way();
        Mode::Normal
    }

    /// The running thread has found nothing to do, and lets all others go first where priorities count.
    pub(crate) fn fall_behind(&self) {
        if let Some(priorities) = &self.priorities {
            priorities.demote(self.me(), &mut self.threads.borrow_mut());
        }
    }

    /// Makes every further operation of the running thread take the slow path, where it is found out
    /// that the thread is unwinding.
    pub(crate) fn note_unwinding(&self) {
        self.until_preempted.set(1);
    }

    /// Lets another thread run if one is ready or a timer is due.
    pub(crate) fn give_way(&self) {
        let due = self.timers.borrow().next_due().is_some_and(|due| due <= self.now());
        if due || !self.ready.borrow().is_empty() {
            let me = self.me();
            self.make_ready(me, self.my_node());
            self.suspend(Yielded::Paused);
        }
    }

    /// Blocks the running thread until it is woken or `deadline` has come.
    ///
    /// The caller must have made sure with [`Kernel::step`] that the thread is not unwinding, and must
    /// have left its id where whoever wakes it will find it.
    pub(crate) fn block(
        &self,
        waiting: Waiting,
        at: &'static Location<'static>,
        deadline: Option<Nanos>,
    ) -> Woken {
        let me = self.me();
        let wait = {
            let mut threads = self.threads.borrow_mut();
            let thread = threads.get_mut(me).expect("the running thread is in the table");
            thread.waits = thread.waits.wrapping_add(1);
            thread.state = State::Blocked { waiting, at, since: self.now() };
            thread.woken = Woken::Notified;
            thread.waits
        };
        if let Some(due) = deadline {
            self.timers.borrow_mut().set(due, Action::Wake { thread: me, wait });
        }
        self.suspend(Yielded::Paused);
        self.threads.borrow().get(me).map_or(Woken::Notified, |thread| thread.woken)
    }

    /// Makes a blocked thread ready. Does nothing when it is not blocked: it may have been woken
    /// already, or killed.
    pub(crate) fn wake(&self, thread: ThreadId) {
        self.end_wait(thread, Woken::Notified, |_| true);
    }

    /// Sets a timer that fires `delay` from now.
    pub(crate) fn after(&self, delay: Nanos, action: impl FnOnce(&Kernel) + 'static) {
        let due = self.now().saturating_add(delay);
        self.timers.borrow_mut().set(due, Action::Run(Box::new(action)));
    }

    /// Starts a thread on `node`.
    pub(crate) fn spawn(&self, node: NodeId, name: ThreadName, body: impl FnOnce() + 'static) -> ThreadId {
        let context = Context::new(&self.stacks, move |door, first| run_thread(door, first, body));
        let thread = self.threads.borrow_mut().insert(node, name, context);
        if let Some(priorities) = &self.priorities {
            self.threads.borrow_mut().get_mut(thread).expect("it was just entered").priority =
                priorities.draw();
        }
        self.recorder.mix(u64::from(thread.serial) << 32 | u64::from(node.0));
        self.make_ready(thread, node);
        thread
    }

    /// Puts a thread that could run among those that may be picked, unless its node is held up.
    pub(super) fn make_ready(&self, thread: ThreadId, node: NodeId) {
        if self.impaired.get() && self.hold_up(thread, node) {
            return;
        }
        self.ready.borrow_mut().push(thread);
    }

    /// Gives up control. Comes back when the thread is resumed; does not when it is killed meanwhile.
    pub(super) fn suspend(&self, why: Yielded) {
        match self.gate.suspend(why) {
            Resume::Run => {}
            Resume::Kill => self.raise_kill(),
        }
    }

    /// Gives up control for good: the run is over, and the thread will be destroyed with the others.
    pub(crate) fn wait_for_the_end(&self) -> ! {
        loop {
            self.suspend(Yielded::Paused);
        }
    }

    /// Resumes a thread and deals with how it comes back. Nests: a thread that is being killed may
    /// resume others of its node to have them unwound first.
    pub(super) fn resume(&self, thread: ThreadId, how: Resume) {
        let taken = {
            let mut threads = self.threads.borrow_mut();
            threads
                .get_mut(thread)
                .and_then(|found| found.context.take().map(|context| (context, found.node)))
        };
        let Some((context, node)) = taken else { return };
        self.recorder.mix(u64::from(thread.serial) ^ self.now() << 20);
        self.switches.set(self.switches.get() + 1);

        self.pulse.beat();
        let outer = self.enter_thread(thread, node, how);
        let outer_stack = self.stack_limit.replace(context.stack_limit());
        let resumed = context.resume(how, &self.stacks);
        self.leave_thread(outer);
        self.stack_limit.set(outer_stack);

        match resumed {
            Resumed::Ended => {
                self.threads.borrow_mut().remove(thread);
            }
            Resumed::Yielded(context, yielded) => self.take_back(thread, context, yielded),
        }
    }

    fn take_back(&self, thread: ThreadId, context: Context, yielded: Yielded) {
        if yielded == Yielded::Abandoned {
            context.abandon();
            self.threads.borrow_mut().remove(thread);
            self.over.set(true);
            return;
        }
        if let Some(found) = self.threads.borrow_mut().get_mut(thread) {
            found.context = Some(context);
        }
        if let Yielded::Crash(node) = yielded {
            self.crash_now(node);
            // The thread that asked goes on at once, unless it crashed itself.
            self.resume(thread, Resume::Run);
        }
    }

    fn enter_thread(&self, thread: ThreadId, node: NodeId, how: Resume) -> Outer {
        let outer = Outer {
            current: self.current.replace(Some(thread)),
            node: self.node.replace(node),
            door: self.gate.close(),
            killed: self.killed.replace(how == Resume::Kill),
            swallowed: self.swallowed.replace(0),
            until_preempted: self.until_preempted.get(),
        };
        if how == Resume::Kill {
            self.note_unwinding();
        }
        outer
    }

    fn leave_thread(&self, outer: Outer) {
        let was_killed = self.killed.replace(outer.killed);
        self.current.set(outer.current);
        self.node.set(outer.node);
        self.gate.restore(outer.door);
        self.swallowed.set(outer.swallowed);
        if was_killed {
            self.until_preempted.set(outer.until_preempted);
        }
    }

    fn fire_due_timers(&self) {
        loop {
            let Some(action) = self.timers.borrow_mut().take_due(self.now()) else { return };
            match action {
                Action::Wake { thread, wait } => {
                    self.end_wait(thread, Woken::TimedOut, |waits| waits == wait)
                }
                Action::Ready(thread) => self.end_hold_up(thread),
                Action::Run(action) => action(self),
            }
        }
    }

    fn end_wait(&self, thread: ThreadId, woken: Woken, applies: impl FnOnce(u32) -> bool) {
        let node = {
            let mut threads = self.threads.borrow_mut();
            let Some(found) = threads.get_mut(thread) else { return };
            if !matches!(found.state, State::Blocked { .. }) || !applies(found.waits) {
                return;
            }
            found.state = State::Ready;
            found.woken = woken;
            found.node
        };
        self.make_ready(thread, node);
    }

    fn pick(&self) -> Option<ThreadId> {
        let mut ready = self.ready.borrow_mut();
        let place = match (ready.len(), &self.priorities) {
            (0, _) => return None,
            (_, Some(priorities)) => priorities.pick(&ready, &self.threads.borrow(), self.now()),
            (1, None) => 0,
            (many, None) => self.random.borrow_mut().below(many as u64) as usize,
        };
        Some(ready.swap_remove(place))
    }

    /// Moves time to the next timer that still means something. Without one, nothing can ever happen
    /// again: a deadlock.
    fn advance(&self) {
        let next = {
            let threads = self.threads.borrow();
            let is_stale = |action: &Action| match action {
                Action::Wake { thread, wait } => threads.get(*thread).is_none_or(|found| {
                    found.waits != *wait || !matches!(found.state, State::Blocked { .. })
                }),
                Action::Ready(_) | Action::Run(_) => false,
            };
            let mut timers = self.timers.borrow_mut();
            timers.drop_stale(is_stale);
            timers.next_due()
        };
        match next {
            None => self.fail(self.deadlock()),
            Some(due) if due > self.time_limit => {
                self.fail(Cause::TimeLimit { limit: Duration::from_nanos(self.time_limit) })
            }
            Some(due) => self.now.set(self.now().max(due)),
        }
    }
}

/// The state of whoever resumed a thread, put back when control returns.
struct Outer {
    current: Option<ThreadId>,
    node: NodeId,
    door: Option<Door>,
    killed: bool,
    swallowed: u32,
    until_preempted: u32,
}

/// The bottom of every simulated thread's stack.
fn run_thread(door: Door, first: Resume, body: impl FnOnce()) {
    let kernel = current().expect("a simulated thread runs inside its simulation");
    kernel.gate.open(door);
    if first == Resume::Kill {
        // Killed before it ever ran: only what the closure owns has to be dropped.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(body)));
        return;
    }
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(body))
        && !payload.is::<KillToken>()
    {
        kernel.fail_by_panic(payload.as_ref());
    }
}

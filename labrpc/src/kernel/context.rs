//! The thin layer over the coroutine library: making, resuming, suspending and recycling a stack.
//!
//! Kit-owned. One of the two files of the kit with `unsafe` code. The scheduler knows simulated threads
//! only through this file, so that another way to run them (OS threads that pass a baton, say) needs no
//! change elsewhere.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::mem;

use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use parking_lot::Mutex;

use super::threads::NodeId;
use crate::constants::STACK_BYTES;

/// What a resumed thread is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Go on.
    Run,
    /// The thread's node has crashed, or the simulation is over: unwind.
    Kill,
}

/// Why a thread gave up control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yielded {
    /// It waits, or was preempted.
    Paused,
    /// It asks the scheduler to crash a node, possibly its own.
    Crash(NodeId),
    /// It can neither go on nor unwind; its stack is to be leaked and the run ended.
    Abandoned,
}

/// The suspended half of a simulated thread: its stack and where it stands on it.
pub(crate) struct Context {
    coroutine: Coroutine<Resume, Yielded, (), DefaultStack>,
    limit: usize,
}

/// How [`Context::resume`] came back.
pub(crate) enum Resumed {
    /// The thread gave up control and can be resumed again.
    Yielded(Context, Yielded),
    /// The thread ran to its end; its stack is back in the pool.
    Ended,
}

/// Where a running thread leaves its stack; valid on that stack alone, while it runs.
#[derive(Clone, Copy)]
pub(crate) struct Door(*const Yielder<Resume, Yielded>);

/// The door of the thread that is running now, if one is.
pub(crate) struct Gate(Cell<Option<Door>>);

impl Context {
    /// A thread that will run `body` on a stack from `pool`. The body is told its door, and how it was
    /// first resumed.
    pub(crate) fn new(pool: &StackPool, body: impl FnOnce(Door, Resume) + 'static) -> Context {
        let stack = pool.take();
        let limit = stack.limit().get();
        let coroutine = Coroutine::with_stack(stack, move |yielder, first| body(Door(yielder), first));
        Context { coroutine, limit }
    }

    /// Runs the thread until it gives up control.
    pub(crate) fn resume(mut self, how: Resume, pool: &StackPool) -> Resumed {
        match self.coroutine.resume(how) {
            CoroutineResult::Yield(yielded) => Resumed::Yielded(self, yielded),
            CoroutineResult::Return(()) => {
                pool.give_back(self.coroutine.into_stack());
                Resumed::Ended
            }
        }
    }

    /// The lowest address of the thread's stack.
    pub(crate) fn stack_limit(&self) -> usize {
        self.limit
    }

    /// Leaks the thread: its stack stays allocated and nothing on it is dropped.
    ///
    /// Dropping the coroutine instead would unwind it, which is what an abandoned thread cannot do.
    pub(crate) fn abandon(self) {
        mem::forget(self);
    }
}

impl Gate {
    pub(crate) fn closed() -> Gate {
        Gate(Cell::new(None))
    }

    /// Called by a thread that has just begun to run, with its own door.
    pub(crate) fn open(&self, door: Door) {
        self.0.set(Some(door));
    }

    /// Called by the scheduler around every resume: closes the gate, and returns the door of the thread
    /// that asked for the resume, if a thread did.
    pub(crate) fn close(&self) -> Option<Door> {
        self.0.take()
    }

    /// Undoes [`Gate::close`] once control is back.
    pub(crate) fn restore(&self, door: Option<Door>) {
        self.0.set(door);
    }

    /// True while no simulated thread is running.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.get().is_none()
    }

    /// Suspends the running thread, and opens the gate for it again when it is resumed.
    ///
    /// # Panics
    ///
    /// When no simulated thread is running, that is, when the kernel itself tries to wait.
    pub(crate) fn suspend(&self, why: Yielded) -> Resume {
        let door = self.0.get().expect("only a simulated thread can wait");
        // SAFETY: the gate holds a door only while the thread it belongs to runs: that thread opens it
        // (here or when it begins), and the scheduler closes it before it resumes another and takes it
        // back afterwards. So this code runs on the door's own stack, at whose bottom its yielder lives.
        let resume = unsafe { (*door.0).suspend(why) };
        self.open(door);
        resume
    }
}

/// Stacks for reuse. Mapping a fresh one costs thirty times as much as all the rest of a spawn.
pub(crate) struct StackPool(RefCell<Vec<DefaultStack>>);

/// Stacks that no simulation is using. A simulation takes all of them when it starts.
static IDLE_STACKS: Mutex<Vec<DefaultStack>> = Mutex::new(Vec::new());

/// More idle stacks than this are unmapped: 512 stacks of which a few pages each were touched.
const IDLE_STACKS_MAX: usize = 512;

impl StackPool {
    /// The pool of a new simulation: whatever stacks earlier simulations left.
    pub(crate) fn new() -> StackPool {
        StackPool(RefCell::new(mem::take(&mut *IDLE_STACKS.lock())))
    }

    fn take(&self) -> DefaultStack {
        let pooled = self.0.borrow_mut().pop();
        pooled.unwrap_or_else(|| {
            DefaultStack::new(STACK_BYTES)
                .expect("the operating system has no memory for another thread's stack")
        })
    }

    fn give_back(&self, stack: DefaultStack) {
        self.0.borrow_mut().push(stack);
    }
}

impl Drop for StackPool {
    fn drop(&mut self) {
        let mut idle = IDLE_STACKS.lock();
        idle.append(self.0.get_mut());
        idle.truncate(IDLE_STACKS_MAX);
    }
}

//! The simulated threads that wait for one lock, condition variable or channel.
//!
//! Kit-owned.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kernel::{Kernel, Nanos, ThreadId, Waiting, Woken};

/// A queue of waiting threads. Empty, and never looked at, outside a simulation.
#[derive(Debug)]
pub(crate) struct WaitQueue {
    /// Whether `threads` has any, readable without locking it.
    occupied: AtomicBool,
    threads: parking_lot::Mutex<Vec<ThreadId>>,
}

impl WaitQueue {
    pub(crate) const fn new() -> WaitQueue {
        WaitQueue { occupied: AtomicBool::new(false), threads: parking_lot::Mutex::new(Vec::new()) }
    }

    #[inline]
    pub(crate) fn is_occupied(&self) -> bool {
        self.occupied.load(Ordering::Relaxed)
    }

    /// Waits until woken through this queue, or until `deadline`.
    pub(crate) fn wait(
        &self,
        kernel: &Kernel,
        waiting: Waiting,
        at: &'static Location<'static>,
        deadline: Option<Nanos>,
    ) -> Woken {
        let _place = self.join(kernel.me());
        kernel.block(waiting, at, deadline)
    }

    /// Enters a thread, until the place it gets is dropped. Used by threads that wait in several queues.
    pub(crate) fn join(&self, thread: ThreadId) -> PlaceInQueue<'_> {
        self.threads.lock().push(thread);
        self.occupied.store(true, Ordering::Relaxed);
        PlaceInQueue { queue: self, thread }
    }

    /// Wakes every thread in the queue.
    pub(crate) fn wake_all(&self, kernel: &Kernel) {
        if self.is_occupied() {
            self.occupied.store(false, Ordering::Relaxed);
            self.threads.lock().drain(..).for_each(|thread| kernel.wake(thread));
        }
    }

    /// Wakes one thread of the queue, chosen at random.
    pub(crate) fn wake_one(&self, kernel: &Kernel) {
        let chosen = {
            let mut threads = self.threads.lock();
            if threads.is_empty() {
                return;
            }
            let index = kernel.choose(threads.len());
            let chosen = threads.remove(index);
            self.occupied.store(!threads.is_empty(), Ordering::Relaxed);
            chosen
        };
        kernel.wake(chosen);
    }
}

/// A thread's place in a queue. It leaves the queue when dropped, if it has not been woken: by time-out,
/// or because its node crashed.
pub(crate) struct PlaceInQueue<'a> {
    queue: &'a WaitQueue,
    thread: ThreadId,
}

impl Drop for PlaceInQueue<'_> {
    fn drop(&mut self) {
        if !self.queue.is_occupied() {
            return;
        }
        let mut threads = self.queue.threads.lock();
        if let Some(index) = threads.iter().position(|&thread| thread == self.thread) {
            threads.remove(index);
            self.queue.occupied.store(!threads.is_empty(), Ordering::Relaxed);
        }
    }
}

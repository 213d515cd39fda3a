//! Condition variables.
//!
//! Kit-owned.

use std::panic::Location;
use std::time::Duration;

use super::{MutexGuard, WaitQueue};
use crate::kernel::{self, Kernel, Mode, Nanos, Waiting, Woken};
use crate::time::Instant;

/// Lets threads wait for a change of what a [`super::Mutex`] guards.
///
/// Always test the condition in a loop, or use [`Condvar::wait_while`]: between the notification and
/// the moment the lock is taken again, others may have changed it back.
#[derive(Debug, Default)]
pub struct Condvar {
    waiters: WaitQueue,
    real: parking_lot::Condvar,
}

/// Whether a wait with a limit ended because the limit passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// True when nobody notified the thread in time.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Default for WaitQueue {
    fn default() -> WaitQueue {
        WaitQueue::new()
    }
}

impl Condvar {
    /// A condition variable nobody waits on.
    pub const fn new() -> Condvar {
        Condvar { waiters: WaitQueue::new(), real: parking_lot::Condvar::new() }
    }

    /// Releases the lock, waits to be notified, and takes the lock again.
    #[track_caller]
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        match kernel::current() {
            None => self.real.wait(guard.inner_mut()),
            Some(kernel) => {
                self.wait_simulated(&kernel, guard, Location::caller(), None);
            }
        }
    }

    /// Waits as [`Condvar::wait`] does, but no longer than `limit`.
    #[track_caller]
    pub fn wait_for<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, limit: Duration) -> WaitTimeoutResult {
        match kernel::current() {
            None => WaitTimeoutResult(self.real.wait_for(guard.inner_mut(), limit).timed_out()),
            Some(kernel) => {
                let deadline = kernel.deadline(limit);
                self.wait_simulated(&kernel, guard, Location::caller(), Some(deadline))
            }
        }
    }

    /// Waits as [`Condvar::wait`] does, but not beyond `deadline`.
    #[track_caller]
    pub fn wait_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        self.wait_for(guard, deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits until `condition` is false.
    #[track_caller]
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(guard) {
            self.wait(guard);
        }
    }

    /// Waits until `condition` is false, but no longer than `limit`.
    #[track_caller]
    pub fn wait_while_for<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
        limit: Duration,
    ) -> WaitTimeoutResult {
        let deadline = Instant::now() + limit;
        while condition(guard) {
            if self.wait_until(guard, deadline).timed_out() {
                return WaitTimeoutResult(condition(guard));
            }
        }
        WaitTimeoutResult(false)
    }

    /// Wakes one of the waiting threads, if there is one. Which one is left to chance.
    ///
    /// When that thread's node crashes before it runs, the notification is lost with it.
    #[track_caller]
    pub fn notify_one(&self) {
        match kernel::current() {
            None => {
                self.real.notify_one();
            }
            Some(kernel) => {
                kernel.step(Location::caller());
                self.waiters.wake_one(&kernel);
            }
        }
    }

    /// Wakes all waiting threads.
    #[track_caller]
    pub fn notify_all(&self) {
        match kernel::current() {
            None => {
                self.real.notify_all();
            }
            Some(kernel) => {
                kernel.step(Location::caller());
                self.waiters.wake_all(&kernel);
            }
        }
    }

    fn wait_simulated<T: ?Sized>(
        &self,
        kernel: &Kernel,
        guard: &mut MutexGuard<'_, T>,
        at: &'static Location<'static>,
        deadline: Option<Nanos>,
    ) -> WaitTimeoutResult {
        if kernel.step(at) == Mode::Unwinding {
            return WaitTimeoutResult(true);
        }
        let mut woken = Woken::Notified;
        // The thread is in the queue before the lock is free, so no notification can be missed.
        let place = self.waiters.join(kernel.me());
        guard.released(kernel, at, || {
            woken = kernel.block(Waiting::Condvar, at, deadline);
            drop(place);
        });
        WaitTimeoutResult(woken == Woken::TimedOut)
    }
}

//! A lock for many readers or one writer.
//!
//! Kit-owned.

use std::fmt::{self, Debug};
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use super::WaitQueue;
use crate::kernel::{self, Chance, Holder, Kernel, Mode, ThreadId, Waiting};

/// A lock around a value; any number of threads may read it, or one may write it.
///
/// Not re-entrant in any combination. Outside a simulation a waiting writer may keep new readers out.
pub struct RwLock<T: ?Sized> {
    waiters: WaitQueue,
    /// Everyone who has the lock, in a simulation.
    holders: parking_lot::Mutex<Vec<Holder>>,
    inner: parking_lot::RwLock<T>,
}

/// Shared access to the value of an [`RwLock`], until dropped.
#[must_use = "a lock is released when its guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    inner: parking_lot::RwLockReadGuard<'a, T>,
    _hold: Hold<'a>,
}

/// Exclusive access to the value of an [`RwLock`], until dropped.
#[must_use = "a lock is released when its guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    inner: parking_lot::RwLockWriteGuard<'a, T>,
    _hold: Hold<'a>,
}

/// One thread's hold of the lock. It stands after the real guard in the guards above, so it is dropped
/// after it, and lets waiting threads try.
struct Hold<'a> {
    holders: &'a parking_lot::Mutex<Vec<Holder>>,
    waiters: &'a WaitQueue,
    thread: Option<ThreadId>,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let Some(mine) = self.thread else { return };
        let mut holders = self.holders.lock();
        let place = holders.iter().position(|holder| holder.thread == mine);
        let hold = place.map(|place| holders.remove(place));
        drop(holders);
        let Some(kernel) = kernel::current() else { return };
        self.waiters.wake_all(&kernel);
        if let Some(hold) = hold {
            kernel.risk_stall(Chance::Unlocked, hold.at);
        }
    }
}

impl<T> RwLock<T> {
    /// A lock around `value`, free.
    pub const fn new(value: T) -> RwLock<T> {
        RwLock {
            waiters: WaitQueue::new(),
            holders: parking_lot::Mutex::new(Vec::new()),
            inner: parking_lot::RwLock::new(value),
        }
    }

    /// The value, when nobody can share it any more.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody writes, and reads.
    #[track_caller]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        let at = Location::caller();
        let (inner, hold) = match kernel::current() {
            None => (self.inner.read(), self.hold(None, at)),
            Some(kernel) => {
                let inner = self.acquire(&kernel, at, || self.inner.try_read());
                (inner, self.hold(Some(kernel.me()), at))
            }
        };
        RwLockReadGuard { inner, _hold: hold }
    }

    /// Waits until nobody reads or writes, and writes.
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        let at = Location::caller();
        let (inner, hold) = match kernel::current() {
            None => (self.inner.write(), self.hold(None, at)),
            Some(kernel) => {
                let inner = self.acquire(&kernel, at, || self.inner.try_write());
                (inner, self.hold(Some(kernel.me()), at))
            }
        };
        RwLockWriteGuard { inner, _hold: hold }
    }

    /// The value, when nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    fn acquire<G>(
        &self,
        kernel: &Kernel,
        at: &'static Location<'static>,
        try_acquire: impl Fn() -> Option<G>,
    ) -> G {
        let mode = kernel.step(at);
        loop {
            if let Some(guard) = try_acquire() {
                return guard;
            }
            let holders = self.holders.lock().clone();
            if mode == Mode::Unwinding {
                kernel.clear_the_way(holders.first().copied(), at);
                continue;
            }
            kernel.check_for_circle(&holders, at);
            let holder = holders.first().copied();
            self.waiters.wait(kernel, Waiting::Lock { holder }, at, None);
        }
    }

    fn hold(&self, thread: Option<ThreadId>, at: &'static Location<'static>) -> Hold<'_> {
        if let Some(thread) = thread {
            self.holders.lock().push(Holder { thread, at });
        }
        Hold { holders: &self.holders, waiters: &self.waiters, thread }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T: Debug + ?Sized> Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

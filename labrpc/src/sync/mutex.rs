//! Mutual exclusion.
//!
//! Kit-owned.

use std::fmt::{self, Debug};
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::atomic::AtomicCell;

use super::WaitQueue;
use crate::kernel::{self, Chance, Holder, Kernel, Mode, ThreadId, Waiting};

/// A lock around a value; one thread at a time has it.
///
/// Not re-entrant: a thread that locks it twice waits for itself, which a simulation reports at once.
/// A crash of the node releases it.
pub struct Mutex<T: ?Sized> {
    waiters: WaitQueue,
    holder: HolderCell,
    inner: parking_lot::Mutex<T>,
}

/// Access to the value of a [`Mutex`], until dropped.
#[must_use = "a lock is released when its guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// `None` only while a condition variable waits with the lock released.
    inner: Option<parking_lot::MutexGuard<'a, T>>,
}

/// Who took a lock last, and where. It means something only while the lock is taken.
struct HolderCell {
    thread: AtomicU64,
    at: AtomicCell<Option<&'static Location<'static>>>,
}

impl HolderCell {
    const fn new() -> HolderCell {
        HolderCell { thread: AtomicU64::new(0), at: AtomicCell::new(None) }
    }

    #[inline]
    fn set(&self, thread: ThreadId, at: &'static Location<'static>) {
        self.thread.store(thread.to_bits(), Ordering::Relaxed);
        self.at.store(Some(at));
    }

    fn get(&self) -> Option<Holder> {
        let thread = ThreadId::from_bits(self.thread.load(Ordering::Relaxed))?;
        Some(Holder { thread, at: self.at.load()? })
    }
}

impl<T> Mutex<T> {
    /// A mutex around `value`, unlocked.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { waiters: WaitQueue::new(), holder: HolderCell::new(), inner: parking_lot::Mutex::new(value) }
    }

    /// The value, when nobody can share it any more.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the lock is free and takes it.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let at = Location::caller();
        let inner = match kernel::current() {
            None => self.inner.lock(),
            Some(kernel) => {
                let mode = kernel.step(at);
                match self.inner.try_lock() {
                    Some(inner) => {
                        self.holder.set(kernel.me(), at);
                        inner
                    }
                    None => self.lock_contended(&kernel, mode, at),
                }
            }
        };
        MutexGuard { mutex: self, inner: Some(inner) }
    }

    /// Takes the lock if it is free now.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let at = Location::caller();
        let inner = match kernel::current() {
            None => self.inner.try_lock(),
            Some(kernel) => {
                kernel.step(at);
                let inner = self.inner.try_lock();
                match inner {
                    Some(_) => self.holder.set(kernel.me(), at),
                    None => kernel.fall_behind(),
                }
                inner
            }
        };
        inner.map(|inner| MutexGuard { mutex: self, inner: Some(inner) })
    }

    /// The value, when nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    #[cold]
    fn lock_contended<'a>(
        &'a self,
        kernel: &Kernel,
        mode: Mode,
        at: &'static Location<'static>,
    ) -> parking_lot::MutexGuard<'a, T> {
        loop {
            if let Some(inner) = self.inner.try_lock() {
                self.holder.set(kernel.me(), at);
                return inner;
            }
            let holder = self.holder.get();
            if mode == Mode::Unwinding {
                kernel.clear_the_way(holder, at);
                continue;
            }
            if let Some(holder) = holder {
                kernel.check_for_circle(&[holder], at);
            }
            self.waiters.wait(kernel, Waiting::Lock { holder }, at, None);
        }
    }

    fn wake_waiters(&self) {
        if self.waiters.is_occupied()
            && let Some(kernel) = kernel::current()
        {
            self.waiters.wake_all(&kernel);
        }
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Releases the lock for the time of `wait`, which blocks the running simulated thread.
    pub(super) fn released(&mut self, kernel: &Kernel, at: &'static Location<'static>, wait: impl FnOnce()) {
        self.inner = None;
        self.mutex.wake_waiters();
        wait();
        kernel.risk_stall(Chance::Woken, at);
        self.inner = Some(self.mutex.lock_contended(kernel, Mode::Normal, at));
    }

    /// The guard beneath, for waiting on a real condition variable.
    pub(super) fn inner_mut(&mut self) -> &mut parking_lot::MutexGuard<'a, T> {
        self.inner.as_mut().expect("the lock is held while its guard is in use")
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let stalling = kernel::current().filter(|kernel| kernel.is_stalling());
        // Once it is free, another thread may take it and note another place.
        let taken_at = stalling.and_then(|_| self.mutex.holder.at.load());
        self.inner = None;
        self.mutex.wake_waiters();
        if let (Some(kernel), Some(taken_at)) = (stalling, taken_at) {
            kernel.risk_stall(Chance::Unlocked, taken_at);
        }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.inner.as_ref().expect("the lock is held while its guard is in use")
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("the lock is held while its guard is in use")
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: Debug + ?Sized> Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: Debug + ?Sized> Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

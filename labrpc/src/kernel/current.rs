//! Which simulation, if any, the present OS thread is running.
//!
//! Kit-owned. One of the two files of the kit with `unsafe` code: the facade must find its kernel
//! within about a nanosecond, at every lock and every send, without counting references.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use super::Kernel;

thread_local! {
    static CURRENT: Cell<*const Kernel> = const { Cell::new(ptr::null()) };
}

/// A reference to the kernel that runs the present OS thread.
///
/// It cannot leave that OS thread, and the crate never keeps one beyond the call that fetched it.
#[derive(Clone, Copy)]
pub(crate) struct KernelRef(NonNull<Kernel>);

impl Deref for KernelRef {
    type Target = Kernel;

    #[inline]
    fn deref(&self) -> &Kernel {
        // SAFETY: `CURRENT` is only ever set by `Entered`, which borrows the kernel for as long as the
        // pointer stands there. Code that holds a `KernelRef` runs on a coroutine that this kernel
        // resumed, or inside the kernel itself, so the kernel is alive while that code runs; a
        // coroutine that is abandoned is never resumed. `NonNull` keeps the type on its OS thread.
        unsafe { self.0.as_ref() }
    }
}

/// The kernel of the simulation this OS thread is running; `None` outside a simulation.
#[inline]
pub(crate) fn current() -> Option<KernelRef> {
    CURRENT.with(|current| NonNull::new(current.get().cast_mut())).map(KernelRef)
}

/// Makes a kernel the current one of this OS thread until dropped.
pub(crate) struct Entered<'a> {
    _kernel: &'a Kernel,
}

impl<'a> Entered<'a> {
    /// # Panics
    ///
    /// When this OS thread is running a simulation already.
    pub(crate) fn new(kernel: &'a Kernel) -> Entered<'a> {
        assert!(current().is_none(), "a simulation cannot be started inside a simulation");
        CURRENT.with(|current| current.set(kernel));
        Entered { _kernel: kernel }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.with(|current| current.set(ptr::null()));
    }
}

//! What the operating system would tell code in a simulation, and what it is told instead.
//!
//! Kit-owned; Linux only. One of the files of the kit with `unsafe` code: it defines functions of the C
//! library itself, which std then calls. Outside of a simulation they pass everything on.
//!
//! - `getrandom`: random bytes that the seed decides, so the order of a std `HashMap` does too.
//! - `clock_gettime`: the node's virtual time, so std's clocks show that.
//! - `pthread_create`: a real thread would run outside of the simulation; the run is failed.
//!
//! Elsewhere these things are not hidden from the code, and a run that depends on them is found out when
//! it is repeated.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::{KernelRef, current};

/// The simulation whose code is calling, if that is what is running: the kit's own calls are not meant.
fn simulation() -> Option<KernelRef> {
    current().filter(|kernel| !kernel.gate.is_closed())
}

/// # Safety
///
/// As for the function of this name in the C library: `buffer` is valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    match simulation() {
        // SAFETY: the caller vouches for the buffer.
        None => unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize },
        Some(kernel) => {
            // SAFETY: the caller vouches for the buffer.
            let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
            kernel.fill_random(bytes);
            length as isize
        }
    }
}

/// # Safety
///
/// As for the function of this name in the C library: `time` is valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let shown = matches!(clock, libc::CLOCK_MONOTONIC | libc::CLOCK_REALTIME | libc::CLOCK_BOOTTIME);
    match simulation().filter(|_| shown) {
        // SAFETY: the caller vouches for `time`.
        None => unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int },
        Some(kernel) => {
            let now = std::time::Duration::from_nanos(kernel.local_now());
            // SAFETY: the caller vouches for `time`.
            unsafe {
                time.write(libc::timespec {
                    tv_sec: now.as_secs() as libc::time_t,
                    tv_nsec: libc::c_long::from(now.subsec_nanos()),
                });
            }
            0
        }
    }
}

type PthreadCreate = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    extern "C" fn(*mut c_void) -> *mut c_void,
    *mut c_void,
) -> c_int;

/// # Safety
///
/// As for the function of this name in the C library, to which everything is passed on.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> c_int {
    if let Some(kernel) = simulation() {
        kernel.note_real_thread();
        // std turns this into an error, or a panic in the code that asked for the thread.
        return libc::EAGAIN;
    }
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
    let mut real = REAL.load(Ordering::Relaxed);
    if real.is_null() {
        // SAFETY: the name ends in a zero byte.
        real = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) };
        assert!(!real.is_null(), "the C library has no pthread_create");
        REAL.store(real, Ordering::Relaxed);
    }
    // SAFETY: the pointer is that of the C library's function, which has this signature.
    let create = unsafe { std::mem::transmute::<*mut c_void, PthreadCreate>(real) };
    // SAFETY: the caller vouches for the arguments.
    unsafe { create(thread, attributes, start, argument) }
}

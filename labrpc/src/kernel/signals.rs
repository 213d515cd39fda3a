//! Signals: how a stuck simulation is asked where it is, and how a stack overflow gets a name.
//!
//! Kit-owned; Linux only. One of the files of the kit with `unsafe` code. The handlers do what a signal
//! handler should not, such as allocate: the process is about to end, and the watchdog ends it if a
//! handler does not get through.

#![allow(unsafe_code)]

use std::backtrace::Backtrace;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::OnceLock;

use super::report::{Cause, Place, tidy};
use super::watchdog::{Fatal, Suspicion, end_process};
use super::{Kernel, current};
use crate::constants::STACK_BYTES;
use crate::kernel::report::Failure;

/// Asks a simulation's thread to report on itself.
const ASK: libc::c_int = libc::SIGUSR2;

/// Room for the handler of a stack overflow, which has to find names for addresses.
const HANDLER_STACK_BYTES: usize = 512 * 1024;

/// What handled memory faults before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// An OS thread that another thread can interrupt.
#[derive(Debug)]
pub(super) struct OsThread {
    id: libc::pid_t,
    handle: libc::pthread_t,
}

impl OsThread {
    pub(super) fn current() -> OsThread {
        // SAFETY: both only ask who is calling.
        unsafe { OsThread { id: libc::gettid(), handle: libc::pthread_self() } }
    }

    pub(super) fn id(&self) -> i32 {
        self.id
    }

    pub(super) fn interrupt(&self) {
        // SAFETY: the thread runs a simulation that is being watched, and it ends only after that.
        unsafe { libc::pthread_kill(self.handle, ASK) };
    }
}

/// Installs the handlers for the whole process.
pub(super) fn install() {
    // SAFETY: the actions are filled in completely, and the handlers are functions of the signature that
    // SA_SIGINFO asks for.
    unsafe {
        let mut ask: libc::sigaction = mem::zeroed();
        ask.sa_sigaction = on_ask as *const () as usize;
        ask.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigaction(ASK, &ask, ptr::null_mut());

        let mut fault: libc::sigaction = mem::zeroed();
        fault.sa_sigaction = on_fault as *const () as usize;
        fault.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        if libc::sigaction(libc::SIGSEGV, &fault, previous.as_mut_ptr()) == 0 {
            let _ = PREVIOUS.set(previous.assume_init());
        }
    }
}

/// A stack for handlers of the present OS thread, until dropped.
pub(crate) struct HandlerStack {
    _memory: Vec<u8>,
    previous: libc::stack_t,
}

impl HandlerStack {
    pub(crate) fn new() -> HandlerStack {
        let mut memory = vec![0_u8; HANDLER_STACK_BYTES];
        let stack =
            libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: HANDLER_STACK_BYTES };
        // SAFETY: the memory lives as long as this value, which puts the previous stack back before that
        // ends, on the same thread.
        let previous = unsafe {
            let mut previous = MaybeUninit::<libc::stack_t>::zeroed();
            libc::sigaltstack(&stack, previous.as_mut_ptr());
            previous.assume_init()
        };
        HandlerStack { _memory: memory, previous }
    }
}

impl Drop for HandlerStack {
    fn drop(&mut self) {
        // SAFETY: the previous stack was this thread's before and is still there.
        unsafe { libc::sigaltstack(&self.previous, ptr::null_mut()) };
    }
}

/// Runs on the stuck thread's own stack, wherever it is.
extern "C" fn on_ask(_signal: libc::c_int, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let Some(kernel) = current() else { return };
    let Some(suspicion) = kernel.pulse.suspicion() else { return };
    let blocked = suspicion == Suspicion::Blocked;
    kernel.report_fatal(|place| Cause::Stuck { place, blocked, frames: students_frames() });
}

/// Runs on the handler stack.
extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the operating system passes a valid `info` for this signal.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some(kernel) = current()
        && kernel.is_in_guard(address)
    {
        let kib = STACK_BYTES / 1024;
        kernel.report_fatal(|place| Cause::StackOverflow { place, kib, frames: students_frames() });
    }
    // Somebody else's fault: let whoever handled it before do so, as if this handler were not there.
    if let Some(previous) = PREVIOUS.get() {
        // SAFETY: `previous` is what sigaction itself returned. Returning from here repeats the faulting
        // instruction, which then meets that handler.
        unsafe { libc::sigaction(signal, previous, ptr::null_mut()) };
    }
}

impl Kernel {
    /// Ends the process with a report on the running thread.
    fn report_fatal(&self, cause: impl FnOnce(Place) -> Cause) -> ! {
        let thread = if self.gate.is_closed() { "the kit".into() } else { self.describe_me() };
        let place = Place::new(thread, self.at.get());
        let failure = Failure { at: std::time::Duration::from_nanos(self.now()), cause: cause(place) };
        end_process(&Fatal { label: self.pulse.label().into(), failure });
    }
}

/// Where the present thread is in code that is neither the kit's nor a library's, the innermost place
/// first.
pub(super) fn students_frames() -> Vec<String> {
    const SHOWN: usize = 3;
    let trace = Backtrace::force_capture().to_string();
    let places = trace.lines().filter_map(|line| line.trim().strip_prefix("at "));
    let own = places.map(|place| tidy(place.strip_prefix("./").unwrap_or(place))).filter(|place| {
        // The last is this crate's own files, seen from its own folder.
        let others = place.starts_with("/rustc/") || place.contains("/.cargo/registry/");
        place.contains(".rs:") && !others && !place.contains("labrpc/src/") && !place.starts_with("src/")
    });
    let mut frames: Vec<String> = Vec::new();
    for place in own {
        if frames.last() != Some(&place) {
            frames.push(place);
        }
        if frames.len() == SHOWN {
            break;
        }
    }
    frames
}

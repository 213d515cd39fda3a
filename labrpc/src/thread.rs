//! Threads.
//!
//! Kit-owned; this is what students use instead of `std::thread`. Inside a simulation a thread belongs
//! to the node whose code spawned it and is destroyed when that node crashes; outside, it is one of
//! std's.

use std::any::Any;
use std::fmt::{self, Debug};
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::{self, Kernel, Mode, ThreadName, Waiting};
use crate::sync::WaitQueue;

/// Starts a thread. It runs until `body` returns, whether or not the handle is kept.
///
/// # Panics
///
/// Outside a simulation, when the operating system cannot start one more thread.
#[track_caller]
pub fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let at = Location::caller();
    match kernel::current() {
        None => JoinHandle(Kind::Real(std::thread::spawn(body))),
        Some(kernel) => spawn_simulated(&kernel, ThreadName::SpawnedAt(at), body, at),
    }
}

/// Starts threads with a name, which reports and traces show.
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<String>,
}

impl Builder {
    /// A thread without a name, so far.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the thread.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Starts the thread, as [`spawn`] does.
    ///
    /// # Errors
    ///
    /// Outside a simulation, when the operating system cannot start one more thread.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let at = Location::caller();
        match (kernel::current(), self.name) {
            (None, None) => {
                std::thread::Builder::new().spawn(body).map(|handle| JoinHandle(Kind::Real(handle)))
            }
            (None, Some(name)) => std::thread::Builder::new()
                .name(name)
                .spawn(body)
                .map(|handle| JoinHandle(Kind::Real(handle))),
            (Some(kernel), None) => Ok(spawn_simulated(&kernel, ThreadName::SpawnedAt(at), body, at)),
            (Some(kernel), Some(name)) => {
                Ok(spawn_simulated(&kernel, ThreadName::Given(name.into()), body, at))
            }
        }
    }
}

/// Waits for `span` of the node's time.
#[track_caller]
pub fn sleep(span: Duration) {
    match kernel::current() {
        None => std::thread::sleep(span),
        Some(kernel) => {
            let at = Location::caller();
            if kernel.step(at) == Mode::Normal {
                let deadline = kernel.deadline(span);
                kernel.block(Waiting::Sleep, at, Some(deadline));
            }
        }
    }
}

/// Lets other threads run, if any can.
#[track_caller]
pub fn yield_now() {
    match kernel::current() {
        None => std::thread::yield_now(),
        Some(kernel) => {
            if kernel.step(Location::caller()) == Mode::Normal {
                kernel.fall_behind();
                kernel.give_way();
            }
        }
    }
}

/// A thread that was started, to be waited for.
pub struct JoinHandle<T>(Kind<T>);

enum Kind<T> {
    Real(std::thread::JoinHandle<T>),
    Simulated(Arc<Packet<T>>),
}

/// What a simulated thread leaves to whoever joins it.
struct Packet<T> {
    result: parking_lot::Mutex<Ending<T>>,
    joiners: WaitQueue,
}

enum Ending<T> {
    Running,
    Returned(T),
    Destroyed,
}

impl<T> JoinHandle<T> {
    /// Waits for the thread to end, and returns what it returned.
    ///
    /// # Errors
    ///
    /// Outside a simulation when the thread panicked. Inside one a panic fails the whole run, so this
    /// fails only where the thread's node crashed, or the caller itself is being unwound.
    #[track_caller]
    pub fn join(self) -> std::thread::Result<T> {
        let packet = match self.0 {
            Kind::Real(handle) => return handle.join(),
            Kind::Simulated(packet) => packet,
        };
        let kernel = kernel::current().expect("a simulated thread can only be joined in its simulation");
        let at = Location::caller();
        let mode = kernel.step(at);
        loop {
            match std::mem::replace(&mut *packet.result.lock(), Ending::Destroyed) {
                Ending::Returned(value) => return Ok(value),
                Ending::Destroyed => return Err(destroyed()),
                Ending::Running => {}
            }
            *packet.result.lock() = Ending::Running;
            if mode == Mode::Unwinding {
                return Err(destroyed());
            }
            packet.joiners.wait(&kernel, Waiting::Join, at, None);
        }
    }

    /// True when the thread has ended.
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            Kind::Real(handle) => handle.is_finished(),
            Kind::Simulated(packet) => !matches!(*packet.result.lock(), Ending::Running),
        }
    }
}

impl<T> Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinHandle { .. }")
    }
}

fn destroyed() -> Box<dyn Any + Send> {
    Box::new("the thread was destroyed when its node crashed")
}

fn spawn_simulated<T: Send + 'static>(
    kernel: &Kernel,
    name: ThreadName,
    body: impl FnOnce() -> T + Send + 'static,
    at: &'static Location<'static>,
) -> JoinHandle<T> {
    let packet =
        Arc::new(Packet { result: parking_lot::Mutex::new(Ending::Running), joiners: WaitQueue::new() });
    let handle = JoinHandle(Kind::Simulated(packet.clone()));
    if kernel.step(at) == Mode::Unwinding {
        // A destructor that runs during a crash cannot start anything that outlives it.
        *packet.result.lock() = Ending::Destroyed;
        return handle;
    }
    let finish = Finish(packet);
    let main = move || {
        let finish = finish;
        let value = body();
        *finish.0.result.lock() = Ending::Returned(value);
    };
    // A box is one more thing to unwind when the thread is destroyed: only those get one that need it.
    if size_of_val(&main) > CLOSURE_BYTES_MAX {
        kernel.spawn(kernel.my_node(), name, Box::new(main));
    } else {
        kernel.spawn(kernel.my_node(), name, main);
    }
    handle
}

/// A coroutine takes no closure of more than a kilobyte, the kernel's own few values included.
const CLOSURE_BYTES_MAX: usize = 512;

/// Tells the joiners of a thread that it has ended, however it does.
struct Finish<T>(Arc<Packet<T>>);

impl<T> Drop for Finish<T> {
    fn drop(&mut self) {
        let mut result = self.0.result.lock();
        if matches!(*result, Ending::Running) {
            *result = Ending::Destroyed;
        }
        drop(result);
        if let Some(kernel) = kernel::current() {
            self.0.joiners.wake_all(&kernel);
        }
    }
}

//! Waiting for several channels at once.
//!
//! Kit-owned.

use std::fmt::{self, Debug};
use std::panic::Location;
use std::time::Duration;

pub use crossbeam_channel::{ReadyTimeoutError, TryReadyError};

use super::simulated::{ReceiveEnd, SendEnd, Watchable};
use super::{Receiver, ReceiverKind, Sender, SenderKind};
use crate::kernel::{self, Kernel, Mode, Nanos, Waiting, Woken};

/// A set of channel operations, of which one is waited for.
///
/// Register operations with [`Select::recv`] and [`Select::send`], which number them from 0, then wait
/// with [`Select::ready`]. When several are ready, chance decides. The operation itself is then tried,
/// and may still find that another thread was quicker:
///
/// ```
/// use labrpc::channel::{self, Select};
///
/// let (words, word) = channel::unbounded();
/// let (_stops, stop) = channel::unbounded::<()>();
/// words.send("hello").unwrap();
///
/// let mut select = Select::new();
/// select.recv(&word);
/// select.recv(&stop);
/// match select.ready() {
///     0 => assert_eq!(word.try_recv(), Ok("hello")),
///     _ => stop.try_recv().unwrap(),
/// }
/// ```
pub struct Select<'a> {
    real: crossbeam_channel::Select<'a>,
    simulated: Vec<Box<dyn Watchable + 'a>>,
    has_real: bool,
}

impl Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Select { .. }")
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Select::new()
    }
}

impl<'a> Select<'a> {
    /// No operations yet.
    pub fn new() -> Select<'a> {
        Select { real: crossbeam_channel::Select::new(), simulated: Vec::new(), has_real: false }
    }

    /// Adds the operation of receiving. Returns its number.
    ///
    /// # Panics
    ///
    /// When channels of a simulation and real ones are mixed.
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        match &receiver.0 {
            ReceiverKind::Real(receiver) => {
                let number = self.real.recv(receiver);
                self.added_real(number)
            }
            ReceiverKind::Simulated(channel) => self.added_simulated(Box::new(ReceiveEnd(channel))),
        }
    }

    /// Adds the operation of sending. Returns its number.
    ///
    /// # Panics
    ///
    /// When channels of a simulation and real ones are mixed.
    pub fn send<T>(&mut self, sender: &'a Sender<T>) -> usize {
        match &sender.0 {
            SenderKind::Real(sender) => {
                let number = self.real.send(sender);
                self.added_real(number)
            }
            SenderKind::Simulated(channel) => self.added_simulated(Box::new(SendEnd(channel))),
        }
    }

    /// Waits until an operation would not block, and returns its number.
    ///
    /// # Panics
    ///
    /// When there are no operations.
    #[track_caller]
    pub fn ready(&mut self) -> usize {
        match kernel::current() {
            Some(kernel) if !self.has_real => {
                let ready = self.wait(&kernel, None, Location::caller());
                ready.expect("a wait without a limit ends when an operation is ready")
            }
            _ => self.real.ready(),
        }
    }

    /// Waits as [`Select::ready`] does, but no longer than `limit`.
    ///
    /// # Errors
    ///
    /// When the limit passes first.
    #[track_caller]
    pub fn ready_timeout(&mut self, limit: Duration) -> Result<usize, ReadyTimeoutError> {
        match kernel::current() {
            Some(kernel) if !self.has_real => {
                let deadline = kernel.deadline(limit);
                self.wait(&kernel, Some(deadline), Location::caller()).ok_or(ReadyTimeoutError)
            }
            _ => self.real.ready_timeout(limit),
        }
    }

    /// The number of an operation that would not block now.
    ///
    /// # Errors
    ///
    /// When all of them would.
    #[track_caller]
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        match kernel::current() {
            Some(kernel) if !self.has_real => {
                kernel.step(Location::caller());
                self.choose_ready(&kernel).ok_or_else(|| {
                    kernel.fall_behind();
                    TryReadyError
                })
            }
            _ => self.real.try_ready(),
        }
    }

    fn added_real(&mut self, number: usize) -> usize {
        self.has_real = true;
        assert!(self.simulated.is_empty(), "a select cannot mix channels of a simulation with real ones");
        number
    }

    fn added_simulated(&mut self, end: Box<dyn Watchable + 'a>) -> usize {
        assert!(!self.has_real, "a select cannot mix channels of a simulation with real ones");
        self.simulated.push(end);
        self.simulated.len() - 1
    }

    fn wait(
        &self,
        kernel: &Kernel,
        deadline: Option<Nanos>,
        at: &'static Location<'static>,
    ) -> Option<usize> {
        assert!(!self.simulated.is_empty(), "a select without operations would wait for ever");
        if kernel.step(at) == Mode::Unwinding {
            // A destructor must not wait; whichever operation it tries will return at once.
            return Some(0);
        }
        loop {
            if let Some(ready) = self.choose_ready(kernel) {
                return Some(ready);
            }
            let tokens: Vec<_> = self.simulated.iter().map(|end| end.expect()).collect();
            let places: Vec<_> = self.simulated.iter().map(|end| end.queue().join(kernel.me())).collect();
            let woken = kernel.block(Waiting::Select, at, deadline);
            drop((places, tokens));
            if woken == Woken::TimedOut {
                return self.choose_ready(kernel);
            }
        }
    }

    fn choose_ready(&self, kernel: &Kernel) -> Option<usize> {
        let is_ready = |number: &usize| self.simulated[*number].is_ready();
        let ready: Vec<usize> = (0..self.simulated.len()).filter(is_ready).collect();
        if ready.is_empty() { None } else { Some(ready[kernel.choose(ready.len())]) }
    }
}

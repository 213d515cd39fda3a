//! Channels, in the manner of crossbeam-channel.
//!
//! Kit-owned; this is what students use instead of `std::sync::mpsc`. Both ends can be cloned, every
//! message is received once. A channel made inside a simulation belongs to it; one made outside is a
//! crossbeam channel. `simulated.rs` is the former, `select.rs` waits for several at once.

mod select;
mod simulated;

use std::fmt::{self, Debug};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use crossbeam_channel::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};

pub use self::select::{ReadyTimeoutError, Select, TryReadyError};
use self::simulated::SimChannel;
use crate::kernel::{self, KernelRef};

/// A channel that holds at most `capacity` messages; a send waits for room.
///
/// With capacity 0 the channel is a rendezvous: a send waits until its message has been received.
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    match kernel::current() {
        None => real(crossbeam_channel::bounded(capacity)),
        Some(_) => simulated(Some(capacity)),
    }
}

/// A channel that holds any number of messages; a send never waits.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    match kernel::current() {
        None => real(crossbeam_channel::unbounded()),
        Some(_) => simulated(None),
    }
}

fn real<T>(
    (sender, receiver): (crossbeam_channel::Sender<T>, crossbeam_channel::Receiver<T>),
) -> (Sender<T>, Receiver<T>) {
    (Sender(SenderKind::Real(sender)), Receiver(ReceiverKind::Real(receiver)))
}

fn simulated<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(SimChannel::new(capacity));
    (Sender(SenderKind::Simulated(channel.clone())), Receiver(ReceiverKind::Simulated(channel)))
}

/// The sending end of a channel.
pub struct Sender<T>(SenderKind<T>);

enum SenderKind<T> {
    Real(crossbeam_channel::Sender<T>),
    Simulated(Arc<SimChannel<T>>),
}

/// The receiving end of a channel.
pub struct Receiver<T>(ReceiverKind<T>);

enum ReceiverKind<T> {
    Real(crossbeam_channel::Receiver<T>),
    Simulated(Arc<SimChannel<T>>),
}

/// The simulation in which a simulated channel is used.
fn kernel_here() -> KernelRef {
    kernel::current().expect("a channel made inside a simulation can only be used there")
}

impl<T> Sender<T> {
    /// Sends a message, waiting for room, or on a rendezvous channel for the receiver.
    ///
    /// # Errors
    ///
    /// When every receiver is gone; the message comes back.
    #[track_caller]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        match &self.0 {
            SenderKind::Real(sender) => sender.send(message),
            SenderKind::Simulated(channel) => channel
                .send(&kernel_here(), message, None, Location::caller())
                .map_err(|error| SendError(error.into_inner())),
        }
    }

    /// Sends a message if that needs no waiting.
    ///
    /// # Errors
    ///
    /// When there is no room, no receiver waits on a rendezvous channel, or every receiver is gone.
    #[track_caller]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        match &self.0 {
            SenderKind::Real(sender) => sender.try_send(message),
            SenderKind::Simulated(channel) => channel.try_send(&kernel_here(), message, Location::caller()),
        }
    }

    /// Sends a message, waiting no longer than `limit`.
    ///
    /// # Errors
    ///
    /// When the limit passes or every receiver is gone; the message comes back.
    #[track_caller]
    pub fn send_timeout(&self, message: T, limit: Duration) -> Result<(), SendTimeoutError<T>> {
        match &self.0 {
            SenderKind::Real(sender) => sender.send_timeout(message, limit),
            SenderKind::Simulated(channel) => {
                let kernel = kernel_here();
                channel.send(&kernel, message, Some(kernel.deadline(limit)), Location::caller())
            }
        }
    }

    /// How many messages wait in the channel.
    pub fn len(&self) -> usize {
        match &self.0 {
            SenderKind::Real(sender) => sender.len(),
            SenderKind::Simulated(channel) => channel.len(),
        }
    }

    /// True when no message waits in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Receiver<T> {
    /// Waits for a message.
    ///
    /// # Errors
    ///
    /// When the channel is empty and every sender is gone.
    #[track_caller]
    pub fn recv(&self) -> Result<T, RecvError> {
        match &self.0 {
            ReceiverKind::Real(receiver) => receiver.recv(),
            ReceiverKind::Simulated(channel) => {
                channel.recv(&kernel_here(), None, Location::caller()).map_err(|_| RecvError)
            }
        }
    }

    /// Takes a message if one waits.
    ///
    /// # Errors
    ///
    /// `Empty` when none waits, `Disconnected` when none ever will: every sender is gone.
    #[track_caller]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match &self.0 {
            ReceiverKind::Real(receiver) => receiver.try_recv(),
            ReceiverKind::Simulated(channel) => channel.try_recv(&kernel_here(), Location::caller()),
        }
    }

    /// Waits for a message, no longer than `limit`. A message that waits already is taken even when the
    /// limit is zero.
    ///
    /// # Errors
    ///
    /// When the limit passes, or the channel is empty and every sender is gone.
    #[track_caller]
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, RecvTimeoutError> {
        match &self.0 {
            ReceiverKind::Real(receiver) => receiver.recv_timeout(limit),
            ReceiverKind::Simulated(channel) => {
                let kernel = kernel_here();
                channel.recv(&kernel, Some(kernel.deadline(limit)), Location::caller())
            }
        }
    }

    /// The messages as they come, until the channel is empty and every sender is gone.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// How many messages wait in the channel.
    pub fn len(&self) -> usize {
        match &self.0 {
            ReceiverKind::Real(receiver) => receiver.len(),
            ReceiverKind::Simulated(channel) => channel.len(),
        }
    }

    /// True when no message waits in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender(match &self.0 {
            SenderKind::Real(sender) => SenderKind::Real(sender.clone()),
            SenderKind::Simulated(channel) => {
                channel.add_sender();
                SenderKind::Simulated(channel.clone())
            }
        })
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver(match &self.0 {
            ReceiverKind::Real(receiver) => ReceiverKind::Real(receiver.clone()),
            ReceiverKind::Simulated(channel) => {
                channel.add_receiver();
                ReceiverKind::Simulated(channel.clone())
            }
        })
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let SenderKind::Simulated(channel) = &self.0 {
            channel.drop_sender();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let ReceiverKind::Simulated(channel) = &self.0 {
            channel.drop_receiver();
        }
    }
}

impl<T> Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender { .. }")
    }
}

impl<T> Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver { .. }")
    }
}

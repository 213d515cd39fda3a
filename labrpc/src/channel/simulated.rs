//! A channel inside a simulation.
//!
//! Kit-owned. Everyone who waits on a channel is woken by every change that could concern them and looks
//! again: a woken thread may be crashed before it runs, so no wake-up is ever meant for one alone.

use std::collections::VecDeque;
use std::panic::Location;

use super::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use crate::kernel::{self, Kernel, Mode, Nanos, Waiting, Woken};
use crate::sync::WaitQueue;

/// What both ends of a channel share.
pub(super) struct SimChannel<T> {
    state: parking_lot::Mutex<State<T>>,
    /// Threads that wait for room, or for their offer to be taken.
    senders: WaitQueue,
    /// Threads that wait for a message.
    receivers: WaitQueue,
}

struct State<T> {
    /// `None` for no limit; 0 for a rendezvous.
    capacity: Option<usize>,
    messages: VecDeque<Message<T>>,
    offers_made: u64,
    receivers_waiting: usize,
    sender_count: usize,
    receiver_count: usize,
}

struct Message<T> {
    value: T,
    /// The number of the offer, where a sender waits for it to be taken.
    offer: Option<u64>,
}

impl<T> State<T> {
    fn has_room(&self) -> bool {
        self.capacity.is_none_or(|capacity| self.messages.len() < capacity)
    }

    fn is_rendezvous(&self) -> bool {
        self.capacity == Some(0)
    }

    /// True when a send would not have to wait.
    fn can_send(&self) -> bool {
        self.receiver_count == 0 || self.has_room() || self.meets_a_receiver()
    }

    /// True when more receivers wait than there are messages for them.
    fn meets_a_receiver(&self) -> bool {
        self.is_rendezvous() && self.receivers_waiting > self.messages.len()
    }

    fn can_receive(&self) -> bool {
        !self.messages.is_empty() || self.sender_count == 0
    }
}

impl<T> SimChannel<T> {
    /// A channel with one sender and one receiver.
    pub(super) fn new(capacity: Option<usize>) -> SimChannel<T> {
        SimChannel {
            state: parking_lot::Mutex::new(State {
                capacity,
                messages: VecDeque::new(),
                offers_made: 0,
                receivers_waiting: 0,
                sender_count: 1,
                receiver_count: 1,
            }),
            senders: WaitQueue::new(),
            receivers: WaitQueue::new(),
        }
    }

    pub(super) fn send(
        &self,
        kernel: &Kernel,
        value: T,
        deadline: Option<Nanos>,
        at: &'static Location<'static>,
    ) -> Result<(), SendTimeoutError<T>> {
        if kernel.step(at) == Mode::Unwinding {
            return Err(SendTimeoutError::Disconnected(value));
        }
        if self.state.lock().is_rendezvous() {
            return self.offer(kernel, value, deadline, at);
        }
        loop {
            {
                let mut state = self.state.lock();
                if state.receiver_count == 0 {
                    return Err(SendTimeoutError::Disconnected(value));
                }
                if state.has_room() {
                    state.messages.push_back(Message { value, offer: None });
                    break;
                }
            }
            if self.senders.wait(kernel, Waiting::Send, at, deadline) == Woken::TimedOut
                && !self.state.lock().can_send()
            {
                return Err(SendTimeoutError::Timeout(value));
            }
        }
        self.receivers.wake_all(kernel);
        Ok(())
    }

    /// Sends on a rendezvous channel: lays the message out and waits until it is taken.
    fn offer(
        &self,
        kernel: &Kernel,
        value: T,
        deadline: Option<Nanos>,
        at: &'static Location<'static>,
    ) -> Result<(), SendTimeoutError<T>> {
        let number = {
            let mut state = self.state.lock();
            if state.receiver_count == 0 {
                return Err(SendTimeoutError::Disconnected(value));
            }
            state.offers_made += 1;
            let number = state.offers_made;
            state.messages.push_back(Message { value, offer: Some(number) });
            number
        };
        // Taken back when the sender is crashed, so that nobody receives from the dead.
        let offer = Offer { channel: self, number };
        self.receivers.wake_all(kernel);
        while offer.is_open() {
            if self.state.lock().receiver_count == 0 {
                return offer.take_back().map_or(Ok(()), |value| Err(SendTimeoutError::Disconnected(value)));
            }
            if self.senders.wait(kernel, Waiting::Send, at, deadline) == Woken::TimedOut {
                return offer.take_back().map_or(Ok(()), |value| Err(SendTimeoutError::Timeout(value)));
            }
        }
        Ok(())
    }

    pub(super) fn try_send(
        &self,
        kernel: &Kernel,
        value: T,
        at: &'static Location<'static>,
    ) -> Result<(), TrySendError<T>> {
        if kernel.step(at) == Mode::Unwinding {
            return Err(TrySendError::Disconnected(value));
        }
        {
            let mut state = self.state.lock();
            if state.receiver_count == 0 {
                return Err(TrySendError::Disconnected(value));
            }
            if !state.can_send() {
                kernel.fall_behind();
                return Err(TrySendError::Full(value));
            }
            state.messages.push_back(Message { value, offer: None });
        }
        self.receivers.wake_all(kernel);
        Ok(())
    }

    pub(super) fn recv(
        &self,
        kernel: &Kernel,
        deadline: Option<Nanos>,
        at: &'static Location<'static>,
    ) -> Result<T, RecvTimeoutError> {
        if kernel.step(at) == Mode::Unwinding {
            return Err(RecvTimeoutError::Disconnected);
        }
        loop {
            match self.take(kernel) {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let waiting = WaitingReceiver::new(self);
            let woken = self.receivers.wait(kernel, Waiting::Receive, at, deadline);
            drop(waiting);
            if woken == Woken::TimedOut {
                return self.take(kernel).map_err(|_| RecvTimeoutError::Timeout);
            }
        }
    }

    pub(super) fn try_recv(
        &self,
        kernel: &Kernel,
        at: &'static Location<'static>,
    ) -> Result<T, TryRecvError> {
        if kernel.step(at) == Mode::Unwinding {
            return Err(TryRecvError::Disconnected);
        }
        self.take(kernel).inspect_err(|_| kernel.fall_behind())
    }

    fn take(&self, kernel: &Kernel) -> Result<T, TryRecvError> {
        let message = {
            let mut state = self.state.lock();
            match state.messages.pop_front() {
                Some(message) => message,
                None if state.sender_count == 0 => return Err(TryRecvError::Disconnected),
                None => return Err(TryRecvError::Empty),
            }
        };
        self.senders.wake_all(kernel);
        Ok(message.value)
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().messages.len()
    }

    pub(super) fn add_sender(&self) {
        self.state.lock().sender_count += 1;
    }

    pub(super) fn add_receiver(&self) {
        self.state.lock().receiver_count += 1;
    }

    pub(super) fn drop_sender(&self) {
        let mut state = self.state.lock();
        state.sender_count -= 1;
        let last = state.sender_count == 0;
        drop(state);
        wake_if(last, &self.receivers);
    }

    /// Without a receiver the messages are of no use to anyone: they are dropped, as a receiver's node
    /// may have crashed with a sender's lock inside one of them.
    pub(super) fn drop_receiver(&self) {
        let mut state = self.state.lock();
        state.receiver_count -= 1;
        let last = state.receiver_count == 0;
        let is_unwanted = |message: &Message<T>| last && message.offer.is_none();
        let (unwanted, kept) = std::mem::take(&mut state.messages).into_iter().partition(is_unwanted);
        state.messages = kept;
        drop(state);
        wake_if(last, &self.senders);
        drop::<VecDeque<Message<T>>>(unwanted);
    }

    /// Marks the running thread as one that waits to receive, until dropped. For [`super::Select`].
    pub(super) fn expect_message(&self) -> WaitingReceiver<'_, T> {
        WaitingReceiver::new(self)
    }
}

fn wake_if(condition: bool, queue: &WaitQueue) {
    if condition
        && queue.is_occupied()
        && let Some(kernel) = kernel::current()
    {
        queue.wake_all(&kernel);
    }
}

/// A message laid out on a rendezvous channel. Dropping it takes the message back, if it is still there.
struct Offer<'a, T> {
    channel: &'a SimChannel<T>,
    number: u64,
}

impl<T> Offer<'_, T> {
    fn is_open(&self) -> bool {
        let state = self.channel.state.lock();
        state.messages.iter().any(|message| message.offer == Some(self.number))
    }

    fn take_back(&self) -> Option<T> {
        let mut state = self.channel.state.lock();
        let index = state.messages.iter().position(|message| message.offer == Some(self.number))?;
        state.messages.remove(index).map(|message| message.value)
    }
}

impl<T> Drop for Offer<'_, T> {
    fn drop(&mut self) {
        // The value's own destructor must not run with the channel locked.
        drop(self.take_back());
    }
}

/// A receiver that is about to block, until dropped.
pub(super) struct WaitingReceiver<'a, T> {
    channel: &'a SimChannel<T>,
}

impl<'a, T> WaitingReceiver<'a, T> {
    fn new(channel: &'a SimChannel<T>) -> WaitingReceiver<'a, T> {
        channel.state.lock().receivers_waiting += 1;
        WaitingReceiver { channel }
    }
}

impl<T> Drop for WaitingReceiver<'_, T> {
    fn drop(&mut self) {
        self.channel.state.lock().receivers_waiting -= 1;
    }
}

/// What [`super::Select`] needs to know of one end of a channel, whatever its messages are.
pub(super) trait Watchable {
    fn queue(&self) -> &WaitQueue;
    fn is_ready(&self) -> bool;
    /// Tells the channel that a thread waits at this end; it does so until the token is dropped.
    fn expect(&self) -> Option<Box<dyn Token + '_>>;
}

/// Something that counts until it is dropped.
pub(super) trait Token {}

impl<T> Token for WaitingReceiver<'_, T> {}

/// The sending end, as something to wait for.
pub(super) struct SendEnd<'a, T>(pub(super) &'a SimChannel<T>);

/// The receiving end, as something to wait for.
pub(super) struct ReceiveEnd<'a, T>(pub(super) &'a SimChannel<T>);

impl<T> Watchable for SendEnd<'_, T> {
    fn queue(&self) -> &WaitQueue {
        &self.0.senders
    }

    fn is_ready(&self) -> bool {
        self.0.state.lock().can_send()
    }

    fn expect(&self) -> Option<Box<dyn Token + '_>> {
        None
    }
}

impl<T> Watchable for ReceiveEnd<'_, T> {
    fn queue(&self) -> &WaitQueue {
        &self.0.receivers
    }

    fn is_ready(&self) -> bool {
        self.0.state.lock().can_receive()
    }

    fn expect(&self) -> Option<Box<dyn Token + '_>> {
        Some(Box::new(self.0.expect_message()))
    }
}

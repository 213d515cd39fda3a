//! The life of a call: request, handler, reply, and who learns what.
//!
//! Kit-owned. A call stays open while any copy of its request or reply is on its way, held, or being
//! handled. The first reply to arrive ends it with an answer. When nothing is left that could bring
//! one, it ends with `None`, at a time that does not tell the caller why: at once where chance lost a
//! message, after the unreachable delay otherwise.

use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::Network;
use crate::kernel::{Kernel, Moment, NodeId, ThreadId, ThreadName, Waiting, current};
use crate::record::{Address, Body, Leg, LossReason, Message, What};
use crate::streams::nanos;

/// Where a call stands in the table, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CallId {
    slot: usize,
    number: u64,
}

/// A call whose caller still waits.
struct Call {
    number: u64,
    caller: ThreadId,
    from: Address,
    to: NodeId,
    /// Copies of its request or reply that may still bring an answer.
    open: u32,
    /// Those of them that a handler is working on.
    handled: u32,
    /// `Some(None)` when it is certain that no answer will come.
    outcome: Option<Option<Packet>>,
}

/// All calls whose callers wait.
#[derive(Default)]
pub(super) struct CallTable {
    slots: Vec<Option<Call>>,
    free: Vec<usize>,
    made: u64,
    deliveries: u64,
}

/// One copy of a message on its way.
#[derive(Clone)]
pub(super) struct Packet {
    call: CallId,
    leg: Leg,
    kind: &'static str,
    from: Address,
    to: NodeId,
    bytes: Rc<[u8]>,
    /// 0 until a request is delivered; see [`Message::delivery`].
    delivery: u64,
}

/// A message that a rule made the network keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldMessage {
    /// The number of its call.
    pub call: u64,
    /// Request or reply.
    pub leg: Leg,
    /// The kind of the call's request.
    pub kind: &'static str,
    /// Who sent it, in which life.
    pub from: Address,
    /// To whom it goes.
    pub to: NodeId,
}

/// What a handler's thread tells the network about the request it works on.
pub(crate) struct Tap {
    packet: Packet,
}

impl CallTable {
    fn insert(&mut self, call: impl FnOnce(u64) -> Call) -> CallId {
        self.made += 1;
        let number = self.made;
        let call = Some(call(number));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = call;
                slot
            }
            None => {
                self.slots.push(call);
                self.slots.len() - 1
            }
        };
        CallId { slot, number }
    }

    fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.slots[id.slot].as_mut().filter(|call| call.number == id.number)
    }

    fn remove(&mut self, id: CallId) -> Option<Call> {
        self.get_mut(id)?;
        self.free.push(id.slot);
        self.slots[id.slot].take()
    }
}

/// Takes the call out of the table when its caller returns or is killed.
struct Waiter<'a> {
    network: &'a Network,
    id: CallId,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.network.calls.borrow_mut().remove(self.id);
    }
}

impl Network {
    /// Makes a call from the running thread and waits for it to end.
    pub(crate) fn call(
        &self,
        kernel: &Kernel,
        to: NodeId,
        kind: &'static str,
        bytes: Vec<u8>,
        body: &dyn Body,
        at: &'static Location<'static>,
    ) -> Option<Answer> {
        let from = self.address(kernel, kernel.my_node());
        let caller = kernel.me();
        let id = self.calls.borrow_mut().insert(|number| Call {
            number,
            caller,
            from,
            to,
            open: 1,
            handled: 0,
            outcome: None,
        });
        let _waiter = Waiter { network: self, id };
        {
            let mut traffic = self.traffic.borrow_mut();
            traffic[from.node.0 as usize].calls_made += 1;
            traffic[to.0 as usize].calls_received += 1;
        }
        let request =
            Packet { call: id, leg: Leg::Request, kind, from, to, bytes: bytes.into(), delivery: 0 };
        self.send(kernel, request, body);
        loop {
            let outcome = self.calls.borrow_mut().get_mut(id).and_then(|call| call.outcome.take());
            match outcome {
                Some(Some(reply)) => return Some(Answer(reply)),
                Some(None) => {
                    kernel.emit(&What::Unanswered { from, to, call: id.number, kind });
                    return None;
                }
                None => kernel.block(Waiting::Call { kind, to }, at, None),
            };
        }
    }

    /// How many calls were ever made; the last one has this number.
    pub(crate) fn calls_made(&self) -> u64 {
        self.calls.borrow().made
    }

    /// The number of the oldest call that is waiting to return.
    pub(crate) fn oldest_call(&self) -> Option<u64> {
        self.calls.borrow().slots.iter().flatten().map(|call| call.number).min()
    }

    /// The messages that rules hold, in the order in which they were sent.
    pub(crate) fn held(&self) -> Vec<HeldMessage> {
        self.held.borrow().iter().map(Packet::as_held).collect()
    }

    /// Sends on, or drops, the held messages that `select` picks. Returns how many these were.
    pub(crate) fn settle_held(
        &self,
        kernel: &Kernel,
        deliver: bool,
        select: impl Fn(&HeldMessage) -> bool,
    ) -> usize {
        let (picked, kept) = self.held.take().into_iter().partition(|packet| select(&packet.as_held()));
        *self.held.borrow_mut() = kept;
        let picked: Vec<Packet> = picked;
        let count = picked.len();
        for packet in picked {
            if deliver {
                let delay = self.fate(packet.from.node, packet.to, packet.kind, packet.leg).delay;
                self.dispatch(kernel, packet, delay);
            } else {
                self.lose(kernel, &packet, LossReason::Dropped);
            }
        }
        count
    }

    /// Handlers of a crashed node will never answer.
    pub(crate) fn node_crashed(&self, kernel: &Kernel, node: NodeId) {
        let mut orphaned = Vec::new();
        for (slot, call) in self.calls.borrow_mut().slots.iter_mut().enumerate() {
            let Some(call) = call.as_mut().filter(|call| call.to == node && call.handled > 0) else {
                continue;
            };
            call.open -= call.handled;
            call.handled = 0;
            if call.open == 0 {
                orphaned.push((CallId { slot, number: call.number }, call.from.node));
            }
        }
        for (call, from) in orphaned {
            let delay = self.draw_unreachable(from, node);
            self.give_up_after(kernel, call, delay);
        }
    }

    fn address(&self, kernel: &Kernel, node: NodeId) -> Address {
        Address { node, incarnation: kernel.with_node(node, |node| node.incarnation) }
    }

    /// Sends a message, which holds one open place of its call. A crash may be due right after.
    fn send(&self, kernel: &Kernel, packet: Packet, body: &dyn Body) {
        let (leg, kind, sender) = (packet.leg, packet.kind, packet.from.node);
        self.put_on_its_way(kernel, packet, body);
        let is_after_save = kernel.with_node(sender, |node| std::mem::take(&mut node.saved_since_sent));
        kernel.reach(&Moment::Sent { leg, kind });
        kernel.reach(&Moment::SentAny);
        if is_after_save {
            kernel.reach(&Moment::SentAfterSave);
        }
    }

    fn put_on_its_way(&self, kernel: &Kernel, packet: Packet, body: &dyn Body) {
        let (sender, receiver) = (packet.from.node, packet.to);
        {
            let traffic = &mut self.traffic.borrow_mut()[sender.0 as usize];
            traffic.messages_sent += u64::from(!packet.bytes.is_empty());
            traffic.bytes_sent += packet.bytes.len() as u64;
        }
        kernel.emit(&What::Sent(&packet.as_message(Some(body))));
        if self.is_cut(sender, receiver) {
            self.lose(kernel, &packet, LossReason::Cut);
            return;
        }
        let fate = self.fate(sender, receiver, packet.kind, packet.leg);
        for later in fate.copies {
            if let Some(call) = self.calls.borrow_mut().get_mut(packet.call) {
                call.open += 1;
            }
            self.dispatch(kernel, packet.clone(), fate.delay + later);
        }
        if fate.held {
            kernel.emit(&What::Held(&packet.as_message(None)));
            self.held.borrow_mut().push(packet);
        } else if fate.lost {
            kernel.after(nanos(fate.delay), move |kernel| {
                kernel.net.lose(kernel, &packet, LossReason::Chance);
            });
        } else {
            self.dispatch(kernel, packet, fate.delay);
        }
    }

    fn dispatch(&self, kernel: &Kernel, packet: Packet, delay: Duration) {
        kernel.after(nanos(delay), move |kernel| match packet.leg {
            Leg::Request => kernel.net.deliver_request(kernel, packet),
            Leg::Reply => kernel.net.deliver_reply(kernel, packet),
        });
    }

    fn deliver_request(&self, kernel: &Kernel, mut packet: Packet) {
        if let Some(reason) = self.obstacle(kernel, &packet) {
            self.lose(kernel, &packet, reason);
            return;
        }
        let services = kernel.with_node(packet.to, |node| node.services.clone());
        let Some(services) = services.filter(|services| services.offers(packet.kind)) else {
            self.lose(kernel, &packet, LossReason::Down);
            return;
        };
        {
            let mut calls = self.calls.borrow_mut();
            calls.deliveries += 1;
            packet.delivery = calls.deliveries;
            if let Some(call) = calls.get_mut(packet.call) {
                call.handled += 1;
            }
        }
        let (node, name) = (packet.to, ThreadName::Handler(packet.kind));
        kernel.spawn(node, name, move || {
            let bytes = packet.bytes.clone();
            let kind = packet.kind;
            services.answer(kind, &bytes, Some(&mut Tap { packet }));
        });
    }

    fn deliver_reply(&self, kernel: &Kernel, packet: Packet) {
        if let Some(reason) = self.obstacle(kernel, &packet) {
            self.lose(kernel, &packet, reason);
            return;
        }
        let caller = {
            let mut calls = self.calls.borrow_mut();
            match calls.get_mut(packet.call).filter(|call| call.outcome.is_none()) {
                Some(call) => {
                    call.open -= 1;
                    call.outcome = Some(Some(packet.clone()));
                    Some(call.caller)
                }
                None => None,
            }
        };
        match caller {
            Some(caller) => kernel.wake(caller),
            None => kernel.emit(&What::Lost(&packet.as_message(None), LossReason::NobodyWaits)),
        }
    }

    /// What keeps a message from arriving now.
    fn obstacle(&self, kernel: &Kernel, packet: &Packet) -> Option<LossReason> {
        if self.is_cut(packet.from.node, packet.to) {
            return Some(LossReason::Cut);
        }
        if kernel.with_node(packet.from.node, |node| node.lost_messages_of(packet.from.incarnation)) {
            return Some(LossReason::SenderCrashed);
        }
        let receiver_is_up = kernel.with_node(packet.to, |node| node.up);
        (!receiver_is_up).then_some(LossReason::Down)
    }

    /// A copy of a message is gone. When it was the call's last, the call ends without an answer.
    fn lose(&self, kernel: &Kernel, packet: &Packet, reason: LossReason) {
        kernel.emit(&What::Lost(&packet.as_message(None), reason));
        let caller = {
            let mut calls = self.calls.borrow_mut();
            let Some(call) = calls.get_mut(packet.call) else { return };
            call.open -= 1;
            if call.open > 0 || call.outcome.is_some() {
                return;
            }
            call.from.node
        };
        let callee = if packet.leg == Leg::Request { packet.to } else { packet.from.node };
        let delay = match reason {
            LossReason::Chance => Duration::ZERO,
            _ => self.draw_unreachable(caller, callee),
        };
        self.give_up_after(kernel, packet.call, delay);
    }

    fn give_up_after(&self, kernel: &Kernel, call: CallId, delay: Duration) {
        kernel.after(nanos(delay), move |kernel| {
            let caller = {
                let mut calls = kernel.net.calls.borrow_mut();
                let Some(call) = calls.get_mut(call).filter(|call| call.outcome.is_none()) else { return };
                call.outcome = Some(None);
                call.caller
            };
            kernel.wake(caller);
        });
    }
}

/// What a call brought back.
pub(crate) struct Answer(Packet);

impl Answer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Tells the world that the caller has decoded its answer.
    pub(crate) fn delivered(&self, kernel: &Kernel, body: &dyn Body) {
        kernel.emit(&What::Delivered(&self.0.as_message(Some(body))));
    }
}

impl Tap {
    /// The handler has decoded its request and is about to work on it.
    pub(crate) fn received(&self, body: &dyn Body) {
        let kernel = current().expect("handlers with a tap run in a simulation");
        kernel.emit(&What::Delivered(&self.packet.as_message(Some(body))));
    }

    /// The handler has returned, and this is its reply.
    pub(crate) fn replied(&self, body: &dyn Body, bytes: &[u8]) {
        let kernel = current().expect("handlers with a tap run in a simulation");
        let net = &kernel.net;
        if let Some(call) = net.calls.borrow_mut().get_mut(self.packet.call) {
            call.handled -= 1;
        }
        let Packet { call, kind, from: caller, to: me, delivery, .. } = self.packet;
        let from = net.address(&kernel, me);
        let reply =
            Packet { call, leg: Leg::Reply, kind, from, to: caller.node, bytes: bytes.into(), delivery };
        net.send(&kernel, reply, body);
    }
}

impl Packet {
    fn as_message<'a>(&'a self, body: Option<&'a dyn Body>) -> Message<'a> {
        let Packet { call, leg, kind, from, to, bytes, delivery } = self;
        Message { call: call.number, leg: *leg, kind, from: *from, to: *to, bytes, body, delivery: *delivery }
    }

    fn as_held(&self) -> HeldMessage {
        let Packet { call, leg, kind, from, to, .. } = *self;
        HeldMessage { call: call.number, leg, kind, from, to }
    }
}

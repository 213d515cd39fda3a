//! The operations on one key, in the form that both engines read.
//!
//! Kit-owned. `kv.rs` makes them from a history; what cannot matter is left out there.

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Get,
    Put,
    Append,
}

/// One operation that happened, or may have happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op<'a> {
    pub(crate) kind: Kind,
    /// What was written, or what a get returned.
    pub(crate) value: &'a str,
    /// The event of its call.
    pub(crate) called: u32,
    /// The event of its return, or [`NEVER`].
    pub(crate) returned: u32,
    /// Its place in the whole history.
    pub(crate) place: u32,
}

/// The return of a write whose outcome is unknown: later than every event.
pub(crate) const NEVER: u32 = u32::MAX;

/// All operations on one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyOps<'a> {
    /// In the order of their calls. Gets have returned; writes may be open for ever.
    pub(crate) ops: Vec<Op<'a>>,
    /// Calls and returns, in the order in which they happened.
    pub(crate) events: Vec<Event>,
}

/// A call or a return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event(u32);

impl Op<'_> {
    pub(crate) fn is_write(&self) -> bool {
        self.kind != Kind::Get
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.returned != NEVER
    }
}

impl<'a> KeyOps<'a> {
    /// Adds an operation at its call.
    pub(crate) fn call(&mut self, op: Op<'a>) {
        self.events.push(Event::call(self.ops.len()));
        self.ops.push(op);
    }

    /// Lets the operation called last return.
    pub(crate) fn close_last(&mut self) {
        if let Some(last) = self.ops.len().checked_sub(1) {
            self.events.push(Event::ret(last));
        }
    }

    /// What had happened before event number `until`, as far as could be known then: operations that had
    /// not returned are open.
    pub(crate) fn cut(&self, until: u32) -> KeyOps<'a> {
        let mut new_place = vec![0; self.ops.len()];
        let mut cut = KeyOps::default();
        for event in &self.events {
            let op = self.ops[event.op()];
            let known = op.returned < until;
            if event.is_call() && op.called < until && (known || op.is_write()) {
                new_place[event.op()] = cut.ops.len();
                cut.call(Op { returned: if known { op.returned } else { NEVER }, ..op });
            } else if !event.is_call() && known {
                cut.events.push(Event::ret(new_place[event.op()]));
            }
        }
        cut
    }

    /// The event numbers of all returns, in order.
    pub(crate) fn returns(&self) -> Vec<u32> {
        let returns = self.events.iter().filter(|event| !event.is_call());
        returns.map(|event| self.ops[event.op()].returned).collect()
    }
}

impl Event {
    /// The call of the operation at this place of [`KeyOps::ops`].
    pub(crate) fn call(op: usize) -> Event {
        Event((op as u32) << 1)
    }

    /// Its return.
    pub(crate) fn ret(op: usize) -> Event {
        Event((op as u32) << 1 | 1)
    }

    pub(crate) fn op(self) -> usize {
        (self.0 >> 1) as usize
    }

    pub(crate) fn is_call(self) -> bool {
        self.0 & 1 == 0
    }
}

//! The record of a run: its events, its hash, and its trace.
//!
//! Kit-owned. Everything that happens in a simulation passes through [`Recorder::take`]: it goes into
//! the run's hash always, into the trace when recording is on, and to the test's [`Observer`].

mod event;
mod log;
mod trace;

use std::cell::{Cell, RefCell};

pub use self::event::{Address, Body, Event, Leg, LossReason, Message, Observer, What};
pub(crate) use self::log::listen;
pub use self::trace::{Row, RowKind, Stall, Trace};

/// Takes down a run.
pub(crate) struct Recorder {
    hash: Cell<u64>,
    rows: Option<RefCell<Vec<Row>>>,
    stalls: RefCell<Vec<Stall>>,
}

/// An odd constant with well-spread bits: 2^64 divided by the golden ratio.
const HASH_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Recorder {
    /// Records rows only if asked to; the hash is always kept.
    pub(crate) fn new(rows: bool) -> Recorder {
        Recorder {
            hash: Cell::new(HASH_FACTOR),
            rows: rows.then(RefCell::default),
            stalls: RefCell::default(),
        }
    }

    /// Mixes one number into the run's hash.
    #[inline]
    pub(crate) fn mix(&self, number: u64) {
        let hash = (self.hash.get() ^ number).wrapping_mul(HASH_FACTOR);
        self.hash.set(hash ^ hash >> 29);
    }

    pub(crate) fn mix_bytes(&self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let mut rest = [0; 8];
        rest[..words.remainder().len()].copy_from_slice(words.remainder());
        self.mix(u64::from_le_bytes(rest));
    }

    /// Takes down one event.
    pub(crate) fn take(&self, event: &Event<'_>) {
        // Lines for the trace are written only while one is recorded, and a run must hash alike with and
        // without it.
        if !matches!(event.what, What::Note { .. }) {
            self.mix(event.at.as_nanos() as u64);
            event.what.mix_into(self);
        }
        if let Some(rows) = &self.rows {
            rows.borrow_mut().push(Row::of(event));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// True when rows are recorded, so that it is worth preparing text for them.
    pub(crate) fn is_recording(&self) -> bool {
        self.rows.is_some()
    }

    /// Takes down a stall while rows are recorded, and returns its number. It is no event: there would be fewer
    /// of those when nothing is recorded.
    pub(crate) fn take_stall(&self, stall: Stall) -> Option<usize> {
        self.rows.as_ref()?.borrow_mut().push(Row::of_stall(&stall));
        let mut stalls = self.stalls.borrow_mut();
        stalls.push(stall);
        Some(stalls.len() - 1)
    }

    /// The thread of a stall has gone on, with the operation at `line`.
    pub(crate) fn complete_stall(&self, number: usize, line: String) {
        self.stalls.borrow_mut()[number].then = Some(line);
    }

    pub(crate) fn take_rows(&self) -> Option<(Vec<Row>, Vec<Stall>)> {
        let rows = self.rows.as_ref()?.take();
        Some((rows, self.stalls.take()))
    }
}

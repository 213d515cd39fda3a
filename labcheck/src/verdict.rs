//! What a check can say: linearizable, illegal with a witness, or unknown.
//!
//! Kit-owned. Read `history.rs` first.

use std::fmt;

use crate::history::OpId;
use crate::proof::Proof;

/// The verdict on a history; `W` is what an illegal one is shown with.
///
/// [`Verdict::Unknown`] is a verdict of its own. It is never a pass, and never a proof of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict<W> {
    /// An order of the operations exists that explains everything that was seen. One was found, and was
    /// executed step by step before this was said.
    Linearizable,
    /// No such order exists.
    Illegal(Box<W>),
    /// The check ended without an answer.
    Unknown(Undecided),
}

/// The verdict on a [`KvHistory`](crate::KvHistory).
pub type KvVerdict = Verdict<KvWitness>;

/// Why a check ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undecided {
    /// The search used up its [`Limits`].
    LimitReached {
        /// How many steps it had taken.
        steps: u64,
    },
    /// An order was found, but executing it did not give what was seen: a bug in this crate. Please report
    /// it with the history.
    NotCertified {
        /// What went wrong.
        reason: String,
    },
}

/// How far a search may go. Counted in steps and bytes, never in seconds: the verdict on a history does not
/// depend on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many operations a search may try to place, over all keys together. One step takes about
    /// a microsecond, and some ten where long values overlap much.
    pub steps: u64,
    /// How many bytes a search may keep in mind for each key.
    pub bytes: u64,
}

/// The operations that prove that a key-value history is illegal, and what to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvWitness {
    /// The key they are about.
    pub key: String,
    /// The name of what went wrong.
    pub anomaly: Anomaly,
    /// The operations that prove it, in the order of invocation. Two to four of them, one if a single value
    /// is proof enough; only [`Anomaly::Interleaved`] and [`Anomaly::NoOrder`] may need more.
    pub operations: Vec<OpId>,
    /// The argument in full, for the report.
    pub(crate) proof: Proof,
}

/// The names of what can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Anomaly {
    /// A get returned something that nobody had written.
    NeverWritten,
    /// An append took effect twice: its value stands twice in what a get returned.
    DuplicateAppend,
    /// The value of a put stands behind that of another write.
    PutInside,
    /// Two gets show the same appends in different orders.
    Disagreement,
    /// An append took effect, was wiped out by a put, and took effect again.
    ExecutedAgain,
    /// A get misses a write that was acknowledged, or already seen, before the get was called.
    StaleRead,
    /// A get returned before a write was called, and shows it.
    FutureRead,
    /// Of two writes, the one that had returned before the other was called took effect later.
    WriteOrder,
    /// A write was acknowledged, and then missed by those that came after it; nobody ever saw it.
    LostWrite,
    /// What happened after one put, and what happened after another one or at the start, are interleaved:
    /// each must come before the other.
    Interleaved,
    /// No order exists, and none of the other names fits.
    NoOrder,
}

impl KvWitness {
    /// The operation that went wrong, where the name of the anomaly says which: the read that was stale, or
    /// the write that was lost.
    pub fn culprit(&self) -> Option<OpId> {
        self.proof.culprit()
    }
}

impl<W> Verdict<W> {
    /// Whether the history was shown to be linearizable.
    pub fn is_linearizable(&self) -> bool {
        matches!(self, Verdict::Linearizable)
    }

    /// Whether the history was shown not to be linearizable.
    pub fn is_illegal(&self) -> bool {
        matches!(self, Verdict::Illegal(_))
    }

    /// Whether nothing was shown.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Verdict::Unknown(_))
    }

    /// What proves that the history is illegal, if it is.
    pub fn witness(&self) -> Option<&W> {
        match self {
            Verdict::Illegal(witness) => Some(witness),
            _ => None,
        }
    }
}

impl Default for Limits {
    /// One million steps and 256 MiB.
    fn default() -> Limits {
        Limits { steps: 1_000_000, bytes: 256 << 20 }
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undecided::LimitReached { steps } => {
                write!(formatter, "the search reached its limit after {steps} steps")
            }
            Undecided::NotCertified { reason } => {
                write!(
                    formatter,
                    "the order that was found does not hold ({reason}); this is a bug of the checker"
                )
            }
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Anomaly::NeverWritten => "VALUE NEVER WRITTEN",
            Anomaly::DuplicateAppend => "DUPLICATE APPEND",
            Anomaly::PutInside => "PUT INSIDE A VALUE",
            Anomaly::Disagreement => "GETS DISAGREE ON THE ORDER",
            Anomaly::ExecutedAgain => "APPEND EXECUTED AGAIN AFTER A PUT",
            Anomaly::StaleRead => "STALE READ",
            Anomaly::FutureRead => "READ FROM THE FUTURE",
            Anomaly::WriteOrder => "WRITES OUT OF ORDER",
            Anomaly::LostWrite => "LOST WRITE",
            Anomaly::Interleaved => "EPOCHS INTERLEAVE",
            Anomaly::NoOrder => "NO ORDER EXISTS",
        })
    }
}

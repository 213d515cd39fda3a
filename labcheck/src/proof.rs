//! The arguments by which a history of one key is shown to be illegal.
//!
//! Kit-owned. Engine A ends with one of them, `explain.rs` makes them from what engine B leaves, and
//! `report/why.rs` puts them into words.

use crate::history::OpId;
use crate::verdict::Anomaly;

/// Why no order exists. The operations stand in roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// From byte `at` on, if that is known, the value of `get` is made of nothing that was written.
    NeverWritten { get: OpId, at: Option<usize> },
    /// The value of `get` contains `append` twice.
    Twice { append: OpId, get: OpId },
    /// The value of `get` contains `put` behind something else.
    PutInside { put: OpId, get: OpId },
    /// Two values begin alike; then one shows this write, and the other that one.
    Disagree { first: OpId, second: OpId, shown_first: Option<OpId>, shown_second: Option<OpId> },
    /// Two values that begin with different puts both contain `append`.
    TwoEpochs { append: OpId, first: OpId, second: OpId },
    /// `write` had returned before `get` was called, and `get` does not show it.
    MissesAcknowledged { write: OpId, get: OpId, shown_by: Option<OpId> },
    /// `first` had returned before `get` was called, and shows more.
    MissesSeen { first: OpId, get: OpId, missed: Option<OpId> },
    /// `get` had returned before `write` was called, and shows it.
    Future { get: OpId, write: OpId },
    /// `first` had returned before `second` was called; `get` shows them the other way round.
    WriteOrder { first: OpId, second: OpId, get: OpId },
    /// `write` fell between two operations that belong to one epoch, and which it is no part of. Without
    /// `before`, that epoch is the initial one. Where `after` is a write, `shown_by` shows it. Where it is a
    /// get that shows nothing newer than `write`, what it returned may just be old.
    Lost { write: OpId, before: Option<OpId>, after: OpId, shown_by: Option<OpId>, is_stale_read: bool },
    /// `seen` had returned before `last` was called, which belongs to an epoch that had ended by then: of the
    /// two in `earlier`, the one of that old epoch had returned before the one of the newer epoch was called.
    /// The initial epoch needs no such pair. `puts` begin the two epochs. The gets in `shown_by` show which epochs the writes among these belong to.
    OldEpoch {
        earlier: Option<(OpId, OpId)>,
        seen: OpId,
        last: OpId,
        is_stale_read: bool,
        puts: (Option<OpId>, OpId),
        shown_by: Vec<OpId>,
    },
    /// `get` was called after all of `returned` had returned, whatever order these had among themselves,
    /// and returned something that the key could not hold any more.
    Stale { returned: Vec<OpId>, get: OpId },
    /// These operations fit in no order, whatever happened to all others.
    NoOrder { operations: Vec<OpId> },
}

impl Proof {
    /// The name of what went wrong.
    pub(crate) fn anomaly(&self) -> Anomaly {
        match self {
            Proof::NeverWritten { .. } => Anomaly::NeverWritten,
            Proof::Twice { .. } => Anomaly::DuplicateAppend,
            Proof::PutInside { .. } => Anomaly::PutInside,
            Proof::Disagree { .. } => Anomaly::Disagreement,
            Proof::TwoEpochs { .. } => Anomaly::ExecutedAgain,
            Proof::MissesAcknowledged { .. }
            | Proof::MissesSeen { .. }
            | Proof::OldEpoch { is_stale_read: true, .. }
            | Proof::Lost { is_stale_read: true, .. }
            | Proof::Stale { .. } => Anomaly::StaleRead,
            Proof::Future { .. } => Anomaly::FutureRead,
            Proof::WriteOrder { .. } => Anomaly::WriteOrder,
            Proof::Lost { is_stale_read: false, .. } => Anomaly::LostWrite,
            Proof::OldEpoch { is_stale_read: false, .. } => Anomaly::Interleaved,
            Proof::NoOrder { .. } => Anomaly::NoOrder,
        }
    }

    /// The read that was stale, or the write that was lost.
    pub(crate) fn culprit(&self) -> Option<OpId> {
        match *self {
            Proof::MissesAcknowledged { get, .. }
            | Proof::MissesSeen { get, .. }
            | Proof::Stale { get, .. }
            | Proof::OldEpoch { is_stale_read: true, last: get, .. }
            | Proof::Lost { is_stale_read: true, after: get, .. } => Some(get),
            Proof::Lost { is_stale_read: false, write, .. } => Some(write),
            _ => None,
        }
    }

    /// The operations it speaks of, in the order of invocation.
    pub(crate) fn operations(&self) -> Vec<OpId> {
        let mut operations: Vec<OpId> = match self.clone() {
            Proof::NeverWritten { get, .. } => vec![get],
            Proof::Twice { append: write, get }
            | Proof::PutInside { put: write, get }
            | Proof::Future { get, write } => vec![write, get],
            Proof::Disagree { first, second, shown_first, shown_second } => {
                [Some(first), Some(second), shown_first, shown_second].into_iter().flatten().collect()
            }
            Proof::TwoEpochs { append, first, second } => vec![append, first, second],
            Proof::MissesAcknowledged { write, get, shown_by } => {
                [Some(write), Some(get), shown_by].into_iter().flatten().collect()
            }
            Proof::MissesSeen { first, get, missed } => {
                [Some(first), Some(get), missed].into_iter().flatten().collect()
            }
            Proof::WriteOrder { first, second, get } => vec![first, second, get],
            Proof::Lost { write, before, after, shown_by, .. } => {
                [Some(write), before, Some(after), shown_by].into_iter().flatten().collect()
            }
            Proof::OldEpoch { earlier, seen, last, shown_by, .. } => {
                let earlier = earlier.into_iter().flat_map(|(old, new)| [old, new]);
                earlier.chain([seen, last]).chain(shown_by).collect()
            }
            Proof::Stale { returned, get } => returned.into_iter().chain([get]).collect(),
            Proof::NoOrder { operations } => operations,
        };
        operations.sort_unstable();
        operations.dedup();
        operations
    }
}

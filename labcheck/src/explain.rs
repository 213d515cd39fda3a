//! Names what engine B has found: from the few operations that contradict each other to an argument.
//!
//! Kit-owned. Read `proof.rs` and `search/shrink.rs` first.

use crate::history::OpId;
use crate::operations::{Kind, Op};
use crate::proof::Proof;

/// What a core can be called depends on this much of its operations.
pub(crate) struct CoreOp<'a> {
    pub(crate) id: OpId,
    pub(crate) called: u64,
    /// `None` if it never returned.
    pub(crate) returned: Option<u64>,
    pub(crate) role: Role<'a>,
}

/// What an operation has to do with the value that a read returned.
pub(crate) enum Role<'a> {
    /// A read, and what it returned.
    Read(&'a str),
    /// A write, and what it wrote.
    Write(&'a str),
}

/// The argument for a key of a key-value store; `core` are places in `ops`.
pub(crate) fn of_key(ops: &[Op<'_>], core: &[usize]) -> Proof {
    let core: Vec<CoreOp<'_>> = core.iter().map(|&place| CoreOp::of(&ops[place])).collect();
    argue(&core, |write, read| read.contains(write))
}

/// The argument for a core; `shows` tells whether a value read shows a value written.
pub(crate) fn argue(core: &[CoreOp<'_>], shows: impl Fn(&str, &str) -> bool) -> Proof {
    let all = || Proof::NoOrder { operations: core.iter().map(|op| op.id).collect() };
    let Some(last) = core.iter().max_by_key(|op| op.called) else { return all() };
    match (core, &last.role) {
        ([get], Role::Read(_)) => Proof::NeverWritten { get: get.id, at: None },
        ([get, write], Role::Write(value)) | ([write, get], Role::Write(value)) if write.id == last.id => {
            match get.role {
                // The read had returned before the only write that it can show was called.
                Role::Read(seen) if get.before(write) && shows(value, seen) => {
                    Proof::Future { get: get.id, write: write.id }
                }
                _ => all(),
            }
        }
        (_, Role::Read(seen)) => {
            let others = || core.iter().filter(|op| op.id != last.id);
            let is_newer = |op: &CoreOp<'_>| match op.role {
                Role::Write(value) => !shows(value, seen),
                Role::Read(value) => value != *seen,
            };
            // Everything else had returned before the read was called, and something of it is missing there.
            if core.len() <= 4 && others().all(|op| op.before(last)) && others().any(is_newer) {
                Proof::Stale { returned: others().map(|op| op.id).collect(), get: last.id }
            } else {
                all()
            }
        }
        _ => all(),
    }
}

impl<'a> CoreOp<'a> {
    fn of(op: &Op<'a>) -> CoreOp<'a> {
        CoreOp {
            id: OpId::at(op.place as usize),
            called: op.called.into(),
            returned: op.is_complete().then(|| op.returned.into()),
            role: if op.kind == Kind::Get { Role::Read(op.value) } else { Role::Write(op.value) },
        }
    }

    fn before(&self, other: &CoreOp<'_>) -> bool {
        self.returned.is_some_and(|returned| returned < other.called)
    }
}

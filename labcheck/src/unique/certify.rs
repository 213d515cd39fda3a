//! Executes an order that engine A has found: the reason why its yes can be trusted.
//!
//! Kit-owned. It knows nothing of epochs and clusters, and shares no code with what it judges.

use crate::operations::{Kind, Op};

/// Whether `order` explains all of `ops`: every operation that completed stands in it once, what had
/// returned stands before what was called later, and every get returns what the store then holds.
pub(super) fn certify(ops: &[Op<'_>], order: &[u32]) -> Result<(), String> {
    let mut placed = vec![false; ops.len()];
    let mut latest_call = 0;
    let mut state = String::new();
    for &index in order {
        let op = &ops[index as usize];
        if std::mem::replace(&mut placed[index as usize], true) {
            return Err(format!("operation {index} stands in it twice"));
        }
        if op.returned < latest_call {
            return Err(format!("operation {index} had returned before one that it comes after was called"));
        }
        latest_call = latest_call.max(op.called);
        match op.kind {
            Kind::Get if op.value != state => return Err(format!("get {index} would return something else")),
            Kind::Get => {}
            Kind::Put => {
                state.clear();
                state.push_str(op.value);
            }
            Kind::Append => state.push_str(op.value),
        }
    }
    match ops.iter().zip(&placed).position(|(op, placed)| op.is_complete() && !placed) {
        Some(missing) => Err(format!("operation {missing} is missing")),
        None => Ok(()),
    }
}

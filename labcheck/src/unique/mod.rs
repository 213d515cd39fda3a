//! Engine A: decides one key whose written values are unique, exactly, and without a search.
//!
//! Kit-owned. Read this page, then `epochs.rs`, `order.rs` and `certify.rs`, which is the order of work.
//!
//! If every written value can be told from all others wherever it stands in a longer one, then each get
//! tells the whole story since the last put: which writes made its value, and in which order. What is left
//! to decide is whether these stories agree with one another and with real time.
//!
//! 1. `code.rs` takes values apart. If that may be ambiguous, the engine says so and decides nothing.
//! 2. `epochs.rs` reads all gets. Those that begin with the same put belong to one *epoch*. The longest value
//!    of an epoch shows its writes in order, and every other value must be a beginning of it.
//! 3. `order.rs` compares with real time, inside each epoch and between epochs.
//! 4. `certify.rs` executes the order that was found. A yes is never taken on trust.
//!
//! Where only some values are unique, `partial.rs` looks whether those contradict each other; that is a no or
//! nothing.
//!
//! A no names the operations that contradict each other. It takes O(n log n) steps for `n` operations and
//! looks at every byte a few times, however many operations overlap.
//!
//! The idea of clusters and of comparing their first return with their last call is that of P. Gibbons and
//! E. Korach, *Testing Shared Memories*, SIAM Journal on Computing 26(4), 1997, for registers whose writes
//! are unique. That appends make every read tell the order of writes is an observation of K. Kingsbury and
//! P. Alvaro, *Elle*, VLDB 2020.

mod certify;
mod code;
mod epochs;
mod order;
mod partial;

use crate::operations::KeyOps;
use crate::proof::Proof;

/// What engine A says.
pub(crate) enum Decision {
    /// The written values are not unique enough, and those that are contradict nothing.
    NotApplicable,
    /// An order was found, and executed.
    Linearizable,
    /// There is no order.
    Illegal(Proof),
    /// An order was found that did not survive its execution.
    NotCertified(String),
}

/// Decides one key.
pub(crate) fn decide(key: &KeyOps<'_>) -> Decision {
    let Some(code) = code::Code::new(&key.ops) else {
        return partial::refute(key).map_or(Decision::NotApplicable, Decision::Illegal);
    };
    let order = epochs::read(&key.ops, code).and_then(|mut reading| order::find(key, &mut reading));
    match order {
        Err(proof) => Decision::Illegal(proof),
        Ok(order) => match certify::certify(&key.ops, &order) {
            Ok(()) => Decision::Linearizable,
            Err(reason) => Decision::NotCertified(reason),
        },
    }
}

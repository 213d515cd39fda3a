//! What a kind of object does: the trait that engine B searches by.
//!
//! Kit-owned. Read this file first, then `models.rs` for two examples, then `engine.rs`.

use std::fmt::Debug;
use std::hash::Hash;

/// A deterministic object: the state it starts in, and what each operation does to a state.
///
/// Everything beyond [`initial`](Model::initial) and [`step`](Model::step) only tells the search where not
/// to look. A model that leaves it out gets the same verdicts, later.
///
/// ```
/// use labcheck::{Limits, Model, Operation, check_model};
///
/// /// A counter that hands out numbers from 1.
/// struct Tickets;
///
/// impl Model for Tickets {
///     type State = u64;
///     type Input = ();
///     type Output = u64;
///
///     fn initial(&self) -> u64 {
///         0
///     }
///
///     fn step(&self, last: &u64, _: &(), ticket: Option<&u64>) -> Option<u64> {
///         let next = last + 1;
///         ticket.is_none_or(|ticket| *ticket == next).then_some(next)
///     }
/// }
///
/// let draw = |called, returned, ticket| Operation {
///     input: (),
///     called,
///     outcome: Some((returned, ticket)),
/// };
/// // Two overlap, and may come in either order.
/// let history = [draw(0, 3, 2), draw(1, 2, 1)];
/// assert!(check_model(&history, &Tickets, Limits::default()).is_linearizable());
/// // Here the second was called after the first had returned.
/// let history = [draw(0, 1, 2), draw(2, 3, 1)];
/// assert!(check_model(&history, &Tickets, Limits::default()).is_illegal());
/// ```
pub trait Model {
    /// What the object holds.
    type State: Clone + Eq + Hash;
    /// What a client asks for.
    type Input: Eq + Hash + Debug;
    /// What a client is told.
    type Output: Eq + Hash + Debug;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after an operation, or `None` if it cannot return `output` in this state.
    ///
    /// Without an `output` its outcome is unknown: the operation does what it does in this state, if it can
    /// be executed there at all.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// Whether this operation leaves every state as it is.
    ///
    /// It is not enough that it does so in some states: a write of the value that is there already is no
    /// read.
    fn is_read(&self, input: &Self::Input) -> bool {
        let _ = input;
        false
    }

    /// Whether a completed operation may still be executed after `state`, with this output, without any of the
    /// operations that [`may_start`](Model::may_start) holds for in between.
    fn may_follow(&self, state: &Self::State, input: &Self::Input, output: &Self::Output) -> bool {
        let _ = (state, input, output);
        true
    }

    /// Whether `write`, which is no read, may lead to a state in which a completed operation can be executed
    /// with this output, although [`may_follow`](Model::may_follow) does not hold for the state before it.
    fn may_start(&self, write: &Self::Input, input: &Self::Input, output: &Self::Output) -> bool {
        let _ = (write, input, output);
        true
    }

    /// Whether every operation but a read can be executed in every state, whatever it returned.
    fn writes_always_succeed(&self) -> bool {
        false
    }

    /// Whether a completed read may come about by some of these writes, each used any number of times, starting
    /// from `state` or, without one, from whatever a write starts anew. Asked where
    /// [`may_follow`](Model::may_follow) or [`may_start`](Model::may_start) has said yes.
    fn may_build(
        &self,
        state: Option<&Self::State>,
        writes: &[&Self::Input],
        read: &Self::Input,
        output: &Self::Output,
    ) -> bool {
        let _ = (state, writes, read, output);
        true
    }

    /// Whether an operation that [`may_start`](Model::may_start) holds for leaves nothing of the state before
    /// it: what needs another start than that one cannot follow any more.
    fn writes_overwrite(&self) -> bool {
        false
    }

    /// How many bytes a state takes, about.
    fn size(&self, state: &Self::State) -> usize {
        size_of_val(state)
    }
}

/// One operation on an object.
///
/// Calls and returns are numbered by one clock. Operations of which neither returned at a lower number than
/// the other was called at are concurrent. An operation that surely did not happen does not belong into a
/// history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// What was asked.
    pub input: I,
    /// When it was called.
    pub called: u64,
    /// When it returned, and what. `None` if the outcome is unknown: it may have happened at any time after
    /// its call, or may happen later, or never. A return before the call is taken as one at the call.
    pub outcome: Option<(u64, O)>,
}

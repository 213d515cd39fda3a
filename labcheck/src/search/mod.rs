//! Engine B: decides histories of any model, by search.
//!
//! Kit-owned. Read `model.rs`, then `engine.rs`; `shrink.rs` makes its no useful.

mod engine;
mod hash;
mod model;
mod models;
mod shrink;
mod states;
mod timeline;

pub use model::{Model, Operation};
pub use models::{KvCall, KvModel, RegisterCall, RegisterModel};

pub(crate) use hash::FastMap;

use crate::verdict::{Limits, Undecided, Verdict};
use engine::{Progress, Search, Task};

/// The operations of an illegal history that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// Their places in the history, ascending. They fit in no order, even if every other write may happen at
    /// any time, any number of times, or never, and every other read may return anything.
    ///
    /// Taking out any one of them usually leaves an order, but that is not promised: making the set small is
    /// itself a search, and has its limits.
    pub operations: Vec<usize>,
}

/// Decides whether an order of `history` exists that `model` can execute and that agrees with real time.
///
/// The order of the slice means nothing. A history of several independent objects is checked best object by
/// object: it is linearizable if each of them is.
///
/// See [`Model`] for an example.
pub fn check_model<M: Model>(
    history: &[Operation<M::Input, M::Output>],
    model: &M,
    limits: Limits,
) -> Verdict<Core> {
    match check_in_turn(&[history], model, limits) {
        Verdict::Linearizable => Verdict::Linearizable,
        Verdict::Unknown(reason) => Verdict::Unknown(reason),
        Verdict::Illegal(found) => Verdict::Illegal(Box::new(found.1)),
    }
}

/// Decides several histories, each for a few steps at a time, and for more in every round: one that is hard
/// does not hide what is wrong with another. The first that turns out to be illegal decides; its number is
/// returned with the core.
pub(crate) fn check_in_turn<M: Model>(
    histories: &[&[Operation<M::Input, M::Output>]],
    model: &M,
    limits: Limits,
) -> Verdict<(usize, Core)> {
    let mut open: Vec<_> = histories.iter().map(|history| Judge::new(history, model)).enumerate().collect();
    let (mut spent, mut slice) = (0, FIRST_SLICE);
    let mut undecided = None;
    while !open.is_empty() {
        let mut still_open = Vec::new();
        for (number, mut judge) in open {
            let before = judge.search.steps;
            let verdict = judge.proceed(slice.min(limits.steps - spent), limits.bytes);
            spent += judge.search.steps - before;
            match verdict {
                Some(Verdict::Linearizable) => {}
                Some(Verdict::Illegal(core)) => return Verdict::Illegal(Box::new((number, *core))),
                Some(Verdict::Unknown(reason)) => undecided = Some(reason),
                None if spent >= limits.steps => undecided = Some(Undecided::LimitReached { steps: spent }),
                None => still_open.push((number, judge)),
            }
        }
        open = still_open;
        slice = (slice * 2).min(LAST_SLICE);
    }
    undecided.map_or(Verdict::Linearizable, Verdict::Unknown)
}

/// How many steps a search takes at first until it is the next one's turn, and how many in the end. Its
/// memory is looked at in between.
const FIRST_SLICE: u64 = 1 << 10;
const LAST_SLICE: u64 = 1 << 15;

/// A check that can be stopped and continued.
struct Judge<'a, M: Model> {
    model: &'a M,
    tasks: Vec<Task<'a, M>>,
    /// The place of each task in the history.
    places: Vec<usize>,
    search: Search<'a, M>,
}

impl<'a, M: Model> Judge<'a, M> {
    fn new(history: &'a [Operation<M::Input, M::Output>], model: &'a M) -> Judge<'a, M> {
        let (mut tasks, mut places) = (Vec::new(), Vec::new());
        for (place, operation) in history.iter().enumerate() {
            // A read without an outcome tells nothing.
            if operation.outcome.is_some() || !model.is_read(&operation.input) {
                let output = operation.outcome.as_ref().map(|(_, output)| output);
                let returned = operation.outcome.as_ref().map(|(time, _)| *time.max(&operation.called));
                tasks.push(Task { exchange: (&operation.input, output), called: operation.called, returned });
                places.push(place);
            }
        }
        let search = Search::new(model, &tasks, &[]);
        Judge { model, tasks, places, search }
    }

    /// Goes on for so many steps. `None` if that was not enough.
    fn proceed(&mut self, steps: u64, bytes: u64) -> Option<Verdict<Core>> {
        match self.search.run(steps) {
            Progress::Found => Some(match self.certify() {
                Ok(()) => Verdict::Linearizable,
                Err(reason) => Verdict::Unknown(Undecided::NotCertified { reason }),
            }),
            Progress::Impossible => {
                let core = shrink::find(self.model, &self.tasks);
                let operations = core.into_iter().map(|task| self.places[task]).collect();
                Some(Verdict::Illegal(Box::new(Core { operations })))
            }
            Progress::Paused if self.search.bytes() as u64 > bytes => {
                Some(Verdict::Unknown(Undecided::LimitReached { steps: self.search.steps }))
            }
            Progress::Paused => None,
        }
    }

    /// Executes the order that was found. A yes is never taken on trust.
    fn certify(&self) -> Result<(), String> {
        let mut placed = vec![false; self.tasks.len()];
        let mut state = self.model.initial();
        let mut latest_call = 0;
        for &index in self.search.order() {
            let task = &self.tasks[index as usize];
            if std::mem::replace(&mut placed[index as usize], true) {
                return Err(format!("operation {index} stands in it twice"));
            }
            if task.returned.is_some_and(|returned| returned < latest_call) {
                return Err(format!(
                    "operation {index} had returned before one that it comes after was called"
                ));
            }
            latest_call = latest_call.max(task.called);
            let (input, output) = task.exchange;
            match self.model.step(&state, input, output) {
                Some(next) => state = next,
                None => return Err(format!("operation {index} would not return what it did")),
            }
        }
        match self.tasks.iter().zip(&placed).position(|(task, placed)| task.returned.is_some() && !placed) {
            Some(missing) => Err(format!("operation {missing} is missing")),
            None => Ok(()),
        }
    }
}

//! Makes a no useful: of all operations, finds the few that contradict each other.
//!
//! Kit-owned. Read `engine.rs` first.
//!
//! Everything that is known of a history is taken away piece by piece, as long as no order exists without
//! it either: a read altogether; of a write, that it was called no earlier, and that it had returned by a
//! certain time. A write of which neither is left may happen at any time, any number of times, or never.
//! The operations of which something is left are the core. Each step makes the history more permissive, so
//! that what refutes the rest refutes the whole.

use super::engine::{Progress, Search, Task};
use super::model::Model;

/// How many steps all searches for the core may take together, and one of them. What takes longer to refute
/// is kept.
const ALL_STEPS: u64 = 200_000;
const ONE_SEARCH: u64 = 5_000;

/// One thing known of a task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fact {
    /// What a read returned, and when.
    Read(usize),
    /// When a write was called.
    Call(usize),
    /// When a write had returned.
    Return(usize),
}

/// The tasks that contradict each other, ascending. `tasks` must have no order.
pub(super) fn find<M: Model>(model: &M, tasks: &[Task<'_, M>]) -> Vec<usize> {
    let mut shrinker = Shrinker { model, tasks, steps: 0 };
    let prefix = shrinker.shortest_prefix();
    let facts = shrinker.shrink(prefix);
    let mut core: Vec<usize> = facts.into_iter().map(Fact::task).collect();
    core.sort_unstable();
    core.dedup();
    core
}

struct Shrinker<'a, 'b, M: Model> {
    model: &'a M,
    tasks: &'a [Task<'b, M>],
    /// Spent so far.
    steps: u64,
}

impl Fact {
    fn task(self) -> usize {
        match self {
            Fact::Read(task) | Fact::Call(task) | Fact::Return(task) => task,
        }
    }
}

impl<M: Model> Shrinker<'_, '_, M> {
    /// What was known when the first operation returned that made an order impossible.
    fn shortest_prefix(&mut self) -> Vec<Fact> {
        let mut returns: Vec<u64> = self.tasks.iter().filter_map(|task| task.returned).collect();
        returns.sort_unstable();
        returns.dedup();
        let (mut possible, mut impossible) = (0, returns.len());
        while possible < impossible {
            let middle = possible.midpoint(impossible);
            if self.refutes(&self.known_at(returns[middle]), ALL_STEPS / 8) {
                impossible = middle;
            } else {
                possible = middle + 1;
            }
        }
        match returns.get(impossible) {
            Some(&last) => self.known_at(last),
            None => self.known_at(u64::MAX),
        }
    }

    /// What was known at a time.
    fn known_at(&self, time: u64) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (index, task) in self.tasks.iter().enumerate().filter(|(_, task)| task.called <= time) {
            let returned = task.returned.is_some_and(|returned| returned <= time);
            if self.model.is_read(task.exchange.0) {
                facts.extend(returned.then_some(Fact::Read(index)));
            } else {
                facts.push(Fact::Call(index));
                facts.extend(returned.then_some(Fact::Return(index)));
            }
        }
        facts
    }

    /// Takes away what is not needed: first large pieces, then small ones, oldest first.
    fn shrink(&mut self, mut facts: Vec<Fact>) -> Vec<Fact> {
        let mut piece = facts.len().div_ceil(2);
        while piece > 0 {
            let before = facts.len();
            let mut from = 0;
            while from < facts.len() && self.steps < ALL_STEPS {
                let to = (from + piece).min(facts.len());
                let rest = [&facts[..from], &facts[to..]].concat();
                if self.refutes(&rest, ONE_SEARCH) {
                    facts = rest;
                } else {
                    from = to;
                }
            }
            // Single facts are gone through until none of them can go.
            piece = match piece {
                1 if facts.len() == before => 0,
                1 => 1,
                _ => (piece / 2).min(facts.len().div_ceil(2)),
            };
            if self.steps >= ALL_STEPS {
                break;
            }
        }
        facts
    }

    /// Whether no order agrees with these facts, as far as so many steps can tell.
    fn refutes(&mut self, facts: &[Fact], steps: u64) -> bool {
        let mut known: Vec<(bool, bool)> = vec![(false, false); self.tasks.len()];
        for fact in facts {
            let (called, returned) = &mut known[fact.task()];
            *called |= !matches!(fact, Fact::Return(_));
            *returned |= !matches!(fact, Fact::Call(_));
        }
        let (mut tasks, mut free) = (Vec::new(), Vec::new());
        for (task, (called, returned)) in self.tasks.iter().zip(known) {
            if called || returned {
                let called = if called { task.called } else { 0 };
                let returned = task.returned.filter(|_| returned);
                tasks.push(Task { called, returned, ..task.clone() });
            } else if !self.model.is_read(task.exchange.0) {
                free.push(task.exchange);
            }
        }
        let mut search = Search::new(self.model, &tasks, &free);
        let progress = search.run(steps);
        // Preparing a search costs about as much as a step for each operation.
        self.steps += search.steps + tasks.len() as u64 / 4 + 1;
        progress == Progress::Impossible
    }
}

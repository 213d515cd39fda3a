//! Making the plan of a storm shorter: which of its faults does it take to fail in the same way?
//!
//! Kit-owned. A run of each shorter plan tells. What may be spent on that is counted in runs and in steps of the
//! simulation, never in time of the machine, so that the same failure has the same report everywhere.

/// What may be spent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// So many runs are made at most.
    pub(crate) runs: usize,
    /// No run is begun once the others have taken so many steps together.
    pub(crate) steps: u64,
}

impl Budget {
    /// For one failure. The runs are enough for most plans, and the steps for that many runs of half a million each,
    /// which is more than a storm takes. A cluster that never comes to rest, such as one with a leader that sends
    /// without end, takes its whole limit of steps in each run, and is left with the first one or two attempts, which
    /// leave out most.
    pub(crate) const OF_A_FAILURE: Budget = Budget { runs: 80, steps: 40_000_000 };
}

/// How the run of a shorter plan went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Whether it still breaks the same rule.
    pub(crate) fails_alike: bool,
    /// How many steps it took.
    pub(crate) steps: u64,
}

/// Leaves out faults, first many at once and then one by one, as long as the run still fails alike and the budget
/// lasts. What is left is not always the fewest that do.
pub(crate) fn shorten(
    faults: Vec<usize>,
    mut budget: Budget,
    mut try_plan: impl FnMut(&[usize]) -> Attempt,
) -> Vec<usize> {
    let mut kept = faults;
    let mut at_once = kept.len().div_ceil(2);
    while at_once > 0 {
        let before = kept.len();
        let mut start = 0;
        while start < kept.len() {
            if budget.runs == 0 || budget.steps == 0 {
                return kept;
            }
            let end = kept.len().min(start + at_once);
            let fewer = [&kept[..start], &kept[end..]].concat();
            let attempt = try_plan(&fewer);
            budget.runs -= 1;
            budget.steps = budget.steps.saturating_sub(attempt.steps);
            if attempt.fails_alike {
                kept = fewer;
            } else {
                start = end;
            }
        }
        if at_once > 1 || kept.len() == before {
            at_once /= 2;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shortens a plan of 64 faults of which it takes `needed`, in runs of so many steps; what is left, and the
    /// number of runs.
    fn shortened(needed: &[usize], steps: u64, budget: Budget) -> (Vec<usize>, usize) {
        let mut runs = 0;
        let kept = shorten((1..=64).collect(), budget, |plan| {
            runs += 1;
            Attempt { fails_alike: needed.iter().all(|fault| plan.contains(fault)), steps }
        });
        (kept, runs)
    }

    #[test]
    fn only_the_faults_that_it_takes_are_left() {
        let needed = [7, 8, 50];
        let (kept, runs) = shortened(&needed, 100_000, Budget::OF_A_FAILURE);
        assert_eq!(kept, needed);
        assert!(runs < Budget::OF_A_FAILURE.runs, "it took {runs} runs");
        assert!(shortened(&[], 100_000, Budget::OF_A_FAILURE).0.is_empty());
    }

    #[test]
    fn no_run_is_begun_once_the_steps_are_spent() {
        let budget = Budget { runs: 80, steps: 60 };
        assert_eq!(shortened(&[50], 20, budget), ((49..=64).collect(), 3));
        // The run that goes beyond the budget still counts.
        assert_eq!(shortened(&[50], 50, budget), ((33..=64).collect(), 2));
        assert_eq!(shortened(&[50], u64::MAX, budget), ((33..=64).collect(), 1));
    }

    #[test]
    fn no_run_is_begun_once_the_runs_are_spent() {
        let (kept, runs) = shortened(&[64], 0, Budget { runs: 2, steps: 60 });
        assert_eq!(runs, 2);
        assert_eq!(kept, (33..=64).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_plan_takes_no_run() {
        let attempt = |_: &[usize]| -> Attempt { unreachable!("there is nothing to leave out") };
        assert!(shorten(Vec::new(), Budget::OF_A_FAILURE, attempt).is_empty());
    }
}

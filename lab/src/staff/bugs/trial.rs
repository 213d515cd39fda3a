//! The trial of a bug: the reference with the bug in it, graded as a student's work is.
//!
//! Kit-owned.

use labgrading::{Catalog, Class, Test};

use super::catalogue::Bug;
use super::{LaidCode, grade_tree};
use crate::grade::Grade;
use crate::kit::Kit;
use crate::staff::work::WorkTree;
use crate::trouble::Trouble;

/// How the trial of a bug went.
pub(super) struct Trial {
    /// The stages whose tests it ran.
    pub(super) stages: Vec<String>,
    /// On how many seeds each.
    pub(super) seeds: u64,
    /// How it was caught.
    pub(super) catch: Option<Catch>,
}

/// How a bug was caught.
pub(super) struct Catch {
    /// The first failure of the class that the bug's header names, or else the first of any.
    pub(super) first: Sighting,
    /// A failure of another class that came before that, on fewer seeds.
    pub(super) earlier: Option<Sighting>,
    /// All tests that caught it.
    pub(super) tests: Vec<String>,
    /// The report of the test that the bug's header names, if that failed.
    pub(super) example: Option<String>,
}

/// A test's failure.
pub(super) struct Sighting {
    /// How many seeds it took: a failure that no single seed shows took all of them.
    pub(super) seeds: u64,
    pub(super) test: String,
    pub(super) class: Class,
    pub(super) report: String,
}

impl Sighting {
    fn of(grade: &Grade) -> Option<Sighting> {
        let failure = grade.run.failure()?;
        let seeds = grade.failed_seed().unwrap_or(grade.seeds.last);
        let (test, report) = (grade.test.id.clone(), failure.report.clone());
        // A test that cannot judge a design has not found anything.
        (failure.class != Class::NotJudged).then_some(Sighting { seeds, test, class: failure.class, report })
    }
}

impl Catch {
    /// What the tests have made of `bug`; `sightings` are in the catalogue's order.
    fn of(bug: &Bug, sightings: Vec<Sighting>) -> Option<Catch> {
        let tests = sightings.iter().map(|sighting| sighting.test.clone()).collect();
        let named = sightings.iter().find(|sighting| bug.report.as_ref() == Some(&sighting.test));
        let example = named.map(|sighting| sighting.report.clone());
        let (expected, others): (Vec<_>, Vec<_>) =
            sightings.into_iter().partition(|sighting| sighting.class == bug.class);
        let first_of = |sightings: Vec<Sighting>| sightings.into_iter().min_by_key(|sighting| sighting.seeds);
        let (first, earlier) = match (first_of(expected), first_of(others)) {
            (Some(first), other) => {
                let is_earlier = |other: &Sighting| other.seeds < first.seeds;
                let earlier = other.filter(is_earlier);
                (first, earlier)
            }
            (None, other) => (other?, None),
        };
        Some(Catch { first, earlier, tests, example })
    }

    /// The whole report to keep as an example.
    pub(super) fn report(&self) -> &str {
        self.example.as_deref().unwrap_or(&self.first.report)
    }
}

impl Trial {
    /// True if the bug was caught, as what its header says it is.
    pub(super) fn is_right(&self, bug: &Bug) -> bool {
        self.catch.as_ref().is_some_and(|catch| catch.first.class == bug.class)
    }
}

/// Grades `bug` on seeds 1 to `seeds` by the tests of `stages`.
pub(super) fn try_bug(
    catalog: &Catalog,
    kit: &Kit,
    tree: &WorkTree,
    bug: &Bug,
    stages: &[String],
    seeds: u64,
) -> Result<Trial, Trouble> {
    let laid = lay_bug(kit, tree, bug)?;
    let is_of_stage = |test: &&Test| stages.iter().any(|stage| stage == test.stage());
    let tests: Vec<&Test> = catalog.tests.iter().filter(is_of_stage).collect();
    let grades = grade_tree(catalog, tree, &tests, &laid, seeds)?;
    let catch = Catch::of(bug, grades.0.iter().filter_map(Sighting::of).collect());
    Ok(Trial { stages: stages.to_vec(), seeds, catch })
}

/// Puts `bug` into the work tree.
pub(super) fn lay_bug(kit: &Kit, tree: &WorkTree, bug: &Bug) -> Result<LaidCode, Trouble> {
    let (overlay, code) = bug.overlay(kit)?;
    tree.lay_over(&overlay)?;
    Ok(LaidCode { code, replay_suffix: format!(" --bug {}", bug.id) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::staff::bugs::catalogue::example_bug;

    fn sighting(seeds: u64, test: &str, class: Class) -> Sighting {
        Sighting { seeds, test: test.into(), class, report: format!("of {test}\n") }
    }

    #[test]
    fn the_first_of_the_expected_class_counts_and_an_earlier_one_is_told() {
        let bug = example_bug(Class::Safety);
        let late = || sighting(7, "2a::late", Class::Safety);
        let catch = Catch::of(&bug, vec![late(), sighting(2, "2a::early", Class::Liveness)]).unwrap();
        assert_eq!((catch.first.test.as_str(), catch.first.seeds), ("2a::late", 7));
        assert_eq!(catch.earlier.map(|earlier| earlier.test).as_deref(), Some("2a::early"));
        assert_eq!(catch.tests, ["2a::late", "2a::early"]);
        // On the same seed nothing is earlier.
        let catch = Catch::of(&bug, vec![sighting(7, "2a::same", Class::Liveness), late()]).unwrap();
        assert!(catch.earlier.is_none() && catch.first.class == Class::Safety);
    }

    #[test]
    fn without_the_expected_class_the_first_of_any_is_told_and_is_wrong() {
        let bug = example_bug(Class::Safety);
        let seen = vec![sighting(5, "2a::b", Class::Liveness), sighting(3, "2a::a", Class::Stuck)];
        let trial = Trial { stages: vec!["2a".into()], seeds: 20, catch: Catch::of(&bug, seen) };
        assert!(!trial.is_right(&bug));
        assert_eq!(trial.catch.unwrap().first.test, "2a::a");
        assert!(Catch::of(&bug, Vec::new()).is_none());
    }
}

//! Steps: the reference cut down to what a student has written so far, as patches under `tests/steps`.
//!
//! Kit-owned.

use std::fs;
use std::path::Path;

use labgrading::{Catalog, Test};

use super::patch::{field, patched};
use super::{LaidCode, grade_tree, name_of, say};
use crate::grade::Grade;
use crate::kit::{Code, Kit};
use crate::staff::work::WorkTree;
use crate::trouble::Trouble;

/// The folder of the steps, in the kit.
pub(super) const STEPS: &str = "tests/steps";

/// Seeds on which each step runs unless told otherwise.
const STEP_SEEDS: u64 = 3;

/// Checks that exactly those rules are green that a step has implemented, or that all tests are of the
/// stages that it has completed.
pub(super) fn try_step(
    catalog: &Catalog,
    kit: &Kit,
    tree: &WorkTree,
    file: &Path,
    seeds: Option<u64>,
) -> Result<bool, Trouble> {
    let misfit = |why: String| Trouble::Kit(format!("{}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| Trouble::file("read", file, &error))?;
    let goal = Goal::parse(&text).map_err(misfit)?;
    let patch = text.find("\n--- ").map_or("", |start| &text[start + 1..]);
    tree.lay_over(&patched(kit, &name_of(file), patch)?)?;
    let tests: Vec<&Test> = catalog.tests.iter().filter(|test| goal.judges(test)).collect();
    // A step is no more than unfinished, so nobody has to see it run again.
    let laid = LaidCode { code: Code::SOLUTION, replay_suffix: Code::SOLUTION.suffix.into() };
    let grades = grade_tree(catalog, tree, &tests, &laid, seeds.unwrap_or(STEP_SEEDS))?;
    let should_pass = |grade: &Grade| goal.expects(&grade.test);
    let wrong: Vec<&str> = grades
        .0
        .iter()
        .filter(|grade| grade.class().is_none() != should_pass(grade))
        .map(|grade| grade.test.function())
        .collect();
    let said = if wrong.is_empty() {
        goal.reached(tests.len())
    } else {
        format!("green or not against expectation: {}", wrong.join(", "))
    };
    say("step", &name_of(file), wrong.is_empty(), &said);
    Ok(wrong.is_empty())
}

/// What a step is to show.
enum Goal {
    /// Of a stage's rules these are green, and no others.
    Rules { stage: String, green: Vec<String> },
    /// All tests of these stages pass, whatever later ones still lack.
    Complete { stages: Vec<String> },
}

impl Goal {
    fn parse(head: &str) -> Result<Goal, String> {
        let words = |text: String| text.split(' ').map(str::to_owned).collect();
        if let Ok(stages) = field(head, "complete") {
            return Ok(Goal::Complete { stages: words(stages) });
        }
        Ok(Goal::Rules { stage: field(head, "stage")?, green: words(field(head, "green")?) })
    }

    fn judges(&self, test: &Test) -> bool {
        match self {
            Goal::Rules { stage, .. } => test.rule && test.stage() == stage,
            Goal::Complete { stages } => stages.iter().any(|stage| stage == test.stage()),
        }
    }

    fn expects(&self, test: &Test) -> bool {
        match self {
            Goal::Rules { green, .. } => green.iter().any(|name| name == test.function()),
            Goal::Complete { .. } => true,
        }
    }

    fn reached(&self, tests: usize) -> String {
        match self {
            Goal::Rules { green, .. } => format!("{} of {tests} rules green, as they should be", green.len()),
            Goal::Complete { stages } => {
                format!("all {tests} tests of {} pass, with nothing after them", stages.join(", "))
            }
        }
    }
}

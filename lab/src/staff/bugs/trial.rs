//! The trial of a bug: the reference with the bug in it, graded as a student's work is.
//!
//! Kit-owned.

use labgrading::{Catalog, Class, Test};

use super::catalogue::Bug;
use super::grade_tree;
use super::patch::patched;
use crate::grade::Grade;
use crate::kit::{Code, Kit};
use crate::staff::work::WorkTree;
use crate::trouble::Trouble;

/// How a bug was caught.
pub(super) struct Catch {
    pub(super) seeds: u64,
    pub(super) test: String,
    pub(super) class: Class,
    /// All tests of the stage that caught it.
    pub(super) tests: Vec<String>,
    /// The report to show: that of the test the bug names, or of the first that caught it.
    pub(super) report: String,
}

pub(super) fn try_bug(
    catalog: &Catalog,
    kit: &Kit,
    tree: &WorkTree,
    bug: &Bug,
    seeds: u64,
) -> Result<Option<Catch>, Trouble> {
    tree.lay_over(&patched(kit, &bug.id, &bug.patch)?)?;
    let tests: Vec<&Test> = catalog.tests_of(&bug.stage).collect();
    let grades = grade_tree(catalog, tree, &tests, Code::SOLUTION, seeds)?;
    // A failure of the right class counts for more than an earlier one of another.
    let of_class = |grade: &&&Grade| grade.class() == Some(bug.class);
    let failed: Vec<&Grade> = grades.0.iter().filter(|grade| grade.class().is_some()).collect();
    let first = failed
        .iter()
        .filter(of_class)
        .min_by_key(|grade| seeds_of(grade))
        .or(failed.iter().min_by_key(|grade| seeds_of(grade)));
    Ok(first.map(|grade| Catch {
        seeds: seeds_of(grade),
        test: grade.test.id.clone(),
        class: grade.class().expect("it failed"),
        tests: failed.iter().map(|grade| grade.test.id.clone()).collect(),
        report: report_of(bug, &failed)
            .unwrap_or_else(|| grade.run.failure().expect("it failed").report.clone()),
    }))
}

/// The report of the test that the bug names, if that failed.
fn report_of(bug: &Bug, failed: &[&Grade]) -> Option<String> {
    let named = bug.report.as_ref()?;
    let grade = failed.iter().find(|grade| grade.test.id == *named)?;
    Some(grade.run.failure()?.report.clone())
}

/// How many seeds it took: a failure that no single seed shows took all of them.
fn seeds_of(grade: &Grade) -> u64 {
    grade.failed_seed().unwrap_or(grade.seeds.last)
}

//! The bug catalogue: wrong Rafts and services that the suite must catch, and right ones that it must pass.
//!
//! Kit-owned. A bug (`catalogue.rs`, `trial.rs`) is a patch against the reference, under `tests/bugs`; a
//! variant (`variants.rs`) is a whole other implementation, under `tests/variants`, of the Raft or of the
//! service; a step (`steps.rs`), under `tests/steps`, is the reference cut down to what a student has written
//! so far, and says which of the stage's rules are to be green then. Each is laid over a work tree and graded
//! exactly as a student's work is. The table of what caught which bug, and when (`table.rs`), is the measure
//! of the suite.

mod catalogue;
mod patch;
mod steps;
mod table;
mod trial;
mod variants;

use std::io::Write;
use std::path::Path;

use labgrading::{Catalog, SeedRange, Test};

use self::patch::patches_in;
use self::steps::{STEPS, try_step};
use self::table::{Table, said_of};
use self::trial::try_bug;
use self::variants::{REFERENCE, VARIANTS, try_variant};
use super::build_with_log;
use super::work::WorkTree;
use crate::grade::{self, Grades};
use crate::kit::{Code, Kit};
use crate::show::{BAD, GOOD, painted, put};
use crate::trouble::Trouble;

/// Names for all of a kind.
const ALL_BUGS: &str = "bugs";
const ALL_VARIANTS: &str = "variants";
const ALL_STEPS: &str = "steps";

/// Runs the bugs and variants that `names` select, and with no names all of them. Returns whether all bugs
/// were caught and all variants passed. A run of everything, on the seeds that the bugs allow, writes the
/// table.
pub(crate) fn run(
    catalog: &Catalog,
    kit: &Kit,
    names: &[String],
    seeds: Option<u64>,
) -> Result<bool, Trouble> {
    let bugs = catalogue::read_all(catalog, kit)?;
    let variants = variants::folders_in(&kit.root().join(VARIANTS))?;
    let steps = patches_in(&kit.root().join(STEPS))?;
    let files = variants.iter().chain(&steps).map(|file| name_of(file));
    let groups = [ALL_BUGS, ALL_VARIANTS, ALL_STEPS, REFERENCE].map(str::to_owned);
    let known: Vec<String> =
        groups.into_iter().chain(bugs.iter().map(|bug| bug.id.clone())).chain(files).collect();
    if let Some(unknown) = names.iter().find(|name| !known.iter().any(|id| id.eq_ignore_ascii_case(name))) {
        return Err(Trouble::Usage(format!(
            "there is no bug, variant or step called '{unknown}'; there are {}",
            known.join(", ")
        )));
    }
    let is_selected = |group: &str, id: &str| {
        let is_meant = |name: &String| name.eq_ignore_ascii_case(id) || name.eq_ignore_ascii_case(group);
        names.is_empty() || names.iter().any(is_meant)
    };
    let tree = WorkTree::of(kit);
    let mut table = Table::new();
    let mut all_well = true;
    for bug in bugs.iter().filter(|bug| is_selected(ALL_BUGS, &bug.id)) {
        let caught = try_bug(catalog, kit, &tree, bug, seeds.unwrap_or(bug.seeds))?;
        let is_right = caught.as_ref().is_some_and(|catch| catch.class == bug.class);
        all_well &= is_right;
        say(&bug.id, &bug.name, is_right, &said_of(bug, caught.as_ref()));
        table.add(bug, caught.as_ref());
        if let (false, Some(catch)) = (names.is_empty(), &caught) {
            print!("{}  failed    {}\n\n", catch.report, catch.tests.join(", "));
        }
    }
    if is_selected(ALL_VARIANTS, REFERENCE) {
        all_well &= variants::try_reference(catalog, &tree, seeds)?;
    }
    for variant in variants.iter().filter(|folder| is_selected(ALL_VARIANTS, &name_of(folder))) {
        all_well &= try_variant(catalog, &tree, variant, seeds)?;
    }
    for step in steps.iter().filter(|file| is_selected(ALL_STEPS, &name_of(file))) {
        all_well &= try_step(catalog, kit, &tree, step, seeds)?;
    }
    if names.is_empty() && seeds.is_none() {
        table.write(kit)?;
    }
    Ok(all_well)
}

/// One line for one bug, variant or step.
fn say(id: &str, name: &str, is_right: bool, said: &str) {
    let word = if is_right { painted(GOOD, "ok  ") } else { painted(BAD, "FAIL") };
    put(format_args!("{word}  {id:<8} {name:<36}  {said}\n"));
}

fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn grade_tree(
    catalog: &Catalog,
    tree: &WorkTree,
    tests: &[&Test],
    code: Code,
    seeds: u64,
) -> Result<Grades, Trouble> {
    let mut log = String::new();
    let binaries = build_with_log(catalog, tree.kit(), tests, code, &mut log).inspect_err(|_| {
        // A closed standard error takes no more messages; the exit code still tells.
        let _ = std::io::stderr().write_all(log.as_bytes());
    })?;
    grade::all(tests, &binaries, |_| SeedRange { first: 1, last: seeds }, |_| {})
}

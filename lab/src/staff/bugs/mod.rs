//! The bug catalogue: wrong Rafts and services that the suite must catch, and right ones that it must pass.
//!
//! Kit-owned. A bug (`catalogue.rs`, `trial.rs`) is a patch against the reference, under `tests/bugs`; a
//! variant (`variants.rs`), under `tests/variants`, is a whole other implementation of the Raft or of the
//! service, or a patch that leaves the reference correct; a step (`steps.rs`), under `tests/steps`, is the
//! reference cut down to what a student has written so far, and says which of the stage's rules are to be
//! green then. Each is laid over a work tree and graded exactly as a student's work is. The table of what
//! caught which bug, and when (`table.rs`), is the measure of the suite.

mod catalogue;
mod patch;
mod steps;
mod table;
mod trial;
mod variants;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use labgrading::{Catalog, SeedRange, Test};

use self::catalogue::Catalogue;
use self::patch::patches_in;
use self::steps::{STEPS, try_step};
use self::table::{Table, reports_of, said_of};
use self::trial::{lay_bug, try_bug};
use self::variants::{REFERENCE, VARIANTS, lay_variant, try_variant};
use super::work::WorkTree;
use super::{BugsArguments, LaidOver, build_with_log};
use crate::build::{self, Binaries};
use crate::grade::{self, Grades};
use crate::kit::{Code, Kit};
use crate::show::{BAD, GOOD, painted, put};
use crate::trouble::Trouble;

pub(super) const HELP: &str = "\
Grade every bug of the catalogue and every correct variant, and write the table of what was caught.

A bug (tests/bugs/E01-vote-twice.patch) is laid over the reference and graded by the tests of its stage, on seeds \
1 to the number that its header allows, and must be caught as the class of failure that its header names. A \
variant (tests/variants), and the reference itself, must pass every test. A step (tests/steps) is the reference \
cut down to what a student has written so far: exactly the rules that its header lists must pass.

A bug that is named is shown with its report. Where a test has failed on fewer seeds than that, in another class, \
its report comes first, as a student would see it first. The replay command in a report names the bug, so that \
it runs the wrong implementation and not the reference:
  cargo lab replay 2a::split_vote --seed 3 --bug E01
  cargo lab trace  2a::split_vote --seed 3 --bug E01

--stage grades bugs by the tests of other stages than their own, to see who else catches them; variants by the \
tests of these stages alone. A step names its stage itself.
  cargo lab bugs E01 --stage 2b,2c --seeds 100
  cargo lab bugs E01 --stage all

A patch that is malformed, does not fit the reference or does not compile is named, and the others are tried. \
The table (tests/bugs/TABLE.md) and the examples (REPORTS.md) are written by a run of everything alone: without \
names, --seeds and --stage, and when everything could be tried.

Exit codes: 0 all bugs caught and all variants passed, 1 not so, 2 wrong usage, 3 something could not be tried, \
or the kit itself failed, 4 interrupted.";

/// Names for all of a kind.
const ALL_BUGS: &str = "bugs";
const ALL_VARIANTS: &str = "variants";
const ALL_STEPS: &str = "steps";

/// In place of a stage: all of them.
const ALL_STAGES: &str = "all";

/// The code that lies in the work tree, to be built.
struct LaidCode {
    code: Code,
    /// What a report's replay command must end in to run it again.
    replay_suffix: String,
}

/// What there is to try.
struct Everything {
    catalogue: Catalogue,
    variants: Vec<PathBuf>,
    steps: Vec<PathBuf>,
}

impl Everything {
    fn read(catalog: &Catalog, kit: &Kit) -> Result<Everything, Trouble> {
        let catalogue = Catalogue::read(catalog, kit)?;
        let variants = variants::variants_in(&kit.root().join(VARIANTS))?;
        let steps = patches_in(&kit.root().join(STEPS))?;
        Ok(Everything { catalogue, variants, steps })
    }

    /// Refuses a name of nothing.
    fn check_names(&self, names: &[String]) -> Result<(), Trouble> {
        let groups = [ALL_BUGS, ALL_VARIANTS, ALL_STEPS, REFERENCE].map(str::to_owned);
        let bugs = self.catalogue.bugs.iter().map(|bug| bug.id.clone());
        let malformed = self.catalogue.malformed.iter().map(|malformed| malformed.id().to_owned());
        let files = self.variants.iter().chain(&self.steps).map(|file| name_of(file));
        let known: Vec<String> = groups.into_iter().chain(bugs).chain(malformed).chain(files).collect();
        match names.iter().find(|name| !known.iter().any(|id| id.eq_ignore_ascii_case(name))) {
            None => Ok(()),
            Some(unknown) => Err(Trouble::Usage(format!(
                "there is no bug, variant or step called '{unknown}'; there are {}",
                known.join(", ")
            ))),
        }
    }
}

/// What became of everything that was tried.
#[derive(Default)]
struct Tally {
    /// Whether a bug was not caught, or something failed that has to pass.
    has_failed: bool,
    /// What could not be tried.
    not_tried: Vec<String>,
}

impl Tally {
    /// Notes how the trial of `id` went. That it could not be made keeps no other from being made; only an
    /// interruption ends them all.
    fn note(&mut self, id: &str, name: &str, went: Result<bool, Trouble>) -> Result<(), Trouble> {
        match went {
            Ok(is_well) => self.has_failed |= !is_well,
            Err(interrupted @ Trouble::Interrupted(_)) => return Err(interrupted),
            Err(trouble) => self.could_not_try(id, name, &trouble),
        }
        Ok(())
    }

    fn could_not_try(&mut self, id: &str, name: &str, why: &dyn Display) {
        say(id, name, false, &format!("NOT TRIED: {why}"));
        self.not_tried.push(format!("{id} {name}"));
    }
}

/// Runs the bugs and variants that the arguments select, and with no names all of them. Returns whether all
/// bugs were caught and all variants passed. A run of everything, on the seeds that the bugs allow, writes
/// the table.
///
/// # Errors
///
/// When something is not known, or could not be tried; then everything else was.
pub(crate) fn run(catalog: &Catalog, kit: &Kit, arguments: &BugsArguments) -> Result<bool, Trouble> {
    let BugsArguments { names, seeds, stage } = arguments;
    let everything = Everything::read(catalog, kit)?;
    everything.check_names(names)?;
    let stages = stage.as_ref().map(|stages| read_stages(catalog, stages)).transpose()?;
    let is_named = |group: &str, id: &str| {
        let is_meant = |name: &String| name.eq_ignore_ascii_case(id) || name.eq_ignore_ascii_case(group);
        names.iter().any(is_meant)
    };
    let is_selected = |group: &str, id: &str| names.is_empty() || is_named(group, id);
    let Everything { catalogue, variants, steps } = &everything;
    if stages.is_some() && steps.iter().any(|file| is_named(ALL_STEPS, &name_of(file))) {
        return Err(Trouble::Usage("a step names its stage itself; leave out --stage".into()));
    }
    let tree = WorkTree::of(kit, &[])?;
    let mut table = Table::new();
    let mut tally = Tally::default();
    for malformed in catalogue.malformed.iter().filter(|one| is_selected(ALL_BUGS, one.id())) {
        tally.could_not_try(malformed.id(), &format!("{}.patch", malformed.name), &malformed.why);
    }
    for bug in catalogue.bugs.iter().filter(|bug| is_selected(ALL_BUGS, &bug.id)) {
        let own_stage = [bug.stage.clone()];
        let stages = stages.as_deref().unwrap_or(&own_stage);
        let went = try_bug(catalog, kit, &tree, bug, stages, seeds.unwrap_or(bug.seeds)).map(|trial| {
            let is_right = trial.is_right(bug);
            say(&bug.id, &bug.name, is_right, &said_of(bug, &trial));
            table.add(bug, &trial);
            if let (false, Some(catch)) = (names.is_empty(), &trial.catch) {
                put(reports_of(catch));
            }
            is_right
        });
        tally.note(&bug.id, &bug.name, went)?;
    }
    let is_of_stage =
        |test: &&Test| stages.as_ref().is_none_or(|stages| stages.iter().any(|stage| stage == test.stage()));
    let tests: Vec<&Test> = catalog.tests.iter().filter(is_of_stage).collect();
    if is_selected(ALL_VARIANTS, REFERENCE) {
        let went = variants::try_reference(catalog, &tree, &tests, *seeds);
        tally.note("variant", REFERENCE, went)?;
    }
    for variant in variants.iter().filter(|folder| is_selected(ALL_VARIANTS, &name_of(folder))) {
        tally.note(
            "variant",
            &name_of(variant),
            try_variant(catalog, kit, &tree, variant, &tests, *seeds),
        )?;
    }
    for step in steps.iter().filter(|file| stages.is_none() && is_selected(ALL_STEPS, &name_of(file))) {
        tally.note("step", &name_of(step), try_step(catalog, kit, &tree, step, *seeds))?;
    }
    let is_whole = names.is_empty() && seeds.is_none() && stages.is_none();
    if !tally.not_tried.is_empty() {
        let unwritten = if is_whole { "; the table was not written" } else { "" };
        return Err(Trouble::Kit(format!("not tried: {}{unwritten}", tally.not_tried.join(", "))));
    }
    if is_whole {
        table.write(kit)?;
    }
    Ok(!tally.has_failed)
}

/// The stages that were asked for, by their ids.
fn read_stages(catalog: &Catalog, names: &[String]) -> Result<Vec<String>, Trouble> {
    let mut stages = Vec::new();
    for name in names {
        if name.eq_ignore_ascii_case(ALL_STAGES) {
            return Ok(catalog.stages.iter().map(|stage| stage.id.clone()).collect());
        }
        let stage = catalog.stage(&name.to_lowercase()).ok_or_else(|| catalog.unknown(name))?;
        stages.push(stage.id.clone());
    }
    Ok(stages)
}

/// Builds a test with a bug or a variant in it.
pub(super) fn build(
    catalog: &Catalog,
    kit: &Kit,
    test: &Test,
    laid_over: LaidOver<'_>,
) -> Result<Binaries, Trouble> {
    let tree = WorkTree::of(kit, &[])?;
    let laid = match laid_over {
        LaidOver::Bug(id) => lay_bug(kit, &tree, Catalogue::read(catalog, kit)?.bug(id)?)?,
        LaidOver::Variant(name) => {
            let place = variants::place_of(kit, name)?;
            if place.is_dir() {
                let (_, _, code) = variants::design_in(&place)?;
                crate::on_reference_raft(vec![test], code, false)?;
            }
            lay_variant(kit, &tree, &place)?
        }
    };
    let binaries = build::whatever_it_reaches(catalog, tree.kit(), &[test], laid.code, None)?;
    Ok(binaries.replayed_with(&laid.replay_suffix))
}

/// One line for one bug, variant or step.
fn say(id: &str, name: &str, is_right: bool, said: &str) {
    let word = if is_right { painted(GOOD, "ok  ") } else { painted(BAD, "FAIL") };
    put(format_args!("{word}  {id:<8} {name:<36}  {said}\n"));
}

fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Grades what lies in the work tree on seeds 1 to `seeds`.
fn grade_tree(
    catalog: &Catalog,
    tree: &WorkTree,
    tests: &[&Test],
    laid: &LaidCode,
    seeds: u64,
) -> Result<Grades, Trouble> {
    let mut log = String::new();
    let binaries =
        build_with_log(build::whatever_it_reaches, catalog, tree.kit(), tests, laid.code, &mut log)
            .inspect_err(|_| {
                // A closed standard error takes no more messages; the exit code still tells.
                let _ = std::io::stderr().write_all(log.as_bytes());
            })?;
    let binaries = binaries.replayed_with(&laid.replay_suffix);
    grade::all(tests, &binaries, |_| SeedRange { first: 1, last: seeds }, |_| {})
}

//! The bug catalogue: wrong Rafts and services that the suite must catch, and right ones that it must pass.
//!
//! Kit-owned. A bug is a patch against the reference, under `tests/bugs`; a variant is a whole other
//! implementation, under `tests/variants`, of the Raft or of the service; a step, under `tests/steps`, is the reference cut down to what a
//! student has written so far, and says which of the stage's rules are to be green then. Each is laid over
//! a work tree and graded exactly as a student's work is. The table of what caught which bug, and when, is
//! the measure of the suite.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use labgrading::{Catalog, Class, SeedRange, Test, files_under};

use super::work::{Overlay, WorkTree};
use super::{build_with_log, entries};
use crate::grade::{self, Grade, Grades};
use crate::kit::{Code, Kit, SERVICE_LAB};
use crate::show::{BAD, GOOD, painted, put};
use crate::trouble::Trouble;

const BUGS: &str = "tests/bugs";
const VARIANTS: &str = "tests/variants";
const STEPS: &str = "tests/steps";

/// The table that `cargo lab bugs` writes, in the folder of the bugs.
const TABLE: &str = "TABLE.md";

/// The reports that it writes beside it.
const REPORTS: &str = "REPORTS.md";

/// Names for all of a kind.
const ALL_BUGS: &str = "bugs";
const ALL_VARIANTS: &str = "variants";
const ALL_STEPS: &str = "steps";

/// The reference itself, which has to pass like the variants.
const REFERENCE: &str = "reference";

/// Seeds on which each step runs unless told otherwise.
const STEP_SEEDS: u64 = 3;

/// Seeds on which each variant runs unless told otherwise.
const VARIANT_SEEDS: u64 = 20;

/// A wrong Raft or service.
#[derive(Clone, Debug)]
struct Bug {
    id: String,
    name: String,
    /// The stage that must catch it.
    stage: String,
    /// The kind of failure that it must be caught as.
    class: Class,
    /// Within how many seeds.
    seeds: u64,
    /// What is wrong, in words.
    prose: String,
    /// The test whose report of it is kept as an example.
    report: Option<String>,
    patch: String,
}

/// How a bug was caught.
struct Catch {
    seeds: u64,
    test: String,
    class: Class,
    /// All tests of the stage that caught it.
    tests: Vec<String>,
    /// The report to show: that of the test the bug names, or of the first that caught it.
    report: String,
}

/// Runs the bugs and variants that `names` select, and with no names all of them. Returns whether all bugs
/// were caught and all variants passed. A run of everything, on the seeds that the bugs allow, writes the
/// table.
pub(crate) fn run(
    catalog: &Catalog,
    kit: &Kit,
    names: &[String],
    seeds: Option<u64>,
) -> Result<bool, Trouble> {
    let bugs = read_all(catalog, kit)?;
    let variants = folders_in(&kit.root().join(VARIANTS))?;
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
    let mut table = String::from(HEAD);
    let mut reports = String::from(REPORTS_HEAD);
    let mut all_well = true;
    for bug in bugs.iter().filter(|bug| is_selected(ALL_BUGS, &bug.id)) {
        let caught = try_bug(catalog, kit, &tree, bug, seeds.unwrap_or(bug.seeds))?;
        let is_right = caught.as_ref().is_some_and(|catch| catch.class == bug.class);
        all_well &= is_right;
        say(&bug.id, &bug.name, is_right, &said_of(bug, caught.as_ref()));
        table.push_str(&row(bug, caught.as_ref()));
        match &caught {
            Some(catch) if bug.report.is_some() => reports.push_str(&example(bug, catch)),
            _ => {}
        }
        if let (false, Some(catch)) = (names.is_empty(), &caught) {
            print!("{}  failed    {}\n\n", catch.report, catch.tests.join(", "));
        }
    }
    if is_selected(ALL_VARIANTS, REFERENCE) {
        tree.lay_over(&Overlay::default())?;
        let tests = catalog.tests.iter().collect();
        all_well &= must_pass(catalog, &tree, REFERENCE, tests, Code::SOLUTION, seeds)?;
    }
    for variant in variants.iter().filter(|folder| is_selected(ALL_VARIANTS, &name_of(folder))) {
        all_well &= try_variant(catalog, &tree, variant, seeds)?;
    }
    for step in steps.iter().filter(|file| is_selected(ALL_STEPS, &name_of(file))) {
        all_well &= try_step(catalog, kit, &tree, step, seeds.unwrap_or(STEP_SEEDS))?;
    }
    if names.is_empty() && seeds.is_none() {
        for (name, text) in [(TABLE, table), (REPORTS, reports)] {
            let path = kit.root().join(BUGS).join(name);
            fs::write(&path, text).map_err(|error| Trouble::file("write", &path, &error))?;
        }
    }
    Ok(all_well)
}

/// One line for one bug, variant or step.
fn say(id: &str, name: &str, is_right: bool, said: &str) {
    let word = if is_right { painted(GOOD, "ok  ") } else { painted(BAD, "FAIL") };
    put(format_args!("{word}  {id:<8} {name:<36}  {said}\n"));
}

const HEAD: &str = "\
# What catches which bug

Written by `cargo lab bugs`. Each bug is a patch in this folder, laid over the reference and graded as a
student's work is. *Seeds* is how many seeds, from 1 on, it took until a test of the bug's stage failed
with the class that is shown, and *tests* how many tests of the stage failed within the bug's limit.

| bug | stage | limit | seeds | first caught by | class | tests |
|---|---|---|---|---|---|---|
";

const REPORTS_HEAD: &str = "\
# What a failure looks like

Written by `cargo lab bugs`: for some bugs of the catalogue, the whole report that a student would see.
";

fn example(bug: &Bug, catch: &Catch) -> String {
    format!("\n## {} {}\n\n{}\n\n```text\n{}```\n", bug.id, bug.name, bug.prose, catch.report)
}

fn row(bug: &Bug, caught: Option<&Catch>) -> String {
    let found = match caught {
        Some(Catch { seeds, test, class, tests, .. }) => {
            format!("{seeds} | `{test}` | {class} | {}", tests.len())
        }
        None => "not caught | | | 0".into(),
    };
    format!("| {} {} | {} | {} | {found} |\n", bug.id, bug.name, bug.stage, bug.seeds)
}

fn said_of(bug: &Bug, caught: Option<&Catch>) -> String {
    match caught {
        None => format!("NOT CAUGHT in {} within {} seeds", bug.stage, bug.seeds),
        Some(catch) if catch.class != bug.class => {
            format!(
                "caught as {}, not as {}, by {} in {} seeds",
                catch.class, bug.class, catch.test, catch.seeds
            )
        }
        Some(catch) => {
            let of_stage = match catch.tests.len() {
                1 => "1 test fails".into(),
                tests => format!("{tests} tests fail"),
            };
            format!("{} in {} seeds by {}; {of_stage}", catch.class, catch.seeds, catch.test)
        }
    }
}

fn try_bug(
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

/// Grades another design: of the Raft with the reference's service above, or of the service with the
/// reference's Raft below.
fn try_variant(
    catalog: &Catalog,
    tree: &WorkTree,
    folder: &Path,
    seeds: Option<u64>,
) -> Result<bool, Trouble> {
    let mut overlay = Overlay::default();
    let is_service = folder.join("server.rs").is_file();
    let (place, code) = match is_service {
        true => ("labkv/src", Code::ON_REFERENCE_RAFT),
        false => ("labraft/src", Code::BELOW_REFERENCE_KV),
    };
    for file in files_under(folder).map_err(|error| Trouble::file("read", folder, &error))? {
        let inside = file.strip_prefix(folder).expect("it lies in the folder").to_owned();
        let content = fs::read(&file).map_err(|error| Trouble::file("read", &file, &error))?;
        overlay.files.push((Path::new(place).join(inside), content));
    }
    tree.lay_over(&overlay)?;
    let is_judged = |test: &&Test| !is_service || test.lab() == SERVICE_LAB;
    let tests = catalog.tests.iter().filter(is_judged).collect();
    must_pass(catalog, tree, &name_of(folder), tests, code, seeds)
}

/// Grades what lies in the work tree, and expects it to pass.
fn must_pass(
    catalog: &Catalog,
    tree: &WorkTree,
    name: &str,
    tests: Vec<&Test>,
    code: Code,
    seeds: Option<u64>,
) -> Result<bool, Trouble> {
    let seeds = seeds.unwrap_or(VARIANT_SEEDS);
    let grades = grade_tree(catalog, tree, &tests, code, seeds)?;
    // A design with messages of its own is judged by all tests but those that play its peers.
    let (not_judged, judged): (Vec<&Grade>, Vec<&Grade>) =
        grades.0.iter().partition(|grade| grade.class() == Some(Class::NotJudged));
    let failed = judged.iter().find_map(|grade| Some((&grade.test.id, grade.run.failure()?)));
    let said = match failed {
        Some((id, failure)) => format!("FAILS {id}\n{}", failure.report),
        None if not_judged.is_empty() => format!("passes all {} tests on {seeds} seeds", judged.len()),
        None => format!(
            "passes {} tests on {seeds} seeds; {} do not speak its language",
            judged.len(),
            not_judged.len()
        ),
    };
    say("variant", name, failed.is_none(), &said);
    Ok(failed.is_none())
}

/// Checks that exactly those rules are green that a step has implemented, or that all tests are of the
/// stages that it has completed.
fn try_step(catalog: &Catalog, kit: &Kit, tree: &WorkTree, file: &Path, seeds: u64) -> Result<bool, Trouble> {
    let misfit = |why: String| Trouble::Kit(format!("{}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| Trouble::file("read", file, &error))?;
    let goal = Goal::parse(&text).map_err(misfit)?;
    let patch = text.find("\n--- ").map_or("", |start| &text[start + 1..]);
    tree.lay_over(&patched(kit, &name_of(file), patch)?)?;
    let tests: Vec<&Test> = catalog.tests.iter().filter(|test| goal.judges(test)).collect();
    let grades = grade_tree(catalog, tree, &tests, Code::SOLUTION, seeds)?;
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

/// All bugs, by id.
fn read_all(catalog: &Catalog, kit: &Kit) -> Result<Vec<Bug>, Trouble> {
    let mut bugs = Vec::new();
    for file in patches_in(&kit.root().join(BUGS))? {
        let text = fs::read_to_string(&file).map_err(|error| Trouble::file("read", &file, &error))?;
        let bug = parse(&text).map_err(|why| Trouble::Kit(format!("{}: {why}", file.display())))?;
        if catalog.stage(&bug.stage).is_none() {
            return Err(Trouble::Kit(format!("{}: there is no stage {}", file.display(), bug.stage)));
        }
        bugs.push(bug);
    }
    Ok(bugs)
}

/// A patch file: lines `key: value`, prose, then the patch itself.
fn parse(text: &str) -> Result<Bug, String> {
    let start = if text.starts_with("--- ") { 0 } else { text.find("\n--- ").ok_or("it has no patch")? + 1 };
    let (head, patch) = text.split_at(start);
    let field = |key| field(head, key);
    let class = match field("class")?.as_str() {
        "safety" => Class::Safety,
        "liveness" => Class::Liveness,
        "performance" => Class::Performance,
        other => return Err(format!("'{other}' is no class of failure")),
    };
    let seeds = field("seeds")?.parse().map_err(|_| "'seeds' is no number".to_owned())?;
    Ok(Bug {
        id: field("id")?,
        name: field("name")?,
        stage: field("stage")?,
        class,
        seeds,
        report: field("report").ok(),
        prose: head.split_once("\n\n").map_or("", |(_, prose)| prose).trim().into(),
        patch: patch.into(),
    })
}

/// The value of a line `key: value`.
fn field(head: &str, key: &str) -> Result<String, String> {
    let value = head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    value.map(str::to_owned).ok_or(format!("its header lacks '{key}: ...'"))
}

/// The reference's files as a patch changes them.
fn patched(kit: &Kit, name: &str, patch: &str) -> Result<Overlay, Trouble> {
    let misfit = |why: String| Trouble::Kit(format!("{name} does not fit the reference: {why}"));
    let mut overlay = Overlay::default();
    if patch.is_empty() {
        return Ok(overlay);
    }
    for part in parts(patch) {
        let patch = diffy::Patch::from_str(part).map_err(|error| misfit(error.to_string()))?;
        let name = patch
            .original()
            .and_then(|name| name.strip_prefix("a/"))
            .ok_or(misfit("it names no file".into()))?;
        let path = kit.root().join(name);
        let text = fs::read_to_string(&path).map_err(|error| Trouble::file("read", &path, &error))?;
        let changed = diffy::apply(&text, &patch).map_err(|error| misfit(error.to_string()))?;
        overlay.files.push((PathBuf::from(name), changed.into_bytes()));
    }
    Ok(overlay)
}

/// A patch of several files, file by file.
fn parts(patch: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = patch.match_indices("\n--- a/").map(|(index, _)| index + 1).collect();
    starts.insert(0, 0);
    let ends = starts.iter().skip(1).copied().chain([patch.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &patch[start..end]).collect()
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = entries(folder)?;
    files.retain(|path| path.is_file());
    Ok(files)
}

fn patches_in(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = files_in(folder)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "patch"));
    Ok(files)
}

fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut folders = entries(folder)?;
    folders.retain(|path| path.is_dir());
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::{parse, parts};

    const TEXT: &str = "id: E99\nname: a-bug\nstage: 2a\nclass: safety\nseeds: 20\n\nWhat is wrong.\n\n\
                        --- a/one\n+++ b/one\n@@ -1 +1 @@\n-x\n+y\n--- a/two\n+++ b/two\n@@ -1 +1 @@\n-x\n+y\n";

    #[test]
    fn a_bug_has_a_header_and_a_patch_of_one_or_more_files() {
        let bug = parse(TEXT).unwrap();
        assert_eq!((bug.id.as_str(), bug.name.as_str(), bug.seeds), ("E99", "a-bug", 20));
        assert_eq!(parts(&bug.patch).len(), 2);
        assert!(parts(&bug.patch).iter().all(|part| diffy::Patch::from_str(part).is_ok()));
    }

    #[test]
    fn what_a_header_lacks_is_named() {
        let without = TEXT.replace("seeds: 20\n", "");
        assert_eq!(parse(&without).unwrap_err(), "its header lacks 'seeds: ...'");
        assert_eq!(parse("id: E99\n").unwrap_err(), "it has no patch");
    }
}

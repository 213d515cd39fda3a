//! Building the tests of a stage, with the code to be graded in them.
//!
//! Kit-owned. Cargo does the work: `cargo.rs` runs it and tells whose code is at fault when it fails, `group.rs`
//! keeps its compilers together and within limits, `unfinished.rs` mends what an interrupted build has left.

mod cargo;
mod group;
mod unfinished;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use labgrading::{Catalog, Stage, Test};

use self::cargo::Failed;
use self::unfinished::Mark;
use crate::kit::{Code, Kit, SERVICE_LAB, STUDENT_CRATES};
use crate::process;
use crate::randomness;
use crate::reach;
use crate::trouble::Trouble;

pub(crate) use self::group::{end, kill};

/// The test program of each stage.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// By the stage's id.
    programs: BTreeMap<String, PathBuf>,
    /// By lab, the hash of the files that its programs must have been built from.
    sources: BTreeMap<String, String>,
    /// The copy of the kit that they were built from.
    pub(crate) root: PathBuf,
    /// What a report's replay command has to end in, so that it runs this code again.
    pub(crate) replay_suffix: String,
}

impl Binaries {
    /// The program of a stage that was built.
    pub(crate) fn program(&self, stage: &str) -> &Path {
        &self.programs[stage]
    }

    // release: omit begin
    /// The same, with another ending of replay commands.
    pub(crate) fn replayed_with(self, suffix: &str) -> Binaries {
        Binaries { replay_suffix: suffix.into(), ..self }
    }
    // release: omit end

    /// The hash of the files that the program of a test must have been built from.
    pub(crate) fn source(&self, test: &Test) -> &str {
        &self.sources[test.lab()]
    }
}

/// Builds the programs that hold `tests`, each lab by itself: that of lab 2 needs nothing of lab 3. Cargo's
/// progress, the compiler's errors and its warnings about students' crates go to standard error; with a `log`,
/// the errors go there and all else is dropped. Students' code that reaches for what it must not is refused.
pub(crate) fn stages(
    catalog: &Catalog,
    kit: &Kit,
    tests: &[&Test],
    code: Code,
    log: Option<&mut String>,
) -> Result<Binaries, Trouble> {
    let modules: BTreeSet<&str> = tests.iter().flat_map(|test| code.students_modules(test.lab())).collect();
    let files = kit.files_of(&modules)?;
    let refusals = reach::refusals(&files);
    if !refusals.is_empty() {
        return Err(Trouble::Refused(refusals));
    }
    randomness::refuse(kit, &files)?;
    whatever_it_reaches(catalog, kit, tests, code, log)
}

/// The same, and nothing is refused: how the staff's own catalogue is built, which holds what no student may write.
pub(crate) fn whatever_it_reaches(
    catalog: &Catalog,
    kit: &Kit,
    tests: &[&Test],
    code: Code,
    mut log: Option<&mut String>,
) -> Result<Binaries, Trouble> {
    let target = kit.target();
    if target.is_file() {
        let target = target.display();
        return Err(Trouble::Kit(format!("{target} is a file, where a folder is needed; move it away")));
    }
    let labs: BTreeSet<&str> = tests.iter().map(|test| test.lab()).collect();
    let (programs, sources, root) = (BTreeMap::new(), BTreeMap::new(), kit.root().to_owned());
    let replay_suffix = code.suffix.to_owned();
    let mut binaries = Binaries { programs, sources, root, replay_suffix };
    for lab in labs {
        let is_asked_for = |stage: &&Stage| tests.iter().any(|test| test.stage() == stage.id);
        let stages: Vec<&Stage> =
            catalog.stages.iter().filter(|stage| stage.lab() == lab).filter(is_asked_for).collect();
        let source = kit.source(code, lab)?;
        let first_tests: Vec<&Test> =
            stages.iter().filter_map(|stage| catalog.tests_of(&stage.id).next()).collect();
        let mut programs = build(kit, lab, &stages, code, log.as_deref_mut())?;
        if is_of_other_source(kit, &first_tests, &programs, &source)? {
            // Cargo goes by the times of files, and a file that was put back can claim to be old.
            STUDENT_CRATES.iter().try_for_each(|name| touch(&kit.root().join(name).join("build.rs")))?;
            programs = build(kit, lab, &stages, code, log.as_deref_mut())?;
            if is_of_other_source(kit, &first_tests, &programs, &source)? {
                return Err(Trouble::Kit(
                    "the tests were built from other files than those to be graded; were they changed meanwhile?"
                        .into(),
                ));
            }
        }
        binaries.programs.extend(programs);
        binaries.sources.insert(lab.into(), source);
    }
    Ok(binaries)
}

/// Builds the programs of some stages of a lab. What an interrupted build has left is mended first, if it shows.
fn build(
    kit: &Kit,
    lab: &str,
    stages: &[&Stage],
    code: Code,
    mut log: Option<&mut String>,
) -> Result<BTreeMap<String, PathBuf>, Trouble> {
    let for_humans = log.is_none() && std::io::stderr().is_terminal();
    let command = || command(kit, lab, stages, code, for_humans);
    let mark = Mark::set(kit.target())?;
    let mut result = cargo::run(command(), &mark, log.as_deref_mut());
    if mark.was_found && result.as_ref().is_err_and(|failed| failed.is_doubtful) {
        // Where standard error is closed nobody wants to know.
        let _ = writeln!(
            anstream::stderr(),
            "an interrupted build has left something unfinished; that is removed and built again"
        );
        mark.clean()?;
        if let Some(log) = &mut log {
            log.clear();
        }
        result = cargo::run(command(), &mark, log);
    }
    let built = match result {
        Err(Failed { trouble: interrupted @ Trouble::Interrupted(_), .. }) => return Err(interrupted),
        // What has not been reached yet may still be unfinished.
        Err(Failed { trouble, .. }) if mark.was_found => return Err(trouble),
        Err(Failed { trouble, .. }) => {
            mark.clear()?;
            return Err(trouble);
        }
        Ok(built) => built,
    };
    mark.clear()?;
    stages
        .iter()
        .map(|stage| match built.get(&stage.binary) {
            Some(program) => Ok((stage.id.clone(), program.clone())),
            None => Err(Trouble::Kit(format!("cargo built no program called {}", stage.binary))),
        })
        .collect()
}

/// What cargo is asked for.
fn command(kit: &Kit, lab: &str, stages: &[&Stage], code: Code, for_humans: bool) -> Command {
    let mut cargo = kit.cargo();
    cargo.args(["test", "--no-run", "--package", "tests"]);
    for stage in stages {
        cargo.args(["--test", &stage.binary]);
    }
    if lab != SERVICE_LAB {
        cargo.arg("--no-default-features");
    }
    if let Some(feature) = code.feature {
        cargo.args(["--features", feature]);
    }
    if for_humans && std::env::var_os("NO_COLOR").is_none() {
        cargo.arg("--message-format=json-diagnostic-rendered-ansi");
    } else {
        cargo.arg("--message-format=json");
    }
    if !for_humans {
        cargo.arg("--quiet");
    }
    cargo
}

fn is_of_other_source(
    kit: &Kit,
    first_tests: &[&Test],
    programs: &BTreeMap<String, PathBuf>,
    source: &str,
) -> Result<bool, Trouble> {
    for test in first_tests {
        if process::source_of(test, &programs[test.stage()], kit.root())? != source {
            return Ok(true);
        }
    }
    Ok(false)
}

fn touch(file: &Path) -> Result<(), Trouble> {
    let touched =
        File::options().append(true).open(file).and_then(|file| file.set_modified(SystemTime::now()));
    touched.map_err(|error| Trouble::file("touch", file, &error))
}

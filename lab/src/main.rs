//! The command `cargo lab`: where a student stands, grading, replaying, tracing.
//!
//! Kit-owned. This file maps commands to functions and results to exit codes. `build.rs` builds a
//! stage's tests, `process.rs` runs one of them, `grade.rs` runs many, `show.rs` prints, `status.rs`
//! remembers. Nothing here depends on student code: it is built and run as a child process, so its compile
//! errors and crashes are results like any other.

mod args;
mod build;
mod doctor;
mod grade;
mod history;
mod interrupt;
mod kit;
mod process;
mod randomness;
mod reach;
mod show;
// release: omit begin
mod staff;
// release: omit end
mod status;
mod trouble;

use std::process::ExitCode;

use labgrading::{Catalog, Class, SeedRange, Test};

use crate::args::{Arguments, Command, RunArguments, TestArguments};
use crate::build::Binaries;
use crate::grade::Grades;
use crate::kit::Kit;
// release: omit begin
use crate::kit::{Code, SERVICE_LAB};
// release: omit end
use crate::trouble::Trouble;

/// All passed.
const PASSED: u8 = 0;
/// A test failed, or the student's code does not compile.
const FAILED: u8 = 1;

/// The kit, or what it needs, is not in order.
const OUT_OF_ORDER: u8 = 3;

fn main() -> ExitCode {
    match Arguments::read().and_then(|arguments| run(&arguments)) {
        Ok(code) => ExitCode::from(code),
        Err(trouble) => {
            show::trouble(&trouble);
            ExitCode::from(trouble.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    interrupt::watch()?;
    let catalog = Catalog::load();
    match &arguments.command {
        // A history can be judged anywhere.
        Some(Command::CheckHistory { file }) => history::check(file),
        None => {
            let kit = Kit::find()?;
            show::status(&catalog, &kit, &status::read(&kit)?);
            Ok(PASSED)
        }
        Some(Command::Test(arguments)) => test(&catalog, &Kit::find()?, arguments),
        Some(Command::Replay(arguments)) => replay(&catalog, &Kit::find()?, arguments, show::replay),
        Some(Command::Trace(arguments)) => replay(&catalog, &Kit::find()?, arguments, show::trace),
        Some(Command::Doctor { write_list: true }) => doctor::write_list(&Kit::find()?).map(|()| PASSED),
        Some(Command::Doctor { write_list: false }) => {
            Ok(if doctor::examine(&Kit::find()?)? { PASSED } else { OUT_OF_ORDER })
        }
        // release: omit begin
        Some(Command::Staff(command)) => staff::run(&catalog, &Kit::find()?, command),
        // release: omit end
    }
}

fn test(catalog: &Catalog, kit: &Kit, arguments: &TestArguments) -> Result<u8, Trouble> {
    let tests = catalog.select(&arguments.names)?;
    let code = arguments.code();
    // release: omit begin
    let tests = on_reference_raft(tests, code, arguments.names.is_empty())?;
    // release: omit end
    let seeds = |test: &Test| match (arguments.seed, arguments.seeds) {
        (Some(seed), _) => SeedRange { first: seed, last: seed },
        (None, count) => SeedRange { first: 1, last: count.unwrap_or(test.seeds) },
    };
    let binaries = build::stages(catalog, kit, &tests, code, None)?;
    let grades = grade::all(&tests, &binaries, seeds, |grade| {
        if !arguments.json {
            show::grade(grade);
        }
    })?;
    if arguments.json {
        show::json(&grades, code);
    } else {
        show::grades(catalog, &grades, code);
    }
    if code.is_students() {
        status::update(kit, &binaries, &grades)?;
    }
    exit_code(&grades)
}

// release: omit begin
/// The tests that can be graded on the reference Raft: those of the service.
pub(crate) fn on_reference_raft(tests: Vec<&Test>, code: Code, all: bool) -> Result<Vec<&Test>, Trouble> {
    if code != Code::ON_REFERENCE_RAFT {
        return Ok(tests);
    }
    let (of_service, others): (Vec<&Test>, Vec<&Test>) =
        tests.into_iter().partition(|test| test.lab() == SERVICE_LAB);
    match others.first() {
        Some(other) if !all => Err(Trouble::Usage(format!(
            "{} grades your Raft itself; `--raft reference` is for lab 3",
            other.id
        ))),
        _ => Ok(of_service),
    }
}
// release: omit end

fn exit_code(grades: &Grades) -> Result<u8, Trouble> {
    if let Some(grade) = grades.0.iter().find(|grade| grade.class() == Some(Class::KitFault)) {
        return Err(Trouble::Kit(format!("{} failed through a fault of the kit itself", grade.test.id)));
    }
    Ok(if grades.0.iter().all(|grade| grade.class().is_none()) { PASSED } else { FAILED })
}

/// Builds a test, and runs one seed of it.
fn replay(
    catalog: &Catalog,
    kit: &Kit,
    arguments: &RunArguments,
    show: fn(&process::Run),
) -> Result<u8, Trouble> {
    let test = catalog.test(&arguments.id).ok_or_else(|| match catalog.stage(&arguments.id) {
        Some(stage) => {
            let ids: Vec<&str> = catalog.tests_of(&stage.id).map(|test| test.id.as_str()).collect();
            Trouble::Usage(format!("'{}' is a stage; name one of its tests: {}", stage.id, ids.join(", ")))
        }
        None => catalog.unknown(&arguments.id).into(),
    })?;
    let tests = vec![test];
    // release: omit begin
    let tests = on_reference_raft(tests, arguments.code(), false)?;
    if let Some(laid_over) = arguments.laid_over() {
        let binaries = staff::build_laid_over(catalog, kit, test, laid_over)?;
        return run_once(test, &binaries, arguments, show);
    }
    // release: omit end
    let binaries = build::stages(catalog, kit, &tests, arguments.code(), None)?;
    run_once(test, &binaries, arguments, show)
}

/// Runs one seed of a test that was built, with a trace, and shows it.
fn run_once(
    test: &Test,
    binaries: &Binaries,
    arguments: &RunArguments,
    show: fn(&process::Run),
) -> Result<u8, Trouble> {
    let seeds = SeedRange { first: arguments.seed, last: arguments.seed };
    let what = process::What { seeds, trace: true, keep: arguments.keep.clone() };
    let run = process::run(test, binaries, &what, &mut |_| {})?;
    show(&run);
    match run.failure() {
        None => Ok(PASSED),
        Some(failure) if failure.class == Class::KitFault => {
            Err(Trouble::Kit(format!("{} failed through a fault of the kit itself", test.id)))
        }
        Some(_) => Ok(FAILED),
    }
}

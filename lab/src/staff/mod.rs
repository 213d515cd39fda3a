//! The commands of those who teach: the catalogue of bugs, grading a class, making student kits.
//!
//! Kit-owned. A student kit comes without this folder. `bugs` and `class` grade what is laid over a work
//! tree (`work.rs`); `release` writes student kits.

mod bugs;
mod class;
mod release;
mod work;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use labgrading::{Catalog, Test};

use crate::args::{WhichRaft, parse_count};
use crate::build::Binaries;
use crate::kit::{Code, Kit};
use crate::trouble::Trouble;
use crate::{FAILED, PASSED};

#[derive(Debug, Subcommand)]
pub(crate) enum StaffCommand {
    /// Grade every submission in a folder.
    #[command(long_about = class::HELP)]
    Grade(GradeArguments),
    /// Write the kit that students get into a new folder.
    #[command(long_about = release::HELP)]
    Release(ReleaseArguments),
    /// Grade every bug of the catalogue and every correct variant, and write the table of what was caught.
    #[command(long_about = bugs::HELP)]
    Bugs(BugsArguments),
}

/// What can be laid over the kit to be run instead of the code that lies there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LaidOver<'a> {
    /// A bug of the catalogue, by its id.
    Bug(&'a str),
    /// A correct variant, by its name.
    Variant(&'a str),
}

#[derive(Args, Debug)]
pub(crate) struct BugsArguments {
    /// Bugs (E01), variants (event_loop, reference) or steps (2a-1-voter), or all `bugs`, `variants` or `steps`;
    /// everything when nothing is named.
    #[arg(value_name = "ID")]
    names: Vec<String>,
    /// Run seeds 1 to N instead of the number each bug allows.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    seeds: Option<u64>,
    /// Grade bugs by the tests of these stages (2b,2c, or all) instead of their own, variants by no others.
    #[arg(long, value_name = "STAGE,...", value_delimiter = ',', num_args = 1)]
    stage: Option<Vec<String>>,
}

#[derive(Args, Debug)]
pub(crate) struct GradeArguments {
    /// The folder that holds a folder for each submission. Nothing is written to it.
    #[arg(value_name = "DIR")]
    submissions: PathBuf,
    /// Stages (2a) or tests (2a::initial_election); all of them when none is named.
    #[arg(value_name = "STAGE or ID")]
    names: Vec<String>,
    /// Run seeds 1 to N of each test.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    seeds: Option<u64>,
    /// Grade the services of lab 3 on the reference Raft instead of each submission's own.
    #[arg(long, value_name = "WHICH")]
    raft: Option<WhichRaft>,
    /// Where the results go instead of `lab/grades` in cargo's target folder.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print one JSON object, the content of grades.json, instead of the table.
    #[arg(long)]
    json: bool,
}

impl GradeArguments {
    /// On which Raft lab 3 stands.
    fn code(&self) -> Code {
        if self.raft.is_some() { Code::ON_REFERENCE_RAFT } else { Code::STUDENT }
    }
}

#[derive(Args, Debug)]
pub(crate) struct ReleaseArguments {
    /// The folder to write the kit into. It must not exist yet, or be empty.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Put the reference Raft in the place of the students' empty one, for a course that starts at lab 3.
    #[arg(long)]
    with_reference_raft: bool,
}

/// Carries out a command of the staff, and returns the exit code.
pub(crate) fn run(catalog: &Catalog, kit: &Kit, command: &StaffCommand) -> Result<u8, Trouble> {
    match command {
        StaffCommand::Grade(arguments) => class::run(catalog, kit, arguments).map(|()| PASSED),
        StaffCommand::Release(arguments) => {
            release::run(kit, &arguments.folder, arguments.with_reference_raft).map(|()| PASSED)
        }
        StaffCommand::Bugs(arguments) => {
            Ok(if bugs::run(catalog, kit, arguments)? { PASSED } else { FAILED })
        }
    }
}

/// Builds a test with a bug or a variant in place of the code that lies in the kit.
pub(crate) fn build_laid_over(
    catalog: &Catalog,
    kit: &Kit,
    test: &Test,
    laid_over: LaidOver<'_>,
) -> Result<Binaries, Trouble> {
    bugs::build(catalog, kit, test, laid_over)
}

/// Builds, with the compiler's errors in `log` and a sign of life for those who watch.
fn build_with_log(
    build: Build,
    catalog: &Catalog,
    kit: &Kit,
    tests: &[&Test],
    code: Code,
    log: &mut String,
) -> Result<Binaries, Trouble> {
    let spinner = ProgressBar::new_spinner().with_message("building");
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    let built = build(catalog, kit, tests, code, Some(log));
    spinner.finish_and_clear();
    built
}

/// [`crate::build::stages`], or the same without its refusals.
type Build = fn(&Catalog, &Kit, &[&Test], Code, Option<&mut String>) -> Result<Binaries, Trouble>;

/// What is in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let trouble = |error| Trouble::file("read", folder, &error);
    let read = fs::read_dir(folder).map_err(trouble)?;
    let mut paths =
        read.map(|entry| Ok(entry.map_err(trouble)?.path())).collect::<Result<Vec<_>, Trouble>>()?;
    paths.sort();
    Ok(paths)
}

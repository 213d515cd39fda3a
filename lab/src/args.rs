//! The command line.
//!
//! Kit-owned.

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
// release: omit begin
use clap::ValueEnum;
// release: omit end

use crate::history;
use crate::kit::Code;
// release: omit begin
use crate::staff::{LaidOver, StaffCommand};
// release: omit end
use crate::trouble::Trouble;

/// Grade, replay and trace your work on the labs.
///
/// Without a command: where you are, stage by stage, and what to do next.
#[derive(Debug, Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", version, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 all passed, 1 tests failed or a history not linearizable, 2 wrong usage or \
                  malformed input, 3 the kit itself failed, 4 undecided (interrupted, or a history without a \
                  verdict)."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Arguments {
    /// The arguments of this process. Where they ask for help, or make no sense, clap says what there is to
    /// say and ends the process.
    ///
    /// # Errors
    ///
    /// When they ask for something that only the staff's kit can do.
    pub(crate) fn read() -> Result<Arguments, Trouble> {
        Arguments::try_parse().map_err(|error| staffs_own(&error).unwrap_or_else(|| error.exit()))
    }
}

/// What to say when a command is missing because this kit is a student's.
fn staffs_own(error: &clap::Error) -> Option<Trouble> {
    const STAFFS_OWN: [(&str, &str); 3] = [
        ("bugs", "the catalogue of bugs"),
        ("grade", "what grades a class"),
        ("release", "what makes student kits"),
    ];
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let (name, what) = STAFFS_OWN.iter().find(|(command, _)| command == name)?;
    Some(Trouble::Usage(format!("this kit comes without {what}, so there is no `cargo lab {name}` in it")))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Grade stages or single tests; all of them when none is named.
    Test(TestArguments),
    /// Run one seed of a test again, and show how it went and how it ended.
    Replay(RunArguments),
    /// Run one seed of a test again, and print everything that happened, a column per server.
    Trace(RunArguments),
    /// Judge a recorded history: is it linearizable?
    #[command(long_about = history::HELP)]
    CheckHistory {
        /// The history, one event a line.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Check that everything the kit needs is there, and that the kit is as it was shipped.
    Doctor {
        /// Write the list of kit-owned files anew, after a change of the kit.
        #[arg(long, hide = true)]
        write_list: bool,
    },
    // release: omit begin
    #[command(flatten)]
    Staff(StaffCommand),
    // release: omit end
}

#[derive(Args, Debug)]
pub(crate) struct TestArguments {
    /// Stages (2a) or tests (2a::initial_election).
    #[arg(value_name = "STAGE or ID")]
    pub(crate) names: Vec<String>,
    /// Run seeds 1 to N of each test.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    pub(crate) seeds: Option<u64>,
    /// Run this seed only.
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = parse_seed, conflicts_with = "seeds")]
    pub(crate) seed: Option<u64>,
    // release: omit begin
    /// Grade the reference solution instead of your files.
    #[arg(long, conflicts_with = "raft")]
    solution: bool,
    /// Grade your service of lab 3 on the reference Raft instead of your own.
    #[arg(long, value_name = "WHICH")]
    raft: Option<WhichRaft>,
    // release: omit end
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

impl TestArguments {
    /// Whose code to grade.
    pub(crate) fn code(&self) -> Code {
        // release: omit begin
        if self.solution {
            return Code::SOLUTION;
        }
        if self.raft.is_some() {
            return Code::ON_REFERENCE_RAFT;
        }
        // release: omit end
        Code::STUDENT
    }
}

#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    /// The test, such as 2a::initial_election.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The seed.
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = parse_seed)]
    pub(crate) seed: u64,
    /// Of a fault storm, keep only the faults with these numbers, as a report shows them: 3,8,12.
    #[arg(long, value_name = "N,...", value_delimiter = ',', num_args = 1)]
    pub(crate) keep: Option<Vec<usize>>,
    // release: omit begin
    /// Run the reference solution instead of your files.
    #[arg(long, conflicts_with = "raft")]
    solution: bool,
    /// Run your service of lab 3 on the reference Raft instead of your own.
    #[arg(long, value_name = "WHICH")]
    raft: Option<WhichRaft>,
    /// Run the reference with this bug of the catalogue in it, such as E01.
    #[arg(long, value_name = "BUG", conflicts_with_all = ["solution", "raft"])]
    bug: Option<String>,
    /// Run this correct variant, such as event_loop.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["solution", "raft", "bug"])]
    variant: Option<String>,
    // release: omit end
}

impl RunArguments {
    /// Whose code to run.
    pub(crate) fn code(&self) -> Code {
        // release: omit begin
        if self.solution {
            return Code::SOLUTION;
        }
        if self.raft.is_some() {
            return Code::ON_REFERENCE_RAFT;
        }
        // release: omit end
        Code::STUDENT
    }

    // release: omit begin
    /// What to lay over the kit and run instead of the code that lies there.
    pub(crate) fn laid_over(&self) -> Option<LaidOver<'_>> {
        let variant = || self.variant.as_deref().map(LaidOver::Variant);
        self.bug.as_deref().map(LaidOver::Bug).or_else(variant)
    }
    // release: omit end
}

// release: omit begin
/// What `--raft` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhichRaft {
    /// The staff's.
    Reference,
}
// release: omit end

fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("the number of seeds is a whole number, at least 1".into()),
    }
}

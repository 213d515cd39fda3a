//! The command line.
//!
//! Kit-owned.

use clap::{Args, Parser, Subcommand};

/// Grade, replay and trace your work on the labs.
///
/// Without a command: where you are, stage by stage, and what to do next.
#[derive(Debug, Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", version, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 all passed, 1 tests failed, 2 wrong usage, 3 the kit itself failed, \
                        4 undecided (interrupted).")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Grade stages or single tests; all of them when none is named.
    Test(TestArguments),
    /// Run one seed of a test again, and show how it went and how it ended.
    Replay(RunArguments),
    /// Run one seed of a test again, and print everything that happened, a column per server.
    Trace(RunArguments),
    /// Grade every bug of the catalogue and every correct variant, and write the table of what was caught.
    Bugs(BugsArguments),
    /// Check that everything the kit needs is there, and that the kit is as it was shipped.
    Doctor {
        /// Write the list of kit-owned files anew, after a change of the kit.
        #[arg(long, hide = true)]
        write_list: bool,
    },
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
    /// Grade the reference solution instead of your files.
    #[arg(long)]
    pub(crate) solution: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Run the reference solution instead of your files.
    #[arg(long)]
    pub(crate) solution: bool,
}

#[derive(Args, Debug)]
pub(crate) struct BugsArguments {
    /// Bugs (E01), variants (event_loop) or steps (2a-1-voter); all of them when none is named.
    #[arg(value_name = "ID")]
    pub(crate) names: Vec<String>,
    /// Run seeds 1 to N instead of the number each bug allows.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    pub(crate) seeds: Option<u64>,
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

fn parse_count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("the number of seeds is a whole number, at least 1".into()),
    }
}

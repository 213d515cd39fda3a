//! What passes between `cargo lab` and a test process: one order in, a stream of records out.
//!
//! Kit-owned. The order arrives on standard input before any student code runs and carries a nonce.
//! Records are lines of standard output that begin with that nonce, so whatever else a program prints
//! there cannot be mistaken for one. Both are JSON and work alike on every platform.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// The seeds of a run, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedRange {
    /// The first seed.
    pub first: u64,
    /// The last seed.
    pub last: u64,
}

impl SeedRange {
    /// How many seeds these are.
    pub fn count(&self) -> u64 {
        if self.last < self.first { 0 } else { (self.last - self.first).saturating_add(1) }
    }
}

impl Display for SeedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "seed {}", self.first)
        } else {
            write!(f, "seeds {}-{}", self.first, self.last)
        }
    }
}

/// What a test process is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Begins every record.
    pub nonce: String,
    /// Which seeds to run, in this order, up to the first that fails.
    pub seeds: SeedRange,
    /// Whether to send the trace of each run.
    pub trace: bool,
    /// The numbers of the faults of a storm to keep; all of them when `None`.
    pub keep: Option<Vec<usize>>,
    /// What a report's replay command ends in, so that it runs the same code again; mostly nothing.
    pub replay_suffix: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Something happened that must never happen.
    Safety,
    /// Something did not happen that must happen in the end.
    Liveness,
    /// It works, at too high a cost.
    Performance,
    /// The program neither went on nor ended.
    Stuck,
    /// The run came to a function that is still to be written.
    NotStarted,
    /// The test speaks in messages that this implementation does not have.
    NotJudged,
    /// The kit itself is at fault.
    KitFault,
}

impl Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Safety => "safety",
            Class::Liveness => "liveness",
            Class::Performance => "performance",
            Class::Stuck => "stuck",
            Class::NotStarted => "not started",
            Class::NotJudged => "not judged",
            Class::KitFault => "kit fault",
        })
    }
}

/// Why a test failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of failure.
    pub class: Class,
    /// The failure in one line.
    pub summary: String,
    /// The whole report, as a student reads it.
    pub report: String,
}

/// The measure that says that the servers have messages of their own: then only what their services see
/// was judged.
pub const OWN_MESSAGES: &str = "own_messages";

/// How one seed, or a whole test, ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not so.
    Failed(Failure),
}

/// What a test process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Record {
    /// One seed has run.
    Seed {
        /// The seed.
        seed: u64,
        /// How it ended.
        outcome: Outcome,
        /// The hash of its trace, in hexadecimal.
        trace_hash: String,
        /// Virtual milliseconds it took.
        virtual_ms: u64,
        /// What was measured in it, by name.
        measures: BTreeMap<String, f64>,
    },
    /// The trace of the seed whose record comes next, a line per event, a column per server.
    Trace {
        /// The trace.
        text: String,
    },
    /// All seeds have run, or one has failed. Always the last record.
    Finished {
        /// How the test as a whole ended.
        outcome: Outcome,
        /// The hash of the student's files that the program was built from.
        source: String,
    },
}

/// A record as the line that carries it, line ends included. The leading one ends whatever the program
/// may have printed before.
pub fn format_record(nonce: &str, record: &Record) -> String {
    let json = serde_json::to_string(record).expect("records consist of plain data");
    format!("\n{nonce} {json}\n")
}

/// The record that a line carries; `None` for a line of another kind.
pub fn parse_record(nonce: &str, line: &str) -> Option<Record> {
    serde_json::from_str(line.strip_prefix(nonce)?.strip_prefix(' ')?).ok()
}

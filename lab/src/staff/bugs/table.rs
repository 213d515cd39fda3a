//! What `cargo lab bugs` writes: the table of what catches which bug, and reports as examples.
//!
//! Kit-owned.

use std::fs;

use super::catalogue::{BUGS, Bug};
use super::trial::Catch;
use crate::kit::Kit;
use crate::trouble::Trouble;

/// The table that `cargo lab bugs` writes, in the folder of the bugs.
const TABLE: &str = "TABLE.md";

/// The reports that it writes beside it.
const REPORTS: &str = "REPORTS.md";

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

/// The table and the examples, as they grow.
pub(super) struct Table {
    rows: String,
    examples: String,
}

impl Table {
    pub(super) fn new() -> Table {
        Table { rows: HEAD.into(), examples: REPORTS_HEAD.into() }
    }

    /// Adds what became of a bug.
    pub(super) fn add(&mut self, bug: &Bug, caught: Option<&Catch>) {
        self.rows.push_str(&row(bug, caught));
        match caught {
            Some(catch) if bug.report.is_some() => self.examples.push_str(&example(bug, catch)),
            _ => {}
        }
    }

    /// Writes both into the folder of the bugs.
    pub(super) fn write(&self, kit: &Kit) -> Result<(), Trouble> {
        for (name, text) in [(TABLE, &self.rows), (REPORTS, &self.examples)] {
            let path = kit.root().join(BUGS).join(name);
            fs::write(&path, text).map_err(|error| Trouble::file("write", &path, &error))?;
        }
        Ok(())
    }
}

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

/// What is said of a bug on its line.
pub(super) fn said_of(bug: &Bug, caught: Option<&Catch>) -> String {
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

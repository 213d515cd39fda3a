//! What `cargo lab bugs` writes: the table of what catches which bug, and reports as examples.
//!
//! Kit-owned.

use std::fs;

use super::catalogue::{BUGS, Bug};
use super::trial::{Catch, Sighting, Trial};
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
with the class that is shown, which is the one that the bug's header expects, and *tests* how many tests of the
stage failed within the bug's limit. *Before that* is the first failure of another class, where it took fewer
seeds: a student sees that one first.

| bug | stage | limit | seeds | first caught by | class | tests | before that |
|---|---|---|---|---|---|---|---|
";

const REPORTS_HEAD: &str = "\
# What a failure looks like

Written by `cargo lab bugs`: for some bugs of the catalogue, the whole report that a student would see. Only the
replay command differs: it names the bug, so that it shows here what the report is about.
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
    pub(super) fn add(&mut self, bug: &Bug, trial: &Trial) {
        self.rows.push_str(&row(bug, trial.catch.as_ref()));
        match &trial.catch {
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
    format!("\n## {} {}\n\n{}\n\n```text\n{}```\n", bug.id, bug.name, bug.prose, catch.report())
}

fn row(bug: &Bug, caught: Option<&Catch>) -> String {
    let found = match caught {
        Some(Catch { first: Sighting { seeds, test, class, .. }, earlier, tests, .. }) => {
            let earlier = earlier.as_ref().map(|earlier| {
                format!("{} in {} by `{}`", earlier.class, counted(earlier.seeds, "seed"), earlier.test)
            });
            format!("{seeds} | `{test}` | {class} | {} | {}", tests.len(), earlier.unwrap_or_default())
        }
        None => "not caught | | | 0 |".into(),
    };
    format!("| {} {} | {} | {} | {} |\n", bug.id, bug.name, bug.stage, bug.seeds, found.trim_end())
}

/// What is said of a bug on its line.
pub(super) fn said_of(bug: &Bug, trial: &Trial) -> String {
    let Some(Catch { first, earlier, tests, .. }) = &trial.catch else {
        return format!("NOT CAUGHT in {} within {}", trial.stages.join(", "), counted(trial.seeds, "seed"));
    };
    let seeds = counted(first.seeds, "seed");
    if !trial.is_right(bug) {
        return format!("caught as {}, not as {}, by {} in {seeds}", first.class, bug.class, first.test);
    }
    let of_stage = match tests.len() {
        1 => "1 test fails".into(),
        tests => format!("{tests} tests fail"),
    };
    let before = earlier.as_ref().map(|earlier| {
        format!("; before that {} in {} by {}", earlier.class, counted(earlier.seeds, "seed"), earlier.test)
    });
    format!("{} in {seeds} by {}; {of_stage}{}", first.class, first.test, before.unwrap_or_default())
}

/// What is shown of a bug that was asked for by name: the failure that counts, and the one that a student
/// sees before it.
pub(super) fn reports_of(catch: &Catch) -> String {
    let earlier = catch.earlier.as_ref().map(|earlier| format!("{}\n", earlier.report)).unwrap_or_default();
    let example = match &catch.example {
        Some(example) if *example != catch.first.report => format!("\n{example}"),
        _ => String::new(),
    };
    format!("{earlier}{}{example}  failed    {}\n\n", catch.first.report, catch.tests.join(", "))
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use labgrading::Class;

    use super::*;
    use crate::staff::bugs::catalogue::example_bug;

    fn sighting(seeds: u64, test: &str, class: Class) -> Sighting {
        Sighting { seeds, test: test.into(), class, report: format!("of {test}\n") }
    }

    #[test]
    fn a_bug_that_was_not_caught_is_told_with_the_seeds_and_stages_that_were_run() {
        let stages = vec!["2b".into(), "2c".into()];
        let trial = Trial { stages, seeds: 300, catch: None };
        let bug = example_bug(Class::Safety);
        assert_eq!(said_of(&bug, &trial), "NOT CAUGHT in 2b, 2c within 300 seeds");
        assert_eq!(row(&bug, None), "| E99 a-bug | 2a | 20 | not caught | | | 0 | |\n");
    }

    #[test]
    fn an_earlier_failure_of_another_class_stands_in_its_row_and_its_report_comes_first() {
        let catch = Catch {
            first: sighting(7, "2a::late", Class::Safety),
            earlier: Some(sighting(1, "2a::early", Class::Liveness)),
            tests: vec!["2a::early".into(), "2a::late".into()],
            example: None,
        };
        let bug = example_bug(Class::Safety);
        assert_eq!(
            row(&bug, Some(&catch)),
            "| E99 a-bug | 2a | 20 | 7 | `2a::late` | safety | 2 | liveness in 1 seed by `2a::early` |\n"
        );
        assert_eq!(reports_of(&catch), "of 2a::early\n\nof 2a::late\n  failed    2a::early, 2a::late\n\n");
        let trial = Trial { stages: vec!["2a".into()], seeds: 20, catch: Some(catch) };
        let said = "safety in 7 seeds by 2a::late; 2 tests fail; before that liveness in 1 seed by 2a::early";
        assert_eq!(said_of(&bug, &trial), said);
    }
}

//! Everything that `cargo lab` prints.
//!
//! Kit-owned. Results go to standard output, trouble to standard error; colours only to a terminal, and
//! not where `NO_COLOR` is set.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use labgrading::{Catalog, Class, Outcome, Record, Stage};
use serde_json::json;

use crate::grade::{Grade, Grades};
use crate::kit::{Code, Kit, SERVICE_LAB};
use crate::process::Run;
use crate::status::Status;
use crate::trouble::Trouble;

/// The colour of what is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// The colour of what is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// The colour of what is neither.
pub(crate) const DULL: Style = AnsiColor::Yellow.on_default();
/// Headings.
pub(crate) const STRONG: Style = Style::new().bold();

/// How many failures are reported at length: the tests are in the order in which a student meets the
/// rules, so the first ones say most.
const REPORTS_SHOWN: usize = 2;

/// How many of the last lines of a trace a replay shows.
const TRACE_TAIL: usize = 40;

/// Prints to standard output. When the reader of a pipe has gone there is nothing left to do.
pub(crate) fn put(text: impl Display) {
    let mut out = anstream::stdout().lock();
    if let Err(error) = write!(out, "{text}").and_then(|()| out.flush()) {
        let code = if error.kind() == ErrorKind::BrokenPipe { 0 } else { 3 };
        std::process::exit(code);
    }
}

pub(crate) fn painted(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Says what went wrong.
pub(crate) fn trouble(trouble: &Trouble) {
    let mut err = anstream::stderr().lock();
    // Where standard error is closed the exit code has to do.
    let _ = writeln!(err, "{} {trouble}", painted(BAD, "cargo lab:"));
}

/// One line for one test.
pub(crate) fn grade(grade: &Grade) {
    put(grade_line(grade));
}

/// The line of one test.
pub(crate) fn grade_line(grade: &Grade) -> String {
    let (word, detail) = match grade.run.failure() {
        None => (painted(GOOD, "ok         "), grade.seeds.to_string()),
        Some(failure) if failure.class == Class::NotStarted => (painted(DULL, "not started"), String::new()),
        Some(failure) if failure.class == Class::NotJudged => {
            (painted(DULL, "not judged "), "the servers have messages of their own".into())
        }
        Some(failure) => {
            let place = grade.failed_seed().map(|seed| format!("seed {seed}: ")).unwrap_or_default();
            let line = failure.summary.lines().next().unwrap_or_default().to_owned();
            (painted(BAD, "FAIL       "), format!("{place}{line}"))
        }
    };
    let points = match grade.is_judged() {
        true => format!("{}/{}", grade.points(), grade.test.points),
        false => "-".into(),
    };
    let line = format!("{word}  {points:>5}  {:<28}  {detail}", grade.test.id);
    format!("{}\n", line.trim_end())
}

/// One line of what the doctor found.
pub(crate) fn finding(is_well: bool, text: &str) {
    let word = if is_well { painted(GOOD, "ok  ") } else { painted(BAD, "FAIL") };
    put(format_args!("{word}  {text}\n"));
}

/// The reports of what failed, and the score table.
pub(crate) fn grades(catalog: &Catalog, grades: &Grades, code: Code) {
    let failures = || grades.0.iter().filter_map(|grade| grade.run.failure());
    let is_reported = |class| !matches!(class, Class::NotStarted | Class::NotJudged);
    let reported: Vec<_> = failures().filter(|failure| is_reported(failure.class)).collect();
    for failure in reported.iter().take(REPORTS_SHOWN) {
        put(format_args!("\n{}", failure.report));
    }
    if reported.len() > REPORTS_SHOWN {
        put(format_args!(
            "\n{} more tests failed, often for the same reason; `cargo lab replay ID --seed S` reports on each.\n",
            reported.len() - REPORTS_SHOWN
        ));
    }
    let width = catalog.stages.iter().map(|stage| stage.title.len()).max().unwrap_or(0);
    put(format_args!("\n{}\n", painted(STRONG, format!("stage  {:<width$}  passed  points", ""))));
    for stage in &catalog.stages {
        let of_stage: Vec<&Grade> = grades.0.iter().filter(|grade| grade.test.stage() == stage.id).collect();
        if of_stage.is_empty() {
            continue;
        }
        let passed = of_stage.iter().filter(|grade| grade.class().is_none()).count();
        let judged = of_stage.iter().filter(|grade| grade.is_judged()).count();
        let scored: u32 = of_stage.iter().map(|grade| grade.points()).sum();
        let possible: u32 = of_stage.iter().map(|grade| grade.max_points()).sum();
        let (id, title) = (stage.id.to_uppercase(), &stage.title);
        let passed = format!("{passed}/{judged}");
        put(format_args!("{id:<5}  {title:<width$}  {passed:>6}  {:>6}\n", format!("{scored}/{possible}")));
    }
    let total = format!("{}/{}", grades.points(), grades.max_points());
    put(format_args!("total  {:<width$}  {:>6}  {total:>6}\n", "", ""));
    // release: omit begin
    if code == Code::ON_REFERENCE_RAFT {
        put("\nThe service stood on the reference Raft.\n");
    }
    // release: omit end
    if code == Code::STUDENT && grades.0.iter().any(|grade| grade.test.lab() == SERVICE_LAB) {
        put("\nIn lab 3 the service stood on the Raft in labraft.\n");
    }
    if let Some(failure) = failures().find(|failure| failure.class == Class::NotStarted) {
        put(format_args!("\n{}\n", capitalized(&failure.summary)));
    }
    if grades.0.iter().any(Grade::has_own_messages) {
        put(
            "\nThe servers have messages of their own, so they were judged by what their services see alone.\n",
        );
    }
    if let Some(said) = grades.not_judged().in_words() {
        put(format_args!("{}:\nthe points above are out of what was judged.\n", capitalized(&said)));
    }
}

/// All grades as one JSON object.
pub(crate) fn json(grades: &Grades, code: Code) {
    let object = json!({
        "schema": "raftlab/grades/1",
        "kit_version": env!("CARGO_PKG_VERSION"),
        "code": code.name,
        "points": grades.points(),
        "max_points": grades.max_points(),
        "not_judged": grades.not_judged(),
        "tests": tests_json(grades),
    });
    put(format_args!("{object}\n"));
}

/// Each grade as JSON.
pub(crate) fn tests_json(grades: &Grades) -> Vec<serde_json::Value> {
    grades
        .0
        .iter()
        .map(|grade| {
            let failure = grade.run.failure();
            json!({
                "id": grade.test.id,
                "title": grade.test.title,
                "points": grade.points(),
                "max_points": grade.max_points(),
                "judged": grade.is_judged(),
                "passed": failure.is_none(),
                "class": failure.map(|failure| failure.class),
                "summary": failure.map(|failure| &failure.summary),
                "report": failure.map(|failure| &failure.report),
                "failed_seed": grade.failed_seed(),
                "seeds": grade.run.seeds.iter().filter_map(seed_json).collect::<Vec<_>>(),
            })
        })
        .collect()
}

fn seed_json(record: &Record) -> Option<serde_json::Value> {
    match record {
        Record::Seed { seed, outcome, trace_hash, virtual_ms, measures } => Some(json!({
            "seed": seed,
            "passed": *outcome == Outcome::Passed,
            "trace_hash": trace_hash,
            "virtual_ms": virtual_ms,
            "measures": measures,
        })),
        _ => None,
    }
}

/// Where the student is, and what to do next.
pub(crate) fn status(catalog: &Catalog, kit: &Kit, status: &Status) {
    let mut next = None;
    let mut is_old = false;
    for stage in &catalog.stages {
        let class_of = |id: &str| status.tests.get(id).map(|remembered| remembered.class);
        let passed = |id: &str| class_of(id) == Some(None);
        let is_judged = |id: &str| class_of(id) != Some(Some(Class::NotJudged));
        let possible: u32 =
            catalog.tests_of(&stage.id).filter(|test| is_judged(&test.id)).map(|test| test.points).sum();
        let scored: u32 =
            catalog.tests_of(&stage.id).filter(|test| passed(&test.id)).map(|test| test.points).sum();
        let heading = format!("{}  {}", stage.id.to_uppercase(), stage.title);
        put(format_args!("{}  {scored}/{possible} points\n", painted(STRONG, format!("{heading:<34}"))));
        for test in catalog.tests_of(&stage.id) {
            let (word, detail) = match status.tests.get(&test.id) {
                None => (painted(DULL, "not graded "), ""),
                Some(remembered) => {
                    is_old |= !is_present(kit, stage, &remembered.source);
                    match remembered.class {
                        None => (painted(GOOD, "ok         "), ""),
                        Some(Class::NotStarted) => (painted(DULL, "not started"), ""),
                        Some(Class::NotJudged) => (painted(DULL, "not judged "), ""),
                        Some(_) => (
                            painted(BAD, "FAIL       "),
                            remembered.summary.lines().next().unwrap_or_default(),
                        ),
                    }
                }
            };
            let line = format!(
                "  {word}  {:<28}  {}",
                test.id,
                if detail.is_empty() { &test.title } else { detail }
            );
            put(format_args!("{}\n", line.trim_end()));
            if next.is_none() && !passed(&test.id) && is_judged(&test.id) {
                next = Some((stage, test, status.tests.get(&test.id)));
            }
        }
    }
    if is_old {
        put("\nSome of these grades are older than your last edit.\n");
    }
    put("\nNext: ");
    match next {
        None => put("every stage there is has passed.\n"),
        // Where the file of the skeleton is gone, the work has been done, or given out with the kit.
        Some((stage, _, None)) if !kit.root().join(&stage.file).is_file() => {
            put(format_args!("run `cargo lab test {}`.\n", stage.id))
        }
        Some((stage, _, None)) => put(format_args!(
            "read {}, write {}, then run `cargo lab test {}`.\n",
            stage.chapter, stage.file, stage.id
        )),
        Some((stage, _, Some(remembered))) if remembered.class == Some(Class::NotStarted) => {
            put(format_args!(
                "read {}; {}; then run `cargo lab test {}`.\n",
                stage.chapter, remembered.summary, stage.id
            ))
        }
        Some((_, test, Some(remembered))) => match remembered.seed {
            Some(seed) => {
                put(format_args!("see why it fails with `cargo lab replay {} --seed {seed}`.\n", test.id))
            }
            None => put(format_args!("run `cargo lab test {}`.\n", test.id)),
        },
    }
}

/// True when a grade is about the files as they are.
fn is_present(kit: &Kit, stage: &Stage, source: &str) -> bool {
    let is_of = |code| kit.source(code, stage.lab()).is_ok_and(|present| present == source);
    // release: omit begin
    if is_of(Code::ON_REFERENCE_RAFT) {
        return true;
    }
    // release: omit end
    is_of(Code::STUDENT)
}

/// One seed that was run again: what was printed, the end of the trace, the verdict.
pub(crate) fn replay(run: &Run) {
    for line in &run.printed {
        put(format_args!("{line}\n"));
    }
    if let Some(trace) = &run.trace {
        let lines: Vec<&str> = trace.lines().collect();
        let skipped = lines.len().saturating_sub(TRACE_TAIL + 1);
        put(format_args!("{}\n", lines.first().unwrap_or(&"")));
        if skipped > 0 {
            put(format_args!("    ... {skipped} lines before these; `cargo lab trace` prints them all\n"));
        }
        lines.iter().skip(1 + skipped).for_each(|line| put(format_args!("{line}\n")));
    }
    if let Some(Record::Seed { seed, trace_hash, virtual_ms, measures, .. }) = run.seeds.last() {
        let time = *virtual_ms as f64 / 1000.0;
        put(format_args!("\n{}  seed {seed}  {time:.3} virtual s  trace {trace_hash}\n", run.id));
        for (name, value) in measures {
            put(format_args!("  {name} = {value:.3}\n"));
        }
    }
    match run.failure() {
        None => put(format_args!("{}\n", painted(GOOD, "passed"))),
        Some(failure) => put(&failure.report),
    }
}

/// The whole trace of one seed.
pub(crate) fn trace(run: &Run) {
    match &run.trace {
        Some(trace) => put(trace),
        None => put(run.failure().map(|failure| failure.report.as_str()).unwrap_or_default()),
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

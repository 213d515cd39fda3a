//! What came of each submission: its files, the summary, and the table.
//!
//! Kit-owned. A file is written beside its place and renamed, so that there is never half of one. The
//! summary is written last: when it is there, it is whole, and all it names is there too.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anstream::adapter::strip_str;
use labgrading::{Catalog, Class, Test, bytes_hash};
use serde::Serialize;
use serde_json::{Value, json};

use super::submission::{NOT_GRADED, Submission};
use super::{Outcome, outside};
use crate::grade::{Grade, Grades, NotJudged};
use crate::show::{self, BAD, DULL, GOOD, STRONG, painted, put};
use crate::trouble::Trouble;

/// The name of the summary, without its ending.
pub(super) const SUMMARY: &str = "grades";

/// How many names are listed where a few words must do.
const NAMES_SHOWN: usize = 3;

/// How a submission fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    Graded,
    DoesNotCompile,
    NotAllowed,
    NothingToGrade,
    KitTrouble,
}

/// What the summary says of one submission.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) name: String,
    pub(super) status: Status,
    note: String,
    /// `None` when the kit has failed: that is worth no points and not none.
    points: Option<u32>,
    /// Out of what was judged.
    max_points: u32,
    /// What was not, because the servers have messages of their own.
    not_judged: NotJudged,
    /// The hash of all that was built.
    source: Option<String>,
    files: Vec<File>,
    ignored: Vec<Left>,
    look_at: Vec<Line>,
    stages: Vec<Score>,
    tests: Vec<Score>,
}

/// A file that was graded.
#[derive(Debug, Serialize)]
struct File {
    path: String,
    bytes: usize,
    hash: String,
}

/// A file that was not.
#[derive(Debug, Serialize)]
struct Left {
    path: String,
    why: &'static str,
}

/// A line that a person should look at.
#[derive(Debug, Serialize)]
struct Line {
    path: String,
    line: usize,
    what: &'static str,
}

/// The points of a stage or a test.
#[derive(Debug, Serialize)]
struct Score {
    id: String,
    points: Option<u32>,
    max_points: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Class>,
}

impl Left {
    /// Its name, and why it was left, unless that goes without saying.
    fn in_words(&self) -> String {
        if self.why == NOT_GRADED { self.path.clone() } else { format!("{} ({})", self.path, self.why) }
    }
}

impl Status {
    fn in_words(self) -> &'static str {
        match self {
            Status::Graded => "graded",
            Status::DoesNotCompile => "does not compile",
            Status::NotAllowed => "not allowed",
            Status::NothingToGrade => "nothing to grade",
            Status::KitTrouble => "kit trouble",
        }
    }
}

impl Report {
    /// Sums up what came of the submission called `name`.
    pub(super) fn of(
        catalog: &Catalog,
        tests: &[&Test],
        name: &str,
        submission: &Submission,
        outcome: &Outcome,
    ) -> Report {
        let status = match outcome {
            Outcome::Graded { grades, .. } if fault_in(grades).is_none() => Status::Graded,
            Outcome::Graded { .. } | Outcome::KitTrouble(_) => Status::KitTrouble,
            Outcome::Refused(refused) => refused.status,
            Outcome::NothingToGrade => Status::NothingToGrade,
        };
        let (grades, source) = match outcome {
            Outcome::Graded { grades, source, .. } => (Some(grades), Some(source.clone())),
            _ => (None, None),
        };
        let score = |test: &&Test| {
            let grade = grades.and_then(|grades| grades.0.iter().find(|grade| grade.test.id == test.id));
            let class = grade.and_then(Grade::class);
            let points = match status {
                Status::KitTrouble => None,
                _ => Some(grade.map_or(0, Grade::points)),
            };
            Score {
                id: test.id.clone(),
                points,
                max_points: grade.map_or(test.points, Grade::max_points),
                class,
            }
        };
        let tests: Vec<Score> = tests.iter().map(score).collect();
        let stages = catalog.stages.iter().filter_map(|stage| sum(&stage.id, &tests)).collect();
        Report {
            name: name.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect(),
            status,
            note: note(submission, outcome),
            points: tests.iter().map(|test| test.points).sum(),
            max_points: tests.iter().map(|test| test.max_points).sum(),
            not_judged: grades.map(Grades::not_judged).unwrap_or_default(),
            source,
            files: submission
                .files
                .iter()
                .map(|file| File {
                    path: file.path.clone(),
                    bytes: file.content.len(),
                    hash: bytes_hash(&file.content),
                })
                .collect(),
            ignored: submission
                .ignored
                .iter()
                .map(|ignored| Left { path: ignored.path.clone(), why: ignored.why })
                .collect(),
            look_at: outside::lines_in(&submission.files)
                .into_iter()
                .map(|outside::Line { path, number, what }| Line { path, line: number, what })
                .collect(),
            stages,
            tests,
        }
    }

    /// The submission in one line.
    pub(super) fn line(&self) -> String {
        let points = out_of(self.points, self.max_points);
        format!("{}: {points} points, {}{}", self.name, self.status.in_words(), self.remarks())
    }

    /// The note, and what was ignored, to be put after the status.
    fn remarks(&self) -> String {
        let mut remarks = if self.note.is_empty() { String::new() } else { format!(": {}", self.note) };
        if let Some(said) = self.not_judged.in_words() {
            remarks.push_str(&format!("; {said}"));
        }
        if !self.look_at.is_empty() {
            let lines: Vec<String> =
                self.look_at.iter().map(|look| format!("{}:{}", look.path, look.line)).collect();
            remarks.push_str(&format!("; look at {}", shortened(&lines)));
        }
        if !self.ignored.is_empty() {
            let names: Vec<String> = self.ignored.iter().map(Left::in_words).collect();
            remarks.push_str(&format!("; ignored {}", shortened(&names)));
        }
        remarks
    }
}

/// The points of a stage; `None` when none of its tests was asked for.
fn sum(stage: &str, tests: &[Score]) -> Option<Score> {
    let of_stage = || tests.iter().filter(|test| test.id.split_once("::").is_some_and(|(id, _)| id == stage));
    of_stage().next()?;
    Some(Score {
        id: stage.into(),
        points: of_stage().map(|test| test.points).sum(),
        max_points: of_stage().map(|test| test.max_points).sum(),
        class: None,
    })
}

/// The test that failed through a fault of the kit, if one did.
fn fault_in(grades: &Grades) -> Option<&Grade> {
    grades.0.iter().find(|grade| grade.class() == Some(Class::KitFault))
}

/// What there is to say in a few words.
fn note(submission: &Submission, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Graded { grades, errors, changed, .. } => {
            let mut note = match fault_in(grades) {
                Some(grade) => format!("{} failed through a fault of the kit itself", grade.test.id),
                None if errors.is_empty() => failures(grades),
                None => format!("lab 3 was not built: {}", first_error(errors)),
            };
            if let Some(file) = changed {
                let file = file.file_name().unwrap_or_default().to_string_lossy();
                let separator = if note.is_empty() { "" } else { "; " };
                note.push_str(&format!("{separator}while it ran, {file} of the kit was changed"));
            }
            note
        }
        Outcome::Refused(refused) => first_error(&refused.errors),
        Outcome::NothingToGrade => submission.what_to_do().unwrap_or_default(),
        Outcome::KitTrouble(text) => text.lines().next().unwrap_or_default().into(),
    }
}

/// How many tests failed, class by class.
fn failures(grades: &Grades) -> String {
    let judged = grades.0.iter().filter(|grade| grade.is_judged());
    let mut classes: Vec<Class> = judged.filter_map(Grade::class).collect();
    classes.sort();
    let of_class = |some: &[Class]| format!("{} {}", some.len(), some[0]);
    classes.chunk_by(|a, b| a == b).map(of_class).collect::<Vec<_>>().join(", ")
}

/// The first error of a compiler's output: what is wrong, and where.
fn first_error(errors: &str) -> String {
    let mut lines = errors.lines().skip_while(|line| !line.starts_with("error"));
    let Some(what) = lines.next() else {
        // It was refused before the compiler saw it.
        return errors.lines().next().unwrap_or("the compiler does not say why").trim().into();
    };
    match lines.find_map(|line| line.trim_start().strip_prefix("--> ")) {
        Some(place) => format!("{what} ({place})"),
        None => what.into(),
    }
}

/// A few of the names, and how many more there are.
pub(super) fn shortened(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(AsRef::as_ref).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn out_of(points: Option<u32>, max_points: u32) -> String {
    match points {
        Some(points) => format!("{points}/{max_points}"),
        None => format!("?/{max_points}"),
    }
}

/// Makes the folder of results. A summary of an earlier run is removed at once, so that an interrupted run
/// leaves none that could be taken for its own.
pub(super) fn prepare(out: &Path) -> Result<(), Trouble> {
    fs::create_dir_all(out).map_err(|error| Trouble::file("create", out, &error))?;
    let summary = out.join(format!("{SUMMARY}.json"));
    match fs::remove_file(&summary) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Trouble::file("remove", &summary, &error)),
        _ => Ok(()),
    }
}

/// Writes the two files of a submission.
pub(super) fn write(out: &Path, name: &str, report: &Report, outcome: &Outcome) -> Result<(), Trouble> {
    let mut object = json!(report);
    object["schema"] = "raftlab/submission/1".into();
    object["kit_version"] = env!("CARGO_PKG_VERSION").into();
    match outcome {
        Outcome::Graded { grades, errors, .. } => {
            object["tests"] = Value::Array(show::tests_json(grades));
            if !errors.is_empty() {
                object["errors"] = errors.as_str().into();
            }
        }
        Outcome::Refused(refused) => object["errors"] = refused.errors.as_str().into(),
        Outcome::KitTrouble(text) => object["errors"] = text.as_str().into(),
        Outcome::NothingToGrade => {}
    }
    write_whole(out, &format!("{name}.json"), &pretty(&object))?;
    write_whole(out, &format!("{name}.txt"), &text(report, outcome))
}

/// All submissions as JSON.
pub(super) fn summary(reports: &[Report], seeds: Option<u64>) -> Value {
    let count = |status| reports.iter().filter(|report| report.status == status).count();
    json!({
        "schema": "raftlab/class/1",
        "kit_version": env!("CARGO_PKG_VERSION"),
        "seeds": seeds,
        "graded": count(Status::Graded),
        "does_not_compile": count(Status::DoesNotCompile),
        "not_allowed": count(Status::NotAllowed),
        "nothing_to_grade": count(Status::NothingToGrade),
        "kit_trouble": count(Status::KitTrouble),
        "submissions": reports,
    })
}

/// Writes the summary.
pub(super) fn write_summary(out: &Path, summary: &Value) -> Result<(), Trouble> {
    write_whole(out, &format!("{SUMMARY}.json"), &pretty(summary))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn write_whole(folder: &Path, name: &str, text: &str) -> Result<(), Trouble> {
    let (path, part) = (folder.join(name), folder.join(format!(".{name}.part")));
    let written = fs::write(&part, text).and_then(|()| fs::rename(&part, &path));
    written.map_err(|error| Trouble::file("write", &path, &error))
}

/// A submission's results as a student or a teaching assistant reads them.
fn text(report: &Report, outcome: &Outcome) -> String {
    let mut text = format!("{}\n\nstatus   {}{}\n", report.name, report.status.in_words(), report.remarks());
    let mut put = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("a String takes any text");
    put(format_args!("points   {}\n", out_of(report.points, report.max_points)));
    for stage in &report.stages {
        let points = out_of(stage.points, stage.max_points);
        put(format_args!("{:<7}  {points}\n", format!("  {}", stage.id.to_uppercase())));
    }
    for file in &report.files {
        put(format_args!("graded   {}  {} bytes, hash {}\n", file.path, file.bytes, file.hash));
    }
    for look in &report.look_at {
        put(format_args!("look at  {}:{}: {}\n", look.path, look.line, look.what));
    }
    for left in &report.ignored {
        put(format_args!("ignored  {}: {}\n", left.path, left.why));
    }
    match outcome {
        Outcome::Graded { grades, errors, .. } => {
            put(format_args!("\n"));
            grades.0.iter().for_each(|grade| put(format_args!("{}", strip_str(&show::grade_line(grade)))));
            for failure in grades.0.iter().filter_map(|grade| grade.run.failure()) {
                put(format_args!("\n{}", failure.report));
            }
            if !errors.is_empty() {
                put(format_args!("\nLab 3 was not built.\n\n{errors}"));
            }
        }
        Outcome::Refused(refused) => put(format_args!("\n{}", refused.errors)),
        Outcome::KitTrouble(trouble) => put(format_args!("\n{trouble}\n")),
        Outcome::NothingToGrade => {}
    }
    text
}

/// The table of all submissions.
pub(super) fn show(catalog: &Catalog, reports: &[Report], out: &Path) {
    let width = |text: &str| text.chars().count();
    let name_width = reports.iter().map(|report| width(&report.name)).max().unwrap_or(0).max(4);
    let stages: Vec<&str> = catalog
        .stages
        .iter()
        .map(|stage| stage.id.as_str())
        .filter(|id| reports.iter().any(|report| report.stages.iter().any(|stage| stage.id == *id)))
        .collect();
    let mut heading = format!("{:<name_width$}", "name");
    stages
        .iter()
        .for_each(|id| write!(heading, "  {:>7}", id.to_uppercase()).expect("a String takes any text"));
    put(format_args!("{}\n", painted(STRONG, format!("{heading}  {:>7}  note", "total"))));
    for report in reports {
        let mut line = format!("{:<name_width$}", report.name);
        for stage in &report.stages {
            let points = out_of(stage.points, stage.max_points);
            write!(line, "  {points:>7}").expect("a String takes any text");
        }
        let total = out_of(report.points, report.max_points);
        let word = match report.status {
            Status::Graded if report.points == Some(report.max_points) => painted(GOOD, "passed"),
            Status::Graded => painted(DULL, "graded"),
            other => painted(BAD, other.in_words()),
        };
        put(format_args!("{line}  {total:>7}  {word}{}\n", report.remarks()));
    }
    let counts: Vec<String> = [
        Status::Graded,
        Status::DoesNotCompile,
        Status::NotAllowed,
        Status::NothingToGrade,
        Status::KitTrouble,
    ]
    .into_iter()
    .map(|status| (status, reports.iter().filter(|report| report.status == status).count()))
    .filter(|(_, count)| *count > 0)
    .map(|(status, count)| match status {
        Status::Graded => format!("{count} graded"),
        other => format!("{}: {count}", other.in_words()),
    })
    .collect();
    put(format_args!("\n{}. The results are in {}\n", counts.join("; "), near(out).display()));
}

/// A path as seen from the current folder, where it lies in that.
pub(super) fn near(path: &Path) -> &Path {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

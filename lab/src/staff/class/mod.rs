//! `cargo lab grade`: every submission in a folder, graded as a student's own work is.
//!
//! Kit-owned. `submission.rs` decides which files of a submission count, `outside.rs` names lines in them to
//! look at, `results.rs` writes what came of it. Whatever is wrong with one submission is a result of that
//! one, and the others go on.

mod outside;
mod results;
mod submission;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use labgrading::{Catalog, SeedRange, Test};

use self::results::{Report, Status};
use self::submission::Submission;
use super::work::{Overlay, WorkTree};
use super::{GradeArguments, build_with_log, entries};
use crate::grade::{self, Grades};
use crate::kit::{Code, Kit, SERVICE_LAB, STUDENT_CRATES};
use crate::trouble::Trouble;
use crate::{build, interrupt, on_reference_raft, reach, show};

/// What `cargo lab grade --help` says.
pub(super) const HELP: &str = "\
Grade every submission in a folder.

Each folder in DIR is a submission, named as the folder is. From it are taken
  labraft/src/raft.rs and labraft/src/raft/**/*.rs
  labkv/src/server.rs and labkv/src/server/**/*.rs
  labkv/src/client.rs and labkv/src/client/**/*.rs
where they stand as in the kit; or else raft.rs, raft/, server.rs, server/, client.rs and client/ side by \
side; or else, where there is nothing of that but exactly one folder, what is in that folder, by the same \
rules. A submission with any file of a module (raft, server, client) brings the whole module, and a module \
it has no file of is taken from this kit. Nothing else is taken: no other file, no link, nothing larger than \
1 MiB. What was left alone is said, unless it is simply a part of the kit.

The files are laid over a copy of this kit, built, and run with each test in a process of its own. The \
results are NAME.json and NAME.txt for each submission, the text with all reports of failures, and grades.json \
for all of them. The notes name lines that reach out of what is graded, such as one that takes in another file. \
A submission that does not compile, or has nothing to grade, gets no points, and neither does one that keeps \
state outside of its servers, such as in a static, or takes in code from elsewhere; it is told where and why. \
Where only its service is like that, lab 2 is graded all the same. The compiler may use 300 s of CPU time for a \
crate (or LAB_COMPILER_SECONDS) and 4 GiB of memory. Tests that play the peers of a server in the kit's messages \
do not judge one with messages of its own: its points are out of the others, and the note says so. Every run \
grades everything anew.

With --raft reference only lab 3 is graded, and stands on the reference Raft, whatever Raft a submission has.

Exit codes: 0 all graded, whatever their points, 2 wrong usage, 3 the kit itself failed, 4 interrupted.";

/// The staff's folders, which are no part of the tree that submissions are built in, so that nobody compiles
/// the answers into a submission.
const LEFT_OUT: [&str; 4] = ["solutions/kv", "tests/bugs", "tests/steps", "tests/variants"];

/// The reference Raft, which is no part of it either unless submissions stand on it.
const REFERENCE_RAFT: &str = "solutions/raft";

/// The part of the kit that is built on top of students' crates.
const TESTS: &str = "tests";

/// Longer names leave no room for the ends of the files that are named after them.
const NAME_MAX: usize = 200;

/// Grades a class.
pub(super) fn run(catalog: &Catalog, kit: &Kit, arguments: &GradeArguments) -> Result<(), Trouble> {
    let code = arguments.code();
    let tests = on_reference_raft(catalog.select(&arguments.names)?, code, arguments.names.is_empty())?;
    let (folder, out) = places(kit, arguments)?;
    let submissions = submissions_in(&folder)?;
    results::prepare(&out)?;
    let tree = WorkTree::of(kit, &left_out(kit, code, &folder, &out))?;
    let grader = Grader { catalog, kit, tree, tests, code, seeds: arguments.seeds };
    say("building the kit; the first time this takes a minute or two");
    grader.check_kit()?;
    let mut reports = Vec::new();
    let count = submissions.len();
    for (number, (name, place)) in submissions.into_iter().enumerate() {
        let (submission, outcome) = grader.grade(&place).map_err(|trouble| match trouble {
            Trouble::Interrupted(_) => Trouble::Interrupted(format!(
                "interrupted after {number} of {count} submissions; their results are in {}, \
                 and no grades.json was written",
                results::near(&out).display()
            )),
            other => other,
        })?;
        let report = Report::of(catalog, &grader.tests, &name, &submission, &outcome);
        results::write(&out, &name, &report, &outcome)?;
        say(&format!("[{}/{count}] {}", number + 1, report.line()));
        reports.push(report);
    }
    let summary = results::summary(&reports, arguments.seeds);
    results::write_summary(&out, &summary)?;
    if arguments.json {
        show::put(format_args!("{summary}\n"));
    } else {
        results::show(catalog, &reports, &out);
    }
    match reports.iter().filter(|report| report.status == Status::KitTrouble).count() {
        0 => Ok(()),
        troubled => Err(Trouble::Kit(format!(
            "{troubled} of {count} submissions met trouble that is not theirs; their results say which"
        ))),
    }
}

/// What came of a submission.
enum Outcome {
    /// It was built and run.
    Graded {
        grades: Grades,
        /// The hash of what was built.
        source: String,
        /// Why lab 3 could not be built, where it could not: what comes before that is graded all the same.
        errors: String,
        /// A file of the kit that was changed while it ran.
        changed: Option<PathBuf>,
    },
    /// It was not built.
    Refused(Refused),
    /// It has none of the files that are graded.
    NothingToGrade,
    /// The kit or the machine failed, not the submission.
    KitTrouble(String),
}

/// What came of building and running some tests of a submission.
enum Ran {
    /// They ran.
    Graded {
        grades: Grades,
        /// The hash of what was built.
        source: String,
        /// A file of the kit that was changed meanwhile.
        changed: Option<PathBuf>,
    },
    /// They could not be built.
    Refused(Refused),
}

/// Why a submission was not built.
struct Refused {
    /// `DoesNotCompile` where the compiler refused it, or came to no end with it; `NotAllowed` where it reaches for
    /// what no submission may.
    status: Status,
    /// The compiler's errors, or what stands for them.
    errors: String,
}

/// Grades one submission after the other.
struct Grader<'a> {
    catalog: &'a Catalog,
    kit: &'a Kit,
    tree: WorkTree,
    tests: Vec<&'a Test>,
    /// On which Raft lab 3 stands.
    code: Code,
    seeds: Option<u64>,
}

impl Grader<'_> {
    /// Builds the kit as it stands. After that, what does not compile is the submission's fault.
    fn check_kit(&self) -> Result<(), Trouble> {
        self.tree.lay_over(&Overlay::default())?;
        let built = build::stages(self.catalog, self.tree.kit(), &self.tests, self.code, None);
        built.map(drop).map_err(|trouble| match trouble {
            Trouble::DoesNotCompile { package, .. } => Trouble::Kit(format!(
                "{package} does not compile in this kit itself, so nothing was graded; the compiler's errors \
                 are above"
            )),
            other => other,
        })
    }

    /// Grades the submission in a folder.
    ///
    /// # Errors
    ///
    /// When the user has interrupted it. Everything else is an outcome.
    fn grade(&self, folder: &Path) -> Result<(Submission, Outcome), Trouble> {
        if interrupt::requested() {
            return Err(Trouble::Interrupted(String::new()));
        }
        let submission = match Submission::read(self.kit, folder) {
            Ok(submission) => submission,
            Err(trouble) => return Ok((Submission::default(), Outcome::KitTrouble(trouble.to_string()))),
        };
        if submission.files.is_empty() {
            return Ok((submission, Outcome::NothingToGrade));
        }
        let outcome = match self.build_and_run(&submission) {
            Err(interrupted @ Trouble::Interrupted(_)) => return Err(interrupted),
            Err(trouble) => {
                // Whatever it is, the next one begins with nothing of it.
                self.tree.discard_what_was_built()?;
                Outcome::KitTrouble(trouble.to_string())
            }
            Ok(outcome) => outcome,
        };
        Ok((submission, outcome))
    }

    fn build_and_run(&self, submission: &Submission) -> Result<Outcome, Trouble> {
        let files = submission.files.iter().map(|file| (PathBuf::from(&file.path), file.content.clone()));
        self.tree.lay_over(&Overlay { files: files.collect(), without: submission.replaces() })?;
        let refused = match self.run(&self.tests)? {
            Ran::Graded { grades, source, changed } => {
                return Ok(Outcome::Graded { grades, source, errors: String::new(), changed });
            }
            Ran::Refused(refused) => refused,
        };
        let before: Vec<&Test> =
            self.tests.iter().copied().filter(|test| test.lab() != SERVICE_LAB).collect();
        if before.is_empty() || before.len() == self.tests.len() {
            return Ok(Outcome::Refused(refused));
        }
        Ok(match self.run(&before)? {
            Ran::Graded { grades, source, changed } => {
                Outcome::Graded { grades, source, errors: refused.errors, changed }
            }
            Ran::Refused(refused) => Outcome::Refused(refused),
        })
    }

    /// Builds and runs `tests` of what has been laid over the work tree.
    fn run(&self, tests: &[&Test]) -> Result<Ran, Trouble> {
        let mut errors = String::new();
        let mut build =
            || build_with_log(build::stages, self.catalog, self.tree.kit(), tests, self.code, &mut errors);
        let built = match build() {
            // What is the submission's doing happens again.
            Err(Trouble::CompilerEnded { is_certain: false, .. }) => build(),
            built => built,
        };
        let refused = |status, errors| Ok(Ran::Refused(Refused { status, errors }));
        let binaries = match built {
            Ok(binaries) => binaries,
            Err(Trouble::DoesNotCompile { package, .. }) if is_built_from_submissions(&package) => {
                return refused(Status::DoesNotCompile, errors);
            }
            Err(Trouble::CompilerEnded { package, text, .. }) if is_built_from_submissions(&package) => {
                return refused(Status::DoesNotCompile, format!("error: {text}\n{errors}"));
            }
            Err(Trouble::NeverStarts(text)) => {
                return refused(Status::DoesNotCompile, format!("error: {text}\n"));
            }
            Err(Trouble::Refused(refusals)) => {
                return refused(Status::NotAllowed, reach::in_words(&refusals));
            }
            Err(Trouble::NotRepeatable(why)) => {
                return refused(Status::NotAllowed, format!("error: {why}\n"));
            }
            Err(Trouble::Kit(text)) => return Err(Trouble::Kit(format!("{text}\n{errors}"))),
            Err(trouble) => return Err(trouble),
        };
        let seeds = |test: &Test| SeedRange { first: 1, last: self.seeds.unwrap_or(test.seeds) };
        let seal = self.tree.seal()?;
        let grades = grade::all(tests, &binaries, seeds, |_| {})?;
        let changed = self.tree.seal()?.first_change_since(&seal).map(Path::to_owned);
        if changed.is_some() {
            self.tree.discard_what_was_built()?;
        }
        // The hash of lab 3, if that is asked for, covers lab 2 as well.
        let source = tests.last().map(|test| binaries.source(test).to_owned()).unwrap_or_default();
        Ok(Ran::Graded { grades, source, changed })
    }
}

/// True for the packages in which a submission's mistake can show as a compiler's error: its own, and what
/// calls it.
fn is_built_from_submissions(package: &str) -> bool {
    package == TESTS || STUDENT_CRATES.contains(&package)
}

/// The folder of submissions and the folder of results, the first of which is not to be written to.
fn places(kit: &Kit, arguments: &GradeArguments) -> Result<(PathBuf, PathBuf), Trouble> {
    let given = arguments.submissions.display();
    let usage = |why: String| Err(Trouble::Usage(why));
    let folder = match arguments.submissions.canonicalize() {
        Ok(folder) if folder.is_dir() => folder,
        Ok(_) => return usage(format!("'{given}' is a file; name the folder that holds the submissions")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return usage(format!("there is no folder '{given}'"));
        }
        Err(error) => return usage(format!("the folder '{given}' cannot be opened: {error}")),
    };
    if folder.join("labraft").is_dir() || folder.join("raft.rs").is_file() {
        return usage(format!(
            "'{given}' is a submission or the kit itself; name the folder that holds a folder for each submission"
        ));
    }
    if resolved(kit.target())?.starts_with(&folder) {
        return usage(format!(
            "cargo's target folder lies in '{given}', which is not to be written to; put the submissions \
             elsewhere"
        ));
    }
    let out = arguments.out.clone().unwrap_or_else(|| kit.target().join("lab").join("grades"));
    if resolved(&out)?.starts_with(&folder) {
        return usage(format!(
            "the results cannot go to '{}': nothing is written to the folder of submissions",
            out.display()
        ));
    }
    Ok((folder, out))
}

/// A path without links, as far as it exists.
fn resolved(path: &Path) -> Result<PathBuf, Trouble> {
    let path = std::path::absolute(path).map_err(|error| Trouble::file("find", path, &error))?;
    let existing = path.ancestors().find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    let Some((folder, real)) = existing else { return Ok(path) };
    Ok(real.join(path.strip_prefix(folder).expect("it is an ancestor")))
}

/// The submissions in a folder by name, with a word on what is none.
fn submissions_in(folder: &Path) -> Result<Vec<(String, PathBuf)>, Trouble> {
    let mut submissions = Vec::new();
    let mut others = Vec::new();
    for place in entries(folder)? {
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A link might lead out of the folder, so it is no submission either.
        if !place.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) || name.starts_with('.') {
            others.push(name);
            continue;
        }
        if place.file_name().is_some_and(|name| name.to_str().is_none()) || name.len() > NAME_MAX {
            return Err(Trouble::Usage(format!(
                "the results of '{name}' cannot be named after it; give its folder a shorter, plain name"
            )));
        }
        if name.eq_ignore_ascii_case(results::SUMMARY) {
            return Err(Trouble::Usage(format!(
                "no submission can be called '{name}', as the results of all of them are; rename its folder"
            )));
        }
        submissions.push((name, place));
    }
    if submissions.is_empty() {
        return Err(Trouble::Usage(format!(
            "there is no submission in {}; each is a folder of its own in it",
            folder.display()
        )));
    }
    if !others.is_empty() {
        say(&format!("only folders are submissions, so these are none: {}", results::shortened(&others)));
    }
    Ok(submissions)
}

/// What of the kit is no part of the tree that submissions are built in. Submissions and results may lie
/// in the kit's folder, and one submission is not to see another.
fn left_out(kit: &Kit, code: Code, folder: &Path, out: &Path) -> Vec<PathBuf> {
    let mut left_out: Vec<PathBuf> = LEFT_OUT.iter().map(PathBuf::from).collect();
    if code != Code::ON_REFERENCE_RAFT {
        left_out.push(REFERENCE_RAFT.into());
    }
    let (root, out) = (resolved(kit.root()), resolved(out));
    if let (Ok(root), Ok(out)) = (root, out) {
        let inside = [folder, &out].into_iter().filter_map(|path| path.strip_prefix(&root).ok());
        left_out.extend(inside.map(Path::to_owned));
    }
    left_out
}

/// Says on standard error how far it has come.
fn say(text: &str) {
    // Where standard error is closed nobody wants to know.
    let _ = writeln!(anstream::stderr(), "{text}");
}

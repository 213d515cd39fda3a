//! Grading: many tests at once, one process each.
//!
//! Kit-owned.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};
use labgrading::{Class, OWN_MESSAGES, Record, SeedRange, Test};
use serde::Serialize;

use crate::build::Binaries;
use crate::interrupt;
use crate::process::{self, Run, What};
use crate::trouble::Trouble;

/// The grade of one test.
#[derive(Clone, Debug)]
pub(crate) struct Grade {
    pub(crate) test: Test,
    pub(crate) seeds: SeedRange,
    pub(crate) run: Run,
}

impl Grade {
    /// What kind of failure it is; `None` when the test passed.
    pub(crate) fn class(&self) -> Option<Class> {
        self.run.failure().map(|failure| failure.class)
    }

    pub(crate) fn points(&self) -> u32 {
        if self.class().is_none() { self.test.points } else { 0 }
    }

    /// The points that could be had: none where the test speaks in messages that the servers do not have.
    pub(crate) fn max_points(&self) -> u32 {
        if self.is_judged() { self.test.points } else { 0 }
    }

    /// False when the test could not judge the servers, as they have messages of their own.
    pub(crate) fn is_judged(&self) -> bool {
        self.class() != Some(Class::NotJudged)
    }

    /// True when the servers do not speak in the kit's messages.
    pub(crate) fn has_own_messages(&self) -> bool {
        let says_so = |record: &Record| matches!(record, Record::Seed { measures, .. } if measures.contains_key(OWN_MESSAGES));
        self.class() == Some(Class::NotJudged) || self.run.seeds.iter().any(says_so)
    }

    /// The seed that failed, when a seed did.
    pub(crate) fn failed_seed(&self) -> Option<u64> {
        self.class()?;
        match self.run.seeds.last() {
            Some(Record::Seed { seed, outcome: labgrading::Outcome::Failed(_), .. }) => Some(*seed),
            _ => None,
        }
    }
}

/// The grades of several tests, in the catalogue's order.
#[derive(Clone, Debug)]
pub(crate) struct Grades(pub(crate) Vec<Grade>);

impl Grades {
    /// The points of all tests.
    pub(crate) fn points(&self) -> u32 {
        self.0.iter().map(Grade::points).sum()
    }

    /// The points that could be had in those that were judged.
    pub(crate) fn max_points(&self) -> u32 {
        self.0.iter().map(Grade::max_points).sum()
    }

    /// The tests that could not judge the servers: how many, and how many points they are worth.
    pub(crate) fn not_judged(&self) -> NotJudged {
        let of = || self.0.iter().filter(|grade| !grade.is_judged());
        NotJudged { tests: of().count(), points: of().map(|grade| grade.test.points).sum() }
    }
}

/// Tests that play the peers of a server in the kit's messages, where it has others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct NotJudged {
    pub(crate) tests: usize,
    /// What they are worth, which is neither won nor lost.
    pub(crate) points: u32,
}

impl NotJudged {
    /// How many there are and why; nothing when there are none.
    pub(crate) fn in_words(self) -> Option<String> {
        let NotJudged { tests, points } = self;
        let (word, are) = if tests == 1 { ("test", "is") } else { ("tests", "are") };
        (tests > 0).then(|| {
            format!(
                "{tests} {word} worth {points} {are} not judged, as the servers have messages of their own"
            )
        })
    }
}

/// Runs all `tests` and tells `tell` of each grade, in order, as soon as it and those before it are
/// there.
pub(crate) fn all(
    tests: &[&Test],
    binaries: &Binaries,
    seeds: impl Fn(&Test) -> SeedRange + Sync,
    mut tell: impl FnMut(&Grade),
) -> Result<Grades, Trouble> {
    let bar = progress_bar(tests.iter().map(|test| seeds(test).count()).sum());
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(tests.len());
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next, seeds, bar) = (sender.clone(), &next, &seeds, &bar);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(test) = tests.get(index) else { return };
                    if interrupt::requested() {
                        return;
                    }
                    let range = seeds(test);
                    let mut ran = 0;
                    let run = process::run(
                        test,
                        binaries,
                        &What { seeds: range, trace: false, keep: None },
                        &mut |record| {
                            if let Record::Seed { .. } = record {
                                ran += 1;
                                bar.inc(1);
                            }
                        },
                    );
                    // Seeds after one that failed are not run.
                    bar.inc(range.count() - ran);
                    let grade = run.map(|run| Grade { test: (*test).clone(), seeds: range, run });
                    if sender.send((index, grade)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        collect(tests.len(), &receiver, &bar, &mut tell)
    })
}

fn collect(
    expected: usize,
    receiver: &mpsc::Receiver<(usize, Result<Grade, Trouble>)>,
    bar: &ProgressBar,
    tell: &mut impl FnMut(&Grade),
) -> Result<Grades, Trouble> {
    let mut waiting = BTreeMap::new();
    let mut grades = Vec::new();
    for (index, grade) in receiver {
        if interrupt::requested() {
            continue;
        }
        waiting.insert(index, grade?);
        while let Some(grade) = waiting.remove(&grades.len()) {
            bar.suspend(|| tell(&grade));
            grades.push(grade);
        }
    }
    bar.finish_and_clear();
    if grades.len() < expected {
        let done = grades.len() + waiting.len();
        return Err(Trouble::Interrupted(format!(
            "interrupted after {done} of {expected} tests; no result was saved"
        )));
    }
    Ok(Grades(grades))
}

/// A bar on standard error that nobody sees in a pipe.
fn progress_bar(seeds: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds, {eta} left");
    ProgressBar::new(seeds).with_style(style.expect("the template is valid"))
}

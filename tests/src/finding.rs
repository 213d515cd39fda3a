//! What a check found.
//!
//! Kit-owned.

use std::sync::Arc;
use std::time::Duration;

use labgrading::Class;
use labrpc::World;
use parking_lot::Mutex;

/// A rule that was broken: which, how, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of failure.
    pub class: Class,
    /// The rule that was checked, with its section of the paper where it has one.
    pub checked: String,
    /// What a correct Raft would have shown.
    pub expected: String,
    /// What was seen; the first line of every short report.
    pub seen: String,
    /// Virtual time; zero until the run ends, unless it is known better.
    pub at: Duration,
}

/// Where a run leaves what was found, for whoever reads it after the run has been torn down.
pub(crate) type Findings = Arc<Mutex<Option<Finding>>>;

/// Ends the run with a finding. The first one counts.
pub(crate) fn end_run(world: &World, findings: &Findings, finding: Finding) -> ! {
    let summary = finding.seen.clone();
    let at = if finding.at.is_zero() { world.now() } else { finding.at };
    findings.lock().get_or_insert(Finding { at, ..finding });
    world.fail(summary)
}

impl Finding {
    /// Something that must never happen.
    pub fn safety(
        checked: impl Into<String>,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Finding {
        Finding::new(Class::Safety, checked, expected, seen)
    }

    /// Something that must happen in the end, and did not.
    pub fn liveness(
        checked: impl Into<String>,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Finding {
        Finding::new(Class::Liveness, checked, expected, seen)
    }

    /// A finding of any class, its time still to be filled in.
    pub fn new(
        class: Class,
        checked: impl Into<String>,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Finding {
        Finding {
            class,
            checked: checked.into(),
            expected: expected.into(),
            seen: seen.into(),
            at: Duration::ZERO,
        }
    }
}

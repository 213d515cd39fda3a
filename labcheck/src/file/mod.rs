//! Judges histories that stand in a file.
//!
//! Kit-owned. Read this page, then `edn.rs`, `events.rs` and `register.rs`.

mod edn;
mod events;
mod register;

use std::fmt;

use crate::history::{KvHistory, KvOp};
use crate::kv::check_kv_within;
use crate::report::report_kv;
use crate::verdict::{Limits, Verdict};
use events::{Answer as Returned, Call, End, Recorded};

/// What was found out about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVerdict {
    /// The verdict in a word.
    pub answer: Answer,
    /// The report, in the form of [`report_kv`]. Events are named by their lines.
    pub report: String,
    /// How many operations the file records.
    pub operations: usize,
    /// How many keys they are about; a register without a key counts as one.
    pub keys: usize,
}

/// A verdict in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// An order of the operations exists that explains everything that was seen.
    Linearizable,
    /// No such order exists.
    Illegal,
    /// The check reached its limits first. Never a pass.
    Unknown,
}

/// What is wrong with a line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Its number, from 1.
    pub line: usize,
    /// What was expected there, and what was found.
    pub message: String,
}

/// Judges a history in the text form that Jepsen and porcupine use: one event in a line, as a map in EDN.
///
/// ```text
/// {:process 9, :type :invoke, :f :append, :key "0", :value "x 9 0 y"}
/// {:process 9, :type :ok, :f :append, :key "0", :value "x 9 0 y"}
/// {:process 3, :type :invoke, :f :get, :key "0", :value nil}
/// {:process 3, :type :ok, :f :get, :key "0", :value "x 9 0 y"}
/// ```
///
/// - `:process` is a number from 0. A process has one operation open at a time. Lines with a keyword here,
///   such as `:nemesis`, are passed over.
/// - `:type` is `:invoke`, then `:ok`, `:fail` (it surely did not happen) or `:info` (nobody knows). What is
///   still open at the end counts as `:info`.
/// - `:f` is `:get`, `:put` or `:append` on the keys of a store that starts out empty, or `:read`, `:write`
///   or `:cas` on registers that start out as `nil`. A file is about one of the two.
/// - `:key` is a text; a register needs none. In the event that ends an operation it may be left out.
/// - `:value` of a write is a text, for registers a whole number, for `:cas` the old and the new one:
///   `[1 2]`. With the `:ok` of a get or a read comes what it returned, `nil` for what was never written. A
///   `:cas` that found another value has failed.
///
/// The order of the lines is the order of time. The order of the fields is free, other fields are ignored,
/// and commas are blanks. Empty lines and lines that begin with `;` are passed over.
///
/// # Errors
///
/// The first line that is no such event, or does not fit to those before it, and what was expected there. A
/// text without any event is an error of line 1.
///
/// ```
/// use labcheck::{Answer, Limits, check_file_text};
///
/// let text = "
///     {:process 0, :type :invoke, :f :write, :value 1}
///     {:process 0, :type :ok, :f :write, :value 1}
///     {:process 1, :type :invoke, :f :read, :value nil}
///     {:process 1, :type :ok, :f :read, :value nil}";
/// let verdict = check_file_text(text, Limits::default())?;
/// assert_eq!(verdict.answer, Answer::Illegal);
///
/// let error = check_file_text("{:process 0, :type :ok, :f :read}", Limits::default()).unwrap_err();
/// assert_eq!(error.to_string(), "line 1: expected an :invoke of process 0 before this, found :ok");
/// # Ok::<(), labcheck::LineError>(())
/// ```
pub fn check_file_text(text: &str, limits: Limits) -> Result<FileVerdict, LineError> {
    let operations = events::read(text)?;
    let mut keys: Vec<&str> = operations.iter().map(|operation| operation.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let (answer, report) = match operations.first().map(|operation| &operation.call) {
        Some(Call::Register(_)) => register::check(&operations, keys.len(), limits),
        _ => {
            let history = key_value_history(&operations);
            let verdict = check_kv_within(&history, limits);
            (Answer::of(&verdict), report_kv(&history, &verdict))
        }
    };
    Ok(FileVerdict { answer, report, operations: operations.len(), keys: keys.len() })
}

impl Answer {
    fn of<W>(verdict: &Verdict<W>) -> Answer {
        match verdict {
            Verdict::Linearizable => Answer::Linearizable,
            Verdict::Illegal(_) => Answer::Illegal,
            Verdict::Unknown(_) => Answer::Unknown,
        }
    }
}

/// The operations as a history, its events labelled by their lines.
fn key_value_history(operations: &[Recorded]) -> KvHistory {
    let mut events: Vec<(usize, usize)> = Vec::new();
    for (place, operation) in operations.iter().enumerate() {
        events.push((operation.called, place));
        events.extend(operation.returned.as_ref().map(|(line, _)| (*line, place)));
    }
    events.sort_unstable();
    let mut history = KvHistory::new();
    let mut ids = vec![None; operations.len()];
    for (line, place) in events {
        history.stamp(format!("line {line}"));
        let operation = &operations[place];
        let Some(id) = ids[place] else {
            let key = operation.key.clone();
            let op = match &operation.call {
                Call::Put(value) => KvOp::Put { key, value: value.clone() },
                Call::Append(value) => KvOp::Append { key, value: value.clone() },
                Call::Get | Call::Register(_) => KvOp::Get { key },
            };
            ids[place] = Some(history.invoke(operation.process, op));
            continue;
        };
        match &operation.returned {
            Some((_, End::Ok(Returned::Text(value)))) => history.ok(id, Some(value.clone())),
            Some((_, End::Ok(_))) => history.ok(id, None),
            Some((_, End::Fail)) => history.fail(id),
            Some((_, End::Info)) | None => history.unknown(id),
        }
    }
    history
}

impl fmt::Display for LineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for LineError {}

//! The report on a verdict: what a student reads in the terminal, and pastes when asking for help.
//!
//! Kit-owned. Read this file first; then `why.rs` for the words, `context.rs` for what is worked out anew,
//! and `values.rs`, `drawing.rs` for how it is shown.
//!
//! A report stands alone: at most 25 lines of at most 100 columns. Its order is fixed: the verdict, the
//! operations that prove it, why no order exists, what was still right, a drawing, and the usual cause.

mod context;
mod drawing;
mod values;
mod why;

use crate::history::{KvHistory, KvOp, KvOperation, OpId, Outcome};
use crate::kv;
use crate::operations::KeyOps;
use crate::proof::Proof;
use crate::verdict::{KvVerdict, KvWitness, Undecided, Verdict};
pub(crate) use values::Tokens;

/// How wide a report is, in columns.
const WIDTH: usize = 100;
/// How many lines it has at most.
const LINES: usize = 25;
/// How many operations it shows at most.
const MOST_OPERATIONS: usize = 8;

/// The report on the verdict of [`check_kv`](crate::check_kv) on `history`.
///
/// It is plain text that stands alone: at most 25 lines of at most 100 columns. Operations are shown with
/// their numbers, counted from 1 in the order of invocation, and with the labels of
/// [`KvHistory::stamp`], or the numbers of events (`@17`) where there are none. A witness of another history
/// gives a report that is of no use, but no panic.
pub fn report_kv(history: &KvHistory, verdict: &KvVerdict) -> String {
    report_kv_with(history, verdict, None)
}

/// The same, where more is known than the history: it takes the place of the usual cause.
pub fn report_kv_with(history: &KvHistory, verdict: &KvVerdict, known: Option<&Background>) -> String {
    match verdict {
        Verdict::Linearizable => linearizable("KV history", history.len(), kv::split(history).len()),
        Verdict::Unknown(reason) => undecided("KV history", reason),
        Verdict::Illegal(witness) => illegal_kv(history, witness, known),
    }
}

/// What is known of the operations that prove a history illegal, beyond the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Background {
    /// What was seen besides: whole sentences.
    pub seen: String,
    /// What may have caused it: whole sentences, the first of which goes on after a colon.
    pub cause: String,
}

/// The report where an order was found.
pub(crate) fn linearizable(subject: &str, operations: usize, keys: usize) -> String {
    format!("{subject} is linearizable: {}, {}.\n", count(operations, "operation"), count(keys, "key"))
}

/// The report where the check ended without an answer.
pub(crate) fn undecided(subject: &str, reason: &Undecided) -> String {
    format!("{subject} is UNDECIDED: {reason}.\nThis is not a pass, and no proof of a fault.\n")
}

/// The parts of a report on an illegal history.
pub(crate) struct Sheet<'a> {
    /// What was judged, such as `KV history of key "0"`.
    pub(crate) subject: String,
    /// How many operations there are on this object.
    pub(crate) operations: usize,
    pub(crate) proof: &'a Proof,
    pub(crate) context: Vec<String>,
    /// What takes the place of the usual cause.
    pub(crate) known: Option<&'a Background>,
}

/// Where the shown operations come from.
pub(crate) trait Book {
    /// An operation of the proof.
    fn shown(&self, id: OpId) -> Shown;
    /// What it wrote or read, in quotes and not too long.
    fn value(&self, id: OpId) -> String;
    /// The value of a read, taken apart: which writes made it, if that is known.
    fn writes_in(&self, read: OpId) -> Option<Vec<OpId>>;
    /// What else is to be said of a value that nobody has written.
    fn remark_on(&self, read: OpId) -> Option<String>;
}

/// An operation as a report shows it.
pub(crate) struct Shown {
    pub(crate) id: OpId,
    pub(crate) client: String,
    /// What was asked, and what came back.
    pub(crate) text: Vec<Piece>,
    pub(crate) called: (u64, String),
    pub(crate) returned: Option<(u64, String)>,
}

/// A piece of an operation's text.
pub(crate) enum Piece {
    /// Shown as it is.
    Plain(String),
    /// A value, to be shortened where space is short.
    Value(String),
}

/// Puts a report together.
pub(crate) fn illegal(sheet: &Sheet<'_>, book: &impl Book, tokens: &Tokens<'_>) -> String {
    let anomaly = sheet.proof.anomaly();
    let mut shown: Vec<Shown> = sheet.proof.operations().into_iter().map(|id| book.shown(id)).collect();
    // A search may leave more than a reader can take in. The latest are those that went wrong.
    let hidden = shown.len().saturating_sub(MOST_OPERATIONS);
    shown.drain(..hidden);
    let mut lines = Vec::new();
    wrap(
        &mut lines,
        "",
        &format!(
            "{} is NOT linearizable: {anomaly} ({})",
            sheet.subject,
            count(sheet.operations, "operation")
        ),
    );
    wrap(&mut lines, "", why::in_one_sentence(anomaly));
    lines.push(String::new());
    if hidden > 0 {
        lines.push(format!("  ... and {} before these", count(hidden, "operation")));
    }
    operation_lines(&mut lines, &shown, tokens);
    lines.push(String::new());
    lines.push("Why no order exists:".to_owned());
    for sentence in why::sentences(sheet.proof, book) {
        wrap(&mut lines, "  ", &sentence);
    }
    let mut tail = Vec::new();
    for sentence in &sheet.context {
        wrap(&mut tail, "", sentence);
    }
    let mut cause = vec![String::new()];
    match sheet.known {
        Some(Background { seen, cause: likely }) => {
            wrap(&mut cause, "", &format!("Seen besides: {seen}"));
            wrap(&mut cause, "", &format!("Likely cause: {likely}"));
        }
        None => wrap(&mut cause, "", &format!("Usual cause: {}", why::usual_cause(sheet.proof))),
    }
    // Should space run out, the drawing goes first, and then what was still right.
    let drawing = drawing::draw(&shown);
    for part in [tail, drawing] {
        if lines.len() + part.len() + cause.len() <= LINES {
            lines.extend(part);
        }
    }
    lines.extend(cause);
    lines.truncate(LINES);
    lines.join("\n") + "\n"
}

fn illegal_kv(history: &KvHistory, witness: &KvWitness, known: Option<&Background>) -> String {
    let keys = kv::split(history);
    let empty = KeyOps::default();
    let ops = keys.iter().find(|(key, _)| *key == witness.key).map_or(&empty, |(_, ops)| ops);
    let tokens = Tokens::new(&ops.ops);
    let of_key = |operation: &&KvOperation| operation.op.key() == witness.key;
    let book = KvBook { history, tokens: &tokens };
    let sheet = Sheet {
        subject: format!("KV history of key {}", values::quoted(&witness.key, 32)),
        operations: history.operations().filter(of_key).count(),
        proof: &witness.proof,
        context: context::of_key(ops, &tokens, |event| label(history, event)),
        known,
    };
    illegal(&sheet, &book, &tokens)
}

struct KvBook<'a> {
    history: &'a KvHistory,
    tokens: &'a Tokens<'a>,
}

impl KvBook<'_> {
    fn read(&self, id: OpId) -> Option<&str> {
        match &self.history.get(id)?.outcome {
            Outcome::Ok(Some(value)) => Some(value),
            _ => None,
        }
    }
}

impl Book for KvBook<'_> {
    fn shown(&self, id: OpId) -> Shown {
        let Some(operation) = self.history.get(id) else { return Shown::missing(id) };
        let quoted_key = |name: &str, key: &str| format!("{name}({}", values::quoted(key, 16));
        let mut text = match &operation.op {
            KvOp::Get { key } => vec![Piece::Plain(quoted_key("get", key))],
            KvOp::Put { key, value } => {
                vec![Piece::Plain(quoted_key("put", key) + ", "), Piece::Value(value.clone())]
            }
            KvOp::Append { key, value } => {
                vec![Piece::Plain(quoted_key("append", key) + ", "), Piece::Value(value.clone())]
            }
        };
        match &operation.outcome {
            Outcome::Ok(Some(value)) => {
                text.extend([Piece::Plain(") -> ".to_owned()), Piece::Value(value.clone())]);
            }
            Outcome::Ok(None) => text.push(Piece::Plain(") -> ok".to_owned())),
            Outcome::Failed => text.push(Piece::Plain(") -> failed".to_owned())),
            Outcome::Open | Outcome::Unknown => text.push(Piece::Plain(") -> unknown".to_owned())),
        }
        let at = |event: u64| (event, label(self.history, event));
        let is_known = matches!(operation.outcome, Outcome::Ok(_) | Outcome::Failed);
        Shown {
            id,
            client: operation.client.to_string(),
            text,
            called: at(operation.called),
            returned: operation.returned.filter(|_| is_known).map(at),
        }
    }

    fn value(&self, id: OpId) -> String {
        let value = match self.history.get(id).map(|operation| &operation.op) {
            Some(KvOp::Put { value, .. } | KvOp::Append { value, .. }) => value,
            _ => self.read(id).unwrap_or_default(),
        };
        self.tokens.elided(value, 30)
    }

    fn writes_in(&self, read: OpId) -> Option<Vec<OpId>> {
        self.tokens.writes_in(self.read(read)?)
    }

    fn remark_on(&self, read: OpId) -> Option<String> {
        let value = self.read(read)?;
        let key = self.history.get(read)?.op.key();
        let failed = self.history.operations().enumerate().find(|(_, operation)| {
            let written = match &operation.op {
                KvOp::Put { value, .. } | KvOp::Append { value, .. } => value,
                KvOp::Get { .. } => return false,
            };
            let is_in_it = !written.is_empty() && value.contains(written);
            operation.outcome == Outcome::Failed && operation.op.key() == key && is_in_it
        });
        failed.map(|(place, _)| {
            let id = OpId::at(place);
            format!(
                "{id} would have written {} of it, but failed: it must not have happened.",
                self.value(id)
            )
        })
    }
}

impl Shown {
    /// Stands for an operation of another history.
    pub(crate) fn missing(id: OpId) -> Shown {
        let text = vec![Piece::Plain("(not in this history)".to_owned())];
        Shown { id, client: "?".to_owned(), text, called: (0, "?".to_owned()), returned: None }
    }
}

/// One line for each operation, in columns.
fn operation_lines(lines: &mut Vec<String>, shown: &[Shown], tokens: &Tokens<'_>) {
    let longest = |text: fn(&Shown) -> usize| shown.iter().map(text).max().unwrap_or_default();
    let number = longest(|op| op.id.to_string().len());
    let client = longest(|op| op.client.chars().count());
    let called = longest(|op| op.called.1.chars().count());
    let returned = longest(|op| op.returned_text().chars().count());
    // Two spaces before and between all columns, and the words "client" and "called".
    let room =
        WIDTH.saturating_sub(number + client + called + returned + "client called ".len() + 10).max(20);
    let texts: Vec<String> = shown.iter().map(|op| fit(&op.text, room, tokens)).collect();
    let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or_default();
    for (op, text) in shown.iter().zip(texts) {
        let id = op.id.to_string();
        let line = format!(
            "  {id:<number$}  client {:<client$}  {text:<width$}  called {:<called$}  {}",
            op.client,
            op.called.1,
            op.returned_text(),
        );
        lines.push(line.trim_end().to_owned());
    }
}

impl Shown {
    fn returned_text(&self) -> String {
        match &self.returned {
            Some((_, label)) => format!("returned {label}"),
            None => "no answer".to_owned(),
        }
    }
}

/// The pieces in one line; values share the room that is left.
fn fit(pieces: &[Piece], room: usize, tokens: &Tokens<'_>) -> String {
    let plain: usize = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Plain(text) => text.chars().count(),
            Piece::Value(_) => 0,
        })
        .sum();
    let values = pieces.iter().filter(|piece| matches!(piece, Piece::Value(_))).count().max(1);
    let share = room.saturating_sub(plain) / values;
    let show = |piece: &Piece| match piece {
        Piece::Plain(text) => text.clone(),
        Piece::Value(value) => tokens.elided(value, share),
    };
    pieces.iter().map(show).collect()
}

/// The name of an event: its label, or its number.
fn label(history: &KvHistory, event: u64) -> String {
    history.stamp_of(event).map_or_else(|| format!("@{event}"), |label| values::cut(label, 16))
}

pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Adds a text in lines of at most [`WIDTH`] columns, broken at spaces; all but the first stand further in.
fn wrap(lines: &mut Vec<String>, indent: &str, text: &str) {
    let mut line = indent.to_owned();
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, format!("{indent}   ")));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
}

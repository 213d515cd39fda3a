//! The report of a failure, the same wherever it is shown.
//!
//! Kit-owned. It says what was checked, what was expected and seen, the last events of each server, and
//! how to replay the run.

use std::fmt::Write as _;
use std::time::Duration;

use labgrading::{Class, Test};
use labrpc::{NodeId, Row, RowKind, Stall, Trace};

use crate::finding::Finding;

/// How many of each server's last events a report shows.
const LAST_EVENTS: usize = 3;

/// Where the harness's own code stands.
const HARNESS: &str = "tests/src";

/// How many threads that were held up a report shows, in all and of one server.
const STALLS_MAX: usize = 3;
const STALLS_OF_SERVER_MAX: usize = 2;

/// How many events it shows of what happened meanwhile.
const MEANWHILE_MAX: usize = 2;

/// Longer lines are cut: the whole event is in the trace.
const LINE_MAX: usize = 110;

/// What else is known of a run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Context<'a> {
    /// Its trace.
    pub(crate) trace: Option<&'a Trace>,
    /// How many servers its cluster has; the nodes after them are clients.
    pub(crate) servers: usize,
    /// The faults of its storm, by number.
    pub(crate) faults: &'a [(usize, String)],
}

/// The report of `finding`, which the run of `seed` brought.
pub(crate) fn report(
    test: &Test,
    seed: u64,
    finding: &Finding,
    context: Context<'_>,
    replay_suffix: &str,
) -> String {
    let mut text = String::new();
    let time = seconds(finding.at);
    let mut put = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a String takes any text");
    put(format_args!("FAIL {}  seed {seed}  t={time}s  ({})", test.id, finding.class));
    for line in finding.seen.lines() {
        put(format_args!("{}{line}", if line.is_empty() { "" } else { "  " }));
    }
    if finding.class == Class::NotStarted {
        return text;
    }
    put(format_args!("  checked   {}", finding.checked));
    put(format_args!("  expected  {}", finding.expected));
    if !context.faults.is_empty() {
        put(format_args!("  faults    of the storm"));
        for (number, fault) in context.faults {
            put(format_args!("    {number:>2}  {fault}"));
        }
    }
    if let Some(trace) = context.trace {
        let held_up = held_up(trace, finding.at);
        if !held_up.is_empty() {
            put(format_args!("  held up   by the operating system, before this was seen"));
            held_up.iter().for_each(|line| put(format_args!("    {line}")));
        }
        put(format_args!("  last events"));
        for node in 1..=context.servers {
            for line in last_events(trace, NodeId(node as u32), finding.at) {
                put(format_args!("    {line}"));
            }
        }
    }
    put(format_args!("  replay    cargo lab replay {} --seed {seed}{replay_suffix}", test.id));
    text
}

/// Who was held up last up to `end` while something happened on its server: where, what happened meanwhile, and
/// what it did next. The most recent comes last.
fn held_up(trace: &Trace, end: Duration) -> Vec<String> {
    let mut shown: Vec<(&Stall, Vec<&Row>)> = Vec::new();
    // Whoever has not gone on by then has done nothing yet, and what holds up the harness concerns nobody.
    let counts =
        |stall: &&Stall| stall.until <= end && stall.then.is_some() && !stall.line.starts_with(HARNESS);
    let mut stalls: Vec<&Stall> = trace.stalls().iter().filter(counts).collect();
    stalls.sort_by_key(|stall| stall.until);
    for stall in stalls.into_iter().rev() {
        let of_node = shown.iter().filter(|(other, _)| other.node == stall.node).count();
        if shown.len() == STALLS_MAX || of_node == STALLS_OF_SERVER_MAX {
            continue;
        }
        let meanwhile = meanwhile(trace, stall);
        if !meanwhile.is_empty() {
            shown.push((stall, meanwhile));
        }
    }
    let lines_of = |(stall, meanwhile): &(&Stall, Vec<&Row>)| {
        let (name, span) = (&trace.names()[stall.node.0 as usize], stall.until - stall.from);
        let mut lines = vec![
            format!("{name}  {}  {} was held up for {span:.1?}", seconds(stall.from), stall.thread),
            format!("      {} {}", stall.after, stall.line),
        ];
        let said = |row: &&Row| cut(format!("      meanwhile  {}  {}", seconds(row.at), trace.text(row)));
        lines.extend(meanwhile.iter().map(said));
        lines.extend(stall.then.iter().map(|line| format!("      then it went on, at {line}")));
        lines
    };
    shown.iter().rev().flat_map(lines_of).collect()
}

/// What the thread's server last learned or saved while the thread was held up.
fn meanwhile<'a>(trace: &'a Trace, stall: &Stall) -> Vec<&'a Row> {
    let is_during = |row: &&Row| row.at > stall.from && row.at <= stall.until;
    let is_change = |row: &&Row| row.node == stall.node && row.kind() == RowKind::Change;
    let of_server = trace.rows().iter().filter(is_change);
    let mut rows: Vec<&Row> = of_server.filter(is_during).collect();
    rows.drain(..rows.len().saturating_sub(MEANWHILE_MAX));
    rows
}

/// The last few rows of a node up to `end`, oldest first.
fn last_events(trace: &Trace, node: NodeId, end: Duration) -> Vec<String> {
    let name = &trace.names()[node.0 as usize];
    let is_told = |row: &&Row| row.node == node && row.at <= end && row.kind() != RowKind::Stall;
    let rows = trace.rows().iter().rev().filter(is_told);
    let mut lines: Vec<String> = rows
        .take(LAST_EVENTS)
        .map(|row| cut(format!("{name}  {}  {}", seconds(row.at), trace.text(row))))
        .collect();
    lines.reverse();
    lines
}

fn cut(line: String) -> String {
    if line.chars().count() <= LINE_MAX {
        return line;
    }
    let kept: String = line.chars().take(LINE_MAX - 3).collect();
    format!("{kept}...")
}

fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}

/// Every row of a trace as one line.
pub(crate) fn rows_as_text(trace: &Trace) -> Vec<String> {
    let line = |row: &labrpc::Row| {
        let name = &trace.names()[row.node.0 as usize];
        format!("t={}  {name}  {}", seconds(row.at), trace.text(row))
    };
    trace.rows().iter().map(line).collect()
}

/// The trace as text: a row per event, a column per server, one for all clients, the tester's rows across.
pub(crate) fn columns(trace: &Trace, servers: usize) -> String {
    const PAGE: usize = 240;
    let has_clients = trace.names().len() > servers + 1;
    let columns = servers + usize::from(has_clients);
    let width = PAGE.checked_div(columns).unwrap_or(PAGE).clamp(34, 60);
    let mut text = format!("{:>12}", "t");
    let headings = trace.names().iter().skip(1).take(servers).map(String::as_str);
    for heading in headings.chain(has_clients.then_some("clients")) {
        write!(text, "  {heading:<width$}").expect("a String takes any text");
    }
    text = format!("{}\n", text.trim_end());
    for row in trace.rows() {
        let mut says = trace.text(row);
        let place = (row.node.0 as usize).min(servers + 1);
        if place > servers {
            says.insert_str(0, &format!("{}: ", trace.names()[row.node.0 as usize]));
        }
        if row.node == NodeId::TESTER {
            writeln!(text, "{:>12}  -- {says}", seconds(row.at)).expect("a String takes any text");
            continue;
        }
        let indent = (place - 1) * (width + 2);
        for (number, part) in wrapped(&says, width).enumerate() {
            let time = if number == 0 { seconds(row.at) } else { String::new() };
            writeln!(text, "{time:>12}  {:indent$}{part}", "").expect("a String takes any text");
        }
    }
    text
}

/// `text` in pieces of at most `width` characters, broken at spaces where there are any.
fn wrapped(text: &str, width: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let limit = rest.char_indices().nth(width).map_or(rest.len(), |(index, _)| index);
        let end = if limit == rest.len() {
            limit
        } else {
            rest[..limit].rfind(' ').filter(|&at| at > 0).unwrap_or(limit)
        };
        let (part, remainder) = rest.split_at(end);
        rest = remainder.trim_start();
        Some(part)
    })
}

//! Draws operations over time, one row per client.
//!
//! Kit-owned. Read `mod.rs` first.

use super::{Shown, WIDTH};

/// The rows that are drawn at most; more would not be small.
const MOST_ROWS: usize = 5;

/// One client, or one of its operations where they overlap.
struct Row {
    client: String,
    text: Vec<char>,
    /// The first column that is still free.
    free_from: usize,
}

/// The drawing, with an empty line in front; nothing if it does not fit. Distances between events are not
/// to scale.
pub(super) fn draw(shown: &[Shown]) -> Vec<String> {
    let mut events: Vec<(u64, &str)> = Vec::new();
    for op in shown {
        events.push((op.called.0, &op.called.1));
        events.extend(op.returned.as_ref().map(|(event, label)| (*event, label.as_str())));
    }
    events.sort_unstable();
    events.dedup_by_key(|(event, _)| *event);
    let margin =
        4 + shown.iter().map(|op| op.client.chars().count()).max().unwrap_or_default() + "client ".len();
    let label = events.iter().map(|(_, label)| label.chars().count()).max().unwrap_or_default();
    let step = (label + 2).max(9);
    let width = step * events.len() + 1;
    if shown.len() < 2 || margin + width > WIDTH {
        return Vec::new();
    }
    let column = |event: u64| step * events.iter().take_while(|(other, _)| *other < event).count();
    let rows = rows(shown, width, column);
    if rows.len() > MOST_ROWS {
        return Vec::new();
    }
    let mut lines = vec![String::new()];
    for row in rows {
        let name = format!("  client {}", row.client);
        lines.push(format!("{name:<margin$}{}", row.text.iter().collect::<String>()).trim_end().to_owned());
    }
    let mut axis = format!("{:<margin$}", "  time");
    for (_, label) in &events {
        axis.push_str(&format!("{label:<step$}"));
    }
    lines.push(axis.trim_end().to_owned());
    lines
}

fn rows(shown: &[Shown], width: usize, column: impl Fn(u64) -> usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for op in shown {
        let from = column(op.called.0);
        let to = op.returned.as_ref().map_or(width - 1, |(event, _)| column(*event));
        let free = rows.iter().position(|row| row.client == op.client && row.free_from <= from);
        let at = free.unwrap_or_else(|| {
            rows.push(Row { client: op.client.clone(), text: vec![' '; width], free_from: 0 });
            rows.len() - 1
        });
        let row = &mut rows[at];
        row.free_from = to + 1;
        row.text[from..=to].fill('-');
        row.text[from] = '|';
        // What has no answer goes on for ever.
        row.text[to] = if op.returned.is_some() { '|' } else { '>' };
        let id = op.id.to_string();
        let start = from + (to - from).saturating_sub(id.len()) / 2 + 1;
        if start + id.len() <= to {
            row.text[start..start + id.len()].copy_from_slice(&id.chars().collect::<Vec<_>>());
        }
    }
    rows
}

//! Shows values, long ones with their middle left out.
//!
//! Kit-owned. Read `mod.rs` first.

use crate::history::OpId;
use crate::operations::Op;

/// The values written to a key, by which longer ones are taken apart.
pub(crate) struct Tokens<'a> {
    /// Sorted.
    written: Vec<(&'a str, OpId)>,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(ops: &[Op<'a>]) -> Tokens<'a> {
        let writes = ops.iter().filter(|op| op.is_write() && !op.value.is_empty());
        let mut written: Vec<_> = writes.map(|op| (op.value, OpId::at(op.place as usize))).collect();
        written.sort_unstable();
        Tokens { written }
    }

    /// Which writes made a value, one after the other. `None` if it is made of something else, or if that
    /// cannot be told.
    pub(crate) fn writes_in(&self, value: &str) -> Option<Vec<OpId>> {
        let mut writes = Vec::new();
        let mut at = 0;
        while at < value.len() {
            let (text, id) = self.first(&value[at..])?;
            writes.push(id);
            at += text.len();
        }
        Some(writes)
    }

    /// A value in quotes, of at most `room` columns, if that is possible at all. What is left out stands
    /// between two writes, where these can be told apart.
    pub(crate) fn elided(&self, value: &str, room: usize) -> String {
        if value.chars().count() + 2 <= room && quoted(value, room).chars().count() <= room {
            return quoted(value, room);
        }
        let borders = self.borders(value);
        let width = |text: &str| text.escape_debug().count();
        let room = room.saturating_sub(3);
        // The end of a value tells more than its beginning.
        let start = borders.iter().rev().find(|&&border| width(&value[..border]) <= room / 2);
        let start = start.copied().unwrap_or_default();
        let rest = room.saturating_sub(width(&value[..start]));
        let end = borders.iter().find(|&&border| width(&value[border..]) <= rest);
        match end {
            Some(&end) if end < value.len() || start > 0 => {
                format!("\"{}…{}\"", value[..start].escape_debug(), value[end..].escape_debug())
            }
            _ => quoted(value, room + 3),
        }
    }

    /// The places between two writes in a value, with its ends.
    fn borders(&self, value: &str) -> Vec<usize> {
        let mut borders = vec![0];
        let mut at = 0;
        while at < value.len()
            && let Some((text, _)) = self.first(&value[at..])
        {
            at += text.len();
            borders.push(at);
        }
        if at < value.len() {
            borders.push(value.len());
        }
        borders
    }

    /// The write whose value stands at the beginning of `text`.
    fn first(&self, text: &str) -> Option<(&'a str, OpId)> {
        let after = self.written.partition_point(|(written, _)| *written <= text);
        self.written[..after].last().copied().filter(|(written, _)| text.starts_with(written))
    }
}

/// A text in quotes, cut to so many columns.
pub(crate) fn quoted(text: &str, room: usize) -> String {
    format!("\"{}\"", cut_escaped(&text.escape_debug().to_string(), room.saturating_sub(2)))
}

/// A text cut to so many columns, without characters that would upset a terminal.
pub(crate) fn cut(text: &str, room: usize) -> String {
    cut_escaped(&text.escape_debug().to_string(), room)
}

fn cut_escaped(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let half = room.saturating_sub(1) / 2;
    let start: String = text.chars().take(half).collect();
    let skipped = text.chars().count() - half;
    format!("{start}…{}", text.chars().skip(skipped).collect::<String>())
}

//! Takes a value apart into the writes that made it.
//!
//! Kit-owned. Read `mod.rs` first.

use crate::operations::{Kind, Op};

/// The values written to one key, as a code in which every text has at most one reading.
pub(super) struct Code<'a> {
    /// Sorted, so that the only token that can stand at the start of a text is the last one not above it.
    tokens: Vec<Token<'a>>,
    /// Nothing is ever appended: a text is one token, or none.
    whole: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Token<'a> {
    /// The first bytes as a number, which settles most comparisons without a look at the text.
    head: u64,
    text: &'a str,
    op: u32,
}

impl<'a> Code<'a> {
    /// `None` if some text might have two readings: a value is empty, is written twice, or is the beginning
    /// of another one. The last does no harm where nothing is appended.
    pub(super) fn new(ops: &[Op<'a>]) -> Option<Code<'a>> {
        let mut tokens = Vec::with_capacity(ops.len());
        for (index, op) in ops.iter().enumerate().filter(|(_, op)| op.is_write()) {
            if op.value.is_empty() {
                return None;
            }
            tokens.push(Token { head: head(op.value), text: op.value, op: index as u32 });
        }
        tokens.sort_unstable();
        let whole = !ops.iter().any(|op| op.kind == Kind::Append);
        // A token that begins others stands directly before one of them.
        let ambiguous = tokens.windows(2).any(|pair| {
            if whole { pair[0].text == pair[1].text } else { pair[1].text.starts_with(pair[0].text) }
        });
        (!ambiguous).then_some(Code { tokens, whole })
    }

    /// The write whose value stands at the start of `text`.
    pub(super) fn first(&self, text: &str) -> Option<u32> {
        let head = head(text);
        let after = self.tokens.partition_point(|token| (token.head, token.text) <= (head, text));
        let token = self.tokens[after.checked_sub(1)?];
        let found = if self.whole { text == token.text } else { text.starts_with(token.text) };
        found.then_some(token.op)
    }

    /// Whether every value is one token.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }
}

/// Orders texts as they are ordered themselves, as far as it tells them apart.
fn head(text: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = text.len().min(8);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(bytes)
}

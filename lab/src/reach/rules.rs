//! Which tokens reach out of the servers.
//!
//! Kit-owned. What is a rule here has no use in a server, and there is another way to say everything that has one.

use super::tokens::{Kind, Token};

/// What code reaches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A memory of the process: a static, a hook.
    Memory,
    /// A memory of the machine: files, sockets, other processes.
    Machine,
    /// What is the tests' own: other servers' disks, the simulation.
    Tests,
    /// Memory without the compiler's checks.
    Unsafe,
    /// Code that is not looked through.
    OtherFile,
    /// A name that hides what is reached for.
    Rename,
}

impl What {
    /// What it does, in a few words after the name of the thing.
    pub(crate) fn in_short(self) -> &'static str {
        match self {
            What::Memory => "is a memory outside of the servers",
            What::Machine => "reaches what lies outside of the servers",
            What::Tests => "belongs to the tests",
            What::Unsafe => "is not checked by the compiler",
            What::OtherFile => "takes in code from elsewhere",
            What::Rename => "hides what is used of it",
        }
    }

    /// Why it is refused, and what to do instead.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            What::Memory => {
                "All servers of a run share a process: a static is a memory that survives\n\
                 crashes and that all servers share. Keep state inside the server's struct. What\n\
                 never changes can be a `const`."
            }
            What::Machine => {
                "A file, a socket or another process is a memory that survives crashes and that\n\
                 all servers share. What is to survive a crash goes to the Persister."
            }
            What::Tests => {
                "Of `labrpc` a server needs its threads, locks, channels, time, randomness,\n\
                 requests and peers. The rest makes the simulation: with it a server could read\n\
                 the disk of another one. Of `tracing` it needs the macros, such as `info!`."
            }
            What::Unsafe => {
                "Unsafe code can change whatever the tests hold in memory. Nothing in this lab\n\
                 needs it."
            }
            What::OtherFile => {
                "Only files of the modules that you hand in are graded. Write `mod name;` and put\n\
                 the file where that looks for it."
            }
            What::Rename => "Name what you use by its full path: `use std::collections::HashMap;`.",
        }
    }
}

/// Words that are refused wherever they stand.
const WORDS: [(&str, What); 7] = [
    ("thread_local", What::Memory),
    ("set_hook", What::Memory),
    ("take_hook", What::Memory),
    ("update_hook", What::Memory),
    ("set_current_dir", What::Machine),
    ("global_asm", What::Unsafe),
    ("unsafe", What::Unsafe),
];

/// What of `std` is refused.
const CLOSED_IN_STD: [(&str, What); 4] =
    [("fs", What::Machine), ("net", What::Machine), ("os", What::Machine), ("include", What::OtherFile)];

/// All that a server may use of `labrpc`.
const OPEN_IN_LABRPC: [&str; 11] = [
    "Bytes",
    "Peer",
    "Request",
    "Services",
    "channel",
    "codec",
    "constants",
    "rng",
    "sync",
    "thread",
    "time",
];

/// All that it may use of `tracing`, which can hold a subscriber for the whole process.
const OPEN_IN_TRACING: [&str; 19] = [
    "Instrument",
    "Level",
    "Span",
    "Value",
    "debug",
    "debug_span",
    "enabled",
    "error",
    "error_span",
    "event",
    "event_enabled",
    "field",
    "info",
    "info_span",
    "instrument",
    "span",
    "trace",
    "trace_span",
    "warn",
];

/// The crates of which not everything is open.
const CRATES: [&str; 3] = ["std", "labrpc", "tracing"];

/// Something that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) line: usize,
    /// As it stands in the code.
    pub(super) name: String,
    pub(super) what: What,
}

/// All that is refused in these tokens, in their order.
pub(super) fn find(tokens: &[Token]) -> Vec<Found> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Word) {
        let mut note = |line: usize, name: String, what: What| found.push(Found { line, name, what });
        let word = token.text.as_str();
        if let Some((_, what)) = WORDS.iter().find(|(refused, _)| *refused == word) {
            note(token.line, word.into(), *what);
        } else if word == "static" && !is_plain_static(&tokens[at + 1..]) {
            note(token.line, static_name(&tokens[at + 1..]), What::Memory);
        } else if word == "include" && is_mark_at(tokens, at + 1, "!") {
            note(token.line, "include!".into(), What::OtherFile);
        } else if word == "process" && uses_commands(&tokens[at + 1..]) {
            note(token.line, "process::Command".into(), What::Machine);
        } else if CRATES.contains(&word) {
            of_crate(tokens, at, &mut note);
        }
    }
    found.extend(attributes_with_a_path(tokens));
    found.sort_by_key(|found| found.line);
    found
}

fn is_mark_at(tokens: &[Token], at: usize, mark: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.is_mark(mark))
}

/// True for what follows the word `static` when nobody can change it: a value written in literals alone. Those
/// are numbers, characters, texts and truths, whatever the types are called, and none of them can be changed.
fn is_plain_static(after: &[Token]) -> bool {
    let mut depth = 0_usize;
    let mut has_value = false;
    for (at, token) in after.iter().enumerate() {
        if token.kind == Kind::Mark {
            match token.text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" if depth == 0 => return false,
                ")" | "]" | "}" => depth -= 1,
                "=" if depth == 0 && !has_value => {
                    has_value = true;
                    continue;
                }
                ";" if depth == 0 => return has_value,
                _ => {}
            }
        }
        // It is of the name and the type, which may be anything but changeable.
        if !has_value && !token.is_word("mut") {
            continue;
        }
        let is_after = |text: &str| at > 0 && after[at - 1].text == text;
        let is_plain = match token.kind {
            Kind::Literal => true,
            Kind::Lifetime => false,
            Kind::Mark => "&-+*/|^<>,;()[]".contains(&token.text),
            // The type of a cast is a number's; how often an array repeats its value is no part of it.
            Kind::Word => {
                ["true", "false", "as"].contains(&token.text.as_str())
                    || is_after("as")
                    || (is_after(";") && is_mark_at(after, at + 1, "]"))
            }
        };
        if !is_plain {
            return false;
        }
    }
    false
}

/// A static as it is called in the code.
fn static_name(after: &[Token]) -> String {
    let name: Vec<&str> =
        after.iter().take_while(|token| token.kind == Kind::Word).map(|token| token.text.as_str()).collect();
    if name.is_empty() { "static".into() } else { format!("static {}", name.join(" ")) }
}

/// True for what follows the word `process` when it brings in other processes.
fn uses_commands(after: &[Token]) -> bool {
    if after.first().is_some_and(|token| token.is_word("as")) {
        return true;
    }
    is_mark_at(after, 0, "::")
        && heads(&after[1..]).iter().any(|head| ["Command", "*", "$"].contains(&head.name.text.as_str()))
}

/// What of a crate is used at the token `at`, which is the crate's name.
fn of_crate(tokens: &[Token], at: usize, note: &mut impl FnMut(usize, String, What)) {
    let name = tokens[at].text.as_str();
    let rest = &tokens[at + 1..];
    if rest.first().is_some_and(|next| next.is_word("as")) {
        note(tokens[at].line, format!("{name} as"), What::Rename);
        return;
    }
    if !is_mark_at(rest, 0, "::") {
        return;
    }
    for Head { name: head, is_renamed } in heads(&rest[1..]) {
        let text = head.text.as_str();
        let path = format!("{name}::{text}");
        let closed = match name {
            "labrpc" => (!OPEN_IN_LABRPC.contains(&text)).then_some(What::Tests),
            "tracing" => (!OPEN_IN_TRACING.contains(&text)).then_some(What::Tests),
            _ => CLOSED_IN_STD.iter().find(|(closed, _)| *closed == text).map(|(_, what)| *what),
        };
        if text == "*" || text == "$" || (text == "self" && is_renamed) {
            note(head.line, path, What::Rename);
        } else if let Some(what) = closed.filter(|_| text != "self") {
            note(head.line, path, what);
        }
    }
}

/// The first part of a path after the name of its crate.
struct Head<'a> {
    name: &'a Token,
    /// Whether another name is given to it.
    is_renamed: bool,
}

/// The first parts of what follows a `::`: of one path, or of all that stand between braces.
fn heads(after: &[Token]) -> Vec<Head<'_>> {
    let head = |at: usize| Head {
        name: &after[at],
        is_renamed: after.get(at + 1).is_some_and(|next| next.is_word("as")),
    };
    if !is_mark_at(after, 0, "{") {
        return if after.is_empty() { Vec::new() } else { vec![head(0)] };
    }
    let mut heads = Vec::new();
    // Braces after `::` hold later parts of a path; other braces hold first ones.
    let mut open: Vec<bool> = Vec::new();
    for (at, token) in after.iter().enumerate() {
        let is_first_part = open.iter().all(|first| *first);
        if token.is_mark("{") {
            open.push(at == 0 || !is_mark_at(after, at - 1, "::"));
        } else if token.is_mark("}") {
            open.pop();
            if open.is_empty() {
                break;
            }
        } else if is_first_part && (is_mark_at(after, at - 1, "{") || is_mark_at(after, at - 1, ",")) {
            heads.push(head(at));
        }
    }
    heads
}

/// Attributes that say where the code of a module is, or are made by a macro and might.
fn attributes_with_a_path(tokens: &[Token]) -> Vec<Found> {
    let mut found = Vec::new();
    for (at, hash) in tokens.iter().enumerate().filter(|(_, token)| token.is_mark("#")) {
        let mut note = |name: &str| {
            found.push(Found { line: hash.line, name: name.into(), what: What::OtherFile });
        };
        if is_mark_at(tokens, at + 1, "$") {
            note("an attribute from a macro");
            continue;
        }
        let Some(inside) = tokens.get(at + 2..).filter(|_| is_mark_at(tokens, at + 1, "[")) else { continue };
        let is_path = |at: usize| inside[at].is_word("path") && is_mark_at(inside, at + 1, "=");
        let is_filled_in = |at: usize| inside[at].is_mark("$");
        let is_conditional = inside.first().is_some_and(|first| first.is_word("cfg_attr"));
        let end = end_of_group(inside, if is_conditional { inside.len() } else { 1 });
        for at in 0..end {
            if is_path(at) {
                note("#[path]");
            } else if is_filled_in(at) {
                note("an attribute from a macro");
            }
        }
    }
    found
}

/// How many of the tokens stand before the bracket that closes them, and before `limit`.
fn end_of_group(inside: &[Token], limit: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in inside.iter().enumerate().take(limit) {
        match token.text.as_str() {
            _ if token.kind != Kind::Mark => {}
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth == 0 => return at,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    limit.min(inside.len())
}

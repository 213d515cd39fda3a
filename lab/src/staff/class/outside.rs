//! Lines of a submission that a person should look at, because they reach out of what is graded.
//!
//! Kit-owned. What a submission must not reach is refused before anything is built (`reach`). This is about the
//! rest: text from elsewhere, the end of the process, the surroundings. A submission that has such a line is graded
//! like any other, and the line is named: whether it is a slip or an attempt to be graded for something else is
//! not for a program to say. Whoever wants to hide a line from this can; it is a look, not a proof.

use super::submission::Taken;
use crate::reach::{Token, tokens_of};

/// What is looked for after a `::` or in front of a `!`, and what it can do.
const WATCHED: [(&str, &str); 5] = [
    ("include_str", "takes in another file"),
    ("include_bytes", "takes in another file"),
    ("process", "uses processes"),
    ("env", "looks at its surroundings"),
    ("stdin", "reads what is not its own"),
];

/// A line to look at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its file, by the path in the kit.
    pub(super) path: String,
    pub(super) number: usize,
    /// What it can do.
    pub(super) what: &'static str,
}

/// The lines of these files that should be looked at; comments are not among them.
pub(super) fn lines_in(files: &[Taken]) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    for file in files {
        let tokens = tokens_of(&String::from_utf8_lossy(&file.content)).unwrap_or_default();
        for (at, token) in tokens.iter().enumerate() {
            let watched = WATCHED.iter().find(|(word, _)| token.is_word(word));
            let Some((_, what)) = watched.filter(|_| is_of_std(&tokens, at)) else { continue };
            let (path, number) = (file.path.clone(), token.line);
            let is_noted = found.last().is_some_and(|line| line.path == path && line.number == number);
            if !is_noted {
                found.push(Line { path, number, what });
            }
        }
    }
    found
}

/// True for a word that stands where a module or a macro of `std` does.
fn is_of_std(tokens: &[Token], at: usize) -> bool {
    let is_mark = |at: Option<usize>, mark| at.and_then(|at| tokens.get(at)).is_some_and(|t| t.is_mark(mark));
    let before = at.checked_sub(1);
    let after = Some(at + 1);
    is_mark(before, "::")
        || ["!", "::"].iter().any(|mark| is_mark(after, mark))
        || ((is_mark(before, "{") || is_mark(before, ",")) && (is_mark(after, ",") || is_mark(after, "}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_reach_out_are_found_and_comments_are_not() {
        let text = "use labrpc::sync::Mutex; // no std::env here\n\
                    const TEXT: &str = include_str!(\"x\");\n\
                    let process = 7; /* std::env */\n\
                    std::process::exit(0);\n\
                    use std::{env, io};\n\
                    fn environment() {}\n";
        let content = text.as_bytes().to_owned();
        let lines = lines_in(&[Taken { path: "labraft/src/raft.rs".into(), content }]);
        let numbers: Vec<usize> = lines.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [2, 4, 5]);
        assert_eq!(lines[1].what, "uses processes");
    }
}

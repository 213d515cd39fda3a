//! Lines of a submission that a person should look at, because they reach out of what is graded.
//!
//! Kit-owned. Raft needs no file, no process, no network but the kit's, and no text from elsewhere in it. A
//! submission that has such a line is graded like any other, and the line is named: whether it is a slip or
//! an attempt to be graded for something else is not for a program to say. Whoever wants to hide a line
//! from this can; it is a look, not a proof.

use super::submission::Taken;

/// What is looked for, and what it can do.
const WATCHED: [(&str, &str); 11] = [
    ("include!", "takes in another file"),
    ("include_str", "takes in another file"),
    ("include_bytes", "takes in another file"),
    ("path = \"", "takes in another file"),
    ("path=\"", "takes in another file"),
    ("std::fs", "uses files"),
    ("std::process", "uses processes"),
    ("std::env", "looks at its surroundings"),
    ("std::net", "uses the network"),
    ("std::os", "uses the operating system"),
    ("unsafe", "is not checked by the compiler"),
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
    let mut found = Vec::new();
    for file in files {
        let text = String::from_utf8_lossy(&file.content);
        for (number, line) in (1..).zip(text.lines()) {
            let code = line.split("//").next().unwrap_or_default();
            if let Some((_, what)) = WATCHED.iter().find(|(words, _)| has(code, words)) {
                found.push(Line { path: file.path.clone(), number, what });
            }
        }
    }
    found
}

/// True if `words` stand in `code`, and not as a part of longer words.
fn has(code: &str, words: &str) -> bool {
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(words).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        let after = code[start + words.len()..].chars().next();
        !before.is_some_and(is_of_word) && (words.ends_with(['!', '"']) || !after.is_some_and(is_of_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_reach_out_are_found_and_comments_are_not() {
        let text = "use labrpc::sync::Mutex; // no std::fs here\n\
                    #[path = \"../../secret.rs\"]\n\
                    mod secret;\n\
                    const TEXT: &str = include_str!(\"x\");\n\
                    let my_path = 7; // unsafe\n\
                    std::process::exit(0);\n\
                    fn unsafely() {}\n";
        let content = text.as_bytes().to_owned();
        let lines = lines_in(&[Taken { path: "labraft/src/raft.rs".into(), content }]);
        let numbers: Vec<usize> = lines.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [2, 4, 6]);
        assert_eq!(lines[2].what, "uses processes");
    }
}

//! Marks in files: what lies between two of them is no part of a student kit.
//!
//! Kit-owned. A mark is a comment that has a line to itself, whatever a comment looks like in that file:
//! `release: omit begin` and `release: omit end`. What is left must be well-formed and formatted, so a
//! blank line before the marks goes too where it would be one too many.

/// The comment, before and after the words of a mark.
const COMMENTS: [(&str, &str); 3] = [("//", ""), ("#", ""), ("<!--", "-->")];

const BEGIN: &str = "release: omit begin";
const END: &str = "release: omit end";

/// A text without what is between marks.
///
/// # Errors
///
/// What is wrong with the marks, and in which line.
pub(super) fn without_omitted(text: &str) -> Result<String, String> {
    let mut kept: Vec<&str> = Vec::new();
    let mut began = None;
    let mut has_ended = false;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        match (mark(line), began) {
            (Some(BEGIN), None) => began = Some(number),
            (Some(END), Some(_)) => (began, has_ended) = (None, true),
            (Some(BEGIN), Some(first)) => {
                return Err(format!("line {number}: '{BEGIN}' again, after that in line {first}"));
            }
            (Some(_), _) => return Err(format!("line {number}: '{END}' without a beginning")),
            (None, Some(_)) => {}
            (None, None) => {
                if has_ended && needs_no_blank_before(line) && kept.last().is_some_and(|last| is_blank(last))
                {
                    kept.pop();
                }
                has_ended = false;
                kept.push(line);
            }
        }
    }
    if let Some(first) = began {
        return Err(format!("line {first}: '{BEGIN}' without an end"));
    }
    if has_ended && kept.last().is_some_and(|last| is_blank(last)) {
        kept.pop();
    }
    Ok(kept.concat())
}

/// The words of a mark; `None` for any other line.
fn mark(line: &str) -> Option<&'static str> {
    let line = line.trim();
    let words = COMMENTS.iter().find_map(|(before, after)| line.strip_prefix(before)?.strip_suffix(after))?;
    [BEGIN, END].into_iter().find(|mark| words.trim() == *mark)
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

/// True for a blank line, and for one that closes what a line before it has opened.
fn needs_no_blank_before(line: &str) -> bool {
    is_blank(line) || line.trim_start().starts_with(['}', ']', ')'])
}

#[cfg(test)]
mod tests {
    use super::without_omitted;

    #[test]
    fn marks_of_every_file_type_are_understood() {
        for (before, after) in [("//", ""), ("    #", ""), ("<!--", " -->")] {
            let text =
                format!("a\n{before} release: omit begin{after}\nb\n{before} release: omit end{after}\nc\n");
            assert_eq!(without_omitted(&text).unwrap(), "a\nc\n");
        }
        let none = "// about release: omit begin\n\n\nlet a = \"release: omit end\";";
        assert_eq!(without_omitted(none).unwrap(), none);
    }

    #[test]
    fn no_blank_line_is_left_where_there_is_one_too_many() {
        let omitted = "// release: omit begin\nb\n// release: omit end\n";
        let cases = [
            ("a\n\n@\nc\n", "a\n\nc\n"),
            ("a\n\n@c\n", "a\n\nc\n"),
            ("a\n@\nc\n", "a\n\nc\n"),
            ("{\n    a\n\n@}\n", "{\n    a\n}\n"),
            ("a\n\n@", "a\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_omitted(&text.replace('@', omitted)).unwrap(), expected);
        }
    }

    #[test]
    fn marks_without_a_counterpart_are_errors() {
        let said = |text| without_omitted(text).unwrap_err();
        assert_eq!(said("a\n// release: omit begin\n"), "line 2: 'release: omit begin' without an end");
        assert_eq!(said("// release: omit end\n"), "line 1: 'release: omit end' without a beginning");
        assert_eq!(
            said("# release: omit begin\n# release: omit begin\n# release: omit end\n"),
            "line 2: 'release: omit begin' again, after that in line 1"
        );
    }
}

//! No word of the reference is left in a student kit.
//!
//! Kit-owned. A feature, a path or a flag that leads nowhere confuses, and a hint at where the answers are
//! kept is no help either. So a kit with such a word in it is not written; the error names the line.

/// Words that a student kit does not need for anything else.
const WORDS: [&str; 2] = ["solution", "solutions"];

/// Words that mean the staff's Raft when they follow each other.
const PHRASES: [[&str; 2]; 5] = [
    ["the", "reference"],
    ["reference", "raft"],
    ["reference", "server"],
    ["staff's", "reference"],
    ["reference", "implementation"],
];

/// The first line of a text that speaks of the reference, by its number.
pub(super) fn find(text: &str) -> Option<(usize, &str)> {
    let mut last = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let is_letter = |letter: char| letter.is_alphanumeric() || letter == '\'';
        for word in line.split(|letter| !is_letter(letter)).filter(|word| !word.is_empty()) {
            let word = word.to_lowercase();
            let is_phrase = PHRASES.iter().any(|[first, second]| *first == last && *second == word);
            if is_phrase || WORDS.contains(&word.as_str()) {
                return Some((number, line.trim()));
            }
            last = word;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn words_of_the_reference_are_found_also_across_lines() {
        assert_eq!(find("a\n  cargo lab test --solution\n"), Some((2, "cargo lab test --solution")));
        assert_eq!(find("#[path = \"../../solutions/raft/mod.rs\"]").unwrap().0, 1);
        assert_eq!(find("//! on the\n//! reference.").unwrap(), (2, "//! reference."));
    }

    #[test]
    fn other_words_are_not() {
        assert_eq!(find("the resolution of a reference to the kernel, without counting references"), None);
    }
}

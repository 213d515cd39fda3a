//! Random numbers from the operating system: no seed decides them, so code that asks for them is refused.
//!
//! Kit-owned. What std asks for, such as the keys of its hash maps, the simulation answers. Some crates make
//! the system call themselves, where nothing can come between, or begin with a number that differs from thread
//! to thread of the process. Where neither the source nor the manifest shows it, a run is found out when it is
//! repeated.

use std::process::Stdio;

use crate::kit::{Kit, STUDENT_CRATES, SourceFile};
use crate::trouble::Trouble;

/// The crates at the root of it: all others that ask the operating system use one of these.
const CRATES: [&str; 2] = ["getrandom", "fastrand"];

/// What shows in the source.
const WORDS: [&str; 5] = ["getrandom::", "fastrand::", "SYS_getrandom", "/dev/urandom", "/dev/random"];

/// Refuses students' files, and the crates that they are in, if these ask the operating system for random numbers.
///
/// # Errors
///
/// [`Trouble::NotRepeatable`] with the line or the crate; also when cargo cannot be run.
pub(crate) fn refuse(kit: &Kit, files: &[SourceFile]) -> Result<(), Trouble> {
    for SourceFile { path, text } in files {
        if let Some((number, words)) = line_in(text) {
            return Err(refused(&format!("line {number} of {path} uses `{words}`")));
        }
    }
    for package in STUDENT_CRATES {
        if files.iter().any(|file| file.path.starts_with(&format!("{package}/"))) {
            refuse_crates(kit, package)?;
        }
    }
    Ok(())
}

/// The first line of a source that asks, and by what words; comments are not looked at, nor is a module of the
/// student's own that has the name of a crate.
fn line_in(text: &str) -> Option<(usize, &'static str)> {
    let is_own = |words: &&str| text.contains(&format!("mod {}", words.trim_end_matches(':')));
    let words: Vec<&'static str> = WORDS.into_iter().filter(|words| !is_own(words)).collect();
    (1..).zip(text.lines()).find_map(|(number, line)| {
        let code = line.split("//").next().unwrap_or_default();
        words.iter().find(|words| has(code, words)).map(|words| (number, *words))
    })
}

/// True if `words` stand in `code`, and not at the end of a longer word.
fn has(code: &str, words: &str) -> bool {
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(words).any(|(start, _)| !code[..start].chars().next_back().is_some_and(is_of_word))
}

/// Asks cargo what a crate of the student's is built from.
fn refuse_crates(kit: &Kit, package: &str) -> Result<(), Trouble> {
    let mut cargo = kit.cargo();
    cargo.stdin(Stdio::null());
    cargo.args(["tree", "--quiet", "--package", package, "--edges", "normal"]);
    cargo.args(["--prefix", "depth", "--no-dedupe", "--format", " {p}"]);
    let output = cargo.output().map_err(|error| Trouble::Kit(format!("cargo cannot be run: {error}")))?;
    // Where cargo cannot tell, it cannot build either, and then says why.
    let tree = String::from_utf8_lossy(&output.stdout);
    match crate_in(&tree) {
        Some((by, found)) if by == found => {
            Err(refused(&format!("{package}/Cargo.toml asks for the crate `{found}`")))
        }
        Some((by, found)) => {
            let asks = format!("{package}/Cargo.toml asks for the crate `{by}`, which uses `{found}`");
            Err(refused(&asks))
        }
        None => Ok(()),
    }
}

/// In a tree of crates, a line for each with its depth before it: the first that asks the operating system, and
/// the direct dependency that brings it. What the kit's own crates bring is not the student's.
fn crate_in(tree: &str) -> Option<(&str, &str)> {
    let mut direct = "";
    tree.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (depth, name) = (words.next()?, words.next()?);
        if depth == "1" {
            let is_kits = name == "labrpc" || STUDENT_CRATES.contains(&name);
            direct = if is_kits { "" } else { name };
        }
        (!direct.is_empty() && CRATES.contains(&name)).then_some((direct, name))
    })
}

fn refused(what: &str) -> Trouble {
    Trouble::NotRepeatable(format!(
        "{what}: random numbers from the operating system differ each time, so no run could be repeated; \
         `labrpc::rng` has some that the seed decides"
    ))
}

#[cfg(test)]
mod tests {
    use super::{crate_in, line_in};

    #[test]
    fn a_line_that_asks_is_found_and_comments_and_own_names_are_not() {
        let text = "// fastrand::u64 is quick\nfn my_fastrand() {}\nlet due = fastrand::u64(150..300);\n";
        assert_eq!(line_in(text), Some((3, "fastrand::")));
        assert_eq!(line_in("mod fastrand;\nlet due = fastrand::next();\n"), None);
        assert_eq!(line_in("std::fs::read(\"/dev/urandom\")"), Some((1, "/dev/urandom")));
        assert_eq!(line_in("let not_getrandom = my_getrandom::fill();"), None);
    }

    #[test]
    fn a_crate_is_named_with_the_one_that_brings_it_and_the_kits_own_are_left_alone() {
        let kits = "0 labraft v0.1.0\n1 labrpc v0.1.0\n2 rand v0.10.3\n3 getrandom v0.4.3\n1 serde v1.0.0\n";
        assert_eq!(crate_in(kits), None);
        let by_another = format!("{kits}1 rand v0.8.5\n2 rand_core v0.6.4\n3 getrandom v0.2.15\n");
        assert_eq!(crate_in(&by_another), Some(("rand", "getrandom")));
        assert_eq!(crate_in(&format!("{kits}1 fastrand v2.3.0\n")), Some(("fastrand", "fastrand")));
    }
}

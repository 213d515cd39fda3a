//! `cargo lab release`: the kit that students get.
//!
//! Kit-owned. It is this kit without what lies between marks (`marks.rs`), without the folders that only
//! the staff needs, and with a README of its own (beside this file). It is made in a folder beside its
//! place, looked through for words of the reference (`words.rs`), and moved to its place when it is whole.

mod marks;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::entries;
use crate::kit::{Kit, is_of_module};
use crate::trouble::Trouble;
use crate::{doctor, interrupt, show};

/// What `cargo lab release --help` says.
pub(super) const HELP: &str = "\
Write the kit that students get into a new folder.

It holds everything that students work with, and nothing of the staff's: not the reference, nor the bugs, \
variants and steps, nor this command, nor the tests of the kit itself, nor the history. Its README and its \
list of files are its own. The students' files are as this kit shipped them; if they were changed in this \
copy, nothing is written.

With --with-reference-raft the reference Raft is in the place of the students' empty one, for courses that \
start at lab 3. Lab 2 is graded as it is in every kit, and passes.";

/// The parts of the kit that go into a student kit.
const PARTS: [&str; 16] = [
    ".cargo",
    ".gitattributes",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "clippy.toml",
    "handouts",
    "lab",
    "labcheck",
    "labkv",
    "labraft",
    "labrpc",
    "rustfmt.toml",
    "tests",
];

/// What is left out of those parts: the staff's own, what is built from them, and the tests and benchmarks
/// of the kit itself.
const LEFT_OUT: [&str; 8] = [
    "handouts/book",
    "lab/src/staff",
    "lab/tests",
    "labrpc/tests",
    "tests/bugs",
    "tests/harness.rs",
    "tests/steps",
    "tests/variants",
];

/// What is left out wherever it is.
const LEFT_OUT_EVERYWHERE: &str = "benches";

/// Where the reference lies, and what it takes the place of.
const REFERENCE: (&str, &str) = ("solutions/raft", "labraft/src/raft");

/// Files in which words of the reference mean something else: licences, and a list of crates.
const NOT_READ: [&str; 3] = ["Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT"];

const README: &str = include_str!("README.md");
const START: &str = include_str!("start.md");
const START_WITH_RAFT: &str = include_str!("start-with-raft.md");

/// Writes a student kit into `folder`.
pub(super) fn run(kit: &Kit, folder: &Path, with_raft: bool) -> Result<(), Trouble> {
    let place = std::path::absolute(folder).map_err(|error| Trouble::file("find", folder, &error))?;
    let parent = check_place(kit, &place)?;
    check_kit(kit)?;
    let files = files_of(kit, with_raft)?;
    let trouble = |error| Trouble::file("create a folder in", parent, &error);
    let draft = tempfile::Builder::new().prefix(".raftlab-").tempdir_in(parent).map_err(trouble)?;
    // The temporary folder is closed to others, so what is to be moved lies within it.
    let root = draft.path().join("kit");
    for (path, content) in &files {
        write(&root.join(path), content)?;
    }
    doctor::write_list(&Kit::at(root.clone(), root.join("target")))?;
    if interrupt::requested() {
        return Err(Trouble::Interrupted("interrupted; nothing was written".into()));
    }
    if place.exists() {
        fs::remove_dir(&place).map_err(|error| Trouble::file("replace", &place, &error))?;
    }
    fs::rename(&root, &place).map_err(|error| Trouble::file("create", &place, &error))?;
    show::put(format_args!(
        "The student kit is in {}: {} files{}.\n`cargo lab` in that folder shows it as a student sees it.\n",
        folder.display(),
        files.len() + 1,
        if with_raft { ", the reference Raft among them" } else { "" }
    ));
    Ok(())
}

/// A file as it is in a student kit. Only text can have marks in it.
///
/// # Errors
///
/// What is wrong with the marks, and in which line.
pub(super) fn for_students(content: &[u8]) -> Result<Vec<u8>, String> {
    match std::str::from_utf8(content) {
        Ok(text) => marks::without_omitted(text).map(String::into_bytes),
        Err(_) => Ok(content.to_owned()),
    }
}

/// Checks that a kit can be written to `place`, and returns the folder it lies in.
fn check_place<'a>(kit: &Kit, place: &'a Path) -> Result<&'a Path, Trouble> {
    let named = place.display();
    let usage = |why: String| Err(Trouble::Usage(format!("{why}; nothing was written")));
    let Some(parent) = place.parent() else { return usage(format!("{named} is no folder of its own")) };
    let Ok(real_parent) = parent.canonicalize() else {
        return usage(format!("there is no folder {} for it to lie in; make that first", parent.display()));
    };
    match fs::symlink_metadata(place) {
        Err(_) => {}
        Ok(metadata) if !metadata.is_dir() => {
            return usage(format!("{named} is there already, and no folder"));
        }
        Ok(_) if !entries(place)?.is_empty() => {
            return usage(format!("{named} is not empty; name a new folder"));
        }
        Ok(_) => {}
    }
    let lies_in = |folder: &Path| folder.canonicalize().is_ok_and(|folder| real_parent.starts_with(folder));
    if lies_in(kit.root()) && !lies_in(kit.target()) {
        return usage(format!("{named} lies in this kit; name a folder elsewhere"));
    }
    Ok(parent)
}

/// Checks that the kit's own files are as its list says, and the students' as they were shipped.
fn check_kit(kit: &Kit) -> Result<(), Trouble> {
    let finding = doctor::files(kit)?;
    if !finding.is_well {
        return Err(Trouble::Usage(format!(
            "{}\nnothing was written; if the kit was changed on purpose, `cargo lab doctor --write-list` first",
            finding.text
        )));
    }
    match doctor::first_of_a_student(kit)? {
        None => Ok(()),
        Some(file) => Err(Trouble::Usage(format!(
            "{file} is not as the kit shipped it, and might hold answers; put it back, or, if students are to \
             begin with it as it is, `cargo lab doctor --write-list` first; nothing was written"
        ))),
    }
}

/// All files of a student kit but its list of files, by path.
fn files_of(kit: &Kit, with_raft: bool) -> Result<BTreeMap<String, Vec<u8>>, Trouble> {
    let mut files = BTreeMap::new();
    for part in PARTS {
        read(kit, &kit.root().join(part), &mut files)?;
    }
    check_words(&files)?;
    if with_raft {
        let (from, to) = REFERENCE;
        files.retain(|path, _| !is_of_module(path, to));
        let mut reference = BTreeMap::new();
        read(kit, &kit.root().join(from), &mut reference)?;
        files.extend(reference.into_iter().map(|(path, content)| (path.replacen(from, to, 1), content)));
    }
    let start = if with_raft { START_WITH_RAFT } else { START };
    files.insert("README.md".into(), README.replace("{{start}}", start.trim_end()).into_bytes());
    Ok(files)
}

/// Reads a file, or all files in a folder, as they are in a student kit.
fn read(kit: &Kit, place: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), Trouble> {
    let name = name_in(kit.root(), place);
    if LEFT_OUT.contains(&name.as_str()) || place.ends_with(LEFT_OUT_EVERYWHERE) {
        return Ok(());
    }
    if place.is_dir() {
        return entries(place)?.iter().try_for_each(|entry| read(kit, entry, files));
    }
    let content = fs::read(place).map_err(|error| Trouble::file("read", place, &error))?;
    let content = for_students(&content).map_err(|why| Trouble::Kit(format!("{name}, {why}")))?;
    files.insert(name, content);
    Ok(())
}

/// Checks that no file speaks of the reference, but where it itself is given out.
fn check_words(files: &BTreeMap<String, Vec<u8>>) -> Result<(), Trouble> {
    for (path, content) in files.iter().filter(|(path, _)| !NOT_READ.contains(&path.as_str())) {
        let Ok(text) = std::str::from_utf8(content) else { continue };
        if let Some((number, line)) = words::find(text) {
            return Err(Trouble::Kit(format!(
                "{path} speaks of the reference, which no student kit has; say it otherwise, or put it between \
                 the marks `release: omit begin` and `release: omit end`. It is line {number} of what students \
                 would get:\n  {line}\nnothing was written"
            )));
        }
    }
    Ok(())
}

fn name_in(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/")
}

fn write(file: &Path, content: &[u8]) -> Result<(), Trouble> {
    let folder = file.parent().expect("it lies in a folder");
    fs::create_dir_all(folder).map_err(|error| Trouble::file("create", folder, &error))?;
    fs::write(file, content).map_err(|error| Trouble::file("write", file, &error))
}

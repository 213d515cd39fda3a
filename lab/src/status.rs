//! What is remembered between two commands: the last grade of each test.
//!
//! Kit-owned. It stands in cargo's target folder, so `cargo clean` forgets it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use labgrading::Class;
use serde::{Deserialize, Serialize};

use crate::build::Binaries;
use crate::grade::Grades;
use crate::kit::Kit;
use crate::trouble::Trouble;

/// The last grades of the student's code.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Status {
    /// By the test's id.
    pub(crate) tests: BTreeMap<String, Remembered>,
}

/// The last grade of one test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// The hash of the student's files as they were.
    pub(crate) source: String,
    /// What kind of failure it was; `None` when the test passed.
    pub(crate) class: Option<Class>,
    /// The failure in one line.
    pub(crate) summary: String,
    /// The seed that failed, when one did.
    pub(crate) seed: Option<u64>,
}

/// Reads what is remembered; nothing when nothing was graded yet.
pub(crate) fn read(kit: &Kit) -> Result<Status, Trouble> {
    let path = path(kit);
    match fs::read_to_string(&path) {
        // What an older kit wrote, or a disk garbled, is worth no more than no memory at all.
        Ok(text) => Ok(serde_json::from_str(&text).unwrap_or_default()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Status::default()),
        Err(error) => Err(Trouble::file("read", &path, &error)),
    }
}

/// Remembers new grades. The file is replaced at once, so an interruption leaves the old one.
pub(crate) fn update(kit: &Kit, binaries: &Binaries, grades: &Grades) -> Result<(), Trouble> {
    let mut status = read(kit)?;
    for grade in &grades.0 {
        let remembered = Remembered {
            source: binaries.source(&grade.test).into(),
            class: grade.class(),
            summary: grade.run.failure().map(|failure| failure.summary.clone()).unwrap_or_default(),
            seed: grade.failed_seed(),
        };
        status.tests.insert(grade.test.id.clone(), remembered);
    }
    let path = path(kit);
    let folder = path.parent().expect("it lies in a folder");
    let text = serde_json::to_string_pretty(&status).expect("a status consists of plain data");
    fs::create_dir_all(folder).map_err(|error| Trouble::file("create", folder, &error))?;
    let mut file =
        tempfile::NamedTempFile::new_in(folder).map_err(|error| Trouble::file("write in", folder, &error))?;
    file.write_all(text.as_bytes()).map_err(|error| Trouble::file("write", &path, &error))?;
    file.persist(&path).map_err(|error| Trouble::file("write", &path, &error.error))?;
    Ok(())
}

fn path(kit: &Kit) -> PathBuf {
    kit.target().join("lab").join("status.json")
}

//! The kit on this machine: its folder, and the student's files in it.
//!
//! Kit-owned.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use labgrading::source_hash;

use crate::trouble::Trouble;

/// The crates whose files students write.
pub(crate) const STUDENT_CRATES: [&str; 2] = ["labraft", "labkv"];

/// Whose code is graded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The student's.
    Student,
    /// The staff's reference.
    Solution,
}

impl Code {
    pub(crate) fn from_flag(solution: bool) -> Code {
        if solution { Code::Solution } else { Code::Student }
    }

    /// What a command line must end in to mean this code.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Code::Student => "",
            Code::Solution => " --solution",
        }
    }
}

/// A copy of the kit, and where cargo puts what it builds from it.
#[derive(Clone, Debug)]
pub(crate) struct Kit {
    root: PathBuf,
    target: PathBuf,
}

impl Kit {
    /// The kit that the current folder lies in.
    pub(crate) fn find() -> Result<Kit, Trouble> {
        let here = std::env::current_dir()
            .map_err(|error| Trouble::Kit(format!("the current folder cannot be found: {error}")))?;
        let root = here.ancestors().find(|folder| folder.join("tests/catalog.toml").is_file());
        let Some(root) = root else {
            return Err(Trouble::Usage(format!("{} does not lie in the kit's folder", here.display())));
        };
        let target: Option<OsString> = std::env::var_os("CARGO_TARGET_DIR");
        let target = here.join(target.map_or_else(|| root.join("target"), PathBuf::from));
        Ok(Kit { root: root.to_owned(), target })
    }

    /// A copy of this kit. It has a target folder of its own: cargo names what it builds by the place of a
    /// package *within* its workspace, so two copies that shared one would overwrite each other's work.
    pub(crate) fn copy_at(root: PathBuf, target: PathBuf) -> Kit {
        Kit { root, target }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The hash of the files that decide how `code` is graded.
    pub(crate) fn source(&self, code: Code) -> Result<String, Trouble> {
        let folders: &[&str] = match code {
            Code::Student => &["labraft/src"],
            Code::Solution => &["labraft/src", "solutions/raft"],
        };
        source_hash(&self.root, folders).map_err(|error| Trouble::file("read", &self.root, &error))
    }
}

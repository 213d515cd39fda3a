//! The kit on this machine: its folder, and the student's files in it.
//!
//! Kit-owned.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::trouble::Trouble;

/// The crates whose files students write.
pub(crate) const STUDENT_CRATES: [&str; 2] = ["labraft", "labkv"];

/// The files of those crates that belong to the kit.
const CONTRACT_FILES: [&str; 4] =
    ["labraft/src/lib.rs", "labraft/src/messages.rs", "labraft/src/persister.rs", "labkv/src/lib.rs"];

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

/// Where the kit is.
#[derive(Clone, Debug)]
pub(crate) struct Kit {
    root: PathBuf,
}

impl Kit {
    /// The kit that the current folder lies in.
    pub(crate) fn find() -> Result<Kit, Trouble> {
        let here = std::env::current_dir()
            .map_err(|error| Trouble::Kit(format!("the current folder cannot be found: {error}")))?;
        let root = here.ancestors().find(|folder| folder.join("tests/catalog.toml").is_file());
        match root {
            Some(root) => Ok(Kit { root: root.to_owned() }),
            None => Err(Trouble::Usage(format!("{} does not lie in the kit's folder", here.display()))),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> PathBuf {
        let configured: Option<OsString> = std::env::var_os("CARGO_TARGET_DIR");
        self.root.join(configured.unwrap_or_else(|| "target".into()))
    }

    /// A number that changes when a student's file does.
    pub(crate) fn fingerprint(&self) -> Result<u64, Trouble> {
        let mut files = Vec::new();
        for name in STUDENT_CRATES {
            collect(&self.root.join(name).join("src"), &mut files)?;
        }
        files.retain(|file| CONTRACT_FILES.iter().all(|contract| *file != self.root.join(contract)));
        files.sort();
        let mut hash = Fnv::new();
        for file in files {
            let content = fs::read(&file).map_err(|error| Trouble::file("read", &file, &error))?;
            hash.write(file.strip_prefix(&self.root).unwrap_or(&file).to_string_lossy().as_bytes());
            hash.write(&content);
        }
        Ok(hash.0)
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Trouble> {
    let trouble = |error| Trouble::file("read", folder, &error);
    for entry in fs::read_dir(folder).map_err(trouble)? {
        let path = entry.map_err(trouble)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The FNV-1a hash: the same on every machine and in every version of Rust.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        // The length goes first, so that two files cannot be told apart from one by luck only.
        for byte in bytes.len().to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

//! The kit on this machine: its folder, and the student's files in it.
//!
//! Kit-owned.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use labgrading::{files_under, source_hash};

use crate::trouble::Trouble;

/// The crates whose files students write.
pub(crate) const STUDENT_CRATES: [&str; 2] = ["labraft", "labkv"];

/// The modules that students write: each is one file, or a folder, or both.
pub(crate) const STUDENT_MODULES: [&str; 3] = ["labraft/src/raft", "labkv/src/server", "labkv/src/client"];

/// The lab that is about the service; what comes before it is built without it.
pub(crate) const SERVICE_LAB: &str = "3";

/// True for a file that students write, by its path in the kit.
pub(crate) fn is_students(path: &str) -> bool {
    STUDENT_MODULES.iter().any(|module| is_of_module(path, module))
}

/// True for a file of a module, both by their paths in the kit.
pub(crate) fn is_of_module(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Whose code is graded, and what follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// What it is called in JSON.
    pub(crate) name: &'static str,
    /// What a command line must end in to mean this code.
    pub(crate) suffix: &'static str,
    /// The feature of package `tests` that selects it, if it takes one.
    pub(crate) feature: Option<&'static str>,
    /// The folders of the Raft.
    raft: &'static [&'static str],
    /// The folders of the service, for lab 3.
    service: &'static [&'static str],
    /// The modules of the Raft that students write.
    raft_modules: &'static [&'static str],
    /// The modules of the service that they write.
    service_modules: &'static [&'static str],
}

/// The module of the Raft.
const RAFT_MODULES: [&str; 1] = [STUDENT_MODULES[0]];

/// The modules of the service.
const SERVICE_MODULES: [&str; 2] = [STUDENT_MODULES[1], STUDENT_MODULES[2]];

impl Code {
    /// The student's.
    pub(crate) const STUDENT: Code = Code {
        name: "student",
        suffix: "",
        feature: None,
        raft: &["labraft/src"],
        service: &["labkv/src"],
        raft_modules: &RAFT_MODULES,
        service_modules: &SERVICE_MODULES,
    };

    // release: omit begin
    /// The staff's reference.
    pub(crate) const SOLUTION: Code = Code {
        name: "solution",
        suffix: " --solution",
        feature: Some("solution"),
        raft: &["labraft/src", "solutions/raft"],
        service: &["labkv/src", "solutions/kv"],
        raft_modules: &[],
        service_modules: &[],
    };

    /// The student's service on the staff's Raft.
    pub(crate) const ON_REFERENCE_RAFT: Code = Code {
        name: "student on the reference Raft",
        suffix: " --raft reference",
        feature: Some("reference-raft"),
        raft: &["labraft/src", "solutions/raft"],
        service: &["labkv/src"],
        raft_modules: &[],
        service_modules: &SERVICE_MODULES,
    };

    /// The student's Raft below the staff's service.
    pub(crate) const BELOW_REFERENCE_KV: Code = Code {
        name: "student below the reference service",
        suffix: "",
        feature: Some("reference-kv"),
        raft: &["labraft/src"],
        service: &["labkv/src", "solutions/kv"],
        raft_modules: &RAFT_MODULES,
        service_modules: &[],
    };
    // release: omit end
}

impl Code {
    /// The modules of students that are built for a lab.
    pub(crate) fn students_modules(&self, lab: &str) -> impl Iterator<Item = &'static str> {
        let of_service = if lab == SERVICE_LAB { self.service_modules } else { &[] };
        self.raft_modules.iter().chain(of_service).copied()
    }

    /// True where it is the student's work that is graded.
    pub(crate) fn is_students(&self) -> bool {
        // release: omit begin
        if *self == Code::ON_REFERENCE_RAFT {
            return true;
        }
        // release: omit end
        *self == Code::STUDENT
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
        Ok(Kit::at(root.to_owned(), target))
    }

    /// The kit in a folder. Each copy of the kit has a target folder of its own: cargo names what it builds
    /// by the place of a package *within* its workspace, so two copies that shared one would overwrite each
    /// other's work.
    pub(crate) fn at(root: PathBuf, target: PathBuf) -> Kit {
        Kit { root, target }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The hash of the files that decide how `code` is graded in a lab: those of the Raft, and in lab 3 also
    /// those of the service.
    pub(crate) fn source(&self, code: Code, lab: &str) -> Result<String, Trouble> {
        let hash = |folders| {
            source_hash(&self.root, folders).map_err(|error| Trouble::file("read", &self.root, &error))
        };
        let raft = hash(code.raft)?;
        Ok(if lab == SERVICE_LAB { format!("{raft}-{}", hash(code.service)?) } else { raft })
    }

    /// The Rust files of modules, in the order of their paths.
    pub(crate) fn files_of(&self, modules: &BTreeSet<&str>) -> Result<Vec<SourceFile>, Trouble> {
        let mut files = Vec::new();
        for module in modules {
            let (folder, _) = module.rsplit_once('/').expect("modules lie in folders");
            let folder = self.root.join(folder);
            let mut all = files_under(&folder).map_err(|error| Trouble::file("read", &folder, &error))?;
            all.sort();
            for file in all {
                let path =
                    file.strip_prefix(&self.root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
                if is_of_module(&path, module) && path.ends_with(".rs") {
                    let bytes = std::fs::read(&file).map_err(|error| Trouble::file("read", &file, &error))?;
                    files.push(SourceFile { path, text: String::from_utf8_lossy(&bytes).into_owned() });
                }
            }
        }
        Ok(files)
    }

    /// Cargo, to be run on this copy.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }
}

/// A file of somebody's code.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Its path in the kit.
    pub(crate) path: String,
    pub(crate) text: String,
}

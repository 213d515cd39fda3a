//! A work tree: a copy of the kit that submissions and bugs are laid over.
//!
//! Kit-owned. Everything that is graded without being the working tree itself takes this path: the copy
//! is made equal to the kit, the files to be graded are laid over it, and it is built and run like the
//! kit. A file is written only if its content differs, and then with the present time, so cargo builds
//! again exactly what has changed, whatever time a submitted file claims.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::kit::Kit;
use crate::trouble::Trouble;

/// Folders of the kit that are no part of it.
const NOT_COPIED: [&str; 2] = ["target", ".git"];

/// A copy of the kit.
#[derive(Debug)]
pub(crate) struct WorkTree {
    original: Kit,
    copy: Kit,
}

impl WorkTree {
    /// The work tree of `kit`; always at the same place, so that it is built from scratch only once.
    pub(crate) fn of(kit: &Kit) -> WorkTree {
        let folder = kit.target().join("lab");
        WorkTree { original: kit.clone(), copy: Kit::copy_at(folder.join("work"), folder.join("target")) }
    }

    /// The copy, to be built.
    pub(crate) fn kit(&self) -> &Kit {
        &self.copy
    }

    /// Makes the copy equal to the kit but for `overlay`: files by their path in the kit, which stand
    /// there instead of, or beside, the kit's own.
    pub(crate) fn lay_over(&self, overlay: &[(PathBuf, Vec<u8>)]) -> Result<(), Trouble> {
        let mut wanted = BTreeSet::new();
        self.copy_folder(Path::new(""), overlay, &mut wanted)?;
        for (path, content) in overlay {
            write_if_different(&self.copy.root().join(path), content)?;
            wanted.insert(path.clone());
        }
        remove_unwanted(self.copy.root(), Path::new(""), &wanted)
    }

    fn copy_folder(
        &self,
        folder: &Path,
        overlay: &[(PathBuf, Vec<u8>)],
        wanted: &mut BTreeSet<PathBuf>,
    ) -> Result<(), Trouble> {
        let from = self.original.root().join(folder);
        let trouble = |error| Trouble::file("read", &from, &error);
        for entry in fs::read_dir(&from).map_err(trouble)? {
            let entry = entry.map_err(trouble)?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(trouble)?;
            if NOT_COPIED.iter().any(|name| path == Path::new(name)) || entry.path() == self.original.target()
            {
                continue;
            }
            if kind.is_dir() {
                self.copy_folder(&path, overlay, wanted)?;
            } else if kind.is_file() && !overlay.iter().any(|(laid, _)| *laid == path) {
                let content =
                    fs::read(entry.path()).map_err(|error| Trouble::file("read", &entry.path(), &error))?;
                write_if_different(&self.copy.root().join(&path), &content)?;
                wanted.insert(path);
            }
        }
        Ok(())
    }
}

fn write_if_different(path: &Path, content: &[u8]) -> Result<(), Trouble> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| Trouble::file("create", folder, &error))?;
    }
    fs::write(path, content).map_err(|error| Trouble::file("write", path, &error))
}

/// Removes what an earlier overlay has left.
fn remove_unwanted(root: &Path, folder: &Path, wanted: &BTreeSet<PathBuf>) -> Result<(), Trouble> {
    let here = root.join(folder);
    let trouble = |error| Trouble::file("read", &here, &error);
    for entry in fs::read_dir(&here).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            remove_unwanted(root, &path, wanted)?;
        } else if !wanted.contains(&path) {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Trouble::file("remove", &entry.path(), &error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

//! A work tree: a copy of the kit that submissions and bugs are laid over.
//!
//! Kit-owned. Everything that is graded without being the working tree itself takes this path: the copy
//! is made equal to the kit, the files to be graded are laid over it, and it is built and run like the
//! kit. A file is written only if its content differs, and then with the present time, so cargo builds
//! again exactly what has changed, whatever time a submitted file claims.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::kit::Kit;
use crate::trouble::Trouble;

/// Folders of the kit that are no part of it.
const NOT_COPIED: [&str; 2] = ["target", ".git"];

/// How a work tree is to differ from the kit.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Files by their path in the kit, which stand there instead of, or beside, the kit's own.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    /// Files and folders of the kit that are not to be there, by their path in it.
    pub(crate) without: Vec<PathBuf>,
}

impl Overlay {
    fn hides(&self, path: &Path) -> bool {
        self.without.iter().any(|hidden| hidden == path) || self.files.iter().any(|(laid, _)| laid == path)
    }
}

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
        WorkTree { original: kit.clone(), copy: Kit::at(folder.join("work"), folder.join("target")) }
    }

    /// The copy, to be built.
    pub(crate) fn kit(&self) -> &Kit {
        &self.copy
    }

    /// Makes the copy equal to the kit but for `overlay`.
    pub(crate) fn lay_over(&self, overlay: &Overlay) -> Result<(), Trouble> {
        let mut wanted: BTreeMap<PathBuf, Vec<u8>> = overlay.files.iter().cloned().collect();
        self.read_folder(Path::new(""), overlay, &mut wanted)?;
        let root = self.copy.root();
        fs::create_dir_all(root).map_err(|error| Trouble::file("create", root, &error))?;
        // What an earlier overlay has left may be a folder where a file is wanted now.
        remove_unwanted(root, Path::new(""), &wanted)?;
        wanted.iter().try_for_each(|(path, content)| write_if_different(&root.join(path), content))
    }

    /// Reads the kit's own files in a folder, but for those that the overlay hides.
    fn read_folder(
        &self,
        folder: &Path,
        overlay: &Overlay,
        wanted: &mut BTreeMap<PathBuf, Vec<u8>>,
    ) -> Result<(), Trouble> {
        let from = self.original.root().join(folder);
        let trouble = |error| Trouble::file("read", &from, &error);
        for entry in fs::read_dir(&from).map_err(trouble)? {
            let entry = entry.map_err(trouble)?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(trouble)?;
            let is_no_part = NOT_COPIED.iter().any(|name| path == Path::new(name))
                || entry.path() == self.original.target();
            if is_no_part || overlay.hides(&path) {
                continue;
            }
            if kind.is_dir() {
                self.read_folder(&path, overlay, wanted)?;
            } else if kind.is_file() {
                let content =
                    fs::read(entry.path()).map_err(|error| Trouble::file("read", &entry.path(), &error))?;
                wanted.insert(path, content);
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

/// Removes from a folder what is not wanted, and the folders that are empty then. Returns whether anything
/// is left in it.
fn remove_unwanted(root: &Path, folder: &Path, wanted: &BTreeMap<PathBuf, Vec<u8>>) -> Result<bool, Trouble> {
    let here = root.join(folder);
    let trouble = |error| Trouble::file("read", &here, &error);
    let mut is_empty = true;
    for entry in fs::read_dir(&here).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        let path = folder.join(entry.file_name());
        let removed = if entry.file_type().map_err(trouble)?.is_dir() {
            if remove_unwanted(root, &path, wanted)? {
                is_empty = false;
                continue;
            }
            fs::remove_dir(entry.path())
        } else if wanted.contains_key(&path) {
            is_empty = false;
            continue;
        } else {
            fs::remove_file(entry.path())
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Trouble::file("remove", &entry.path(), &error));
            }
            _ => {}
        }
    }
    Ok(!is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_overlay_finds_the_kit_as_if_there_had_been_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("kit");
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(root.join("src/own.rs"), "the kit's").unwrap();
        let tree = WorkTree::of(&Kit::at(root.clone(), root.join("target")));
        let lay_over = |path: &str, without: &str, expected: &[&str]| {
            let overlay =
                Overlay { files: vec![(path.into(), b"laid".to_vec())], without: vec![without.into()] };
            tree.lay_over(&overlay).unwrap();
            let mut files = labgrading::files_under(tree.kit().root()).unwrap();
            files.sort();
            assert_eq!(files, expected.iter().map(|file| tree.kit().root().join(file)).collect::<Vec<_>>());
        };
        lay_over("src/a.rs/b.rs", "src/own.rs", &["src/a.rs/b.rs"]);
        lay_over("src/a.rs", "", &["src/a.rs", "src/own.rs"]);
        lay_over("src/own.rs", "", &["src/own.rs"]);
        assert_eq!(fs::read(tree.kit().root().join("src/own.rs")).unwrap(), b"laid");
        lay_over("src/a.rs/b.rs", "", &["src/a.rs/b.rs", "src/own.rs"]);
        assert_eq!(fs::read(tree.kit().root().join("src/own.rs")).unwrap(), b"the kit's");
    }
}

//! A work tree: a copy of the kit that submissions and bugs are laid over.
//!
//! Kit-owned. Everything that is graded without being the working tree itself takes this path: the copy
//! is made equal to the kit, the files to be graded are laid over it, and it is built and run like the
//! kit. The kit is read once, and a work tree is sealed before what was built in it runs, so what a run does
//! to its files is seen, and never reaches the next one. A file is written only if its content differs, and
//! then with the present time, so cargo builds again exactly what has changed, whatever time a submitted file
//! claims.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::entries;
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
    /// The kit's own files, by their path in it: read once, so that nothing that runs can change them.
    original: BTreeMap<PathBuf, Vec<u8>>,
    copy: Kit,
}

impl WorkTree {
    /// The work tree of `kit` but for some of its files and folders; always at the same place, so that it is
    /// built from scratch only once.
    pub(crate) fn of(kit: &Kit, without: &[PathBuf]) -> Result<WorkTree, Trouble> {
        let folder = kit.target().join("lab");
        let mut original = BTreeMap::new();
        read_folder(kit, Path::new(""), without, &mut original)?;
        Ok(WorkTree { original, copy: Kit::at(folder.join("work"), folder.join("target")) })
    }

    /// The copy, to be built.
    pub(crate) fn kit(&self) -> &Kit {
        &self.copy
    }

    /// Makes the copy equal to the kit but for `overlay`.
    pub(crate) fn lay_over(&self, overlay: &Overlay) -> Result<(), Trouble> {
        // The last of a path's ancestors is the empty path.
        let is_place = |path: &&Path| !path.as_os_str().is_empty();
        let is_kept = |path: &Path| !path.ancestors().filter(is_place).any(|path| overlay.hides(path));
        let own = self.original.iter().filter(|(path, _)| is_kept(path));
        let mut wanted: BTreeMap<&Path, &[u8]> =
            own.map(|(path, content)| (path.as_path(), content.as_slice())).collect();
        wanted.extend(overlay.files.iter().map(|(path, content)| (path.as_path(), content.as_slice())));
        let root = self.copy.root();
        fs::create_dir_all(root).map_err(|error| Trouble::file("create", root, &error))?;
        // What an earlier overlay has left may be a folder where a file is wanted now.
        remove_unwanted(root, Path::new(""), &wanted)?;
        wanted.iter().try_for_each(|(path, content)| write_if_different(&root.join(path), content))
    }

    /// Notes how all files of the copy are now, those that were built too.
    pub(crate) fn seal(&self) -> Result<Seal, Trouble> {
        let mut seal = Seal::default();
        for folder in [self.copy.root(), self.copy.target()] {
            stamp_all(folder, &mut seal)?;
        }
        Ok(seal)
    }

    /// Removes all that was built, so that the next build makes everything anew.
    pub(crate) fn discard_what_was_built(&self) -> Result<(), Trouble> {
        let target = self.copy.target();
        match fs::remove_dir_all(target) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Trouble::file("remove", target, &error)),
            _ => Ok(()),
        }
    }
}

/// How files were at a moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seal(BTreeMap<PathBuf, Stamp>);

impl Seal {
    /// The first file that is not as it was when `earlier` was made.
    pub(crate) fn first_change_since<'a>(&'a self, earlier: &'a Seal) -> Option<&'a Path> {
        let is_other = |file: &&PathBuf| self.0.get(*file) != earlier.0.get(*file);
        earlier.0.keys().chain(self.0.keys()).find(is_other).map(PathBuf::as_path)
    }
}

/// What changes whenever a file does. The time of the last change of its state is the system's own: unlike that of
/// its content, no program can put it back.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    changed: Option<(i64, i64)>,
}

fn stamp_all(folder: &Path, seal: &mut Seal) -> Result<(), Trouble> {
    for path in entries(folder)? {
        let metadata = path.symlink_metadata().map_err(|error| Trouble::file("look at", &path, &error))?;
        if metadata.is_dir() {
            stamp_all(&path, seal)?;
        } else {
            let (length, modified) = (metadata.len(), metadata.modified().ok());
            seal.0.insert(path, Stamp { length, modified, changed: changed(&metadata) });
        }
    }
    Ok(())
}

#[cfg(unix)]
fn changed(metadata: &fs::Metadata) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;

    Some((metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(not(unix))]
fn changed(_metadata: &fs::Metadata) -> Option<(i64, i64)> {
    None
}

/// Reads the files in a folder of the kit, but for some.
fn read_folder(
    kit: &Kit,
    folder: &Path,
    without: &[PathBuf],
    files: &mut BTreeMap<PathBuf, Vec<u8>>,
) -> Result<(), Trouble> {
    let from = kit.root().join(folder);
    let trouble = |error| Trouble::file("read", &from, &error);
    for entry in fs::read_dir(&from).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type().map_err(trouble)?;
        let is_no_part =
            NOT_COPIED.iter().any(|name| path == Path::new(name)) || entry.path() == kit.target();
        if is_no_part || without.contains(&path) {
            continue;
        }
        if kind.is_dir() {
            read_folder(kit, &path, without, files)?;
        } else if kind.is_file() {
            let content =
                fs::read(entry.path()).map_err(|error| Trouble::file("read", &entry.path(), &error))?;
            files.insert(path, content);
        }
    }
    Ok(())
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
fn remove_unwanted(root: &Path, folder: &Path, wanted: &BTreeMap<&Path, &[u8]>) -> Result<bool, Trouble> {
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
        } else if wanted.contains_key(path.as_path()) {
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
        let tree = WorkTree::of(&Kit::at(root.clone(), root.join("target")), &[]).unwrap();
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

    #[test]
    fn whatever_a_run_does_to_the_files_is_seen_and_the_next_one_finds_them_whole() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("kit");
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(root.join("src/own.rs"), "the kit's").unwrap();
        fs::write(root.join("secret.rs"), "not for the copy").unwrap();
        let kit = Kit::at(root.clone(), root.join("target"));
        let tree = WorkTree::of(&kit, &["secret.rs".into()]).unwrap();
        tree.lay_over(&Overlay::default()).unwrap();
        let built = tree.kit().target().join("debug/built");
        fs::create_dir_all(built.parent().unwrap()).unwrap();
        fs::write(&built, "built").unwrap();
        let seal = tree.seal().unwrap();
        assert_eq!(tree.seal().unwrap().first_change_since(&seal), None);

        // A file is put back as it was, with its times.
        let modified = built.metadata().unwrap().modified().unwrap();
        fs::write(&built, "BUILT").unwrap();
        fs::File::options().append(true).open(&built).unwrap().set_modified(modified).unwrap();
        #[cfg(unix)]
        assert_eq!(tree.seal().unwrap().first_change_since(&seal), Some(built.as_path()));

        fs::remove_dir_all(tree.kit().root()).unwrap();
        fs::create_dir(tree.kit().root()).unwrap();
        fs::remove_dir_all(root.join("src")).unwrap();
        assert!(tree.seal().unwrap().first_change_since(&seal).is_some());
        tree.discard_what_was_built().unwrap();
        tree.lay_over(&Overlay::default()).unwrap();
        assert_eq!(
            labgrading::files_under(tree.kit().root()).unwrap(),
            [tree.kit().root().join("src/own.rs")]
        );
        assert!(!built.exists());
    }
}

//! Builds that were interrupted, and what they have left.
//!
//! Kit-owned. A mark stands in cargo's target folder from the start of a build to its orderly end. Whoever finds
//! one knows that a build was cut off, and since when files may be half of what they are to be. Cargo builds most
//! of it again by itself, so everything is kept at first; when a build fails then in a way that no student's code
//! explains, all that was written since is removed, and it is built once more.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::group;
use crate::trouble::Trouble;

/// The mark, in cargo's target folder.
const MARK: &str = "lab-building";

/// The times of files are this coarse on some disks.
const COARSE: Duration = Duration::from_secs(2);

/// The mark of a build.
pub(super) struct Mark {
    target: PathBuf,
    since: SystemTime,
    /// Whether it was found, so that a build before this one was cut off.
    pub(super) was_found: bool,
}

impl Mark {
    /// Sets the mark. Where one stands already, what has set it is waited for, and the earlier time is kept.
    pub(super) fn set(target: &Path) -> Result<Mark, Trouble> {
        if let Some((_, Some(group))) = read(target) {
            group::wait_for(group);
        }
        let left = read(target);
        let since = left.map_or_else(SystemTime::now, |(since, _)| since);
        let mark = Mark { target: target.to_owned(), since, was_found: left.is_some() };
        fs::create_dir_all(target).map_err(|error| Trouble::file("create", target, &error))?;
        mark.write("")?;
        Ok(mark)
    }

    /// Notes which group of processes is building.
    pub(super) fn note_group(&self, group: u32) -> Result<(), Trouble> {
        self.write(&group.to_string())
    }

    /// Takes the mark away: the build has come to an orderly end.
    pub(super) fn clear(&self) -> Result<(), Trouble> {
        remove(&self.path())
    }

    /// Removes all that was written since the first build that was cut off.
    pub(super) fn clean(&self) -> Result<(), Trouble> {
        remove_since(&self.target, self.since - COARSE, &self.path())
    }

    fn write(&self, group: &str) -> Result<(), Trouble> {
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = self.path();
        fs::write(&path, format!("{since} {group}\n")).map_err(|error| Trouble::file("write", &path, &error))
    }

    fn path(&self) -> PathBuf {
        self.target.join(MARK)
    }
}

/// What a mark says: since when, and which group of processes was building. One that says nothing that can be
/// read was itself cut off, just now as far as anybody knows.
fn read(target: &Path) -> Option<(SystemTime, Option<u32>)> {
    let path = target.join(MARK);
    let text = fs::read_to_string(&path).ok()?;
    let mut words = text.split_whitespace();
    let since = words.next().and_then(|nanos| nanos.parse().ok()).map(Duration::from_nanos);
    let written = || fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
    let since = since.map(|since| UNIX_EPOCH + since).or_else(written)?;
    Some((since, words.next().and_then(|group| group.parse().ok())))
}

/// Removes the files in a folder that were written since then, but for one.
fn remove_since(folder: &Path, since: SystemTime, but: &Path) -> Result<(), Trouble> {
    let trouble = |error| Trouble::file("read", folder, &error);
    for entry in fs::read_dir(folder).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        let path = entry.path();
        // A work tree below has a target folder, and a mark, of its own.
        if path.ends_with("lab") && entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_top(folder, but) {
            continue;
        }
        // What is gone by now need not be removed.
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.is_dir() {
            remove_since(&path, since, but)?;
        } else if path != but && metadata.modified().is_ok_and(|modified| modified >= since) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// True for the target folder itself, in which the mark stands.
fn is_top(folder: &Path, mark: &Path) -> bool {
    mark.parent() == Some(folder)
}

fn remove(path: &Path) -> Result<(), Trouble> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Trouble::file("remove", path, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn write(path: &Path, age: Duration) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        File::options().append(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn only_what_was_written_since_the_first_cut_is_removed() {
        let target = tempfile::tempdir().unwrap();
        let (before, after) = (target.path().join("debug/deps/old"), target.path().join("debug/deps/new"));
        let others = target.path().join("lab/target/debug/other");
        let minute = Duration::from_secs(60);
        write(&before, 2 * minute);
        let first = Mark { since: SystemTime::now() - minute, ..Mark::set(target.path()).unwrap() };
        assert!(!first.was_found);
        first.note_group(u32::MAX).unwrap();
        write(&after, minute / 2);
        write(&others, Duration::ZERO);
        let second = Mark::set(target.path()).unwrap();
        assert!(second.was_found);
        second.clean().unwrap();
        assert_eq!([&before, &after, &others].map(|file| file.exists()), [true, false, true]);
        second.clear().unwrap();
        assert!(!Mark::set(target.path()).unwrap().was_found);
    }
}

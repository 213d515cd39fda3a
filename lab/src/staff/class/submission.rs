//! A submission: which of its files are graded, and what becomes of the others.
//!
//! Kit-owned. Only the modules that students write are taken, wherever a submission keeps them; whatever
//! else it holds is left alone and said. No link is followed, so nothing outside of a submission is read.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::kit::{Kit, STUDENT_MODULES, is_of_module};
use crate::staff::{entries, release};
use crate::trouble::Trouble;

/// Larger files are not taken: nobody writes a megabyte of Raft.
const SIZE_MAX: u64 = 1 << 20;

/// No more files than this are taken, or named among those that are not.
const FILES_MAX: usize = 500;

/// How deep folders may lie in each other, and in how many a submission may be wrapped.
const DEPTH_MAX: usize = 16;

/// Folders that are never looked into: what is built, fetched, or made by an archiver.
const SKIPPED: [&str; 3] = ["target", ".git", "__MACOSX"];

/// How the names of archives end.
const ARCHIVES: [&str; 11] =
    [".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".txz", ".zst", ".7z", ".rar", ".cpio"];

/// Files that every copy of the kit has in a form of its own.
const UNREMARKABLE: [&str; 3] = ["Cargo.lock", "README.md", "kit-files.txt"];

/// Why most of what is ignored is ignored.
pub(super) const NOT_GRADED: &str = "not a file to grade";

/// What a submission holds.
#[derive(Debug, Default)]
pub(super) struct Submission {
    /// What is graded, by path.
    pub(super) files: Vec<Taken>,
    /// What is not, by path.
    pub(super) ignored: Vec<Ignored>,
}

/// A file that is graded.
#[derive(Debug)]
pub(super) struct Taken {
    /// Its path in the kit.
    pub(super) path: String,
    pub(super) content: Vec<u8>,
}

/// A file, a folder or a link that is not graded.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ignored {
    /// Its path in the submission.
    pub(super) path: String,
    pub(super) why: &'static str,
}

impl Submission {
    /// Reads the submission in `folder`.
    pub(super) fn read(kit: &Kit, folder: &Path) -> Result<Submission, Trouble> {
        let mut reader = Reader { root: folder, submission: Submission::default(), seen: BTreeSet::new() };
        let base = reader.take_files()?;
        reader.note_the_rest(kit, &base, folder, 0)?;
        let mut submission = reader.submission;
        submission.files.sort_by(|a, b| a.path.cmp(&b.path));
        submission.ignored.sort();
        Ok(submission)
    }

    /// What could be done about a submission with nothing to grade.
    pub(super) fn what_to_do(&self) -> Option<String> {
        let names = || self.ignored.iter().map(|ignored| (&ignored.path, ignored.path.to_lowercase()));
        if let Some((path, _)) = names().find(|(_, low)| ARCHIVES.iter().any(|end| low.ends_with(end))) {
            return Some(format!(
                "{path} is an archive; unpack it in the submission's folder, and grade again"
            ));
        }
        let files =
            STUDENT_MODULES.map(|module| format!("{}.rs", module.rsplit('/').next().unwrap_or(module)));
        let (path, file) = names().find_map(|(path, low)| {
            let file = files.iter().find(|file| low.rsplit('/').next() == Some(file.as_str()))?;
            (!path.ends_with(file.as_str())).then_some((path, file))
        })?;
        Some(format!("{path} is not spelt as {file} is; give it that name, and grade again"))
    }

    /// The kit's files that are not to be there when this submission is graded: a module is either the
    /// submission's or the kit's, never a mixture of both.
    pub(super) fn replaces(&self) -> Vec<PathBuf> {
        let is_handed_in = |module: &str| self.files.iter().any(|file| is_of_module(&file.path, module));
        let modules = STUDENT_MODULES.iter().filter(|module| is_handed_in(module));
        modules.flat_map(|module| [PathBuf::from(format!("{module}.rs")), PathBuf::from(module)]).collect()
    }
}

/// Where a submission keeps its files.
#[derive(Clone, Copy)]
enum Layout {
    /// Where the kit does.
    AsInTheKit,
    /// All in one folder.
    Flat,
}

/// A submission that is being read.
struct Reader<'a> {
    root: &'a Path,
    submission: Submission,
    /// What has been decided upon, by its place on disk.
    seen: BTreeSet<PathBuf>,
}

impl Reader<'_> {
    /// Takes the files to be graded, and returns the folder that stands for the kit's. An archive often
    /// wraps everything in a folder, so where there is nothing the only folder is looked into.
    fn take_files(&mut self) -> Result<PathBuf, Trouble> {
        let mut base = self.root.to_owned();
        for _ in 0..DEPTH_MAX {
            for layout in [Layout::AsInTheKit, Layout::Flat] {
                self.take_modules(&base, layout)?;
                if !self.seen.is_empty() {
                    return Ok(base);
                }
            }
            match only_folder(&base)? {
                Some(inner) => base = inner,
                None => break,
            }
        }
        Ok(self.root.to_owned())
    }

    fn take_modules(&mut self, base: &Path, layout: Layout) -> Result<(), Trouble> {
        for module in STUDENT_MODULES {
            let (folder, name) = module.rsplit_once('/').expect("modules lie in folders");
            let place = match layout {
                Layout::Flat => base.to_owned(),
                Layout::AsInTheKit => match self.descend(base, folder)? {
                    Some(place) => place,
                    None => continue,
                },
            };
            self.take_file(&place.join(format!("{name}.rs")), format!("{module}.rs"))?;
            self.take_folder(&place.join(name), module, 0)?;
        }
        Ok(())
    }

    /// The folder at `path` under `base`, if none of the folders on the way is a link.
    fn descend(&mut self, base: &Path, path: &str) -> Result<Option<PathBuf>, Trouble> {
        let mut place = base.to_owned();
        for part in path.split('/') {
            place.push(part);
            match kind_of(&place)? {
                Some(kind) if kind.is_dir() => {}
                Some(kind) if kind.is_symlink() => {
                    self.ignore(&place, "a link");
                    return Ok(None);
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(place))
    }

    fn take_file(&mut self, file: &Path, path: String) -> Result<(), Trouble> {
        let Some(metadata) = metadata_of(file)? else { return Ok(()) };
        let why = if metadata.is_symlink() {
            "a link"
        } else if !metadata.is_file() {
            "no file"
        } else if metadata.len() > SIZE_MAX {
            "larger than 1 MiB"
        } else if self.submission.files.len() >= FILES_MAX {
            "one file too many"
        } else {
            let content = fs::read(file).map_err(|error| Trouble::file("read", file, &error))?;
            self.submission.files.push(Taken { path, content });
            self.seen.insert(file.to_owned());
            return Ok(());
        };
        self.ignore(file, why);
        Ok(())
    }

    fn take_folder(&mut self, folder: &Path, path: &str, depth: usize) -> Result<(), Trouble> {
        match kind_of(folder)? {
            Some(kind) if kind.is_dir() && depth < DEPTH_MAX => {}
            Some(kind) if kind.is_symlink() => {
                self.ignore(folder, "a link");
                return Ok(());
            }
            _ => return Ok(()),
        }
        for entry in entries(folder)? {
            // A name that is no text cannot be the name of a module.
            let Some(name) = entry.file_name().and_then(|name| name.to_str()) else { continue };
            let path = format!("{path}/{name}");
            if kind_of(&entry)?.is_some_and(|kind| kind.is_dir()) {
                self.take_folder(&entry, &path, depth + 1)?;
            } else if name.ends_with(".rs") {
                self.take_file(&entry, path)?;
            }
        }
        Ok(())
    }

    /// Notes what was not taken and is not simply a part of the kit.
    fn note_the_rest(&mut self, kit: &Kit, base: &Path, folder: &Path, depth: usize) -> Result<(), Trouble> {
        for entry in entries(folder)? {
            if self.submission.ignored.len() >= FILES_MAX {
                return Ok(());
            }
            let Some(metadata) = metadata_of(&entry)? else { continue };
            if self.seen.contains(&entry) {
                continue;
            }
            if metadata.is_symlink() {
                self.ignore(&entry, "a link");
            } else if !metadata.is_dir() {
                if !is_of_the_kit(kit, base, &entry, &metadata) {
                    self.ignore(&entry, NOT_GRADED);
                }
            } else if depth >= DEPTH_MAX {
                self.ignore(&entry, "too deep");
            } else if !SKIPPED.iter().any(|skipped| entry.ends_with(skipped)) {
                self.note_the_rest(kit, base, &entry, depth + 1)?;
            }
        }
        Ok(())
    }

    fn ignore(&mut self, place: &Path, why: &'static str) {
        if self.seen.insert(place.to_owned()) {
            let path = place.strip_prefix(self.root).unwrap_or(place);
            let path = path.to_string_lossy().replace('\\', "/");
            self.submission.ignored.push(Ignored { path, why });
        }
    }
}

/// True for a file that is as in the kit, or as in the kit that students get.
fn is_of_the_kit(kit: &Kit, base: &Path, file: &Path, metadata: &fs::Metadata) -> bool {
    let Ok(path) = file.strip_prefix(base) else { return false };
    if UNREMARKABLE.iter().any(|name| path == Path::new(name)) {
        return true;
    }
    if metadata.len() > SIZE_MAX {
        return false;
    }
    // What cannot be read is surely not known to be the kit's.
    let Ok(own) = fs::read(kit.root().join(path)) else { return false };
    fs::read(file)
        .is_ok_and(|content| content == own || release::for_students(&own).is_ok_and(|own| content == own))
}

/// The folder in `folder`, if there is exactly one.
fn only_folder(folder: &Path) -> Result<Option<PathBuf>, Trouble> {
    let mut folders = Vec::new();
    for entry in entries(folder)? {
        let is_skipped = SKIPPED.iter().any(|skipped| entry.ends_with(skipped));
        if !is_skipped && kind_of(&entry)?.is_some_and(|kind| kind.is_dir()) {
            folders.push(entry);
        }
    }
    Ok(if folders.len() == 1 { folders.pop() } else { None })
}

fn kind_of(path: &Path) -> Result<Option<fs::FileType>, Trouble> {
    Ok(metadata_of(path)?.map(|metadata| metadata.file_type()))
}

/// What a path is, links not followed; `None` when it is nothing.
fn metadata_of(path: &Path) -> Result<Option<fs::Metadata>, Trouble> {
    let is_missing =
        |error: &io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(Trouble::file("look at", path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A submission of these files, as paths in the kit and what was ignored.
    fn read(files: &[&str]) -> (Vec<String>, Vec<(String, &'static str)>) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        shape(folder.path())
    }

    fn shape(folder: &Path) -> (Vec<String>, Vec<(String, &'static str)>) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let kit = Kit::at(root.to_owned(), root.join("target"));
        let submission = Submission::read(&kit, folder).unwrap();
        let ignored = submission.ignored.into_iter().map(|ignored| (ignored.path, ignored.why));
        (submission.files.into_iter().map(|file| file.path).collect(), ignored.collect())
    }

    #[test]
    fn files_are_found_in_every_layout() {
        let as_in_kit = ["labraft/src/raft.rs", "labraft/src/raft/log.rs", "labkv/src/client.rs"];
        let expected = ["labkv/src/client.rs", "labraft/src/raft.rs", "labraft/src/raft/log.rs"];
        assert_eq!(read(&as_in_kit).0, expected);
        assert_eq!(read(&["raft.rs", "raft/log.rs", "client.rs"]).0, expected);
        let wrapped = ["a/b/raft.rs", "a/b/raft/log.rs", "a/b/client.rs", "__MACOSX/x", "a/note.txt"];
        assert_eq!(read(&wrapped).0, expected);
        assert_eq!(read(&["a/raft.rs", "b/raft.rs"]).0, Vec::<String>::new());
    }

    #[test]
    fn what_is_not_taken_is_said() {
        let why = NOT_GRADED;
        let (files, ignored) =
            read(&["labraft/src/raft/mod.rs", "labraft/src/raft/notes.md", "labraft/src/lib.rs", "raft.rs"]);
        assert_eq!(files, ["labraft/src/raft/mod.rs"]);
        let names = ["labraft/src/lib.rs", "labraft/src/raft/notes.md", "raft.rs"];
        assert_eq!(ignored, names.map(|name| (name.to_owned(), why)));
    }

    #[test]
    fn files_that_are_as_in_the_kit_are_not_worth_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        fs::create_dir_all(folder.path().join("labraft/src")).unwrap();
        for file in ["labraft/src/raft.rs", "labraft/src/messages.rs", "clippy.toml"] {
            fs::copy(root.join(file), folder.path().join(file)).unwrap();
        }
        let contract = fs::read(root.join("labraft/src/lib.rs")).unwrap();
        let contract = release::for_students(&contract).unwrap();
        fs::write(folder.path().join("labraft/src/lib.rs"), contract).unwrap();
        fs::write(folder.path().join("rustfmt.toml"), "max_width = 7\n").unwrap();
        let (files, ignored) = shape(folder.path());
        assert_eq!(files, ["labraft/src/raft.rs"]);
        assert_eq!(ignored, [("rustfmt.toml".to_owned(), NOT_GRADED)]);
    }

    #[test]
    fn large_files_and_links_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("raft")).unwrap();
        fs::write(folder.path().join("raft.rs"), vec![b' '; SIZE_MAX as usize + 1]).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("raft/log.rs")).unwrap();
        let (files, ignored) = shape(folder.path());
        assert_eq!(files, Vec::<String>::new());
        assert_eq!(ignored[0], ("raft.rs".to_owned(), "larger than 1 MiB"));
        #[cfg(unix)]
        assert_eq!(ignored[1..], [("raft/log.rs".to_owned(), "a link")]);
    }

    #[test]
    fn an_archive_and_a_name_in_the_wrong_case_say_what_to_do() {
        let advice = |path: &str| {
            let ignored = vec![Ignored { path: path.into(), why: NOT_GRADED }];
            Submission { files: Vec::new(), ignored }.what_to_do()
        };
        let unpack = "hw/Raft.ZIP is an archive; unpack it in the submission's folder, and grade again";
        assert_eq!(advice("hw/Raft.ZIP").unwrap(), unpack);
        let rename = "src/Raft.rs is not spelt as raft.rs is; give it that name, and grade again";
        assert_eq!(advice("src/Raft.rs").unwrap(), rename);
        assert_eq!(advice("essay.md"), None);
        assert_eq!(advice("a/raft.rs"), None);
    }

    #[test]
    fn a_module_is_the_submissions_or_the_kits() {
        let file = |path: &str| Taken { path: path.into(), content: Vec::new() };
        let submission = Submission { files: vec![file("labraft/src/raft/mod.rs")], ignored: Vec::new() };
        let replaced = ["labraft/src/raft.rs", "labraft/src/raft"].map(PathBuf::from);
        assert_eq!(submission.replaces(), replaced);
    }
}

//! `cargo lab doctor`: is everything there that the kit needs, and is the kit as it was shipped?
//!
//! Kit-owned. The list `kit-files.txt` names every file that decides how work is graded, with a hash of
//! each, and the students' files as they are shipped. The staff writes it anew with
//! `cargo lab doctor --write-list` after a change of the kit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use labgrading::{file_hash, files_under};

use crate::kit::{Kit, STUDENT_CRATES, is_students};
use crate::show;
use crate::trouble::Trouble;

/// The list of files, in the kit's folder.
const LIST: &str = "kit-files.txt";

/// The oldest compiler that builds the kit, as major and minor version.
const OLDEST_RUST: (u32, u32) = (1, 88);

/// What a build of everything takes, generously.
#[cfg(unix)]
const SPACE_NEEDED: u64 = 2 << 30;

/// What belongs to the kit: folders and single files.
const KIT_OWNED: [&str; 14] = [
    ".cargo",
    "Cargo.lock",
    "Cargo.toml",
    "lab/Cargo.toml",
    "lab/grading",
    "lab/src",
    "labcheck",
    "labkv",
    "labraft",
    "labrpc/Cargo.toml",
    "labrpc/src",
    "tests",
    "clippy.toml",
    "rustfmt.toml",
];

/// Folders of the staff that change no grade.
const NOT_LISTED: [&str; 3] = ["tests/bugs/", "tests/steps/", "tests/variants/"];

/// Stands in the list before the name of a file that students are to change.
const SKELETON: &str = "skeleton ";

/// Looks at everything and says what it found. Returns whether all is well.
pub(crate) fn examine(kit: &Kit) -> Result<bool, Trouble> {
    let mut all_well = true;
    for finding in [rust()?, space(kit), files(kit)?] {
        show::finding(finding.is_well, &finding.text);
        all_well &= finding.is_well;
    }
    Ok(all_well)
}

/// Writes the list anew.
pub(crate) fn write_list(kit: &Kit) -> Result<(), Trouble> {
    let mut text = String::new();
    for (file, hash) in hashes(kit)? {
        let what = if is_students(&file) { SKELETON } else { "" };
        writeln!(text, "{hash} {what}{file}").expect("a String takes any text");
    }
    let path = kit.root().join(LIST);
    fs::write(&path, text).map_err(|error| Trouble::file("write", &path, &error))
}

/// What the doctor found at one place.
pub(crate) struct Finding {
    pub(crate) is_well: bool,
    pub(crate) text: String,
}

fn rust() -> Result<Finding, Trouble> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let output = output.map_err(|error| Trouble::Kit(format!("rustc cannot be run: {error}")))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let (major, minor) = OLDEST_RUST;
    let is_well = parse_version(&version).is_some_and(|version| version >= OLDEST_RUST);
    let advice = if is_well { String::new() } else { "; `rustup update` brings a newer one".into() };
    Ok(Finding { is_well, text: format!("{version} ({major}.{minor} or later is needed{advice})") })
}

/// The major and minor version in a line such as `rustc 1.95.0 (59807616e 2026-04-14)`.
fn parse_version(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(unix)]
fn space(kit: &Kit) -> Finding {
    match rustix::fs::statvfs(kit.root()) {
        Ok(disk) => {
            let free = disk.f_bavail * disk.f_frsize;
            let gib = free as f64 / f64::from(1 << 30);
            Finding {
                is_well: free >= SPACE_NEEDED,
                text: format!("{gib:.1} GiB free on disk ({} GiB are needed)", SPACE_NEEDED >> 30),
            }
        }
        Err(error) => {
            Finding { is_well: false, text: format!("free space on disk cannot be found: {error}") }
        }
    }
}

#[cfg(not(unix))]
fn space(_kit: &Kit) -> Finding {
    Finding { is_well: true, text: "free space on disk: not looked at on this platform".into() }
}

// release: omit begin
/// The first file in a student's crate that is not as it was shipped, or was not shipped at all.
pub(crate) fn first_of_a_student(kit: &Kit) -> Result<Option<String>, Trouble> {
    let listed = read_list(kit)?.into_iter();
    let shipped: BTreeMap<String, String> =
        listed.map(|(name, hash)| (name.trim_start_matches(SKELETON).to_owned(), hash)).collect();
    let present = hashes(kit)?;
    let is_other = |file: &&String| is_in_students_crate(file) && present.get(*file) != shipped.get(*file);
    Ok(shipped.keys().chain(present.keys()).find(is_other).cloned())
}
// release: omit end

/// What was shipped: the hash of each file, by its name in the list.
fn read_list(kit: &Kit) -> Result<BTreeMap<String, String>, Trouble> {
    let path = kit.root().join(LIST);
    let list = fs::read_to_string(&path).map_err(|error| Trouble::file("read", &path, &error))?;
    let entries = list.lines().filter_map(|line| line.split_once(' '));
    Ok(entries.map(|(hash, name)| (name.to_owned(), hash.to_owned())).collect())
}

/// Compares the kit's files with the list.
pub(crate) fn files(kit: &Kit) -> Result<Finding, Trouble> {
    let mut shipped = read_list(kit)?;
    shipped.retain(|name, _| !name.starts_with(SKELETON));
    let mut present = hashes(kit)?;
    present.retain(|file, _| !is_students(file));
    let mut changes = String::new();
    let mut note = |what: &str, file: &str| {
        write!(changes, "\n      {what} {file}").expect("a String takes any text");
    };
    for (file, hash) in &shipped {
        match present.get(file) {
            None => note("missing", file),
            Some(now) if now != hash => note("changed", file),
            Some(_) => {}
        }
    }
    // What students have lying beside their files is theirs.
    let is_added = |file: &&String| !shipped.contains_key(*file) && !is_in_students_crate(file);
    present.keys().filter(is_added).for_each(|file| note("added", file));
    if changes.is_empty() {
        return Ok(Finding {
            is_well: true,
            text: format!("{} kit-owned files are as shipped", shipped.len()),
        });
    }
    let text = format!("kit-owned files differ from what was shipped; take them from there again{changes}");
    Ok(Finding { is_well: false, text })
}

fn is_in_students_crate(file: &str) -> bool {
    STUDENT_CRATES.iter().any(|package| file.starts_with(&format!("{package}/")))
}

/// The hash of every file of the kit and of students' crates, by its path in the kit.
fn hashes(kit: &Kit) -> Result<BTreeMap<String, String>, Trouble> {
    let mut files = Vec::new();
    for owned in KIT_OWNED {
        let path = kit.root().join(owned);
        if path.is_dir() {
            files.extend(files_under(&path).map_err(|error| Trouble::file("read", &path, &error))?);
        } else if path.is_file() {
            files.push(path);
        }
    }
    let mut hashes = BTreeMap::new();
    for file in files {
        let name = file.strip_prefix(kit.root()).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        if NOT_LISTED.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        let hash = file_hash(&file).map_err(|error| Trouble::file("read", &file, &error))?;
        hashes.insert(name, hash);
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_of_every_channel_are_understood() {
        assert_eq!(parse_version("rustc 1.95.0 (59807616e 2026-04-14)"), Some((1, 95)));
        assert_eq!(parse_version("rustc 1.97.0-nightly (abc 2026-05-01)"), Some((1, 97)));
        assert_eq!(parse_version("no compiler"), None);
    }
}

//! `cargo lab doctor`: is everything there that the kit needs, and is the kit as it was shipped?
//!
//! Kit-owned. The list `kit-files.txt` names every file that decides how work is graded, with a hash of
//! each. The staff writes it anew with `cargo lab doctor --write-list` after a change of the kit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use labgrading::{file_hash, files_under};

use crate::kit::{Kit, STUDENT_CRATES};
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

/// The files in students' crates that belong to the kit all the same.
const CONTRACT: [&str; 8] = [
    "labkv/Cargo.toml",
    "labkv/clippy.toml",
    "labkv/src/lib.rs",
    "labraft/Cargo.toml",
    "labraft/build.rs",
    "labraft/src/lib.rs",
    "labraft/src/messages.rs",
    "labraft/src/persister.rs",
];

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
        writeln!(text, "{hash} {file}").expect("a String takes any text");
    }
    let path = kit.root().join(LIST);
    fs::write(&path, text).map_err(|error| Trouble::file("write", &path, &error))
}

struct Finding {
    is_well: bool,
    text: String,
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

/// Compares the kit's files with the list.
fn files(kit: &Kit) -> Result<Finding, Trouble> {
    let path = kit.root().join(LIST);
    let list = fs::read_to_string(&path).map_err(|error| Trouble::file("read", &path, &error))?;
    let shipped: BTreeMap<&str, &str> =
        list.lines().filter_map(|line| line.split_once(' ')).map(|(hash, file)| (file, hash)).collect();
    let present = hashes(kit)?;
    let mut changes = String::new();
    let mut note = |what: &str, file: &str| {
        write!(changes, "\n      {what} {file}").expect("a String takes any text");
    };
    for (file, hash) in &shipped {
        match present.get(*file) {
            None => note("missing", file),
            Some(now) if now != hash => note("changed", file),
            Some(_) => {}
        }
    }
    present.keys().filter(|file| !shipped.contains_key(file.as_str())).for_each(|file| note("added", file));
    if changes.is_empty() {
        return Ok(Finding {
            is_well: true,
            text: format!("{} kit-owned files are as shipped", shipped.len()),
        });
    }
    let text =
        format!("kit-owned files differ from what was shipped; `git checkout -- FILE` restores one{changes}");
    Ok(Finding { is_well: false, text })
}

/// The hash of every kit-owned file, by its path in the kit.
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
        let is_students = STUDENT_CRATES.iter().any(|package| name.starts_with(&format!("{package}/")));
        if is_students && !CONTRACT.contains(&name.as_str()) {
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

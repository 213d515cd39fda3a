//! Patches against the reference: lines `key: value`, prose, then the patch itself.
//!
//! Kit-owned. Bugs and steps are such files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kit::Kit;
use crate::staff::entries;
use crate::staff::work::Overlay;
use crate::trouble::Trouble;

/// The value of a line `key: value`.
pub(super) fn field(head: &str, key: &str) -> Result<String, String> {
    let value = head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    value.map(str::to_owned).ok_or(format!("its header lacks '{key}: ...'"))
}

/// The reference's files as a patch changes them.
pub(super) fn patched(kit: &Kit, name: &str, patch: &str) -> Result<Overlay, Trouble> {
    let misfit = |why: String| Trouble::Kit(format!("{name} does not fit the reference: {why}"));
    let mut overlay = Overlay::default();
    if patch.is_empty() {
        return Ok(overlay);
    }
    for part in parts(patch) {
        let patch = diffy::Patch::from_str(part).map_err(|error| misfit(error.to_string()))?;
        let name = patch
            .original()
            .and_then(|name| name.strip_prefix("a/"))
            .ok_or(misfit("it names no file".into()))?;
        let path = kit.root().join(name);
        let text = fs::read_to_string(&path).map_err(|error| Trouble::file("read", &path, &error))?;
        let changed = diffy::apply(&text, &patch).map_err(|error| misfit(error.to_string()))?;
        overlay.files.push((PathBuf::from(name), changed.into_bytes()));
    }
    Ok(overlay)
}

/// A patch of several files, file by file.
pub(super) fn parts(patch: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = patch.match_indices("\n--- a/").map(|(index, _)| index + 1).collect();
    starts.insert(0, 0);
    let ends = starts.iter().skip(1).copied().chain([patch.len()]);
    starts.iter().zip(ends).map(|(&start, end)| &patch[start..end]).collect()
}

/// The patches in a folder, by name.
pub(super) fn patches_in(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = entries(folder)?;
    files.retain(|file| file.is_file() && file.extension().is_some_and(|extension| extension == "patch"));
    Ok(files)
}

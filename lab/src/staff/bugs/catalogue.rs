//! The catalogue of bugs: each a patch under `tests/bugs`, with a header that says what must catch it.
//!
//! Kit-owned.

use std::fs;

use labgrading::{Catalog, Class};

use super::patch::{field, patches_in};
use crate::kit::Kit;
use crate::trouble::Trouble;

/// The folder of the bugs, in the kit.
pub(super) const BUGS: &str = "tests/bugs";

/// A wrong Raft or service.
#[derive(Clone, Debug)]
pub(super) struct Bug {
    pub(super) id: String,
    pub(super) name: String,
    /// The stage that must catch it.
    pub(super) stage: String,
    /// The kind of failure that it must be caught as.
    pub(super) class: Class,
    /// Within how many seeds.
    pub(super) seeds: u64,
    /// What is wrong, in words.
    pub(super) prose: String,
    /// The test whose report of it is kept as an example.
    pub(super) report: Option<String>,
    /// The change to the reference, file by file.
    pub(super) patch: String,
}

/// All bugs, by id.
pub(super) fn read_all(catalog: &Catalog, kit: &Kit) -> Result<Vec<Bug>, Trouble> {
    let mut bugs = Vec::new();
    for file in patches_in(&kit.root().join(BUGS))? {
        let text = fs::read_to_string(&file).map_err(|error| Trouble::file("read", &file, &error))?;
        let bug = parse(&text).map_err(|why| Trouble::Kit(format!("{}: {why}", file.display())))?;
        if catalog.stage(&bug.stage).is_none() {
            return Err(Trouble::Kit(format!("{}: there is no stage {}", file.display(), bug.stage)));
        }
        bugs.push(bug);
    }
    Ok(bugs)
}

/// A patch file: lines `key: value`, prose, then the patch itself.
fn parse(text: &str) -> Result<Bug, String> {
    let start = if text.starts_with("--- ") { 0 } else { text.find("\n--- ").ok_or("it has no patch")? + 1 };
    let (head, patch) = text.split_at(start);
    let field = |key| field(head, key);
    let class = match field("class")?.as_str() {
        "safety" => Class::Safety,
        "liveness" => Class::Liveness,
        "performance" => Class::Performance,
        other => return Err(format!("'{other}' is no class of failure")),
    };
    let seeds = field("seeds")?.parse().map_err(|_| "'seeds' is no number".to_owned())?;
    Ok(Bug {
        id: field("id")?,
        name: field("name")?,
        stage: field("stage")?,
        class,
        seeds,
        report: field("report").ok(),
        prose: head.split_once("\n\n").map_or("", |(_, prose)| prose).trim().into(),
        patch: patch.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::patch::parts;
    use super::parse;

    const TEXT: &str = "id: E99\nname: a-bug\nstage: 2a\nclass: safety\nseeds: 20\n\nWhat is wrong.\n\n\
                        --- a/one\n+++ b/one\n@@ -1 +1 @@\n-x\n+y\n--- a/two\n+++ b/two\n@@ -1 +1 @@\n-x\n+y\n";

    #[test]
    fn a_bug_has_a_header_and_a_patch_of_one_or_more_files() {
        let bug = parse(TEXT).unwrap();
        assert_eq!((bug.id.as_str(), bug.name.as_str(), bug.seeds), ("E99", "a-bug", 20));
        assert_eq!(parts(&bug.patch).len(), 2);
        assert!(parts(&bug.patch).iter().all(|part| diffy::Patch::from_str(part).is_ok()));
    }

    #[test]
    fn what_a_header_lacks_is_named() {
        let without = TEXT.replace("seeds: 20\n", "");
        assert_eq!(parse(&without).unwrap_err(), "its header lacks 'seeds: ...'");
        assert_eq!(parse("id: E99\n").unwrap_err(), "it has no patch");
    }
}

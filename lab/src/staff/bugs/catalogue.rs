//! The catalogue of bugs: each a patch under `tests/bugs`, with a header that says what must catch it.
//!
//! Kit-owned.

use std::fs;
use std::path::Path;

use labgrading::{Catalog, Class};

use super::name_of;
use super::patch::{field, patched, patches_in};
use super::variants::{VARIANTS, design_in};
use crate::kit::{Code, Kit};
use crate::staff::work::Overlay;
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
    /// What the patch changes where that is not the reference: a folder of another design, right or wrong.
    pub(super) on: Option<String>,
    /// The change to the reference, file by file; empty where the design is the bug.
    pub(super) patch: String,
}

impl Bug {
    /// The files with the bug in them, and whose code is to be graded then.
    pub(super) fn overlay(&self, kit: &Kit) -> Result<(Overlay, Code), Trouble> {
        let changed = patched(kit, &self.id, &self.patch)?;
        let Some(on) = &self.on else { return Ok((changed, Code::SOLUTION)) };
        let places = [VARIANTS, BUGS].map(|place| Path::new(place).join(on));
        let Some(folder) = places.iter().find(|folder| kit.root().join(folder).is_dir()) else {
            return Err(Trouble::Kit(format!("{}: there is no design called '{on}'", self.id)));
        };
        let (mut overlay, place, code) = design_in(&kit.root().join(folder))?;
        for (path, content) in changed.files {
            let inside = path.strip_prefix(folder);
            let inside = inside.map_err(|_| Trouble::Kit(format!("{}: it is not on {on}", self.id)))?;
            overlay.files.retain(|(known, _)| *known != place.join(inside));
            overlay.files.push((place.join(inside), content));
        }
        Ok((overlay, code))
    }
}

/// A file that is no bug, and why.
#[derive(Clone, Debug)]
pub(super) struct Malformed {
    /// The file's name without its ending, such as `E01-vote-twice`.
    pub(super) name: String,
    pub(super) why: String,
}

impl Malformed {
    /// What would be the bug's id.
    pub(super) fn id(&self) -> &str {
        self.name.split_once('-').map_or(&self.name, |(id, _)| id)
    }
}

/// All bugs, by the names of their files.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    pub(super) bugs: Vec<Bug>,
    /// What keeps nobody from trying the others.
    pub(super) malformed: Vec<Malformed>,
}

impl Catalogue {
    pub(super) fn read(catalog: &Catalog, kit: &Kit) -> Result<Catalogue, Trouble> {
        let mut catalogue = Catalogue::default();
        for file in patches_in(&kit.root().join(BUGS))? {
            match read_bug(catalog, &file) {
                Ok(bug) => catalogue.bugs.push(bug),
                Err(why) => catalogue.malformed.push(Malformed { name: name_of(&file), why }),
            }
        }
        Ok(catalogue)
    }

    /// The bug with this id.
    pub(super) fn bug(&self, id: &str) -> Result<&Bug, Trouble> {
        if let Some(bug) = self.bugs.iter().find(|bug| bug.id.eq_ignore_ascii_case(id)) {
            return Ok(bug);
        }
        match self.malformed.iter().find(|malformed| malformed.id().eq_ignore_ascii_case(id)) {
            Some(Malformed { name, why }) => Err(Trouble::Kit(format!("{BUGS}/{name}.patch: {why}"))),
            None => Err(Trouble::Usage(format!("there is no bug called '{id}'; {BUGS} holds them all"))),
        }
    }
}

fn read_bug(catalog: &Catalog, file: &Path) -> Result<Bug, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("it cannot be read: {error}"))?;
    let bug = parse(&text)?;
    match catalog.stage(&bug.stage) {
        Some(_) => Ok(bug),
        None => Err(format!("there is no stage {}", bug.stage)),
    }
}

/// A patch file: lines `key: value`, prose, then the patch itself.
fn parse(text: &str) -> Result<Bug, String> {
    let start = if text.starts_with("--- ") { Some(0) } else { text.find("\n--- ").map(|start| start + 1) };
    let (head, patch) = text.split_at(start.unwrap_or(text.len()));
    let field = |key| field(head, key);
    let on = field("on").ok();
    if start.is_none() && on.is_none() {
        return Err("it has no patch".into());
    }
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
        on,
        patch: patch.into(),
    })
}

#[cfg(test)]
const EXAMPLE: &str = "id: E99\nname: a-bug\nstage: 2a\nclass: safety\nseeds: 20\n\nWhat is wrong.\n\n\
                       --- a/one\n+++ b/one\n@@ -1 +1 @@\n-x\n+y\n--- a/two\n+++ b/two\n@@ -1 +1 @@\n-x\n+y\n";

/// A bug for tests.
#[cfg(test)]
pub(super) fn example_bug(class: Class) -> Bug {
    Bug { class, ..parse(EXAMPLE).expect("it is well-formed") }
}

#[cfg(test)]
mod tests {
    use super::super::patch::parts;
    use super::*;

    #[test]
    fn a_bug_has_a_header_and_a_patch_of_one_or_more_files() {
        let bug = parse(EXAMPLE).unwrap();
        assert_eq!((bug.id.as_str(), bug.name.as_str(), bug.seeds), ("E99", "a-bug", 20));
        assert_eq!(parts(&bug.patch).len(), 2);
        assert!(parts(&bug.patch).iter().all(|part| diffy::Patch::from_str(part).is_ok()));
    }

    #[test]
    fn what_a_header_lacks_is_named() {
        let without = EXAMPLE.replace("seeds: 20\n", "");
        assert_eq!(parse(&without).unwrap_err(), "its header lacks 'seeds: ...'");
        assert_eq!(parse("id: E99\n").unwrap_err(), "it has no patch");
        let (head, _) = EXAMPLE.split_once("--- ").unwrap();
        let whole = parse(&head.replace("seeds: 20", "seeds: 20\non: wrong_from_the_start")).unwrap();
        assert_eq!((whole.on.as_deref(), whole.patch.as_str()), (Some("wrong_from_the_start"), ""));
    }

    #[test]
    fn a_malformed_file_is_named_and_the_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let bugs = folder.path().join(BUGS);
        fs::create_dir_all(&bugs).unwrap();
        let nowhere = EXAMPLE.replace("stage: 2a", "stage: 9z");
        for (name, text) in [("E97-no-stage", nowhere.as_str()), ("E98-empty", ""), ("E99-a-bug", EXAMPLE)] {
            fs::write(bugs.join(format!("{name}.patch")), text).unwrap();
        }
        let kit = Kit::at(folder.path().into(), folder.path().join("target"));
        let catalogue = Catalogue::read(&Catalog::load(), &kit).unwrap();
        assert!(catalogue.bugs.iter().map(|bug| &bug.id).eq(["E99"]));
        let said: Vec<_> = catalogue.malformed.iter().map(|one| (one.id(), one.why.as_str())).collect();
        assert_eq!(said, [("E97", "there is no stage 9z"), ("E98", "it has no patch")]);
        assert!(catalogue.bug("e99").is_ok());
        let text = |id| catalogue.bug(id).unwrap_err().to_string();
        assert_eq!(text("E98"), "tests/bugs/E98-empty.patch: it has no patch");
        assert!(text("E96").starts_with("there is no bug called 'E96'"));
    }
}

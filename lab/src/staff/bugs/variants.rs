//! Correct implementations of other designs, which must pass every test; the reference itself is one.
//!
//! Kit-owned.

use std::fs;
use std::path::{Path, PathBuf};

use labgrading::{Catalog, Class, Test, files_under};

use super::{grade_tree, name_of, say};
use crate::grade::Grade;
use crate::kit::{Code, SERVICE_LAB};
use crate::staff::entries;
use crate::staff::work::{Overlay, WorkTree};
use crate::trouble::Trouble;

/// The folder of the variants, in the kit.
pub(super) const VARIANTS: &str = "tests/variants";

/// The reference itself, which has to pass like the variants.
pub(super) const REFERENCE: &str = "reference";

/// Seeds on which each variant runs unless told otherwise.
const VARIANT_SEEDS: u64 = 20;

/// Grades the reference, with nothing laid over it.
pub(super) fn try_reference(catalog: &Catalog, tree: &WorkTree, seeds: Option<u64>) -> Result<bool, Trouble> {
    tree.lay_over(&Overlay::default())?;
    let tests = catalog.tests.iter().collect();
    must_pass(catalog, tree, REFERENCE, tests, Code::SOLUTION, seeds)
}

/// Grades another design: of the Raft with the reference's service above, or of the service with the
/// reference's Raft below.
pub(super) fn try_variant(
    catalog: &Catalog,
    tree: &WorkTree,
    folder: &Path,
    seeds: Option<u64>,
) -> Result<bool, Trouble> {
    let mut overlay = Overlay::default();
    let is_service = folder.join("server.rs").is_file();
    let (place, code) = match is_service {
        true => ("labkv/src", Code::ON_REFERENCE_RAFT),
        false => ("labraft/src", Code::BELOW_REFERENCE_KV),
    };
    for file in files_under(folder).map_err(|error| Trouble::file("read", folder, &error))? {
        let inside = file.strip_prefix(folder).expect("it lies in the folder").to_owned();
        let content = fs::read(&file).map_err(|error| Trouble::file("read", &file, &error))?;
        overlay.files.push((Path::new(place).join(inside), content));
    }
    tree.lay_over(&overlay)?;
    let is_judged = |test: &&Test| !is_service || test.lab() == SERVICE_LAB;
    let tests = catalog.tests.iter().filter(is_judged).collect();
    must_pass(catalog, tree, &name_of(folder), tests, code, seeds)
}

/// Grades what lies in the work tree, and expects it to pass.
fn must_pass(
    catalog: &Catalog,
    tree: &WorkTree,
    name: &str,
    tests: Vec<&Test>,
    code: Code,
    seeds: Option<u64>,
) -> Result<bool, Trouble> {
    let seeds = seeds.unwrap_or(VARIANT_SEEDS);
    let grades = grade_tree(catalog, tree, &tests, code, seeds)?;
    // A design with messages of its own is judged by all tests but those that play its peers.
    let (not_judged, judged): (Vec<&Grade>, Vec<&Grade>) =
        grades.0.iter().partition(|grade| grade.class() == Some(Class::NotJudged));
    let failed = judged.iter().find_map(|grade| Some((&grade.test.id, grade.run.failure()?)));
    let said = match failed {
        Some((id, failure)) => format!("FAILS {id}\n{}", failure.report),
        None if not_judged.is_empty() => format!("passes all {} tests on {seeds} seeds", judged.len()),
        None => format!(
            "passes {} tests on {seeds} seeds; {} do not speak its language",
            judged.len(),
            not_judged.len()
        ),
    };
    say("variant", name, failed.is_none(), &said);
    Ok(failed.is_none())
}

/// The folders in a folder, by name.
pub(super) fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut folders = entries(folder)?;
    folders.retain(|path| path.is_dir());
    Ok(folders)
}

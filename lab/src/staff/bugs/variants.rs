//! Correct implementations of other designs, which must pass every test; the reference itself is one.
//!
//! Kit-owned. One is a folder with a whole Raft or service in it, or a patch that leaves the reference correct.

use std::fs;
use std::path::{Path, PathBuf};

use labgrading::{Catalog, Class, Test, files_under};

use super::patch::{patched, patches_in};
use super::{LaidCode, grade_tree, name_of, say};
use crate::grade::Grade;
use crate::kit::{Code, Kit, SERVICE_LAB};
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
pub(super) fn try_reference(
    catalog: &Catalog,
    tree: &WorkTree,
    tests: &[&Test],
    seeds: Option<u64>,
) -> Result<bool, Trouble> {
    tree.lay_over(&Overlay::default())?;
    let laid = LaidCode { code: Code::SOLUTION, replay_suffix: Code::SOLUTION.suffix.into() };
    must_pass(catalog, tree, REFERENCE, tests, &laid, seeds)
}

/// Grades another design, by those of `tests` that judge it.
pub(super) fn try_variant(
    catalog: &Catalog,
    kit: &Kit,
    tree: &WorkTree,
    place: &Path,
    tests: &[&Test],
    seeds: Option<u64>,
) -> Result<bool, Trouble> {
    let laid = lay_variant(kit, tree, place)?;
    let is_judged = |test: &&&Test| laid.code != Code::ON_REFERENCE_RAFT || test.lab() == SERVICE_LAB;
    let tests: Vec<&Test> = tests.iter().filter(is_judged).copied().collect();
    must_pass(catalog, tree, &name_of(place), &tests, &laid, seeds)
}

/// Puts another design into the work tree: the reference with a patch; or a Raft, with the reference's service
/// above, or a service, with the reference's Raft below.
pub(super) fn lay_variant(kit: &Kit, tree: &WorkTree, place: &Path) -> Result<LaidCode, Trouble> {
    let replay_suffix = format!(" --variant {}", name_of(place));
    if place.is_file() {
        let text = fs::read_to_string(place).map_err(|error| Trouble::file("read", place, &error))?;
        let (_, patch) = text.split_once("\n--- ").unwrap_or_default();
        tree.lay_over(&patched(kit, &name_of(place), &format!("--- {patch}"))?)?;
        return Ok(LaidCode { code: Code::SOLUTION, replay_suffix });
    }
    let (overlay, _, code) = design_in(place)?;
    tree.lay_over(&overlay)?;
    Ok(LaidCode { code, replay_suffix })
}

/// The design in a folder, the place in the kit over which it is laid, and whose code is graded then.
pub(super) fn design_in(folder: &Path) -> Result<(Overlay, &'static Path, Code), Trouble> {
    let mut overlay = Overlay::default();
    let (place, code) = match folder.join("server.rs").is_file() {
        true => (Path::new("labkv/src"), Code::ON_REFERENCE_RAFT),
        false => (Path::new("labraft/src"), Code::BELOW_REFERENCE_KV),
    };
    for file in files_under(folder).map_err(|error| Trouble::file("read", folder, &error))? {
        let inside = file.strip_prefix(folder).expect("it lies in the folder").to_owned();
        let content = fs::read(&file).map_err(|error| Trouble::file("read", &file, &error))?;
        overlay.files.push((place.join(inside), content));
    }
    Ok((overlay, place, code))
}

/// The folder or the patch of the variant with this name.
pub(super) fn place_of(kit: &Kit, name: &str) -> Result<PathBuf, Trouble> {
    let places = variants_in(&kit.root().join(VARIANTS))?;
    let names: Vec<String> = places.iter().map(|place| name_of(place)).collect();
    let place = names.iter().position(|known| known.eq_ignore_ascii_case(name));
    let unknown =
        || Trouble::Usage(format!("there is no variant called '{name}'; there are {}", names.join(", ")));
    place.map(|place| places[place].clone()).ok_or_else(unknown)
}

/// Grades what lies in the work tree, and expects it to pass.
fn must_pass(
    catalog: &Catalog,
    tree: &WorkTree,
    name: &str,
    tests: &[&Test],
    laid: &LaidCode,
    seeds: Option<u64>,
) -> Result<bool, Trouble> {
    let seeds = seeds.unwrap_or(VARIANT_SEEDS);
    let grades = grade_tree(catalog, tree, tests, laid, seeds)?;
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

/// The variants in a folder: folders, then patches, by name.
pub(super) fn variants_in(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut places = entries(folder)?;
    places.retain(|path| path.is_dir());
    places.extend(patches_in(folder)?);
    Ok(places)
}

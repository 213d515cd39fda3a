//! The list of graded tests, read from `tests/catalog.toml`.
//!
//! Kit-owned. The file is part of the program, so there is no state in which the two differ.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::Deserialize;

/// All stages and their tests, in the order in which a student meets them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// The stages.
    #[serde(rename = "stage")]
    pub stages: Vec<Stage>,
    /// The tests of all stages.
    #[serde(rename = "test")]
    pub tests: Vec<Test>,
}

/// One stage of the labs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Such as `2a`.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// Its chapter of the handouts, relative to the kit.
    pub chapter: String,
    /// The student's file, relative to the kit.
    pub file: String,
    /// The target of package `tests` that holds its tests.
    pub binary: String,
}

/// One graded test.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// Such as `2a::initial_election`: the stage, and the name of the test's function.
    pub id: String,
    /// What it shows, as a short sentence.
    pub title: String,
    /// What passing it is worth.
    pub points: u32,
    /// How many seeds `cargo lab test` runs unless told otherwise.
    pub seeds: u64,
    /// Virtual seconds after which a run is failed.
    pub time_limit_s: u64,
    /// Facade operations after which a run is failed.
    pub step_limit: u64,
    /// Whether it is a checkpoint of a single rule, which stands in the module `rules` of its stage.
    #[serde(default)]
    pub rule: bool,
}

/// A name that is neither a stage nor a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// The name.
    pub name: String,
    /// Names that exist and resemble it, the nearest first.
    pub nearest: Vec<String>,
}

impl Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no stage or test called '{}'", self.name)?;
        match &self.nearest[..] {
            [] => Ok(()),
            nearest => write!(f, "; did you mean {}?", nearest.join(" or ")),
        }
    }
}

impl Stage {
    /// The number of the lab that it belongs to, such as `2`.
    pub fn lab(&self) -> &str {
        lab_of(&self.id)
    }
}

impl Test {
    /// The number of the lab that it belongs to, such as `2`.
    pub fn lab(&self) -> &str {
        lab_of(&self.id)
    }

    /// The id of the test's stage, such as `2a`.
    pub fn stage(&self) -> &str {
        self.id.split_once("::").map_or(self.id.as_str(), |(stage, _)| stage)
    }

    /// The name of the test's function, such as `initial_election`.
    pub fn function(&self) -> &str {
        self.id.split_once("::").map_or(self.id.as_str(), |(_, function)| function)
    }

    /// The path of the test's function in its program, such as `rules::vote_table`.
    pub fn path(&self) -> String {
        if self.rule { format!("rules::{}", self.function()) } else { self.function().into() }
    }

    /// Virtual time after which a run is failed.
    pub fn time_limit(&self) -> Duration {
        Duration::from_secs(self.time_limit_s)
    }
}

impl Catalog {
    /// The kit's catalogue.
    ///
    /// # Panics
    ///
    /// When the file that was built in is not a catalogue, which a test of this crate rules out.
    pub fn load() -> Catalog {
        match toml::from_str(include_str!(concat!(env!("OUT_DIR"), "/catalog.toml"))) {
            Ok(catalog) => catalog,
            Err(error) => panic!("tests/catalog.toml: {error}"),
        }
    }

    /// The test with this id.
    pub fn test(&self, id: &str) -> Option<&Test> {
        self.tests.iter().find(|test| test.id == id)
    }

    /// The stage with this id.
    pub fn stage(&self, id: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.id == id)
    }

    /// The tests of a stage.
    pub fn tests_of<'a>(&'a self, stage: &'a str) -> impl Iterator<Item = &'a Test> {
        self.tests.iter().filter(move |test| test.stage() == stage)
    }

    /// The tests that `names` select, each a stage or a test's id, in the catalogue's order and each
    /// once; all tests when there are no names.
    ///
    /// # Errors
    ///
    /// When a name is neither.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Test>, UnknownName> {
        let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        for name in &names {
            if self.stage(name).is_none() && self.test(name).is_none() {
                return Err(self.unknown(name));
            }
        }
        let is_selected = |test: &&Test| {
            names.is_empty() || names.iter().any(|name| *name == test.id || name == test.stage())
        };
        Ok(self.tests.iter().filter(is_selected).collect())
    }

    /// What to say of a name that does not exist.
    pub fn unknown(&self, name: &str) -> UnknownName {
        const SHOWN: usize = 3;
        const ALIKE: f64 = 0.7;
        let wanted = name.to_lowercase();
        let of_stage = |stage: &Stage| match strsim::damerau_levenshtein(&wanted, &stage.id) {
            0 => 1.0,
            1 => ALIKE,
            _ => 0.0,
        };
        let of_test = |test: &Test| {
            let whole = strsim::normalized_damerau_levenshtein(&wanted, &test.id);
            whole.max(strsim::jaro_winkler(&wanted, test.function()))
        };
        let stages = self.stages.iter().map(|stage| (of_stage(stage), &stage.id));
        let tests = self.tests.iter().map(|test| (of_test(test), &test.id));
        let mut nearest: Vec<(f64, &String)> = stages.chain(tests).collect();
        nearest.retain(|(likeness, _)| *likeness >= ALIKE);
        nearest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let nearest = nearest.into_iter().take(SHOWN).map(|(_, id)| id.clone()).collect();
        UnknownName { name: name.into(), nearest }
    }
}

/// The lab that a stage or a test belongs to, by its id.
fn lab_of(id: &str) -> &str {
    id.get(..1).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_has_a_stage_and_an_id_of_its_own() {
        let catalog = Catalog::load();
        for (position, test) in catalog.tests.iter().enumerate() {
            assert!(catalog.stage(test.stage()).is_some(), "{} belongs to no stage", test.id);
            assert!(catalog.tests[..position].iter().all(|other| other.id != test.id), "{} twice", test.id);
            assert!(test.points > 0 && test.seeds > 0, "{} is worth nothing", test.id);
        }
    }

    #[test]
    fn near_misses_are_offered_and_nonsense_is_not() {
        let catalog = Catalog::load();
        assert_eq!(catalog.unknown("2A").nearest.first().map(String::as_str), Some("2a"));
        let near = catalog.unknown("2a::inital_election").nearest;
        assert_eq!(near.first().map(String::as_str), Some("2a::initial_election"));
        let near = catalog.unknown("initial_elections").nearest;
        assert_eq!(near.first().map(String::as_str), Some("2a::initial_election"));
        assert_eq!(catalog.unknown("qqqqqqqqqq").nearest, Vec::<String>::new());
    }
}

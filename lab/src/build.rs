//! Building the tests of a stage, with the code to be graded in them.
//!
//! Kit-owned. Cargo does the work; its messages tell whose code is at fault when it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use labgrading::{Catalog, Stage, Test};
use serde::Deserialize;

use crate::interrupt;
use crate::kit::{Code, Kit, SERVICE_LAB, STUDENT_CRATES};
use crate::process;
use crate::randomness;
use crate::trouble::Trouble;

/// The test program of each stage.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// By the stage's id.
    programs: BTreeMap<String, PathBuf>,
    /// By lab, the hash of the files that its programs must have been built from.
    sources: BTreeMap<String, String>,
    /// The copy of the kit that they were built from.
    pub(crate) root: PathBuf,
    /// What a report's replay command has to end in, so that it runs this code again.
    pub(crate) replay_suffix: String,
}

impl Binaries {
    /// The program of a stage that was built.
    pub(crate) fn program(&self, stage: &str) -> &Path {
        &self.programs[stage]
    }

    // release: omit begin
    /// The same, with another ending of replay commands.
    pub(crate) fn replayed_with(self, suffix: &str) -> Binaries {
        Binaries { replay_suffix: suffix.into(), ..self }
    }
    // release: omit end

    /// The hash of the files that the program of a test must have been built from.
    pub(crate) fn source(&self, test: &Test) -> &str {
        &self.sources[test.lab()]
    }
}

/// A line of cargo's output, as far as it matters here.
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    package_id: Option<String>,
    message: Option<Diagnostic>,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the programs that hold `tests`, each lab by itself: that of lab 2 needs nothing of lab 3. Cargo's
/// progress, the compiler's errors and its warnings about students' crates go to standard error; with a `log`,
/// the errors go there and all else is dropped.
pub(crate) fn stages(
    catalog: &Catalog,
    kit: &Kit,
    tests: &[&Test],
    code: Code,
    mut log: Option<&mut String>,
) -> Result<Binaries, Trouble> {
    let target = kit.target();
    if target.is_file() {
        let target = target.display();
        return Err(Trouble::Kit(format!("{target} is a file, where a folder is needed; move it away")));
    }
    let (programs, sources, root) = (BTreeMap::new(), BTreeMap::new(), kit.root().to_owned());
    let replay_suffix = code.suffix.to_owned();
    let mut binaries = Binaries { programs, sources, root, replay_suffix };
    let labs: BTreeSet<&str> = tests.iter().map(|test| test.lab()).collect();
    for lab in labs {
        let is_asked_for = |stage: &&Stage| tests.iter().any(|test| test.stage() == stage.id);
        let stages: Vec<&Stage> =
            catalog.stages.iter().filter(|stage| stage.lab() == lab).filter(is_asked_for).collect();
        randomness::refuse(kit, code, lab)?;
        let source = kit.source(code, lab)?;
        let first_tests: Vec<&Test> =
            stages.iter().filter_map(|stage| catalog.tests_of(&stage.id).next()).collect();
        let mut programs = build(kit, lab, &stages, code, log.as_deref_mut())?;
        if is_of_other_source(kit, &first_tests, &programs, &source)? {
            // Cargo goes by the times of files, and a file that was put back can claim to be old.
            STUDENT_CRATES.iter().try_for_each(|name| touch(&kit.root().join(name).join("build.rs")))?;
            programs = build(kit, lab, &stages, code, log.as_deref_mut())?;
            if is_of_other_source(kit, &first_tests, &programs, &source)? {
                return Err(Trouble::Kit(
                    "the tests were built from other files than those to be graded; were they changed meanwhile?"
                        .into(),
                ));
            }
        }
        binaries.programs.extend(programs);
        binaries.sources.insert(lab.into(), source);
    }
    Ok(binaries)
}

fn build(
    kit: &Kit,
    lab: &str,
    stages: &[&Stage],
    code: Code,
    log: Option<&mut String>,
) -> Result<BTreeMap<String, PathBuf>, Trouble> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(kit.root()).env("CARGO_TARGET_DIR", kit.target());
    cargo.args(["test", "--no-run", "--package", "tests"]);
    for stage in stages {
        cargo.args(["--test", &stage.binary]);
    }
    if lab != SERVICE_LAB {
        cargo.arg("--no-default-features");
    }
    if let Some(feature) = code.feature {
        cargo.args(["--features", feature]);
    }
    let for_humans = log.is_none() && std::io::stderr().is_terminal();
    if for_humans && std::env::var_os("NO_COLOR").is_none() {
        cargo.arg("--message-format=json-diagnostic-rendered-ansi");
    } else {
        cargo.arg("--message-format=json");
    }
    if !for_humans {
        cargo.arg("--quiet");
    }
    let built = run(cargo, log)?;
    stages
        .iter()
        .map(|stage| match built.get(&stage.binary) {
            Some(program) => Ok((stage.id.clone(), program.clone())),
            None => Err(Trouble::Kit(format!("cargo built no program called {}", stage.binary))),
        })
        .collect()
}

fn is_of_other_source(
    kit: &Kit,
    first_tests: &[&Test],
    programs: &BTreeMap<String, PathBuf>,
    source: &str,
) -> Result<bool, Trouble> {
    for test in first_tests {
        if process::source_of(test, &programs[test.stage()], kit.root())? != source {
            return Ok(true);
        }
    }
    Ok(false)
}

fn touch(file: &Path) -> Result<(), Trouble> {
    let touched =
        File::options().append(true).open(file).and_then(|file| file.set_modified(SystemTime::now()));
    touched.map_err(|error| Trouble::file("touch", file, &error))
}

/// Runs cargo and returns the programs it built, by name.
fn run(mut cargo: Command, mut log: Option<&mut String>) -> Result<BTreeMap<String, PathBuf>, Trouble> {
    let trouble = |error| Trouble::Kit(format!("cargo cannot be run: {error}"));
    let errors = if log.is_some() { Stdio::piped() } else { Stdio::inherit() };
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let mut child = cargo.spawn().map_err(trouble)?;
    let cargos_own = read_errors(&mut child);
    let output = child.stdout.take().expect("its output is piped");
    let mut built = BTreeMap::new();
    let mut failed_package = None;
    for line in BufReader::new(output).lines() {
        let line = line.map_err(trouble)?;
        let Ok(message) = serde_json::from_str::<CargoMessage>(&line) else { continue };
        let package = message.package_id.as_deref().map(package_name).unwrap_or_default().to_owned();
        let is_students = STUDENT_CRATES.contains(&package.as_str());
        match (message.reason.as_str(), message.message) {
            ("compiler-message", Some(diagnostic)) => {
                let is_error = diagnostic.level.starts_with("error");
                let text = diagnostic.rendered.unwrap_or_default();
                match &mut log {
                    Some(log) if is_error => log.push_str(&text),
                    None if is_error || is_students => {
                        // A closed standard error takes no more messages; the exit code still tells.
                        let _ = std::io::stderr().write_all(text.as_bytes());
                    }
                    _ => {}
                }
                if is_error {
                    failed_package.get_or_insert(package);
                }
            }
            ("compiler-artifact", _) => {
                if let (Some(target), Some(program)) = (message.target, message.executable) {
                    built.insert(target.name, program);
                }
            }
            _ => {}
        }
    }
    let status = child.wait().map_err(trouble)?;
    if interrupt::requested() {
        return Err(Trouble::Interrupted("interrupted while building; nothing was graded".into()));
    }
    if status.success() {
        return Ok(built);
    }
    match failed_package {
        Some(package) => {
            let is_students = STUDENT_CRATES.contains(&package.as_str());
            Err(Trouble::DoesNotCompile { package, is_students })
        }
        None => {
            let own = cargos_own.and_then(|reader| reader.join().ok());
            let said = own.unwrap_or_else(|| "its own message is above".into());
            Err(Trouble::Kit(format!("cargo could not build the tests; {}", said.trim_end())))
        }
    }
}

/// Reads what cargo itself has to say, where its standard error is not this process's own.
fn read_errors(cargo: &mut Child) -> Option<JoinHandle<String>> {
    let mut errors = cargo.stderr.take()?;
    Some(thread::spawn(move || {
        let mut text = Vec::new();
        // What could be read before an error is all there is.
        let _ = errors.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }))
}

/// The name in a package id such as `path+file:///kit/labraft#0.1.0` or `registry+https://...#serde@1.0.0`.
fn package_name(id: &str) -> &str {
    let (source, name) = id.split_once('#').unwrap_or((id, id));
    match name.split_once('@') {
        Some((name, _version)) => name,
        None => source.rsplit('/').next().unwrap_or(source),
    }
}

#[cfg(test)]
mod tests {
    use super::package_name;

    #[test]
    fn package_ids_of_every_form_have_a_name() {
        assert_eq!(package_name("path+file:///kit/labraft#0.1.0"), "labraft");
        assert_eq!(package_name("path+file:///kit/folder#labraft@0.1.0"), "labraft");
        assert_eq!(package_name("registry+https://example.org/index#serde@1.0.0"), "serde");
    }
}

//! Running cargo, and reading from its messages whose code is at fault when it fails.
//!
//! Kit-owned.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use serde::Deserialize;

use super::group::{self, Group};
use super::unfinished::Mark;
use crate::interrupt;
use crate::kit::STUDENT_CRATES;
use crate::trouble::Trouble;

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
    message: String,
    code: Option<Code>,
    rendered: Option<String>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Errors that say that a compiled crate is missing, or is not what it should be.
const CRATE_ERRORS: [&str; 7] = ["E0460", "E0461", "E0462", "E0463", "E0464", "E0519", "E0786"];

impl Diagnostic {
    /// True where what was built before is at fault, and not the code that is being built.
    fn is_of_what_was_built(&self) -> bool {
        let code = self.code.as_ref().map_or("", |code| code.code.as_str());
        CRATE_ERRORS.contains(&code) || self.message.starts_with("linking with")
    }
}

/// What a compiler gets that has used up its CPU time, or is told to end, or ends itself for want of memory.
const SIGXCPU: u32 = 24;
const SIGTERM: u32 = 15;
const SIGABRT: u32 = 6;

/// Why cargo failed.
pub(super) struct Failed {
    pub(super) trouble: Trouble,
    /// Whether what an earlier build has left may be the cause.
    pub(super) is_doubtful: bool,
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Failed {
        let is_doubtful = !matches!(trouble, Trouble::Interrupted(_));
        Failed { trouble, is_doubtful }
    }
}

/// The first error that a compiler has reported.
struct FirstError {
    package: String,
    is_of_what_was_built: bool,
}

/// Runs cargo and returns the programs it built, by name.
pub(super) fn run(
    mut cargo: Command,
    mark: &Mark,
    mut log: Option<&mut String>,
) -> Result<BTreeMap<String, PathBuf>, Failed> {
    let trouble = |error| Trouble::Kit(format!("cargo cannot be run: {error}"));
    let errors = if log.is_some() { Stdio::piped() } else { Stdio::inherit() };
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let mut group = Group::start(cargo).map_err(trouble)?;
    mark.note_group(group.cargo.id())?;
    if interrupt::requested() {
        // Started while the others were being ended.
        group::end();
    }
    let cargos_own = read_errors(&mut group.cargo);
    let output = group.cargo.stdout.take().expect("its output is piped");
    let mut built = BTreeMap::new();
    let mut first_error = None;
    for line in BufReader::new(output).lines() {
        let line = line.map_err(trouble)?;
        let Ok(message) = serde_json::from_str::<CargoMessage>(&line) else { continue };
        let package = message.package_id.as_deref().map(package_name).unwrap_or_default().to_owned();
        let is_students = STUDENT_CRATES.contains(&package.as_str());
        match (message.reason.as_str(), message.message) {
            ("compiler-message", Some(diagnostic)) => {
                let is_error = diagnostic.level.starts_with("error");
                let is_of_what_was_built = diagnostic.is_of_what_was_built();
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
                    first_error.get_or_insert(FirstError { package, is_of_what_was_built });
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
    let status = group.cargo.wait().map_err(trouble)?;
    if !status.success() {
        group::see_off(group.cargo.id());
    }
    if interrupt::requested() {
        let text = "interrupted while building; nothing was graded";
        return Err(Trouble::Interrupted(text.into()).into());
    }
    if status.success() {
        return Ok(built);
    }
    let said = cargos_own.and_then(|reader| reader.join().ok());
    Err(failure(first_error, said.as_deref()))
}

/// What a failed build means, by the first error and by what cargo itself has said, where that is known.
fn failure(first_error: Option<FirstError>, said: Option<&str>) -> Failed {
    if let Some(FirstError { package, is_of_what_was_built }) = first_error {
        let is_students = STUDENT_CRATES.contains(&package.as_str());
        let is_doubtful = is_of_what_was_built || !is_students;
        return Failed { trouble: Trouble::DoesNotCompile { package, is_students }, is_doubtful };
    }
    if let Some((package, how)) = said.and_then(compiler_that_ended) {
        let text = format!("the compiler {how} while it compiled {package}");
        let is_certain = how.contains("CPU time");
        return Trouble::CompilerEnded { package: package.into(), text, is_certain }.into();
    }
    let said = said.unwrap_or("its own message is above");
    Trouble::Kit(format!("cargo could not build the tests; {}", said.trim_end())).into()
}

/// The package at which a compiler has ended without an error of its own, and how it did, from what cargo says:
/// "could not compile `labraft` (lib)", and below "(signal: 6, SIGABRT: process abort signal)" or "(signal: 24)".
fn compiler_that_ended(said: &str) -> Option<(&str, String)> {
    let (_, rest) = said.split_once("could not compile `")?;
    let (package, rest) = rest.split_once('`')?;
    let signal = rest.rsplit_once("(signal: ").and_then(|(_, ending)| ending.split_once(')'));
    let signal = signal.map(|(signal, _)| signal);
    // Cargo has names for some signals, and for others the number alone.
    let number = signal.and_then(|signal| signal.split(',').next()?.parse::<u32>().ok());
    let how = match (number, signal) {
        (Some(SIGXCPU), _) => {
            format!("has used {} s of CPU time, which is all it is given,", group::cpu_seconds())
        }
        (Some(SIGTERM), _) => "was waited for in vain".into(),
        (Some(SIGABRT), _) => "ran out of memory".into(),
        (_, Some(signal)) => format!("was ended by a signal ({signal})"),
        (_, None) if said.contains("memory allocation of") => "ran out of memory".into(),
        (_, None) => "ended without saying why".into(),
    };
    Some((package, how))
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
    use super::{compiler_that_ended, package_name};

    #[test]
    fn package_ids_of_every_form_have_a_name() {
        assert_eq!(package_name("path+file:///kit/labraft#0.1.0"), "labraft");
        assert_eq!(package_name("path+file:///kit/folder#labraft@0.1.0"), "labraft");
        assert_eq!(package_name("registry+https://example.org/index#serde@1.0.0"), "serde");
    }

    #[test]
    fn how_a_compiler_ended_is_told() {
        let cargo = |how: &str| {
            let said = format!(
                "error: could not compile `labraft` (lib)\n\nCaused by:\n  process didn't exit \
                 successfully: `rustc --crate-name labraft --cfg 'feature=\"a\"'` ({how})\n"
            );
            compiler_that_ended(&said).map(|(package, how)| (package.to_owned(), how))
        };
        let ended = |how: &str| cargo(how).unwrap().1;
        assert_eq!(cargo("signal: 11, SIGSEGV: invalid memory reference").unwrap().0, "labraft");
        assert_eq!(ended("signal: 9, SIGKILL: kill"), "was ended by a signal (9, SIGKILL: kill)");
        assert!(ended("signal: 24").contains("s of CPU time"));
        assert!(ended("signal: 24, SIGXCPU: cpu time limit exceeded").contains("s of CPU time"));
        assert_eq!(ended("signal: 6, SIGABRT: process abort signal"), "ran out of memory");
        assert_eq!(ended("exit status: 101"), "ended without saying why");
        assert_eq!(compiler_that_ended("error: no space left on device"), None);
    }
}

//! Running one test in a process of its own, and reading its verdict.
//!
//! Kit-owned. The order, with a fresh nonce, goes in through standard input before any student code
//! runs. The verdict is the last record that carries the nonce; a process that ends without one has
//! failed, whatever its exit code says.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use labgrading::{Class, Failure, Order, Outcome, Record, SeedRange, Test, parse_record};

use crate::build::{self, Binaries};
use crate::interrupt;
use crate::trouble::Trouble;

/// No more of what a program prints is kept, in bytes: one that never stops is not to fill the memory.
const PRINTED_MAX: u64 = 4 << 20;

/// A longer line that is no record is taken in pieces of so many bytes.
const PIECE: u64 = 1 << 16;

/// Nothing is expected any more of a process that has ended, and been silent so long before and after.
const SILENCE: Duration = Duration::from_secs(5);

/// A program that has not come to its tests by then never will: it takes milliseconds.
const START: Duration = Duration::from_secs(120);

/// How a test went.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The id of the test.
    pub(crate) id: String,
    /// The seed records, in order.
    pub(crate) seeds: Vec<Record>,
    /// The trace of the last seed, if one was asked for.
    pub(crate) trace: Option<String>,
    /// What the student's code printed.
    pub(crate) printed: Vec<String>,
    /// The verdict.
    pub(crate) outcome: Outcome,
}

impl Run {
    pub(crate) fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Passed => None,
            Outcome::Failed(failure) => Some(failure),
        }
    }
}

/// The processes that are running now, by process id.
static RUNNING: Mutex<BTreeMap<u32, Child>> = Mutex::new(BTreeMap::new());

fn running() -> MutexGuard<'static, BTreeMap<u32, Child>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends every test process. Those who wait for them see them end without a verdict.
pub(crate) fn kill_all() {
    for child in running().values_mut() {
        // One that has ended by itself needs no killing.
        let _ = child.kill();
    }
}

/// What to run of a test.
#[derive(Clone, Debug)]
pub(crate) struct What {
    pub(crate) seeds: SeedRange,
    /// Whether to record traces.
    pub(crate) trace: bool,
    /// The numbers of the faults of a storm to keep; all when `None`.
    pub(crate) keep: Option<Vec<usize>>,
}

/// Runs `what` of `test`. Tells `tell` of every record as it comes.
pub(crate) fn run(
    test: &Test,
    binaries: &Binaries,
    what: &What,
    tell: &mut dyn FnMut(&Record),
) -> Result<Run, Trouble> {
    let What { seeds, trace, keep } = what.clone();
    let replay_suffix = binaries.replay_suffix.clone();
    let order = Order { nonce: nonce(), seeds, trace, keep, replay_suffix };
    let mut child = start(test, binaries.program(test.stage()), &binaries.root, &order)?;
    let output = child.stdout.take().expect("its output is piped");
    let errors = child.stderr.take().expect("its errors are piped");
    let process_id = child.id();
    running().insert(process_id, child);
    if interrupt::requested() {
        // Started while the others were being ended.
        kill_all();
    }
    let heard = listen(order.nonce, output, errors);
    let (mut run, verdict, errors) = read_records(test, process_id, &heard, tell);
    let mut child = running().remove(&process_id).expect("nobody else takes it");
    // It has ended, or has nothing to say any more; what it has started is not to live on beside other tests.
    build::kill(process_id);
    let status = child
        .wait()
        .map_err(|error| Trouble::Kit(format!("a test process cannot be waited for: {error}")))?;
    if interrupt::requested() {
        return Err(Trouble::Interrupted("interrupted; no result was saved".into()));
    }
    run.outcome = match verdict {
        None => Outcome::Failed(ended_early(test, &run, status, &errors, &binaries.replay_suffix)),
        Some((outcome, source)) if source == binaries.source(test) => outcome,
        Some(_) => {
            return Err(Trouble::Kit(format!(
                "{} was built from other files than those to be graded; were they changed meanwhile?",
                test.id
            )));
        }
    };
    run.printed.extend(errors.lines().map(str::to_owned));
    Ok(run)
}

/// What comes from a test process.
enum Heard {
    Record(Record),
    /// A line that is no record.
    Printed(String),
    /// All that it said on standard error.
    Errors(String),
}

/// Reads both outputs of a test process, on threads of their own, to their ends.
fn listen(nonce: String, output: ChildStdout, errors: ChildStderr) -> Receiver<Heard> {
    let (sender, receiver) = mpsc::channel();
    let of_errors = sender.clone();
    thread::spawn(move || {
        let mut text = Vec::new();
        let mut errors = BufReader::new(errors);
        // What could be read before an error is all there is; what is too much is read, and dropped.
        let _ = errors.by_ref().take(PRINTED_MAX).read_to_end(&mut text);
        let _ = std::io::copy(&mut errors, &mut std::io::sink());
        let _ = of_errors.send(Heard::Errors(String::from_utf8_lossy(&text).into_owned()));
    });
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let (mut bytes, mut printed) = (Vec::new(), 0);
        while output.by_ref().take(PIECE).read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            // Only a record is worth to be held in memory whole, however long it is.
            if bytes.starts_with(nonce.as_bytes()) && !bytes.ends_with(b"\n") {
                let _ = output.read_until(b'\n', &mut bytes);
            }
            let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            bytes.clear();
            let heard = match parse_record(&nonce, &line) {
                Some(record) => Heard::Record(record),
                None if printed > PRINTED_MAX => continue,
                None => {
                    printed += line.len() as u64;
                    Heard::Printed(line)
                }
            };
            if sender.send(heard).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Takes in what a test process says until it closes its outputs: the run so far, its verdict with the
/// hash of the files it is about, and what it said on standard error.
fn read_records(
    test: &Test,
    process_id: u32,
    heard: &Receiver<Heard>,
    tell: &mut dyn FnMut(&Record),
) -> (Run, Option<(Outcome, String)>, String) {
    let (id, outcome) = (test.id.clone(), Outcome::Passed);
    let mut run = Run { id, seeds: Vec::new(), trace: None, printed: Vec::new(), outcome };
    let (mut verdict, mut errors) = (None, String::new());
    let mut has_ended = false;
    loop {
        match heard.recv_timeout(SILENCE) {
            Ok(Heard::Printed(line)) => run.printed.extend(students_own(test, line)),
            Ok(Heard::Errors(text)) => errors = text,
            Ok(Heard::Record(record)) => {
                tell(&record);
                match record {
                    Record::Finished { outcome, source } => verdict = Some((outcome, source)),
                    Record::Trace { text } => run.trace = Some(text),
                    Record::Seed { .. } => run.seeds.push(record),
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            // A process may have ended and left another one that holds its outputs open.
            Err(RecvTimeoutError::Timeout) if has_ended => break,
            Err(RecvTimeoutError::Timeout) => {
                let mut running = running();
                let child = running.get_mut(&process_id).expect("it is removed later");
                has_ended = !matches!(child.try_wait(), Ok(None));
            }
        }
    }
    (run, verdict, errors)
}

/// The hash of the files that a program was built from; it is asked to run a test on no seed at all.
pub(crate) fn source_of(test: &Test, program: &Path, root: &Path) -> Result<String, Trouble> {
    let seeds = SeedRange { first: 1, last: 0 };
    let order = Order { nonce: nonce(), seeds, trace: false, keep: None, replay_suffix: String::new() };
    let mut child = start(test, program, root, &order)?;
    let output = child.stdout.take().expect("its output is piped");
    let errors = child.stderr.take().expect("its errors are piped");
    let heard = listen(order.nonce, output, errors);
    let deadline = Instant::now() + START;
    let mut how = "ended before them";
    let source = loop {
        match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Heard::Record(Record::Finished { source, .. })) => break Some(source),
            Ok(_) if Instant::now() < deadline => {}
            Err(RecvTimeoutError::Disconnected) => break None,
            Ok(_) | Err(RecvTimeoutError::Timeout) => {
                how = "was waited for in vain";
                break None;
            }
        }
    };
    build::kill(child.id());
    // One that has ended by itself needs no killing.
    let _ = child.kill();
    child.wait().map_err(|error| Trouble::file("run", program, &error))?;
    source.ok_or_else(|| {
        Trouble::NeverStarts(format!(
            "the program with this code in it does not come to its tests: it {how}. Nothing of it may run before \
             `main`, nor end the process"
        ))
    })
}

/// Starts a test process of the copy of the kit in `root`, and gives it its order.
fn start(test: &Test, program: &Path, root: &Path, order: &Order) -> Result<Child, Trouble> {
    let mut command = Command::new(program);
    // What it starts ends with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command
        // Backtraces show paths as seen from the current folder.
        .current_dir(root)
        .args(["--exact", &test.path(), "--nocapture", "--test-threads=1"])
        .env("LAB_ORDER_ON_STDIN", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Trouble::file("run", program, &error))?;
    let mut stdin = child.stdin.take().expect("its input is piped");
    // A process that has died already cannot read, and that it says nothing is noticed by its reader.
    let _ = writeln!(stdin, "{}", serde_json::to_string(order).expect("orders consist of plain data"));
    Ok(child)
}

/// Something that nobody can guess, so that a program cannot print a record by accident.
fn nonce() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("lab-{:016x}{:016x}", random(), random())
}

/// A line of output without what the test program's own frame puts there.
fn students_own(test: &Test, line: String) -> Option<String> {
    let frame = ["running 1 test", "test result: ok.", "test result: FAILED.", "ok"];
    if line.is_empty() || frame.iter().any(|part| line.starts_with(part)) {
        return None;
    }
    match line.strip_prefix(&format!("test {} ... ", test.path())) {
        Some("") => None,
        Some(rest) => Some(rest.to_owned()),
        None => Some(line),
    }
}

/// The failure of a process that ended without a verdict.
fn ended_early(test: &Test, run: &Run, status: ExitStatus, errors: &str, replay_suffix: &str) -> Failure {
    let last = run.seeds.last().map(|record| match record {
        Record::Seed { seed, .. } => *seed,
        _ => 0,
    });
    let summary = format!("the test process ended before its verdict ({status})");
    let mut report = format!("FAIL {}  ({})\n  {summary}\n", test.id, Class::Safety);
    match last {
        Some(seed) => report.push_str(&format!("  seed {seed} was the last that ran to its end\n")),
        None => report.push_str("  no seed ran to its end\n"),
    }
    report
        .push_str("  expected  the servers' code never ends the process, by `exit`, `abort` or otherwise\n");
    for line in errors.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev() {
        report.push_str(&format!("  it said   {line}\n"));
    }
    if let Some(seed) = last {
        report.push_str(&format!(
            "  replay    cargo lab replay {} --seed {}{}\n",
            test.id,
            seed + 1,
            replay_suffix
        ));
    }
    Failure { class: Class::Safety, summary, report }
}

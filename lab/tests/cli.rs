//! `cargo lab` as a user meets it: what it says and how it exits when something is wrong.
//!
//! Kit-owned. Commands that need a broken kit run in a copy of it, with a target folder of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
#[cfg(target_os = "linux")]
use std::{process::Stdio, time::Duration};

use insta::assert_snapshot;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn target() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_lab"));
    program.ancestors().nth(2).expect("programs lie in target/<profile>").to_owned()
}

fn lab_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    let target = if folder == workspace() { target() } else { target().join("copies") };
    command.current_dir(folder).args(arguments).env("CARGO_TARGET_DIR", target).env("NO_COLOR", "1");
    command.env_remove("LAB_SEED").env_remove("LAB_SEEDS");
    command
}

fn lab(arguments: &[&str]) -> Output {
    lab_in(&workspace(), arguments).output().expect("the command can be run")
}

/// The exit code and standard error; nothing is expected on standard output.
fn refusal(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "a refusal prints no result");
    format!("exit {}\n{}", code(output), String::from_utf8_lossy(&output.stderr))
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it exits by itself")
}

/// A copy of everything in the kit that is not built.
fn copy_of_the_kit() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder can be made");
    copy_folder(&workspace(), copy.path());
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the kit can be read") {
        let entry = entry.expect("the kit can be read");
        let name = entry.file_name();
        if name == "target" || name == ".git" {
            continue;
        }
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to.join(name));
        } else {
            fs::copy(entry.path(), to.join(name)).expect("a file can be copied");
        }
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_ones() {
    assert_snapshot!(refusal(&lab(&["test", "2x"])));
    assert_snapshot!(refusal(&lab(&["test", "2a::inital_election"])));
    assert_snapshot!(refusal(&lab(&["replay", "2a::many_election", "--seed", "1"])));
    assert_snapshot!(refusal(&lab(&["trace", "2a", "--seed", "1"])));
}

#[test]
fn a_seed_that_is_no_number_is_refused() {
    assert_snapshot!(refusal(&lab(&["test", "2a", "--seed", "seven"])));
    assert_snapshot!(refusal(&lab(&["test", "2a", "--seeds", "0"])));
    assert_snapshot!(refusal(&lab(&["test", "2a", "--seeds", "5", "--seed", "5"])));
    assert_snapshot!(refusal(&lab(&["replay", "2a::re_election", "--seed", "-1"])));
}

#[test]
fn outside_the_kit_nothing_is_done() {
    let elsewhere = tempfile::tempdir().expect("a temporary folder can be made");
    let output = lab_in(elsewhere.path(), &["test"]).output().expect("the command can be run");
    assert_eq!(code(&output), 2);
    assert!(refusal(&output).contains("does not lie in the kit's folder"));
}

#[test]
fn code_that_does_not_compile_is_shown_and_names_are_still_checked() {
    let kit = copy_of_the_kit();
    let file = kit.path().join("labraft/src/raft.rs");
    let skeleton = fs::read_to_string(&file).expect("the skeleton can be read");
    fs::write(&file, skeleton + "\nfn broken() -> u32 { \"text\" }\n").expect("it can be written");

    let output = lab_in(kit.path(), &["test", "2a"]).output().expect("the command can be run");
    let text = refusal(&output);
    assert_eq!(code(&output), 1, "{text}");
    assert!(text.contains("mismatched types") && text.contains("labraft/src/raft.rs"), "{text}");
    assert!(text.ends_with(
        "cargo lab: labraft does not compile, so nothing was graded; the compiler's errors are above\n"
    ));
    assert!(!kit.path().join("target").exists(), "nothing is written beside the results");

    let output = lab_in(kit.path(), &["test", "2a::nonsense"]).output().expect("the command can be run");
    assert_eq!(code(&output), 2);
}

#[test]
fn a_kit_that_does_not_compile_is_the_kits_fault() {
    let kit = copy_of_the_kit();
    fs::write(kit.path().join("tests/src/limits.rs"), "this is no Rust").expect("it can be written");
    let output = lab_in(kit.path(), &["test", "2a"]).output().expect("the command can be run");
    let text = refusal(&output);
    assert_eq!(code(&output), 3, "{text}");
    assert!(text.contains("tests, a part of the kit, does not compile"), "{text}");
}

#[test]
fn a_target_that_is_a_file_is_reported() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("target");
    fs::write(&file, "in the way").expect("it can be written");
    let mut command = lab_in(&workspace(), &["test", "2a"]);
    let output = command.env("CARGO_TARGET_DIR", &file).output().expect("the command can be run");
    let text = refusal(&output);
    assert_eq!(code(&output), 3, "{text}");
    assert!(text.contains("is a file, where a folder is needed"), "{text}");
    assert_eq!(fs::read_to_string(&file).expect("it is still there"), "in the way");
}

/// True once the process has started another, so that its own start is behind it.
#[cfg(target_os = "linux")]
fn has_started_another(process: u32) -> bool {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    children.is_ok_and(|children| !children.is_empty())
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_run_says_so_and_saves_nothing() {
    let own_target = target().join("lab");
    let before = fs::read(own_target.join("status.json")).ok();
    let arguments = ["test", "2a", "--solution", "--seeds", "1000000"];
    let mut child = lab_in(&workspace(), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be run");
    while !has_started_another(child.id()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // However far it has come when the signal arrives, it ends; so it is sent until it does.
    while child.try_wait().expect("it can be waited for").is_none() {
        std::thread::sleep(Duration::from_millis(200));
        let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    }
    let output = child.wait_with_output().expect("it can be waited for");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(code(&output), 4, "{text}");
    assert!(text.contains("interrupted"), "{text}");
    assert_eq!(fs::read(own_target.join("status.json")).ok(), before);
}

#[test]
fn help_names_every_command() {
    assert_snapshot!(String::from_utf8_lossy(&lab(&["--help"]).stdout));
}

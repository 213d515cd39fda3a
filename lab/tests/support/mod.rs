//! What the tests of the command have in common: running it, in the kit or in a copy of it.
//!
//! Kit-owned.

// Each file of tests is a program of its own, and uses a part of this.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

/// The kit itself.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// Where it is built.
pub(crate) fn target() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_lab"));
    program.ancestors().nth(2).expect("programs lie in target/<profile>").to_owned()
}

/// The command, to be run in a folder; in a copy of the kit it builds somewhere else.
pub(crate) fn lab_in(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    let target = if folder == workspace() { target() } else { target().join("copies") };
    command.current_dir(folder).args(arguments).env("CARGO_TARGET_DIR", target).env("NO_COLOR", "1");
    command.env_remove("LAB_SEED").env_remove("LAB_SEEDS");
    command
}

/// Runs the command in the kit itself.
pub(crate) fn lab(arguments: &[&str]) -> Output {
    lab_in(&workspace(), arguments).output().expect("the command can be run")
}

/// The exit code and standard error; nothing is expected on standard output.
pub(crate) fn refusal(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "a refusal prints no result");
    format!("exit {}\n{}", code(output), String::from_utf8_lossy(&output.stderr))
}

/// How it exited.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it exits by itself")
}

/// Copies of the kit are built one at a time, as they share what was compiled, and so are submissions.
pub(crate) static ONE_COPY: Mutex<()> = Mutex::new(());

/// A copy of everything in the kit that is not built.
pub(crate) fn copy_of_the_kit() -> tempfile::TempDir {
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

/// The text of a file.
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

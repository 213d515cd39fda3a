//! `cargo lab bugs`, and replays of what it reports, as those meet them who work on the suite.
//!
//! Kit-owned.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::PoisonError;
use std::time::SystemTime;

use support::{ONE_COPY, code, copy_of_the_kit, lab, lab_in, read, refusal, target, workspace};

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_not_in_the_catalogue_is_refused() {
    let refused = |arguments: &[&str], expected: i32, words: &str| {
        let output = lab(arguments);
        let text = refusal(&output);
        assert_eq!(code(&output), expected, "{text}");
        assert!(text.contains(words), "{text}");
    };
    refused(&["bugs", "E00"], 2, "there is no bug, variant or step called 'E00'");
    refused(&["bugs", "E01", "--stage", "2x"], 2, "there is no stage or test called '2x'");
    refused(&["bugs", "2a-1-voter", "--stage", "2a"], 2, "a step names its stage itself; leave out --stage");
    let replay = ["replay", "2a::vote_table", "--seed", "1"];
    let with = |more: &[&'static str]| [&replay[..], more].concat();
    refused(&with(&["--bug", "E00"]), 2, "there is no bug called 'E00'");
    refused(&with(&["--variant", "none"]), 2, "there is no variant called 'none'; there are ");
    refused(&with(&["--variant", "kv_channels"]), 2, "2a::vote_table grades your Raft itself");
    refused(&with(&["--bug", "E01", "--solution"]), 2, "cannot be used with");
    refused(&with(&["--bug", "E01", "--variant", "event_loop"]), 2, "cannot be used with");
}

#[test]
fn a_replay_runs_the_bug_or_the_variant_that_it_names() {
    let _alone = ONE_COPY.lock().unwrap_or_else(PoisonError::into_inner);
    let arguments = ["2a::vote_table", "--seed", "1"];
    let run = |command: &str, more: &[&str]| lab(&[&[command], &arguments[..], more].concat());
    // An id is found in small letters too.
    let output = run("replay", &["--bug", "e01"]);
    let said = printed(&output);
    assert_eq!(code(&output), 1, "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("FAIL 2a::vote_table  seed 1 "), "{said}");
    assert!(said.contains("replay    cargo lab replay 2a::vote_table --seed 1 --bug E01\n"), "{said}");
    let output = run("trace", &["--bug", "E01"]);
    assert_eq!(code(&output), 1);
    assert!(printed(&output).contains("RequestVote"), "{}", printed(&output));
    let output = run("replay", &["--variant", "event_loop"]);
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed(&output).ends_with("passed\n"), "{}", printed(&output));
}

#[test]
fn a_patch_that_cannot_be_tried_is_named_and_the_others_are_tried() {
    let _alone = ONE_COPY.lock().unwrap_or_else(PoisonError::into_inner);
    let kit = copy_of_the_kit();
    let bugs = kit.path().join("tests/bugs");
    let write = |name: &str, text: &str| {
        fs::write(bugs.join(format!("{name}.patch")), text).expect("a patch can be written");
    };
    let right = read(&bugs.join("E01-vote-twice.patch")).replace("id: E01", "id: E97");
    write("E96-no-header", "This is what is wrong.\n");
    write("E97-no-fit", &right.replace("let current_term =", "let present_term ="));
    write(
        "E98-no-rust",
        &right.replace("id: E97", "id: E98").replace("+        let vote_granted =", "+        let ="),
    );
    // Nothing of the kit but the catalogue differs, so what was built for others will do.
    let arguments = ["bugs", "E96", "E97", "E98", "E01", "P02", "--stage", "2a", "--seeds", "2"];
    let mut command = lab_in(kit.path(), &arguments);
    let output = command.env("CARGO_TARGET_DIR", target()).output().expect("the command can be run");
    let (said, trouble) = (printed(&output), String::from_utf8_lossy(&output.stderr));
    assert_eq!(code(&output), 3, "{said}{trouble}");
    for line in [
        "FAIL  E96      E96-no-header.patch                   NOT TRIED: it has no patch\n",
        "FAIL  E97      vote-twice                            NOT TRIED: E97 does not fit the reference: ",
        "FAIL  E98      vote-twice                            NOT TRIED: labraft does not compile",
        "ok    E01      vote-twice                            safety in 1 seed by 2a::vote_table; ",
        "replay    cargo lab replay 2a::vote_table --seed 1 --bug E01\n",
        "FAIL  P02      voted-for-not-persisted               NOT CAUGHT in 2a within 2 seeds\n",
    ] {
        assert!(said.contains(line), "no '{line}' in\n{said}");
    }
    let named = "cargo lab: not tried: E96 E96-no-header.patch, E97 vote-twice, E98 vote-twice\n";
    assert!(trouble.ends_with(named), "{trouble}");
    let table = read(&workspace().join("tests/bugs/TABLE.md"));
    assert_eq!(read(&bugs.join("TABLE.md")), table, "only a run of everything writes it");
}

/// Gives every file under `to` the time of the one under `from`, as a faithful copy has it.
fn keep_times(from: &Path, to: &Path) {
    for file in labgrading::files_under(to).expect("the copy can be read") {
        let original = from.join(file.strip_prefix(to).expect("it lies in the copy"));
        let time = fs::metadata(&original).and_then(|data| data.modified()).expect("files have times");
        let copy = fs::File::options().write(true).open(&file).expect("a file can be opened");
        copy.set_modified(time).expect("a file's time can be set");
    }
}

/// Whether building the catalogue's crate in a copy of the kit finds nothing new to build.
fn is_fresh(kit: &Path) -> bool {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(kit).args([
        "build",
        "--offline",
        "--package",
        "labgrading",
        "--message-format",
        "json",
    ]);
    let output = cargo.env("CARGO_TARGET_DIR", target().join("copies")).output().expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let is_library = |line: &&str| {
        line.contains("\"reason\":\"compiler-artifact\"")
            && line.contains("\"kind\":[\"lib\"],\"crate_types\":[\"lib\"],\"name\":\"labgrading\"")
    };
    let text = printed(&output);
    let artifact = text.lines().find(is_library).expect("the crate was built").to_owned();
    artifact.contains("\"fresh\":true")
}

#[test]
fn a_copy_of_the_kit_and_of_what_was_built_from_it_looks_at_its_own_catalogue() {
    let _alone = ONE_COPY.lock().unwrap_or_else(PoisonError::into_inner);
    let (original, copy) = (copy_of_the_kit(), copy_of_the_kit());
    keep_times(&workspace(), original.path());
    keep_times(&workspace(), copy.path());
    is_fresh(original.path());
    assert!(is_fresh(original.path()), "nothing has changed");
    assert!(is_fresh(copy.path()), "the copy takes over what was built");
    let catalog = copy.path().join("tests/catalog.toml");
    fs::write(&catalog, read(&catalog) + "\n# A change.\n").expect("it can be written");
    let file = fs::File::options().write(true).open(&catalog).expect("it can be opened");
    file.set_modified(SystemTime::now()).expect("a file's time can be set");
    assert!(!is_fresh(copy.path()), "the copy's own catalogue has changed");
    assert!(is_fresh(copy.path()), "and was taken in");
}

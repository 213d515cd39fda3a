//! `cargo lab` as a user meets it: what it says and how it exits when something is wrong.
//!
//! Kit-owned. Commands that need a broken kit run in a copy of it, with a target folder of their own.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
#[cfg(target_os = "linux")]
use std::{process::Command, process::Stdio, time::Duration};

use insta::assert_snapshot;

use support::{ONE_COPY, code, copy_of_the_kit, lab, lab_in, read, refusal, target, workspace};

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
    let _alone = ONE_COPY.lock().unwrap_or_else(PoisonError::into_inner);
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
fn state_outside_of_the_servers_is_refused_before_anything_is_built() {
    let kit = copy_of_the_kit();
    let file = kit.path().join("labraft/src/raft.rs");
    let skeleton = fs::read_to_string(&file).expect("the skeleton can be read");
    let lines = skeleton.lines().count();
    let hidden = "macro_rules! hidden { () => { thread_local! {} } }";
    let added = format!("static LAST: Mutex<u64> = Mutex::new(0);\n{hidden}\nuse std::fs;\n");
    fs::write(&file, skeleton.clone() + &added).expect("it can be written");
    let refused = |arguments: &[&str]| {
        let output = lab_in(kit.path(), arguments).output().expect("the command can be run");
        let text = refusal(&output).replace(&format!(":{}:", lines + 1), ":N:");
        text.replace(&format!(":{}:", lines + 2), ":N+1:").replace(&format!(":{}:", lines + 3), ":N+2:")
    };
    assert_snapshot!(refused(&["test", "2a"]));
    assert_eq!(refused(&["test", "3a"]), refused(&["replay", "2a::vote_table", "--seed", "1"]));

    fs::write(&file, skeleton).expect("it can be written");
    let server = kit.path().join("labkv/src/server");
    fs::create_dir(&server).expect("a folder can be made");
    fs::write(server.join("notes.rs"), "static mut N: u8 = 0;\n").expect("it can be written");
    assert_snapshot!(refused(&["test", "3a::basic", "--seeds", "1"]));
}

#[test]
fn a_kit_that_does_not_compile_is_the_kits_fault() {
    let _alone = ONE_COPY.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Writes the files of a submission.
fn hand_in(class: &Path, name: &str, files: &[(&str, &str)]) {
    for (file, content) in files {
        let path = class.join(name).join(file);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder can be made");
        fs::write(path, content).expect("a file can be written");
    }
}

/// The paths of all files in a folder, by name.
fn listing(folder: &Path) -> Vec<String> {
    let files = labgrading::files_under(folder).expect("the folder can be read");
    let name = |file: &PathBuf| file.strip_prefix(folder).expect("it lies in it").display().to_string();
    let mut names: Vec<String> = files.iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn every_submission_gets_its_own_result() {
    let _alone = ONE_COPY.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (class, out) = (folder.path().join("class"), folder.path().join("out"));
    let skeleton = read(&workspace().join("labraft/src/raft.rs"));
    let variant = workspace().join("tests/variants/event_loop");
    let right = read(&variant.join("raft.rs"));
    let (_, code_of_skeleton) = skeleton.split_once("\n\n").expect("a comment opens the file");
    let exits = code_of_skeleton.replacen("\n        todo!(", "\n        exit(0);\n        todo!(", 1);
    let exits = format!("use std::process::exit;\n{exits}");
    hand_in(&class, "ann", &[("labraft/src/lib.rs", "mod mine;\n")]);
    for file in listing(&variant) {
        let text = read(&variant.join(&file));
        hand_in(&class, "ann", &[(&format!("labraft/src/{file}"), &text)]);
        // A module may also be a folder with a `mod.rs` in it.
        hand_in(&class, "fay", &[(if file == "raft.rs" { "raft/mod.rs" } else { &file }, &text)]);
    }
    hand_in(&class, "bea", &[("wrapped/kit/raft.rs", &skeleton), ("notes.txt", "Sorry.")]);
    hand_in(&class, "cal", &[("raft.rs", "compile_error!(\"left by a student\");\n")]);
    hand_in(&class, "dan", &[("raft.rs", &exits)]);
    hand_in(&class, "eve", &[("essay.md", "Raft is about consensus.\n")]);
    let handed_in = listing(&class);

    let arguments = ["grade", path(&class), "2a::vote_table", "--seeds", "2", "--out", path(&out)];
    let output = lab(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(code(&output), 0, "{said}");
    assert_snapshot!(String::from_utf8_lossy(&output.stdout).replace(path(&out), "OUT"));
    assert!(said.contains("[6/6] fay: 1/1 points, graded\n"), "{said}");
    assert!(!said.contains("compile_error!"), "the compiler's output is not for the screen: {said}");

    assert_eq!(listing(&class), handed_in);
    let names = ["ann", "bea", "cal", "dan", "eve", "fay", "grades"];
    let expected = names.iter().flat_map(|name| match *name {
        "grades" => vec!["grades.json".to_owned()],
        name => vec![format!("{name}.json"), format!("{name}.txt")],
    });
    assert_eq!(listing(&out), expected.collect::<Vec<_>>());
    let summary: serde_json::Value =
        serde_json::from_str(&read(&out.join("grades.json"))).expect("it is JSON");
    let ann = &summary["submissions"][0];
    assert_eq!(ann["files"][0]["hash"], labgrading::bytes_hash(right.as_bytes()).as_str());
    assert_eq!((&ann["points"], &ann["tests"][0]["id"]), (&1.into(), &"2a::vote_table".into()));
    assert!(read(&out.join("cal.txt")).contains("\n1 | compile_error!(\"left by a student\");\n"));
    assert!(read(&out.join("dan.txt")).contains("the test process ended before its verdict"));
}

#[test]
fn a_service_that_does_not_compile_costs_no_points_of_lab_2() {
    let _alone = ONE_COPY.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (class, out) = (folder.path().join("class"), folder.path().join("out"));
    let variant = workspace().join("tests/variants/event_loop");
    for file in listing(&variant) {
        hand_in(&class, "gus", &[(&file, &read(&variant.join(&file)))]);
    }
    hand_in(&class, "gus", &[("server.rs", "compile_error!(\"not finished\");\n")]);
    let tests = ["2a::vote_table", "3a::speed"];
    let output = lab(&["grade", path(&class), tests[0], tests[1], "--seeds", "2", "--out", path(&out)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(code(&output), 0, "{said}");
    assert!(
        said.contains("[1/1] gus: 1/3 points, graded: lab 3 was not built: error: not finished"),
        "{said}"
    );
    assert!(read(&out.join("gus.txt")).contains("\nLab 3 was not built.\n"));
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// What `check-history` says of a file with this text, and how it exits.
fn judged(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("history.edn");
    fs::write(&file, text).expect("it can be written");
    // It does not take a kit.
    let output = lab_in(folder.path(), &["check-history", path(&file)]).output().expect("it can be run");
    let said = format!(
        "exit {}\n{}{}",
        code(&output),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    said.replace(path(&file), "FILE")
}

/// The lines of a history: each operation's process, its words up to the value, and how it ends.
fn history(events: &[(u32, &str, &str, &str)]) -> String {
    let line = |(process, kind, function, value): &(u32, &str, &str, &str)| {
        format!("{{:process {process}, :type :{kind}, :f :{function}, :key \"0\", :value {value}}}\n")
    };
    events.iter().map(line).collect()
}

#[test]
fn histories_are_judged_by_their_exit_code_and_explained() {
    let (one, two, none) = ("\"x 1 0 y\"", "\"x 2 0 y\"", "\"\"");
    let appended = [(1, "invoke", "append", one), (1, "ok", "append", one)];
    let read = |value| [(2, "invoke", "get", "nil"), (2, "ok", "get", value)];
    let judged = |events: &[_]| judged(&history(events));
    assert_snapshot!(judged(&[appended, read(one)].concat()));
    assert_snapshot!(judged(&[appended, read(none)].concat()));
    assert_snapshot!(judged(&[appended, read("\"x 1 0 yx 1 0 y\"")].concat()));
    let later = [(1, "invoke", "append", two), (1, "ok", "append", two)];
    assert_snapshot!(judged(&[appended, later, read(two)].concat()));
    assert_snapshot!(judged(&[read(one), appended].concat()));
}

#[test]
fn a_malformed_history_is_refused_with_the_line() {
    assert_snapshot!(judged("{:process 1, :type :ok, :f :get, :key \"0\", :value \"\"}\n"));
    assert_snapshot!(judged("; nothing yet\n{:process 1, :type :invoke, :f :pop, :value nil}\n"));
    assert_snapshot!(judged("no history"));
    assert_snapshot!(refusal(&lab(&["check-history", "no/such/file"])));
}

#[test]
fn lab_2_is_not_graded_on_the_reference_raft() {
    assert_snapshot!(refusal(&lab(&["test", "2a", "--raft", "reference"])));
}

#[test]
fn what_is_no_folder_of_submissions_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let class = folder.path().join("class");
    let refused = |class: &Path, more: &[&str]| {
        let output = lab(&[&["grade", path(class)], more].concat());
        let real = folder.path().canonicalize().expect("it exists");
        refusal(&output).replace(path(&real), "TEMP").replace(path(folder.path()), "TEMP")
    };
    assert_snapshot!(refused(&class, &[]));
    fs::create_dir(&class).expect("a folder can be made");
    assert_snapshot!(refused(&class, &[]));
    hand_in(&class, "grades", &[("raft.rs", "")]);
    assert_snapshot!(refused(&class, &[]));
    assert_snapshot!(refused(&class, &["--out", path(&class.join("results/new"))]));
    assert_snapshot!(refused(&class.join("grades"), &[]));
    assert_snapshot!(refused(&class.join("grades/raft.rs"), &[]));
    assert_eq!(listing(&class), ["grades/raft.rs"]);
}

#[test]
fn a_student_kit_has_what_students_need_and_nothing_of_the_staffs() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let kit = folder.path().join("kit");
    let output = lab(&["release", path(&kit)]);
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_dir(folder.path()).expect("it can be read").count(), 1, "the draft is gone");

    let files = listing(&kit);
    for file in &files {
        let text = read(&kit.join(file)).to_lowercase();
        let is_free =
            !text.contains("solutions/") && !text.contains("--solution") && !text.contains("release: ");
        assert!(is_free && !text.contains("\"solution\""), "{file} speaks of what is not there");
    }
    let staffs =
        ["solutions", "tests/bugs", "tests/steps", "tests/variants", "lab/src/staff", ".ci", ".git/"];
    let left = files.iter().find(|file| staffs.iter().any(|folder| file.starts_with(folder)));
    assert_eq!(left, None);
    for file in
        ["labraft/src/raft.rs", "tests/catalog.toml", "Cargo.lock", ".cargo/config.toml", "LICENSE-MIT"]
    {
        assert!(files.iter().any(|name| name == file), "{file} is missing");
    }
    assert_eq!(
        read(&kit.join("labraft/src/raft.rs")),
        read(&workspace().join("labraft/src/raft.rs")),
        "students begin with the skeleton"
    );
    assert!(read(&kit.join("README.md")).contains("labraft/src/raft.rs`, the only file you edit in lab 2"));
    // The list of files is the student kit's own.
    let output = lab_in(&kit, &["doctor"]).output().expect("the command can be run");
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_kit_for_lab_3_has_the_reference_raft_in_the_place_of_the_empty_one() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // An empty folder that is there already will do.
    let output = lab(&["release", path(folder.path()), "--with-reference-raft"]);
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    let files = listing(folder.path());
    let raft: Vec<String> =
        files.iter().filter(|file| file.starts_with("labraft/src/raft")).cloned().collect();
    let reference = listing(&workspace().join("solutions/raft"));
    assert_eq!(raft, reference.iter().map(|file| format!("labraft/src/raft/{file}")).collect::<Vec<_>>());
    assert!(read(&folder.path().join("README.md")).contains("this kit has a complete Raft in it"));
    assert!(!files.iter().any(|file| file.starts_with("solutions")));
}

#[test]
fn a_student_kit_is_not_written_over_anything_nor_from_a_kit_with_answers_in_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let refused = |kit: &Path, place: &Path, expected: i32, words: &str| {
        let output = lab_in(kit, &["release", path(place)]).output().expect("the command can be run");
        let text = refusal(&output);
        assert_eq!(code(&output), expected, "{text}");
        assert!(text.contains(words) && text.contains("nothing was written"), "{text}");
    };
    let full = folder.path().join("full");
    hand_in(&full, "", &[("file", "content")]);
    refused(&workspace(), &full, 2, "is not empty; name a new folder");
    refused(&workspace(), &full.join("file"), 2, "is there already, and no folder");
    refused(&workspace(), &full.join("no/kit"), 2, "there is no folder");
    refused(&workspace(), &workspace().join("kit"), 2, "lies in this kit");

    let place = folder.path().join("kit");
    let copy = copy_of_the_kit();
    let handout = copy.path().join("handouts/src/0-setup.md");
    fs::write(&handout, read(&handout) + "\nSee the\nreference.\n").expect("it can be written");
    refused(copy.path(), &place, 3, "handouts/src/0-setup.md speaks of the reference");
    fs::write(&handout, "<!-- release: omit begin -->\n").expect("it can be written");
    let output = lab_in(copy.path(), &["release", path(&place)]).output().expect("the command can be run");
    assert!(
        refusal(&output).contains("handouts/src/0-setup.md, line 1: 'release: omit begin' without an end")
    );

    let file = copy.path().join("labraft/src/raft.rs");
    fs::write(&file, read(&file) + "// The answer is 42.\n").expect("it can be written");
    refused(copy.path(), &place, 2, "labraft/src/raft.rs is not as the kit shipped it");
    fs::write(copy.path().join("tests/src/limits.rs"), "").expect("it can be written");
    refused(copy.path(), &place, 2, "changed tests/src/limits.rs");
    assert_eq!(listing(folder.path()), ["full/file"]);
}

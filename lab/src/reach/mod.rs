//! What students' code must not reach: a memory outside of the servers.
//!
//! Kit-owned. All servers of a run share a process. What one of them leaves in a static, another one finds, and so
//! does the same one after a crash: a Raft without messages and without a disk, which no verdict would be worth
//! anything for. So state that can change outside of a server is refused before anything is built, by name, and
//! what leads around that is refused too. `tokens.rs` makes tokens of the code, `rules.rs` says which of them are
//! refused. A `const` and a `static` of plain data stay allowed, and so does anything inside of a server.
//!
//! A keyword cannot be hidden from this, not even in a macro. A path can, from pieces that a macro puts together;
//! then what is reached for shows in how the servers behave.

mod rules;
mod tokens;

use std::fmt::Write as _;

use self::rules::What;
// release: omit begin
pub(crate) use self::tokens::{Token, tokens_of};
// release: omit end
use crate::kit::SourceFile;

/// How many refusals are named: one is enough to know what to do, and a file may hold thousands.
const SHOWN: usize = 10;

/// Something in students' code that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The file, by its path in the kit.
    path: String,
    line: usize,
    /// As it stands in the code.
    name: String,
    what: What,
}

impl Refusal {
    /// The refusal in a line.
    pub(crate) fn line(&self) -> String {
        format!("{}:{}: `{}` {}", self.path, self.line, self.name, self.what.in_short())
    }
}

/// What is refused in students' files.
pub(crate) fn refusals(files: &[SourceFile]) -> Vec<Refusal> {
    files.iter().flat_map(|file| in_file(&file.path, &file.text)).collect()
}

/// What is refused in a file.
fn in_file(path: &str, text: &str) -> Vec<Refusal> {
    let refusal = |line, name: &str, what| Refusal { path: path.into(), line, name: name.into(), what };
    // The compiler skips such a line, whatever seems to begin there.
    let is_script = text
        .trim_start_matches('\u{feff}')
        .strip_prefix("#!")
        .is_some_and(|rest| !rest.trim_start().starts_with('['));
    if is_script {
        return vec![refusal(1, "#!", What::Rename)];
    }
    match tokens::tokens_of(text) {
        Some(tokens) => rules::find(&tokens)
            .into_iter()
            .map(|rules::Found { line, name, what }| refusal(line, &name, what))
            .collect(),
        // The compiler will refuse it as well, and say why. If it does not, the words are still there.
        None => {
            let line_of = |word: &str| (1..).zip(text.lines()).find(|(_, line)| has_word(line, word));
            ["static", "thread_local", "unsafe"]
                .into_iter()
                .filter_map(|word| line_of(word).map(|(number, _)| refusal(number, word, What::Memory)))
                .collect()
        }
    }
}

/// True if a word, but no lifetime of its name, stands in a line.
fn has_word(line: &str, word: &str) -> bool {
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(|letter| is_of_word(letter) || letter == '\'') && !after.is_some_and(is_of_word)
    })
}

/// What is refused, where, and why, for the one who wrote it.
pub(crate) fn in_words(refusals: &[Refusal]) -> String {
    let mut text = String::new();
    let mut put = |line: &str| writeln!(text, "{line}").expect("a String takes any text");
    for refusal in refusals.iter().take(SHOWN) {
        put(&format!("  {}", refusal.line()));
    }
    if refusals.len() > SHOWN {
        put(&format!("  and {} more", refusals.len() - SHOWN));
    }
    let mut reasons: Vec<What> = refusals.iter().map(|refusal| refusal.what).collect();
    reasons.sort();
    reasons.dedup();
    for reason in reasons {
        put(&format!("\n{}", reason.reason()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is refused in a text, with the lines.
    fn refused(text: &str) -> Vec<(usize, String)> {
        let refusals = in_file("labraft/src/raft.rs", text);
        refusals.into_iter().map(|refusal| (refusal.line, refusal.name)).collect()
    }

    fn names(text: &str) -> Vec<String> {
        refused(text).into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn statics_that_can_change_are_refused_wherever_they_stand() {
        for text in [
            "static mut X: u64 = 0;",
            "pub(crate) static X: AtomicU64 = AtomicU64::new(0);",
            "static X: OnceLock<u64> = OnceLock::new();",
            "static X: LazyLock<Mutex<u64>> = LazyLock::new(Mutex::default);",
            "static X: Mutex<Option<u64>> = Mutex::new(None);",
            "fn f() { if true { static X: Mutex<u64> = Mutex::new(0); } }",
            "impl S { fn f() { let _ = || { static X: Mutex<u64> = Mutex::new(0); }; } }",
            "mod a { mod b { static X: Mutex<u64> = Mutex::new(0); } }",
            "macro_rules! m { () => { static X: Mutex<u64> = Mutex::new(0); } }",
            "make!(static X: Mutex<u64> = Mutex::new(0););",
            "#[instrument(fields(x = { static X: AtomicU64 = ZERO; 3 }))] fn f() {}",
            "type u64 = AtomicU64; static X: u64 = ZERO;",
            "static X: [AtomicU64; 2] = [ZERO; 2];",
            "static X: u8 = 3",
            "extern \"C\" { static X: u64; }",
        ] {
            let found = names(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with("static "), "{text}: {found:?}");
        }
        assert_eq!(names("macro_rules! m { ($($t:tt)*) => { static $($t)* } }"), ["static"]);
        assert_eq!(names("thread_local! { static X: Cell<u64> = const { Cell::new(0) }; }").len(), 2);
        assert_eq!(names("use std::thread_local as here;"), ["thread_local"]);
        assert_eq!(names("r#thread_local!()"), ["thread_local"]);
        assert_eq!(refused("\n\nstatic\nX: Cell<u8> = C;"), [(3, "static X".to_owned())]);
    }

    #[test]
    fn what_cannot_change_is_allowed() {
        for text in [
            "static NAMES: [&str; 3] = [\"a\", \"b\", \"c\"];",
            "static TIMES: &[(u64, bool)] = &[(150, true), (300, false)];",
            "static ZEROS: [u8; SIZE] = [0; SIZE];",
            "static LOW: i64 = -3 as i64; static HIGH: u64 = (1 << 40) + 7;",
            "const NEW: AtomicU64 = AtomicU64::new(0);",
            "const NAME: &'static str = \"static\"; // static mut",
            "struct S { count: AtomicU64, once: OnceLock<u64>, r#static: u8 }",
            "fn f<T: Send + 'static>(t: &'static T) where T: 'static {}",
            "#![allow(dead_code)] #[doc = \"static\"] #[serde(rename = \"path\")] struct S;",
            "use std::{collections::{HashMap, net}, sync::atomic::AtomicU64};",
            "use std::process; fn f() { process::exit(1); let path = 3; info!(path = 4); }",
            "use labrpc::{channel::{self, Sender}, rng, sync::{Arc, Mutex}, thread, Request};",
            "tracing::info!(term, \"won\"); use tracing::{debug, info as say};",
            "let x = [path, std]; fs::read(); a.net::<u8>();",
        ] {
            assert_eq!(names(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn other_ways_out_of_the_servers_are_refused() {
        for (text, expected) in [
            ("std::fs::write(a, b)", "std::fs"),
            ("use ::std::{io, fs as files};", "std::fs"),
            ("use std::{{io, net}};", "std::net"),
            ("println!(\"{}\", r#std::r#fs::read(a))", "std::fs"),
            ("use std as s;", "std as"),
            ("extern crate std as s;", "std as"),
            ("use std::{self as s};", "std::self"),
            ("use std::*;", "std::*"),
            ("use std::{*};", "std::*"),
            ("m!(std::$name::write(a))", "std::$"),
            ("std::process::Command::new(a)", "process::Command"),
            ("use std::process::{Child, Command as Run};", "process::Command"),
            ("use std::process as p;", "process::Command"),
            ("std::panic::set_hook(a)", "set_hook"),
            ("std::env::set_current_dir(a)", "set_current_dir"),
            ("#[allow(unsafe_code)] unsafe fn f() {}", "unsafe"),
            ("#[unsafe(no_mangle)] fn f() {}", "unsafe"),
            ("include!(\"x\")", "include!"),
            ("use std::include as i;", "std::include"),
            ("#[path = \"x\"] mod a;", "#[path]"),
            ("#[cfg_attr(all(), path = \"x\")] mod a;", "#[path]"),
            ("macro_rules! m { ($p:meta) => { #[$p] mod a; } }", "an attribute from a macro"),
            ("labrpc::Disk::simulated(node)", "labrpc::Disk"),
            ("use labrpc::{NodeId, Peer};", "labrpc::NodeId"),
            ("use labrpc as kit;", "labrpc as"),
            ("tracing::subscriber::set_global_default(s)", "tracing::subscriber"),
            ("#!/*\nstatic X: Cell<u8> = C;\n// */", "#!"),
        ] {
            assert_eq!(names(text), [expected], "{text}");
        }
    }

    // release: omit begin
    #[test]
    fn nothing_is_refused_in_servers_that_work() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = 0;
        for folder in ["solutions", "tests/variants", "labraft/src/raft.rs", "labkv/src/server.rs"] {
            let place = root.join(folder);
            let all = if place.is_file() { vec![place] } else { labgrading::files_under(&place).unwrap() };
            for file in all.into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
                assert_eq!(in_file(&file.to_string_lossy(), &std::fs::read_to_string(&file).unwrap()), []);
                files += 1;
            }
        }
        assert!(files > 10, "{files}");
    }
    // release: omit end

    #[test]
    fn what_is_no_rust_is_looked_through_all_the_same() {
        assert_eq!(refused("fn f() {\n static X: u8 = 3; \"\n"), [(2, "static".to_owned())]);
        assert_eq!(names("fn f<T: 'static>() { \" "), Vec::<String>::new());
    }
}

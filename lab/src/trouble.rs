//! What can keep `cargo lab` from doing what it was asked.
//!
//! Kit-owned. A failed test is no trouble; it is a result.

use std::fmt::{self, Display};
use std::io;
use std::path::Path;

use labgrading::UnknownName;

use crate::kit::STUDENT_CRATES;
use crate::reach::{self, Refusal};

/// Why a command could not be carried out.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It was asked for something that does not exist.
    Usage(String),
    /// Something does not compile; the compiler has said why.
    DoesNotCompile {
        /// The crate that does not.
        package: String,
        /// Whether it is one that students write.
        is_students: bool,
    },
    /// The student's code asks for what no seed decides, so it is not run.
    NotRepeatable(String),
    /// Students' code reaches for what it must not.
    Refused(Vec<Refusal>),
    /// The compiler came to no end of its own, within its limits.
    CompilerEnded {
        /// The crate at which it did not.
        package: String,
        /// What happened, in words.
        text: String,
        /// Whether it would happen again; the machine may have ended it for a reason of its own.
        is_certain: bool,
    },
    /// A program with students' code in it does not come to its tests.
    NeverStarts(String),
    /// The kit, the toolchain or the machine is at fault.
    Kit(String),
    /// The user interrupted it.
    Interrupted(String),
}

impl Trouble {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Trouble::DoesNotCompile { is_students: true, .. }
            | Trouble::NotRepeatable(_)
            | Trouble::Refused(_)
            | Trouble::NeverStarts(_) => 1,
            Trouble::CompilerEnded { package, .. } if STUDENT_CRATES.contains(&package.as_str()) => 1,
            Trouble::Usage(_) => 2,
            Trouble::Kit(_)
            | Trouble::DoesNotCompile { is_students: false, .. }
            | Trouble::CompilerEnded { .. } => 3,
            Trouble::Interrupted(_) => 4,
        }
    }

    /// Something could not be done with a file or folder.
    pub(crate) fn file(what: &str, path: &Path, error: &io::Error) -> Trouble {
        Trouble::Kit(format!("cannot {what} {}: {error}", path.display()))
    }
}

impl From<UnknownName> for Trouble {
    fn from(unknown: UnknownName) -> Trouble {
        Trouble::Usage(format!("{unknown}\n`cargo lab` lists the stages and their tests"))
    }
}

impl Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Usage(text) | Trouble::Kit(text) | Trouble::Interrupted(text) => f.write_str(text),
            Trouble::NotRepeatable(why) => write!(f, "nothing was graded: {why}"),
            Trouble::CompilerEnded { text, is_certain, .. } => {
                let next = if *is_certain { "" } else { "; if that happens again, it is this code" };
                write!(f, "{text}, so nothing was graded{next}")
            }
            Trouble::NeverStarts(text) => f.write_str(text),
            Trouble::Refused(refusals) => {
                let words = reach::in_words(refusals);
                write!(f, "this cannot be graded, so nothing was built:\n{}", words.trim_end())
            }
            Trouble::DoesNotCompile { package, is_students: true } => {
                write!(
                    f,
                    "{package} does not compile, so nothing was graded; the compiler's errors are above"
                )
            }
            Trouble::DoesNotCompile { package, is_students: false } => {
                write!(
                    f,
                    "{package}, a part of the kit, does not compile; `cargo lab doctor` shows what was changed"
                )
            }
        }
    }
}

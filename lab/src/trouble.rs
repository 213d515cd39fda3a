//! What can keep `cargo lab` from doing what it was asked.
//!
//! Kit-owned. A failed test is no trouble; it is a result.

use std::fmt::{self, Display};
use std::io;
use std::path::Path;

use labgrading::UnknownName;

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
    /// The kit, the toolchain or the machine is at fault.
    Kit(String),
    /// The user interrupted it.
    Interrupted(String),
}

impl Trouble {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Trouble::DoesNotCompile { is_students: true, .. } | Trouble::NotRepeatable(_) => 1,
            Trouble::Usage(_) => 2,
            Trouble::Kit(_) | Trouble::DoesNotCompile { is_students: false, .. } => 3,
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

//! `cargo lab check-history`: could what clients saw have happened on a single copy of the store?
//!
//! Kit-owned. The checker is `labcheck`; here a file is read, and a verdict becomes an exit code.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use labcheck::{Answer, Limits, check_file_text};

use crate::show::put;
use crate::trouble::Trouble;
use crate::{FAILED, PASSED};

/// The check has no verdict.
const UNDECIDED: u8 = 4;

/// What `cargo lab check-history --help` says.
pub(crate) const HELP: &str = "\
Judge a recorded history: is it linearizable?

The file has one event a line, in the order in which they happened:
  {:process 9, :type :invoke, :f :append, :key \"0\", :value \"x 9 0 y\"}
  {:process 9, :type :ok, :f :append, :key \"0\", :value \"x 9 0 y\"}
  {:process 3, :type :invoke, :f :get, :key \"0\", :value nil}
  {:process 3, :type :ok, :f :get, :key \"0\", :value \"x 9 0 y\"}
The types are invoke, ok, fail (it surely did not happen) and info (nobody knows). The functions are get, put and \
append of a store of strings; or read, write and cas of a single register, whose values are nil or whole \
numbers, and for cas a pair: the value expected and the new one, as in [1 2]. An operation that never \
returns counts as one of which nobody knows what became of it. Empty lines, and lines that begin with a \
semicolon, are passed over, as are other keywords in a line.

Exit codes: 0 linearizable, 1 not linearizable, with the operations that prove it, 2 wrong usage or a malformed \
file, with the number of the line, 4 undecided: the search has come to its limit.";

/// Judges the history in a file, and returns the exit code.
pub(crate) fn check(file: &Path) -> Result<u8, Trouble> {
    let named = file.display();
    let text = fs::read(file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Trouble::Usage(format!("there is no file '{named}'")),
        _ => Trouble::Usage(format!("'{named}' cannot be read: {error}")),
    })?;
    let text = String::from_utf8(text)
        .map_err(|error| Trouble::Usage(format!("'{named}' is no text: {}", error.utf8_error())))?;
    let verdict = check_file_text(&text, Limits::default())
        .map_err(|error| Trouble::Usage(format!("{named}, line {}: {}", error.line, error.message)))?;
    put(format_args!("{}\n", verdict.report.trim_end()));
    Ok(match verdict.answer {
        Answer::Linearizable => PASSED,
        Answer::Illegal => FAILED,
        Answer::Unknown => UNDECIDED,
    })
}

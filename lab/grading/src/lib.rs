//! What the command `cargo lab` and the graded tests have in common.
//!
//! Kit-owned. [`Catalog`] is the list of tests, [`Order`] what a test process is told, [`Record`] what
//! it answers. This crate depends on no student code, so the catalogue can be read and a wrong name be
//! refused while that does not compile.

mod catalog;
mod record;
mod source;

pub use self::catalog::{Catalog, Stage, Test, UnknownName};
pub use self::record::{
    Class, Failure, OWN_MESSAGES, Order, Outcome, Record, SeedRange, format_record, parse_record,
};
pub use self::source::{bytes_hash, file_hash, files_under, note, source_hash};

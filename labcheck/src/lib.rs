//! A checker of linearizability, usable on its own.
//!
//! Kit-owned.

mod explain;
mod file;
mod history;
mod kv;
mod operations;
mod proof;
mod report;
mod search;
mod unique;
mod verdict;

pub use file::{Answer, FileVerdict, LineError, check_file_text};
pub use history::{KvHistory, KvOp, KvOperation, OpId, Outcome};
pub use kv::{check_kv, check_kv_within};
pub use report::report_kv;
pub use search::{Core, KvCall, KvModel, Model, Operation, RegisterCall, RegisterModel, check_model};
pub use verdict::{Anomaly, KvVerdict, KvWitness, Limits, Undecided, Verdict};

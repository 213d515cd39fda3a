//! A checker of linearizability, usable on its own.
//!
//! Kit-owned. Read `history.rs` first, then `verdict.rs` and `kv.rs`.
//!
//! Clients of a store call operations that overlap. The store is *linearizable* if what they saw can be
//! explained by some order of these operations, executed one after the other, in which nothing that had
//! returned comes after what was called later. This crate takes what clients saw, and finds such an order, or
//! shows why there is none, or says that it could not find out in the steps it was given.
//!
//! | what there is | how to judge it |
//! |---|---|
//! | a key-value store with get, put and append | record a [`KvHistory`], then [`check_kv`] and [`report_kv`] |
//! | a file with one event in a line | [`check_file_text`] |
//! | any other object | describe it as a [`Model`], then [`check_model`] |
//!
//! Two engines do the work. Where all values written to a key can be told apart, *engine A* (`unique/`) reads
//! the order of writes off the values, and decides exactly, in time proportional to the history. Everything
//! else is searched by *engine B* (`search/`), which can run into its [`Limits`]: finding an order is a hard
//! problem in general. Whatever the engine, an order that is found is executed before it is believed, and a
//! history without one is shown by a few operations that contradict each other.
//!
//! Nothing here reads a clock, starts a thread, or depends on the order of a hash map: one history, one
//! verdict, one report. The crate depends on nothing but the standard library.

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
pub use report::{Background, report_kv, report_kv_with};
pub use search::{Core, KvCall, KvModel, Model, Operation, RegisterCall, RegisterModel, check_model};
pub use verdict::{Anomaly, KvVerdict, KvWitness, Limits, Undecided, Verdict};

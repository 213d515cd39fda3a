//! Histories written by hand, for tests in which every event matters.
//!
//! Kit-owned.

use std::collections::BTreeMap;

use labcheck::{KvHistory, KvOp, OpId};

/// A history from a script, one event in a line.
///
/// `3 put a` calls, `3 ok` or `3 ok value` returns, `3 fail`, `3 unknown`; the number is the client's. All
/// operations are on key `x`; blanks inside of values are written as `_`.
pub(crate) fn history(script: &str) -> KvHistory {
    let mut history = KvHistory::new();
    let mut open: BTreeMap<u64, OpId> = BTreeMap::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let client = words[0].parse().expect("a line begins with a client's number");
        let value = words.get(2).map_or_else(String::new, |value| value.replace('_', " "));
        let key = "x".to_owned();
        let op = match words[1] {
            "get" => KvOp::Get { key },
            "put" => KvOp::Put { key, value },
            "append" => KvOp::Append { key, value },
            end => {
                let id = open.remove(&client).expect("what ends was called");
                match end {
                    "ok" => history.ok(id, Some(value)),
                    "fail" => history.fail(id),
                    _ => history.unknown(id),
                }
                continue;
            }
        };
        open.insert(client, history.invoke(client, op));
    }
    history
}

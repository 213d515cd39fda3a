//! What a service receives: every command once, in order, the same on all servers (Raft 5.3, 5.4.3, 7).
//!
//! Kit-owned. Judged when the service receives a message, which is the only moment that counts: several
//! threads may be waiting to send. After a restart the stream goes on after the saved snapshot.

use std::collections::BTreeMap;

use labraft::{ApplyMsg, Bytes, Command, Index};

use super::facts::Facts;
use super::{Check, Life, Seen};
use crate::finding::Finding;

#[derive(Default)]
pub(super) struct ApplyStream {
    /// The last index that the service of each life has.
    last: BTreeMap<Life, Index>,
    /// What the first service to receive it has received.
    first_seen: BTreeMap<Index, Command>,
    /// The snapshots that services have made.
    snapshots: BTreeMap<Index, Vec<Bytes>>,
}

impl ApplyStream {
    fn command(&mut self, by: Life, index: Index, command: &Command) -> Result<(), Finding> {
        let last = self.last.entry(by).or_default();
        if index != *last + 1 {
            return Err(Finding::safety(
                "a service receives every committed command once, in the order of the log (Raft 5.3)",
                format!("S{}'s service receives entry {} next", by.server, *last + 1),
                format!("S{} applied entry {index} after entry {last}", by.server),
            ));
        }
        *last = index;
        let first = self.first_seen.entry(index).or_insert_with(|| command.clone());
        if first != command {
            return Err(Finding::safety(
                "all servers apply the same command at the same index (Raft 5.4.3, State Machine Safety)",
                format!("entry {index} is {first:?} everywhere, as another service has received it"),
                format!("S{} applied {command:?} as entry {index}", by.server),
            ));
        }
        Ok(())
    }

    fn snapshot(&mut self, by: Life, index: Index, snapshot: &Bytes, facts: &Facts) -> Result<(), Finding> {
        let last = self.last.entry(by).or_default();
        if index < *last {
            return Err(Finding::safety(
                "a service never goes back to an older snapshot (Raft 7)",
                format!(
                    "S{}'s service, which has entry {last}, gets no snapshot up to an earlier one",
                    by.server
                ),
                format!("S{} delivered a snapshot up to entry {index} after entry {last}", by.server),
            ));
        }
        *last = index;
        let made = self.snapshots.get(&index).map_or(&[][..], Vec::as_slice);
        if made.contains(snapshot) || !facts.knows_snapshots() {
            return Ok(());
        }
        Err(Finding::safety(
            "a snapshot that is delivered is one that a service has made (Raft 7)",
            format!("the bytes that a service passed to `snapshot` for index {index}"),
            format!(
                "S{} delivered {} other bytes as the snapshot up to entry {index}",
                by.server,
                snapshot.len()
            ),
        ))
    }
}

impl Check for ApplyStream {
    fn see(&mut self, seen: &Seen<'_>, facts: &Facts) -> Result<(), Finding> {
        match *seen {
            Seen::Booted { life } => {
                self.last.insert(life, facts.disks[life.server].state.last_included.0);
                Ok(())
            }
            Seen::Snapshotted { index, snapshot, .. } => {
                let made = self.snapshots.entry(index).or_default();
                if !made.contains(snapshot) {
                    made.push(snapshot.clone());
                }
                Ok(())
            }
            Seen::Applied { by, message: ApplyMsg::Command { index, command } } => {
                self.command(by, *index, command)
            }
            Seen::Applied { by, message: ApplyMsg::Snapshot { index, snapshot, .. } } => {
                self.snapshot(by, *index, snapshot, facts)
            }
            _ => Ok(()),
        }
    }
}

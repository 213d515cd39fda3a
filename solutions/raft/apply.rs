//! How committed commands, and snapshots that a leader sent, reach the service (Raft 5.3, 7).
//!
//! Staff-owned. One thread does nothing else, so the service gets everything once and in order; and it
//! sends without holding the lock, because the service may take its time, or call back.

use std::iter;

use labrpc::sync::Arc;

use super::{Raft, State};
use crate::ApplyMsg;

impl Raft {
    /// Hands over whatever there is. Runs as long as the server.
    pub(super) fn apply_committed(self: Arc<Self>) {
        loop {
            let news = {
                let mut state = self.state.lock();
                while !state.has_news() {
                    self.committed.wait(&mut state);
                }
                state.take_news()
            };
            for message in news {
                if self.apply.send(message).is_err() {
                    // The service has gone, and nobody listens any more.
                    return;
                }
            }
        }
    }
}

impl State {
    fn has_news(&self) -> bool {
        self.received_snapshot.is_some() || self.last_applied < self.commit_index
    }

    /// What the service has to get next. It counts as applied from now on.
    fn take_news(&mut self) -> Vec<ApplyMsg> {
        if let Some(snapshot) = self.received_snapshot.take() {
            let (index, term) = self.persistent.last_included;
            self.last_applied = index;
            return vec![ApplyMsg::Snapshot { index, term, snapshot }];
        }
        let first = self.last_applied + 1;
        let count = self.commit_index - self.last_applied;
        self.last_applied = self.commit_index;
        let entries = self.persistent.entries_from(first).iter().take(count);
        iter::zip(first.., entries)
            .map(|(index, entry)| ApplyMsg::Command { index, command: entry.command.clone() })
            .collect()
    }
}

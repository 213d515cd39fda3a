//! No server acts on what no message and no disk can have told it (Raft 5.1 to 5.3).
//!
//! Kit-owned. Holds for servers with messages of their own too: see `causality.rs` for what a server can
//! know. A commit index, a vote or a command that came any other way came through a memory that servers
//! share, or that survives a crash.

use std::collections::{BTreeMap, BTreeSet};

use labraft::{ApplyMsg, Bytes, Command, Index, ServerId, Term};
use labrpc::{Message, NodeId};

use super::causality::{Causality, Stamp};
use super::{Life, Scope, Seen, majority, names};
use crate::finding::Finding;
use crate::server::node_of;

/// What servers can know, and what they have shown to know.
pub(crate) struct Knowledge {
    servers: usize,
    scope: Scope,
    causality: Causality,
    /// Where and when each command was offered.
    offered: BTreeMap<Bytes, Vec<Stamp>>,
    /// Where and when services made each snapshot.
    made: BTreeMap<(Index, Bytes), Vec<Stamp>>,
    /// For each server, a moment after which it was in a term; the last such of each term.
    was_in: BTreeMap<(ServerId, Term), Stamp>,
    judged: BTreeSet<(Life, Term)>,
}

impl Knowledge {
    pub(crate) fn new(servers: usize, scope: Scope) -> Knowledge {
        Knowledge {
            servers,
            scope,
            causality: Causality::new(servers),
            offered: BTreeMap::new(),
            made: BTreeMap::new(),
            was_in: BTreeMap::new(),
            judged: BTreeSet::new(),
        }
    }

    pub(crate) fn sent(&mut self, message: &Message<'_>) {
        self.causality.sent(message);
    }

    pub(crate) fn delivered(&mut self, message: &Message<'_>) {
        self.causality.delivered(message);
    }

    pub(crate) fn booted(&mut self, node: NodeId) {
        self.causality.booted(node);
    }

    pub(crate) fn saved(&mut self, node: NodeId) {
        self.causality.saved(node);
    }

    /// A moment in the life of a node that nobody else knows of yet: just before it is asked something, say.
    pub(crate) fn moment_of(&mut self, node: NodeId) -> Option<Stamp> {
        self.causality.moment_of(node)
    }

    /// A server is about to be asked to start agreement on a command. Returns the moment.
    pub(crate) fn offered(&mut self, to: ServerId, command: &Command) -> Option<Stamp> {
        let moment = self.causality.moment_of(node_of(to))?;
        self.offered.entry(command.0.clone()).or_default().push(moment);
        Some(moment)
    }

    /// A server that was asked at `asked` has said that it is in `term`: so it was in no later one then.
    pub(crate) fn answered(&mut self, server: ServerId, asked: Option<Stamp>, term: Term) {
        if let Some(asked) = asked {
            self.was_in.insert((server, term), asked);
        }
    }

    /// Judges what a server shows to know.
    pub(crate) fn see(&mut self, seen: &Seen<'_>) -> Result<(), Finding> {
        match *seen {
            Seen::State { of, term, is_leader: true } => self.judge_leader(of, term),
            Seen::Started { of, started, .. } => self.judge_leader(of, started.term),
            Seen::Snapshotted { by: Some(by), index, snapshot } => {
                let moment = self.causality.moment_of(node_of(by.server));
                self.made.entry((index, snapshot.clone())).or_default().extend(moment);
                Ok(())
            }
            Seen::Applied { by, message } if self.is_told_of_commands() => match message {
                ApplyMsg::Command { index, command } => self.judge_command(by.server, *index, command),
                ApplyMsg::Snapshot { index, snapshot, .. } => {
                    self.judge_snapshot(by.server, *index, snapshot)
                }
            },
            _ => Ok(()),
        }
    }

    /// What services start and make themselves is not seen.
    fn is_told_of_commands(&self) -> bool {
        (Scope::Logs..=Scope::Snapshots).contains(&self.scope)
    }

    /// A leader has asked the others since it was in an earlier term, and heard from them that they know.
    fn judge_leader(&mut self, leader: Life, term: Term) -> Result<(), Finding> {
        if !self.judged.insert((leader, term)) {
            return Ok(());
        }
        let server = leader.server;
        let earlier = self.was_in.range((server, 0)..(server, term)).next_back();
        let Some((&(_, earlier), &since)) = earlier else { return Ok(()) };
        let is_for_it = |other: &ServerId| {
            *other == server || self.causality.knows_heard_since(node_of(server), node_of(*other), since)
        };
        let for_it: Vec<ServerId> = (0..self.servers).filter(is_for_it).collect();
        if for_it.len() >= majority(self.servers) {
            return Ok(());
        }
        Err(Finding::safety(
            "a candidate becomes leader by the votes that messages bring it (Raft 5.2)",
            format!(
                "S{server}, before in term {earlier}, leads term {term} once {} of {} servers know of it",
                majority(self.servers),
                self.servers
            ),
            format!("S{server} leads term {term}, but can only know of the votes of {}", names(&for_it)),
        ))
    }

    /// A server that applies a command has been told it, and that a majority has it.
    fn judge_command(&self, server: ServerId, index: Index, command: &Command) -> Result<(), Finding> {
        let origins = self.offered.get(&command.0).map_or(&[][..], Vec::as_slice);
        let node = node_of(server);
        if !origins.iter().any(|origin| self.causality.has_word_of(node, *origin)) {
            return Err(Finding::safety(
                "a server knows a command from its client, a message or its disk (Raft 5.3, Figure 2)",
                format!("S{server} applies entry {index} once a message or its disk has told it {command:?}"),
                format!("S{server} applied {command:?} as entry {index}, which nothing can have told it"),
            ));
        }
        let told = |origin: &Stamp| -> Vec<ServerId> {
            let is_told = |other: &ServerId| self.causality.knows_told(node, node_of(*other), *origin);
            (0..self.servers).filter(is_told).collect()
        };
        let told = origins.iter().map(told).max_by_key(Vec::len).unwrap_or_default();
        if told.len() >= majority(self.servers) {
            return Ok(());
        }
        Err(Finding::safety(
            "an entry is committed once a majority has stored it (Raft 5.3)",
            format!(
                "S{server} applies entry {index} once it can know that {} of {} servers have it",
                majority(self.servers),
                self.servers
            ),
            format!(
                "S{server} applied entry {index}, and can only have been told that {} had it",
                names(&told)
            ),
        ))
    }

    fn judge_snapshot(&self, server: ServerId, index: Index, snapshot: &Bytes) -> Result<(), Finding> {
        let origins = self.made.get(&(index, snapshot.clone())).map_or(&[][..], Vec::as_slice);
        if origins.iter().any(|origin| self.causality.has_word_of(node_of(server), *origin)) {
            return Ok(());
        }
        Err(Finding::safety(
            "a server gets a snapshot from its service, a message or its disk (Raft 7)",
            format!("S{server} delivers a snapshot that a message or its disk has brought it"),
            format!(
                "S{server} delivered the snapshot up to entry {index}, which nothing can have brought it"
            ),
        ))
    }

    /// A client's write was carried out: a majority of the servers has been told of it, and it of that.
    #[cfg(feature = "kv")]
    pub(crate) fn written(
        &self,
        client: NodeId,
        begun: Stamp,
        what: &impl std::fmt::Display,
    ) -> Result<(), Finding> {
        let is_told = |other: &ServerId| self.causality.knows_told(client, node_of(*other), begun);
        let told: Vec<ServerId> = (0..self.servers).filter(is_told).collect();
        if told.len() >= majority(self.servers) {
            return Ok(());
        }
        Err(Finding::safety(
            "a write is carried out once a majority of the servers has stored it (Raft 5.3, 8)",
            format!(
                "{what} returns once {} of {} servers have been told of it",
                majority(self.servers),
                self.servers
            ),
            format!("{what} has returned, but messages can have told only {} of it", names(&told)),
        ))
    }
}

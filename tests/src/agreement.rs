//! How a cluster agrees on commands.
//!
//! Kit-owned.

use std::time::Duration;

use labraft::{Command, Index, ServerId, Started, Term};

use labrpc::Disk;

use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::limits::{AGREED_AT_LAST, AGREED_POLL, AGREED_WITHIN, PER_ENTRY_OF_CONFLICT, POLL_INTERVAL};
use crate::server::node_of;

/// How waiting for an entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    Applied,
    /// Something else has been applied in its place, or its leader is gone.
    Lost,
}

/// A moment at which every server has applied all entries up to one, and no log goes on behind it: the
/// command of that entry was the last to be started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everywhere {
    /// That entry; 0 before the first command.
    pub index: Index,
    /// How many commands servers had taken by then.
    taken: usize,
}

/// Commands.
impl Cluster {
    /// A command unlike all others of the run.
    pub fn fresh_command(&mut self) -> Command {
        self.sized_command(0)
    }

    /// A command unlike all others of the run, of at least `bytes` bytes.
    pub fn sized_command(&mut self, bytes: usize) -> Command {
        self.commands += 1;
        let mut text = format!("x{}", self.commands).into_bytes();
        text.resize(bytes.max(text.len()), b'.');
        Command(text.into())
    }

    /// Has a server start agreement on `command`; `None` when it is down or says that it is not the
    /// leader.
    pub fn start(&mut self, server: ServerId, command: &Command) -> Option<Started> {
        let of = self.life(server);
        let asked = self.watch.offered(server, command);
        match self.members[server].server.start_command(self.world(), command.clone()) {
            Err(finding) => self.fail(finding),
            Ok(started) => {
                if let Some(started) = started {
                    self.watch.started(of, asked, started, command);
                }
                started
            }
        }
    }

    /// Has a server start agreement on several commands at the same time, each on a thread of its own, and
    /// waits until all have returned. Those that it took are reported.
    pub fn start_together(&mut self, server: ServerId, commands: &[Command]) -> Vec<Started> {
        let of = self.life(server);
        // None of them has been called by the first of these moments.
        let asked: Vec<_> = commands.iter().map(|command| self.watch.offered(server, command)).collect();
        let asked = asked.first().copied().flatten();
        let started = self.members[server].server.start_together(self.world(), commands);
        match started {
            Err(finding) => self.fail(finding),
            Ok(started) => {
                let taken = started
                    .iter()
                    .zip(commands)
                    .filter_map(|(started, command)| Some(((*started)?, command)));
                taken
                    .map(|(started, command)| {
                        self.watch.started(of, asked, started, command);
                        started
                    })
                    .collect()
            }
        }
    }

    /// Starts several commands with one server; returns the last that it took.
    pub fn start_many(&mut self, server: ServerId, commands: usize) -> Option<Started> {
        let mut last = None;
        for _ in 0..commands {
            let command = self.fresh_command();
            last = self.start(server, &command).or(last);
        }
        last
    }

    /// Starts several commands with each connected server that says that it leads; returns the last that
    /// was taken.
    pub fn start_with_leaders(&mut self, commands: usize) -> Option<Started> {
        let mut last = None;
        for server in self.connected() {
            if matches!(self.get_state(server), Some((_, true))) {
                last = self.start_many(server, commands).or(last);
            }
        }
        last
    }

    /// Offers a command to every server that is up and not paused, whatever it says of itself; returns the
    /// last server that took one.
    pub fn start_everywhere(&mut self) -> Option<ServerId> {
        let mut taker = None;
        for server in 0..self.len() {
            if self.is_up(server) && !self.members[server].is_paused {
                let command = self.fresh_command();
                if self.start(server, &command).is_some() {
                    taker = Some(server);
                }
            }
        }
        taker
    }

    /// How many commands servers have taken so far, those included that came to nothing because their
    /// leaders were not leaders any more.
    pub fn n_taken(&self) -> usize {
        self.watch.n_started()
    }

    /// How many servers' services have received what stands at `index`.
    pub fn n_committed(&self, index: Index) -> usize {
        (0..self.len()).filter(|&server| self.services.applied(server) >= index).count()
    }

    /// The last index that any service has received.
    pub fn last_applied(&self) -> Index {
        self.services.last()
    }

    /// The last index that the server's service has received.
    pub fn applied(&self, server: ServerId) -> Index {
        self.services.applied(server)
    }

    /// Bytes of log on a server's disk, snapshot not counted.
    pub fn log_bytes(&self, server: ServerId) -> usize {
        Disk::simulated(node_of(server)).bytes_without_blob()
    }

    /// Has every service make a snapshot after so many commands; 0 for never.
    pub fn snapshot_every(&self, commands: usize) {
        self.services.snapshot_every(commands, None);
    }

    /// Has the service of one server make a snapshot after each command, and no other any.
    pub fn snapshots_on(&self, server: ServerId) {
        self.services.snapshot_every(1, Some(server));
    }

    /// Has every service call `get_state` of its server while it takes what that applies.
    pub fn services_call_back(&self) {
        self.services.call_back();
    }

    /// Has the cluster agree on a fresh command and waits until at least `servers` services have received
    /// it. Returns its index.
    ///
    /// It is started with whatever server says that it leads. A command that is lost because its leader
    /// was not one any more is followed by another fresh one.
    pub fn one(&mut self, servers: usize) -> Index {
        self.one_of_size(servers, 0)
    }

    /// The same with a command of at least `bytes` bytes.
    pub fn one_of_size(&mut self, servers: usize, bytes: usize) -> Index {
        let begun = self.now();
        loop {
            let command = self.sized_command(bytes);
            if let Some((leader, started)) = self.start_with_a_leader(&command) {
                if self.wait_applied(leader, started, &command, servers) == Waited::Applied {
                    return started.index;
                }
            } else {
                let connected = self.connected();
                self.check_progress_of(&connected);
                self.sleep(POLL_INTERVAL);
            }
            if self.now() - begun > AGREED_AT_LAST {
                self.fail(Finding::liveness(
                    "servers that reach each other agree on commands (Raft 5.3)",
                    format!("{servers} servers apply a fresh command"),
                    format!(
                        "failed to reach agreement: {} s have passed, and leaders come and go",
                        AGREED_AT_LAST.as_secs()
                    ),
                ));
            }
        }
    }

    /// Waits until at least `servers` services have received `index`.
    pub fn wait(&mut self, index: Index, servers: usize) {
        let begun = self.now();
        while self.n_committed(index) < servers {
            self.check_in_time(begun, index, servers, || "it was started".into());
            self.sleep(AGREED_POLL);
        }
    }

    /// The same, unless a server goes on to another term than `term`: then the entry may be lost.
    pub fn wait_in_term(&mut self, index: Index, term: Term, servers: usize) {
        let begun = self.now();
        while self.n_committed(index) < servers {
            let connected = self.connected();
            if connected.iter().any(|&server| self.get_state(server).is_some_and(|(now, _)| now != term)) {
                return;
            }
            self.check_in_time(begun, index, servers, || {
                format!("it was started in term {term}, which goes on")
            });
            self.sleep(AGREED_POLL);
        }
    }

    /// Starts `command` with the server that leads the latest term, if there is any.
    fn start_with_a_leader(&mut self, command: &Command) -> Option<(ServerId, Started)> {
        let leader = self.latest_leader_of(&self.connected())?;
        Some((leader, self.start(leader, command)?))
    }

    fn wait_applied(
        &mut self,
        leader: ServerId,
        started: Started,
        command: &Command,
        servers: usize,
    ) -> Waited {
        let begun = self.now();
        let mut looked = begun;
        loop {
            if let Some(applied) = self.services.command(started.index) {
                if applied != *command {
                    return Waited::Lost;
                }
                if self.n_committed(started.index) >= servers {
                    return Waited::Applied;
                }
            }
            if self.now() - looked >= POLL_INTERVAL {
                looked = self.now();
                if !self.still_leads(leader, started.term) {
                    return Waited::Lost;
                }
            }
            let what = || format!("S{leader}, leading term {} all the time, took the command", started.term);
            self.check_in_time(begun, started.index, servers, what);
            self.sleep(AGREED_POLL);
        }
    }

    fn still_leads(&mut self, leader: ServerId, term: Term) -> bool {
        self.connected().contains(&leader) && self.get_state(leader) == Some((term, true))
    }

    /// Fails the run if an entry that was waited for since `begun` would be everywhere by now in a correct
    /// cluster.
    fn check_in_time(&mut self, begun: Duration, index: Index, servers: usize, what: impl Fn() -> String) {
        let since = self.fair_window().map(|fair| fair.max(begun));
        if since.is_some_and(|since| self.now() - since > self.bound_for(index)) {
            self.fail(self.not_agreed(index, servers, &what()));
        }
    }

    /// In what time a correct cluster has an entry everywhere: two seconds, and four round trips for each
    /// entry in which logs may differ, of which there are no more than entries.
    fn bound_for(&self, index: Index) -> Duration {
        AGREED_WITHIN + PER_ENTRY_OF_CONFLICT * index as u32
    }

    fn not_agreed(&self, index: Index, servers: usize, what: &str) -> Finding {
        let have: Vec<String> =
            (0..self.len()).map(|server| format!("S{server} {}", self.services.applied(server))).collect();
        Finding::liveness(
            "a command that a leader takes is committed and applied by every server it reaches (Raft 5.3)",
            format!("{servers} servers apply entry {index} within {:?}", self.bound_for(index)),
            format!(
                "failed to reach agreement on entry {index}: {what}, but only {} of {servers} servers have applied it; each has applied up to: {}",
                self.n_committed(index),
                have.join(", ")
            ),
        )
    }
}

impl Everywhere {
    /// That moment is now: [`Cluster::one`] with all servers has just returned `index`.
    pub fn now(cluster: &Cluster, index: Index) -> Everywhere {
        Everywhere { index, taken: cluster.n_taken() }
    }

    /// Checks the index of a command that a server has taken since: behind the entries that all servers have
    /// there may be one for each command, lost or not, and nothing else.
    pub fn check_next(self, cluster: &Cluster, index: Index) {
        let Everywhere { index: last, taken } = self;
        let since = cluster.n_taken() - taken;
        if index <= last {
            cluster.fail(Finding::safety(
                "a leader goes on after the last entry it has (Raft 5.3)",
                format!("an index after {last}, as every server has applied entries up to {last}"),
                format!("a new command got index {index}, though entry {index} had been applied long before"),
            ));
        }
        if index > last + since {
            let expected = match since {
                1 => format!("index {}", last + 1),
                _ => format!("an index from {} to {}", last + 1, last + since),
            };
            let (commands, have) = if since == 1 { ("command", "has") } else { ("commands", "have") };
            cluster.fail(Finding::safety(
                "log indexes count from 1, and a leader adds nothing of its own (Raft 5.3)",
                format!("{expected}: every server had entries up to {last}, and {since} {commands} {have} been started since"),
                format!("a command got index {index}, though only {since} {commands} {have} been started after entry {last}"),
            ));
        }
    }
}

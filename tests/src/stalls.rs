//! Servers whose threads are held up now and then, as by an operating system that takes the core away.
//!
//! Kit-owned. What one thread does between two steps of another is where most mistakes of locking are. The tests
//! named `stalled_...` are written in these words; storms have stalls too (`storm.rs`).

use std::cell::Cell;
use std::rc::Rc;

use labraft::{Command, ServerId};
use labrpc::Stalls;

use crate::cluster::Cluster;
use crate::finding::Finding;
use crate::limits::{AGREED_AT_LAST, AGREED_POLL, APPLIED_WITHIN};
use crate::server::node_of;

/// Threads of the harness that ask servers again and again, until dropped.
pub struct Asking(Rc<Cell<bool>>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

impl Cluster {
    /// Has a server's threads held up now and then, until [`Cluster::end_stalls`] or a crash.
    pub fn stall(&mut self, server: ServerId, stalls: Stalls) {
        self.members[server].has_stalls = true;
        self.world().stall(node_of(server), Some(stalls));
        self.note_change();
    }

    /// The same for all servers.
    pub fn stall_all(&mut self, stalls: &Stalls) {
        (0..self.len()).for_each(|server| self.stall(server, stalls.clone()));
    }

    /// Holds up no more threads. Those that are held up go on when their time has come.
    pub fn end_stalls(&mut self) {
        (0..self.len()).for_each(|server| self.end_stalls_of(server));
    }

    /// The same for one server.
    pub(crate) fn end_stalls_of(&mut self, server: ServerId) {
        if std::mem::replace(&mut self.members[server].has_stalls, false) {
            self.world().stall(node_of(server), None);
            self.note_change();
        }
    }

    /// True until stalls have been ended everywhere, and the last thread goes on that one has held up.
    pub(crate) fn stalls_go_on(&self) -> bool {
        let is_stalled = |server| self.world().stalled_threads(node_of(server)) > 0;
        self.members.iter().any(|member| member.has_stalls) || (0..self.len()).any(is_stalled)
    }

    /// Asks every server about itself again and again, beside all else, until what is returned is dropped. No
    /// two servers may ever say that they lead the same term.
    pub fn keep_asking(&mut self) -> Asking {
        let is_over = Rc::new(Cell::new(false));
        for server in 0..self.len() {
            let (of, watch) = (self.life(server), self.watch.clone());
            let tell = move |term| watch.claimed(of, term);
            self.members[server].server.keep_asking(self.world(), is_over.clone(), tell);
        }
        Asking(is_over)
    }

    /// Has a server start agreement on `command`, and does not wait for `start` to return.
    pub fn begin_start(&mut self, server: ServerId, command: &Command) {
        let (of, watch, told) = (self.life(server), self.watch.clone(), command.clone());
        let asked = self.watch.offered(server, command);
        let tell = move |started| watch.started(of, asked, started, &told);
        self.members[server].server.begin_start(self.world(), command.clone(), tell);
    }

    /// Waits until every connected server has applied what is committed now, and starts nothing meanwhile: a
    /// server that waits for another command to come before it goes on would wait for ever.
    ///
    /// Only a leader that has committed an entry of its own term is sure to tell that to the others. When the
    /// leader has changed since, a fresh command is agreed on instead.
    pub fn check_committed_is_applied(&mut self) {
        let begun = self.now();
        loop {
            let leader = self.check_settled();
            let Some((term, true)) = self.get_state(leader) else { continue };
            let committed = self.watch.last_committed();
            let Some((index, _)) = committed.filter(|(_, in_term)| *in_term == Some(term)) else {
                let servers = self.connected().len();
                self.one(servers);
                return;
            };
            if self.is_applied_in_term(index, leader, term) {
                return;
            }
            if self.now() - begun > AGREED_AT_LAST {
                // Leaders come and go; whether they may is judged there.
                self.one(self.connected().len());
                return;
            }
        }
    }

    /// Waits until every connected server has applied `index`. False when `leader` does not lead `term` any more.
    fn is_applied_in_term(&mut self, index: usize, leader: ServerId, term: u64) -> bool {
        let begun = self.now();
        loop {
            let connected = self.connected();
            let late = connected.iter().copied().find(|&server| self.applied(server) < index);
            let Some(late) = late else { return true };
            if self.get_state(leader) != Some((term, true)) {
                return false;
            }
            let fair = self.fair_window();
            if fair.is_some_and(|fair| self.now() - fair.max(begun) > APPLIED_WITHIN) {
                self.fail(self.never_applied(late, index, leader, term));
            }
            self.sleep(AGREED_POLL);
        }
    }

    fn never_applied(&self, late: ServerId, index: usize, leader: ServerId, term: u64) -> Finding {
        let applied = self.applied(late);
        Finding::liveness(
            "what is committed is applied, whether another command comes or not (Raft 5.3)",
            format!("S{late}'s service receives entry {index}, which S{leader} committed in term {term}"),
            format!(
                "S{late} has applied entries up to {applied} and nothing more for {} s,\nthough S{leader} has committed entry {index} and still leads term {term}.\nDoes the thread that applies miss a signal given before it waits for one?",
                APPLIED_WITHIN.as_secs()
            ),
        )
    }
}

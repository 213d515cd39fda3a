//! What led to a history that is not linearizable, as far as the network shows it.
//!
//! Kit-owned. The checker knows only what clients' functions returned. The harness has also seen which
//! server has answered what, how often a client has asked, and who led: enough to tell a client that gave up
//! from a write that was lost with its leader, and a deposed leader from one that answers a repeated request
//! wrongly. What it has not seen it does not claim.

use std::time::Duration;

use labcheck::{Anomaly, Background, KvOp, KvOperation, KvWitness, OpId, Outcome};

use crate::kv_calls::{Asked, Calls, End, Leads, tally};

/// An operation, and what passed for it between its client and the servers.
pub(crate) struct Told<'a> {
    pub(crate) id: OpId,
    pub(crate) operation: &'a KvOperation,
    pub(crate) asked: Vec<Asked>,
}

/// What is known of the operations in `told`, which prove the history illegal; `end` is when the last of them
/// returned. `None` when that is no more than the history says.
pub(crate) fn background(
    witness: &KvWitness,
    told: &[Told<'_>],
    calls: &Calls,
    end: Duration,
) -> Option<Background> {
    if let Some(gave_up) = told.iter().find(|told| told.returned_without_answer()) {
        return Some(gave_up.gave_up());
    }
    if let Some(changed) = told.iter().find_map(Told::returned_another_value) {
        return Some(changed);
    }
    let culprit = told.iter().find(|told| Some(told.id) == witness.culprit())?;
    match witness.anomaly {
        Anomaly::StaleRead => culprit.stale(calls),
        Anomaly::LostWrite => culprit.lost(calls, end),
        _ => None,
    }
}

impl Told<'_> {
    fn client(&self) -> String {
        format!("C{}", self.operation.client)
    }

    /// The answer that has carried the operation out for its client.
    fn answer(&self) -> Option<(&Asked, &Option<String>, Duration)> {
        self.asked.iter().rev().find_map(|asked| match &asked.end {
            End::Ok { value, at } => Some((asked, value, *at)),
            _ => None,
        })
    }

    fn returned_without_answer(&self) -> bool {
        matches!(self.operation.outcome, Outcome::Ok(_)) && self.answer().is_none()
    }

    fn gave_up(&self) -> Background {
        let (client, id) = (self.client(), self.id);
        Background {
            seen: format!(
                "{client} returned from {id} though no server had answered Ok: {}.",
                tally(&self.asked)
            ),
            cause: "the client gave up. It may return only when a server has answered Ok; until then nobody \
                    knows whether the operation was executed, so it has to go on asking."
                .into(),
        }
    }

    fn returned_another_value(&self) -> Option<Background> {
        let (KvOp::Get { .. }, Outcome::Ok(Some(returned))) = (&self.operation.op, &self.operation.outcome)
        else {
            return None;
        };
        let was_answered =
            |asked: &Asked| matches!(&asked.end, End::Ok { value: Some(value), .. } if value == returned);
        if self.asked.iter().any(was_answered) {
            return None;
        }
        let (client, id) = (self.client(), self.id);
        Some(Background {
            seen: format!("no server has answered {client}'s {id} with the value that the client returned."),
            cause: "the client returned something else than it was answered.".into(),
        })
    }

    /// Of a get that was answered with an old value.
    fn stale(&self, calls: &Calls) -> Option<Background> {
        let (answered, value, at) = self.answer()?;
        let (server, id) = (answered.server, self.id);
        let leader = calls.leader_at(at);
        let times = self.asked.iter().filter(|asked| asked.number == answered.number).count();
        let what = if value.as_ref().is_some_and(String::is_empty) { "Ok(\"\")" } else { "Ok" };
        let seen = format!("S{server} answered {id} with {what}{}.", while_leading(server, leader));
        let repeated = match times {
            0 | 1 => String::new(),
            _ => format!(" The client had asked {times} times: {}.", tally(&self.asked)),
        };
        let cause = if leader.is_some_and(|leads| leads.server != server) {
            "a server that did not lead (any more) answered: from its own state, or with what was executed at \
             the same index for another request."
        } else if times > 1 {
            "a repeated request was answered with something else than it had returned when it was executed: \
             the reply is to be remembered with the request's number, for gets too. Or the server answered \
             before it had executed everything that was committed."
        } else if leader.is_some() {
            "the leader answered from its own state before it had executed everything that was committed. Or \
             a write was acknowledged too early, and is lost."
        } else {
            "a server answered from its own state while it was not (or no longer) the leader, or before it had \
             executed everything that was committed."
        };
        Some(Background { seen: format!("{seen}{repeated}"), cause: cause.into() })
    }

    /// Of a write that was acknowledged, and that nobody has seen.
    fn lost(&self, calls: &Calls, end: Duration) -> Option<Background> {
        let (answered, _, at) = self.answer()?;
        let (server, id) = (answered.server, self.id);
        let leader = calls.leader_at(at)?;
        let seen = format!("S{server} answered {id} with Ok{}", while_leading(server, Some(leader)));
        Some(match calls.next_leader(at, end) {
            Some(next) => Background {
                seen: format!("{seen}; then S{} became leader of term {}, at {:.3} s.", next.server, next.term, next.at.as_secs_f64()),
                cause: "the write was acknowledged before it was committed, and was lost when the leader changed."
                    .into(),
            },
            None => Background {
                seen: format!("{seen}, and no other server became leader after that."),
                cause: "the write was acknowledged without being executed: its answer was meant for another \
                        request, or given when the time to wait was over. Or it was executed, and what it \
                        did was lost with a restart or a snapshot."
                    .into(),
            },
        })
    }
}

/// In which role a server has answered, as far as that is known.
fn while_leading(server: usize, leader: Option<Leads>) -> String {
    match leader {
        Some(Leads { term, server: leads, .. }) if leads == server => format!(", as leader of term {term}"),
        Some(Leads { term, server: leads, .. }) => format!(", while S{leads} led term {term}"),
        None => String::new(),
    }
}

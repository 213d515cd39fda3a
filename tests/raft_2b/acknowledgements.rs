//! Checkpoints of stage 2B about acknowledgements: how long they count, and what a leader sends to a follower
//! that has given them, or that gives none.
//!
//! Kit-owned. S0 may have stood for election by itself: the scripts go on in terms far above its own.

use std::time::Duration;

use labgrading::Class;
use labraft::{Index, Term};
use labrpc::sync::{Arc, Mutex};
use tests::{Finding, FollowerLog, Request, Script, append, command, heartbeat};

use super::{COMMITTED, check_applied_up_to};

/// The logs of the played servers.
type Logs = Arc<Mutex<Vec<FollowerLog>>>;

/// A term far above any that S0 can have stood in by itself.
const TERM: Term = 1_000;

pub(super) fn ack_for_what_was_sent(script: &mut Script) {
    let logs = script.answer_appends_truthfully(&[FollowerLog::default(), FollowerLog::default()]);
    script.elect();
    script.silence(2);
    hold_an_answer(script, &logs);
    let stored = logs.lock()[0].terms.len();
    // Nothing that S0 sends from now on arrives anywhere.
    script.lose_requests();
    script.start_as_leader(&command("b"));
    script.start_as_leader(&command("c"));
    script.sleep(Duration::from_millis(50));
    script.release_held();
    script.wait_applied(stored);
    script.sleep(Duration::from_millis(200));
    let rule = "an answer counts for the entries that were sent, not for those added since (Raft 5.3)";
    check_applied_up_to(script, stored, rule, "S1 has answered for no more");
}

pub(super) fn ack_of_earlier_term(script: &mut Script) {
    let empty = FollowerLog::default();
    let logs = script.answer_appends_truthfully(&[empty.clone(), empty.clone(), empty.clone(), empty]);
    let first = script.elect();
    // S0 has at least four entries; only S1 gets them, and its answer is held.
    [2, 3, 4].iter().for_each(|&peer| script.silence(peer));
    for index in 1..=3 {
        script.start_as_leader(&command(&format!("old{index}")));
    }
    hold_an_answer(script, &logs);
    let old = logs.lock()[0].terms.len();
    check_applied_up_to(script, 0, COMMITTED, "S0 has heard from no server but S1, of five");
    let (_, third) = replace_and_lead_again(script, &logs, first, old);
    script.sleep(Duration::from_millis(200));
    let why = "only S0 and S3, of five, have stored what follows entry 1";
    check_applied_up_to(script, 1, COMMITTED, why);
    // Now the old answer arrives.
    script.release_held();
    script.sleep(Duration::from_millis(300));
    let applied = script.applied().len();
    if applied > 1 {
        script.fail(Finding::safety(
            "an answer counts for the leader that asked, in its term (Raft 5.3)",
            format!("S0, leading term {third}, does not count what S1 answered to it in term {first}: {why}"),
            format!("S0, leading term {third}, applied entries 2 to {applied} when S1's answer of term {first} arrived"),
        ));
    }
    // Whoever can be reached again stores them, and they are committed.
    script.end_rules();
    script.wait_applied(old);
}

/// S1 acknowledges entries to S0, another leader replaces them, and S0 leads again: what S1 has stored by then
/// S0 cannot know.
pub(super) fn match_of_earlier_term(script: &mut Script) {
    let empty = FollowerLog::default();
    let logs = script.answer_appends_truthfully(&[empty.clone(), empty.clone(), empty.clone(), empty]);
    script.append_entries(4, heartbeat(TERM, 4));
    let first = script.elect_after(TERM);
    // S1 alone of five acknowledges S0's entries, so they are not committed.
    [2, 3, 4].iter().for_each(|&peer| script.silence(peer));
    for index in 1..=4 {
        script.start_as_leader(&command(&format!("old{index}")));
    }
    script.sleep(Duration::from_millis(300));
    let old = logs.lock()[0].terms.len();
    let (second, third) = replace_and_lead_again(script, &logs, first, old);
    script.sleep(Duration::from_millis(500));
    let applied = script.applied().len();
    if applied > 1 {
        script.fail(Finding::safety(
            "a new leader knows of nobody's log: its match_index begins at 0 (Raft Figure 2, \"reinitialized after election\")",
            format!(
                "S0, leading term {third}, does not count S1, which stored {old} entries when S0 led term {first}, and lost them to the leader of term {second}"
            ),
            format!("S0 applied {applied} entries, of which only itself and S3, of five, have those after the first"),
        ));
    }
    script.end_rules();
    script.wait_applied(old);
}

/// How long requests to a silent server are counted.
const WINDOW: Duration = Duration::from_secs(5);

/// S2 gets S0's requests, and its answers are lost. What matters is that S0 does not send more and more. A leader
/// that sends each message once, or one message at a time, sends as much after a minute as after 20 s; one that
/// sends each message up to five times more does so too, as five calls that nobody answers take 18 s, and one
/// that sends it ten times more sends half as much again. A leader that sends each message until it is answered
/// has a new thread for each heartbeat, and sends two and a half times as much.
pub(super) fn silent_follower(script: &mut Script) {
    script.append_entries(1, heartbeat(TERM, 1));
    script.elect_after(TERM);
    script.cut_replies(2);
    script.sleep(Duration::from_secs(20));
    let early = sent_to(script, 2, WINDOW);
    script.sleep(Duration::from_secs(35));
    let late = sent_to(script, 2, WINDOW);
    if late > 2 * early + 10 {
        script.fail(Finding::new(
            Class::Performance,
            "a leader sends to a server that does not answer as often as to any other (Raft 5.3)",
            format!("S2 does not answer: about as many requests to it in 5 s after a minute as after 20 s, when they were {early}"),
            format!("S0 sends S2 {late} in 5 s by then: does each heartbeat start a thread that sends until it is answered?"),
        ));
    }
}

/// Answers of S2, which has acknowledged everything, are lost for two seconds, six times. Nothing is new, so
/// there is nothing to send but heartbeats; a message that was sent twice, or the end of the log repeated, would
/// do no harm. A leader that forgets after each unanswered call what S2 has sends all of it at least six times.
pub(super) fn acknowledged_once(script: &mut Script) {
    const ENTRIES: usize = 10;
    script.answer_appends_truthfully(&[FollowerLog::default(), FollowerLog::default()]);
    script.append_entries(1, heartbeat(TERM, 1));
    script.elect_after(TERM);
    for index in 1..=ENTRIES {
        script.start_as_leader(&command(&format!("c{index}")));
    }
    script.wait_applied(ENTRIES);
    script.sleep(Duration::from_secs(1));
    script.forget();
    for _ in 0..6 {
        script.silence(2);
        script.sleep(Duration::from_secs(2));
        script.end_rules();
        script.sleep(Duration::from_secs(1));
    }
    let carried = |request: &Request| match request {
        Request::Append(args) => args.entries.len(),
        _ => 0,
    };
    let again: usize = script
        .arrived()
        .iter()
        .filter(|arrived| arrived.peer == 2)
        .map(|arrived| carried(&arrived.request))
        .sum();
    if again > 2 * ENTRIES {
        script.fail(Finding::new(
            Class::Performance,
            "a leader does not send again what a follower has acknowledged (Raft 5.3)",
            format!("heartbeats only for S2, which has acknowledged all {ENTRIES} entries, and whose later answers to heartbeats are lost six times for 2 s"),
            format!("S0 sent S2 {again} entries, each of the {ENTRIES} about {} times: is next_index set back when a call is not answered?", again / ENTRIES),
        ));
    }
}

/// Another leader replaces what S0 and S1 have by one entry of its own term. Then S0 leads again, with as many
/// entries as it `had`, and all but the first only S3 stores. Returns the term of the other leader, and S0's.
fn replace_and_lead_again(script: &mut Script, logs: &Logs, after: Term, had: Index) -> (Term, Term) {
    let second = after + 5;
    script.append_entries(4, append(second, 4, (0, 0), &[second], 0));
    *logs.lock() = vec![FollowerLog::new(&[second], true); 4];
    script.end_rules();
    script.forget();
    let third = script.elect_after(second);
    logs.lock().iter_mut().for_each(|log| log.terms = vec![second]);
    [1, 2, 4].iter().for_each(|&peer| script.lose_requests_to(peer));
    for index in 2..=had {
        script.start_as_leader(&command(&format!("new{index}")));
    }
    (second, third)
}

/// Has S1 store an entry, and its answer held. A leader that waits for an answer before it sends more may
/// be waiting for that to a heartbeat just then, so this may take a few tries.
fn hold_an_answer(script: &Script, logs: &Logs) {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        script.sleep(Duration::from_millis(137));
        script.hold_replies(1);
        let started = script.start_as_leader(&command("a"));
        script.sleep(Duration::from_millis(30));
        if logs.lock()[0].terms.len() >= started.index {
            return;
        }
        script.stop_holding(1);
    }
    script.fail(Finding::liveness(
        "a leader sends each new entry at once (Raft 5.3)",
        "S1 gets one of twenty commands within 30 ms",
        "S1 got none of them in time",
    ));
}

/// How many requests of S0's arrive at `peer` in the next `span`.
fn sent_to(script: &mut Script, peer: usize, span: Duration) -> usize {
    script.forget();
    script.sleep(span);
    script.arrived().iter().filter(|arrived| arrived.peer == peer).count()
}

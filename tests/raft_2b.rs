//! Stage 2B: the log.
//!
//! Kit-owned. Each test tells a story about a cluster in the words of `src/cluster.rs`. Beside what a
//! test checks itself, every run is watched by the checks under `src/checks/`, from here on with those of
//! the log: equal entries have equal histories, votes go to complete logs, what is committed was accepted
//! by a majority in its leader's term, every later leader has it, and every service receives the same.
//!
//! The single rules, one checkpoint each, are in `raft_2b/rules.rs`.
//!
//! The tests named as in MIT's 6.824 do what those do. No server crashes in this stage, and nothing on
//! disk is judged.

#[path = "raft_2b/rules.rs"]
mod rules;
#[path = "raft_2b/stalls.rs"]
mod stalls;

use std::time::Duration;

use labraft::{Command, Started};
use labrpc::{Effect, HeldMessage, Kinds, Leg, Links, Rule, long_reordering};
use tests::{
    BACKUP_TIME, CALLS_RETURN_WITHIN, COMMIT_TIME, Cluster, Everywhere, Finding, LEADER_AT_LAST, Mix, graded,
    node_of,
};

/// A request and its answer.
const LEGS: u64 = 2;

/// Long enough for any server without a leader to have stood for election several times.
const SEVERAL_TIMEOUTS: Duration = Duration::from_secs(2);

/// Three commands in a row have indexes 1, 2 and 3, and nobody applies one before it was started. A command
/// that is lost with a leader, and so is followed by another, may keep an index to itself.
#[test]
fn basic_agree() {
    graded("2b::basic_agree", 3, |cluster| {
        let mut everywhere = Everywhere::default();
        for _ in 0..3 {
            check_nothing_at(cluster, everywhere.index + 1, "no command has been started for it");
            let index = cluster.one(3);
            everywhere.check_next(cluster, index);
            everywhere = Everywhere::now(cluster, index);
        }
    });
}

/// Each command is sent to each follower once or twice, not again and again.
///
/// Ten commands of 5,000 bytes, one at a time: a plain Raft sends each of them twice, once to each
/// follower, and a few hundred bytes around it. The limit is the classic one, three times the commands'
/// bytes, and 200 bytes for each of the thirty messages a second that each server may exchange with each
/// other one.
#[test]
fn rpc_bytes() {
    graded("2b::rpc_bytes", 3, |cluster| {
        const COMMANDS: u64 = 10;
        const BYTES: usize = 5_000;
        cluster.one(3);
        let (begun, before) = (cluster.now(), cluster.bytes_sent());
        for _ in 0..COMMANDS {
            cluster.one_of_size(3, BYTES);
        }
        let sent = cluster.bytes_sent() - before;
        let seconds = (cluster.now() - begun).as_secs() + 1;
        let limit = 3 * COMMANDS * BYTES as u64 + 6 * 30 * 200 * seconds;
        if sent > limit {
            cluster.fail(Finding::new(
                labgrading::Class::Performance,
                "each command is sent to each follower about once (Raft 5.3)",
                format!("at most {limit} bytes in {seconds} s"),
                format!("too many bytes: {sent} sent for {COMMANDS} commands of {BYTES} bytes"),
            ));
        }
    });
}

/// With one follower of three gone the others agree; with both gone, the leader alone must not commit.
#[test]
fn follower_failure() {
    graded("2b::follower_failure", 3, |cluster| {
        cluster.one(3);
        let first = cluster.check_one_leader();
        cluster.disconnect((first + 1) % 3);
        cluster.one(2);
        cluster.sleep(SEVERAL_TIMEOUTS);
        cluster.one(2);

        let leader = cluster.check_one_leader();
        let others: Vec<usize> = (0..3).filter(|&server| server != leader).collect();
        others.iter().for_each(|&server| cluster.disconnect(server));
        let command = cluster.fresh_command();
        if let Some(started) = cluster.start(leader, &command) {
            cluster.sleep(SEVERAL_TIMEOUTS);
            check_not_committed(cluster, started, "the leader is alone");
        }
    });
}

/// Leaders are cut off one after the other: with two of three left the cluster goes on, with one it must
/// not commit.
#[test]
fn leader_failure() {
    graded("2b::leader_failure", 3, |cluster| {
        cluster.one(3);
        let first = cluster.check_one_leader();
        cluster.disconnect(first);
        cluster.one(2);
        cluster.sleep(SEVERAL_TIMEOUTS);
        cluster.one(2);

        let second = cluster.check_one_leader();
        cluster.disconnect(second);
        let command = cluster.fresh_command();
        let committed = cluster.last_applied();
        let started: Vec<Started> = (0..3).filter_map(|server| cluster.start(server, &command)).collect();
        cluster.sleep(SEVERAL_TIMEOUTS);
        // The first of the two leaders may not know of what has been committed without it.
        let new = started.iter().map(|started| started.index).filter(|&index| index > committed);
        if let Some(index) = new.max() {
            check_nothing_at(cluster, index, "no two servers reach each other since it was started");
        }
    });
}

/// A follower that was cut off catches up when it comes back.
#[test]
fn fail_agree() {
    graded("2b::fail_agree", 3, |cluster| {
        cluster.one(3);
        let leader = cluster.check_one_leader();
        cluster.disconnect((leader + 1) % 3);
        for _ in 0..4 {
            cluster.one(2);
        }
        cluster.sleep(SEVERAL_TIMEOUTS);
        cluster.one(2);

        cluster.connect((leader + 1) % 3);
        cluster.one(3);
        cluster.sleep(SEVERAL_TIMEOUTS);
        cluster.one(3);
    });
}

/// Without a majority nothing is committed; with one again, the cluster goes on.
#[test]
fn fail_no_agree() {
    graded("2b::fail_no_agree", 5, |cluster| {
        let index = cluster.one(5);
        let everywhere = Everywhere::now(cluster, index);
        let leader = cluster.check_one_leader();
        let cut_off: Vec<usize> = (1..4).map(|step| (leader + step) % 5).collect();
        cut_off.iter().for_each(|&server| cluster.disconnect(server));
        let command = cluster.fresh_command();
        let started = cluster.start(leader, &command);
        cluster.sleep(SEVERAL_TIMEOUTS);
        if let Some(started) = started {
            check_not_committed(cluster, started, "three of five servers are cut off");
        }

        cut_off.iter().for_each(|&server| cluster.connect(server));
        let leader = cluster.check_settled();
        let command = cluster.fresh_command();
        if let Some(started) = cluster.start(leader, &command) {
            everywhere.check_next(cluster, started.index);
        }
        cluster.one(5);
    });
}

/// Commands that are started at the same time get indexes of their own, and all are committed.
#[test]
fn concurrent_starts() {
    graded("2b::concurrent_starts", 3, |cluster| {
        for _ in 0..4 {
            let leader = cluster.check_settled();
            let commands: Vec<Command> = (0..5).map(|_| cluster.fresh_command()).collect();
            let started = cluster.start_together(leader, &commands);
            let Some(last) = started.iter().max_by_key(|started| started.index) else { continue };
            if started.iter().any(|other| other.term != last.term) {
                // The leader has changed meanwhile, and entries may have been lost.
                continue;
            }
            cluster.wait_in_term(last.index, last.term, 3);
        }
        cluster.one(3);
    });
}

/// Two leaders with different logs come back from a partition, one after the other.
#[test]
fn rejoin() {
    graded("2b::rejoin", 3, |cluster| {
        cluster.one(3);
        let first = cluster.check_one_leader();
        cluster.disconnect(first);
        for _ in 0..3 {
            let command = cluster.fresh_command();
            cluster.start(first, &command);
        }
        cluster.one(2);

        let second = cluster.check_one_leader();
        cluster.disconnect(second);
        cluster.connect(first);
        cluster.one(2);
        cluster.connect(second);
        cluster.one(3);
    });
}

/// Leaders in minorities collect long logs that come to nothing, and are brought back in line quickly.
#[test]
fn backup() {
    graded("2b::backup", 5, |cluster| {
        cluster.one(5);
        let first = cluster.check_one_leader();
        let at = |step: usize| (first + step) % 5;

        // The leader and one follower, alone, take 50 commands.
        [at(2), at(3), at(4)].iter().for_each(|&server| cluster.disconnect(server));
        cluster.start_many(first, 50);
        cluster.sleep(SEVERAL_TIMEOUTS / 4);
        [at(0), at(1)].iter().for_each(|&server| cluster.disconnect(server));
        [at(2), at(3), at(4)].iter().for_each(|&server| cluster.connect(server));
        for _ in 0..25 {
            cluster.one(3);
        }

        // Of the three, the leader and another one part from the third, and take 50 commands.
        let second = cluster.check_one_leader();
        let third = [at(2), at(3), at(4)].into_iter().find(|&server| server != second).unwrap_or(second);
        cluster.disconnect(third);
        cluster.start_many(second, 50);
        cluster.sleep(SEVERAL_TIMEOUTS / 4);
        (0..5).for_each(|server| cluster.disconnect(server));

        // The first two come back with the third, which has what is committed.
        [at(0), at(1), third].iter().for_each(|&server| cluster.connect(server));
        for _ in 0..25 {
            cluster.one(3);
        }

        (0..5).for_each(|server| cluster.connect(server));
        cluster.one(5);
    });
}

/// Few messages: for an election, for ten commands at once, and for an idle second.
///
/// The limits are the classic ones where they count requests of a leader to two followers, and thirty
/// heartbeats a second for each follower: an election in a plain Raft takes 4 requests, ten commands
/// about 10, and an idle second 20. Each may have an answer, as a reply or as a request of its own.
#[test]
fn count() {
    graded("2b::count", 3, |cluster| {
        let leader = cluster.check_settled();
        cluster.sleep(Duration::from_secs(1));
        let idle_from = cluster.messages_sent();
        cluster.sleep(Duration::from_secs(1));
        cluster.check_messages(idle_from, 2 * 30 * LEGS, "an idle second");

        let before = cluster.messages_sent();
        let begun = cluster.now();
        let last = cluster.start_many(leader, 10);
        if let Some(last) = last {
            cluster.wait_in_term(last.index, last.term, 3);
            let beats = 2 * 30 * ((cluster.now() - begun).as_millis() as u64 / 1_000 + 1);
            let limit = ((10 + 1 + 3) * 3 + beats) * LEGS;
            cluster.check_messages(before, limit, "agreeing on ten commands");
        }
    });
}

/// Four servers, divided two against two: neither half commits, and three of four do.
#[test]
fn even_cluster() {
    graded("2b::even_cluster", 4, |cluster| {
        cluster.one(4);
        for _ in 0..3 {
            let leader = cluster.check_settled();
            let [second, third, fourth] = [1, 2, 3].map(|step| (leader + step) % 4);
            cluster.partition(&[&[leader, second], &[third, fourth]]);
            let command = cluster.fresh_command();
            let started = cluster.start(leader, &command);
            cluster.sleep(SEVERAL_TIMEOUTS);
            if let Some(started) = started {
                check_not_committed(cluster, started, "two of four servers are cut off");
            }
            cluster.heal();
            cluster.one(4);
            cluster.disconnect(third);
            cluster.one(3);
            cluster.connect(third);
        }
        cluster.one(4);
    });
}

/// Servers agree while two of five cannot be reached, calls to which take seconds: nobody stands for
/// election, and commands are committed as quickly as ever.
#[test]
fn dead_peers() {
    graded("2b::dead_peers", 5, |cluster| {
        let leader = cluster.check_settled();
        cluster.one(5);
        cluster.disconnect((leader + 1) % 5);
        cluster.disconnect((leader + 2) % 5);
        cluster.check_quiet(Duration::from_secs(10));
        for _ in 0..5 {
            cluster.sleep(Duration::from_millis(730));
            cluster.time_commit(3);
        }
        (0..5).for_each(|server| cluster.connect(server));
        cluster.one(5);
    });
}

/// A service that asks its server something while it takes a command: the server must not hold its lock
/// while it delivers.
#[test]
fn service_calls_back() {
    graded("2b::service_calls_back", 3, |cluster| {
        cluster.services_call_back();
        for _ in 0..10 {
            cluster.one(3);
        }
        if let Some(last) = cluster.start_with_leaders(20) {
            cluster.wait_in_term(last.index, last.term, 3);
        }
        cluster.one(3);
    });
}

/// A command is committed as soon as a majority has answered, without waiting for a tick.
///
/// A plain Raft needs two or three message delays, 3 to 6 ms; one that waits for its next heartbeat
/// needs a twentieth of a second and more. Judged on the median over the seeds.
#[test]
fn commit_time() {
    graded("2b::commit_time", 3, |cluster| {
        cluster.one(3);
        cluster.check_settled();
        for step in 0..7 {
            cluster.sleep(Duration::from_millis(131 + 17 * step));
            let taken = cluster.time_commit(1);
            cluster.measure(COMMIT_TIME, taken.as_secs_f64());
        }
    });
}

/// A follower with forty entries that come to nothing is brought in line without waiting for a tick for
/// each of them.
///
/// Going back one by one takes forty round trips, a tenth of a second; with a heartbeat's wait for each it
/// takes four seconds. Judged on the median over the seeds.
#[test]
fn backup_time() {
    graded("2b::backup_time", 5, |cluster| {
        cluster.one(5);
        let old = cluster.check_settled();
        cluster.disconnect(old);
        cluster.start_many(old, 40);
        // The others have forty entries of a later term, and then a leader that begins at their end.
        let second = cluster.check_one_leader();
        let last = cluster.start_many(second, 40);
        if let Some(last) = last {
            cluster.wait_in_term(last.index, last.term, 4);
        }
        cluster.disconnect(second);
        cluster.one(3);
        // Calls to it that are under way may keep a leader busy for seconds.
        cluster.sleep(CALLS_RETURN_WITHIN);
        cluster.connect(old);
        let begun = cluster.now();
        let committed = cluster.last_applied();
        while cluster.applied(old) < committed {
            if cluster.now() - begun > LEADER_AT_LAST {
                cluster.wait(committed, 4);
            }
            cluster.sleep(Duration::from_millis(5));
        }
        let taken = (cluster.now() - begun).as_secs_f64();
        cluster.measure(BACKUP_TIME, taken);
        cluster.connect(second);
        cluster.one(5);
    });
}

/// Requests overtake each other by seconds, and arrive twice. An old message must not undo what a newer
/// one has brought.
#[test]
fn reordered_appends() {
    graded("2b::reordered_appends", 3, |cluster| {
        cluster.one(3);
        cluster.add_rule(long_reordering(Leg::Request));
        cluster.add_rule(twice());
        for _ in 0..15 {
            cluster.start_with_leaders(3);
            let span = Duration::from_millis(cluster.faults().range(50..600));
            cluster.sleep(span);
        }
        cluster.heal();
        cluster.one(3);
    });
}

/// Acknowledgements are held while leaders come and go, and arrive terms later.
#[test]
fn held_acks() {
    graded("2b::held_acks", 5, |cluster| {
        cluster.one(5);
        for _ in 0..4 {
            let leader = cluster.check_settled();
            let slow = cluster.faults().below(5) as usize;
            cluster.add_rule(Rule {
                links: Links::From(node_of(slow)),
                kinds: cluster.kinds("AppendEntries"),
                leg: cluster.leg(Leg::Reply),
                effect: Effect::Hold,
            });
            cluster.start_many(leader, 4);
            cluster.sleep(Duration::from_millis(20));
            cluster.disconnect(leader);
            cluster.sleep(SEVERAL_TIMEOUTS);
            cluster.connect(leader);
            cluster.sleep(SEVERAL_TIMEOUTS / 2);
            cluster.start_with_leaders(2);
            let chosen = cluster.faults().next_u64();
            cluster.release(|held: &HeldMessage| (held.call ^ chosen).is_multiple_of(2));
            cluster.sleep(Duration::from_millis(100));
            cluster.heal();
            cluster.release(|_| true);
            cluster.one(5);
        }
    });
}

/// Two servers cannot hear each other, though both hear all others; whoever leads, the cluster goes on.
#[test]
fn partial_partition() {
    graded("2b::partial_partition", 5, |cluster| {
        cluster.one(5);
        for _ in 0..3 {
            let leader = cluster.check_settled();
            let other = (leader + 1 + cluster.faults().below(4) as usize) % 5;
            cluster.cut(leader, other);
            cluster.cut(other, leader);
            // The one that is cut off from the leader stands again and again, and may depose it.
            for _ in 0..6 {
                cluster.start_with_leaders(2);
                let span = Duration::from_millis(cluster.faults().range(100..900));
                cluster.sleep(span);
            }
            cluster.heal();
            cluster.one(5);
        }
    });
}

/// A deposed leader is asked for more while its log is replaced, and its threads are held up now and then.
#[test]
fn stalled_starts() {
    graded("2b::stalled_starts", 3, stalls::starts);
}

/// Threads are held up now and then while commands come, and then no more come.
#[test]
fn stalled_applies() {
    graded("2b::stalled_applies", 3, stalls::applies);
}

/// Cuts, losses, delays, held and duplicated messages, slow servers, as the seed has it, while commands
/// come in; then the faults end, and the cluster agrees.
#[test]
fn fault_storm() {
    graded("2b::fault_storm", 5, |cluster| {
        cluster.storm(Duration::from_secs(15), 14, Mix::Network);
        cluster.one(5);
    });
}

/// Every message arrives twice, the second time up to a second later.
fn twice() -> Rule {
    let delay = Duration::ZERO..Duration::from_secs(1);
    Rule { links: Links::All, kinds: Kinds::All, leg: None, effect: Effect::Duplicate { chance: 0.5, delay } }
}

fn check_nothing_at(cluster: &mut Cluster, index: usize, why: &str) {
    let servers = cluster.n_committed(index);
    if servers > 0 {
        let who = if servers == 1 { "1 server has".into() } else { format!("{servers} servers have") };
        cluster.fail(Finding::safety(
            "only what was started is committed, and only by a majority (Raft 5.3)",
            format!("nobody applies entry {index}: {why}"),
            format!("{who} applied entry {index}"),
        ));
    }
}

fn check_not_committed(cluster: &mut Cluster, started: Started, why: &str) {
    let servers = cluster.n_committed(started.index);
    if servers > 0 {
        cluster.fail(Finding::safety(
            "an entry is committed only when a majority of all servers has stored it (Raft 5.3)",
            format!("entry {} is not committed, as {why}", started.index),
            format!(
                "{servers} of {} services have entry {} of term {}, which no majority can have stored",
                cluster.len(),
                started.index,
                started.term
            ),
        ));
    }
}

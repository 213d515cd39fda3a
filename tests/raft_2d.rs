//! Stage 2D: snapshots.
//!
//! Kit-owned. Each test tells a story about a cluster in the words of `src/cluster.rs`. The services make
//! a snapshot after every tenth command, so servers drop the beginning of their logs, and a server that
//! is far behind gets a snapshot instead. Beside all checks of the earlier stages, those of snapshots are
//! on from here: what is saved has no holes, what is delivered was made by a service, and carries the
//! right term.
//!
//! The single rules, one checkpoint each, are in `raft_2d/rules.rs`.
//!
//! The tests named as in MIT's 6.824 do what those do; where those toss coins, so do these, from the seed.

#[path = "raft_2d/rules.rs"]
mod rules;
#[path = "raft_2d/stalls.rs"]
mod stalls;

use std::time::Duration;

use labrpc::{Effect, InFlight, Leg, Links, Moment, Rule};
use tests::{Cluster, Finding, Mix, graded, node_of};

/// How many commands a snapshot covers more than the one before.
const SNAPSHOT_EVERY: usize = 10;

/// A log that is this long and has not been cut was never cut; the classic limit is the same.
const LOG_BYTES_MAX: usize = 2_000;

/// Snapshots are made, and logs stay short.
#[test]
fn snapshot_basic() {
    graded("2d::snapshot_basic", 3, |cluster| snapshots(cluster, Trouble::None, false));
}

/// A follower that was cut off gets a snapshot.
#[test]
fn snapshot_install() {
    graded("2d::snapshot_install", 3, |cluster| snapshots(cluster, Trouble::CutOff, false));
}

/// The same over a network that loses a tenth each way.
#[test]
fn snapshot_install_unreliable() {
    graded("2d::snapshot_install_unreliable", 3, |cluster| snapshots(cluster, Trouble::CutOff, true));
}

/// A follower that was down gets a snapshot.
#[test]
fn snapshot_install_crash() {
    graded("2d::snapshot_install_crash", 3, |cluster| snapshots(cluster, Trouble::Crash, false));
}

/// The same over a network that loses a tenth each way.
#[test]
fn snapshot_install_un_crash() {
    graded("2d::snapshot_install_un_crash", 3, |cluster| snapshots(cluster, Trouble::Crash, true));
}

/// All servers crash and come back with snapshots and logs.
#[test]
fn snapshot_all_crash() {
    graded("2d::snapshot_all_crash", 3, |cluster| {
        cluster.snapshot_every(SNAPSHOT_EVERY);
        cluster.one(3);
        for _ in 0..5 {
            let commands = SNAPSHOT_EVERY / 2 + cluster.faults().below(SNAPSHOT_EVERY as u64) as usize;
            cluster.start_with_leaders(commands);
            let before = cluster.one(3);
            (0..3).for_each(|server| cluster.crash1(server));
            (0..3).for_each(|server| cluster.start1(server));
            let after = cluster.one(3);
            if after <= before {
                cluster.fail(Finding::safety(
                    "a server keeps what it has answered to have stored (Raft 5.3, 5.4, Figure 2)",
                    format!("an index after {before}"),
                    format!("a new command got index {after}"),
                ));
            }
        }
    });
}

/// A server that comes back with a snapshot and nothing else applies what follows, and nothing before.
#[test]
fn snapshot_init() {
    graded("2d::snapshot_init", 3, |cluster| {
        cluster.snapshot_every(SNAPSHOT_EVERY);
        cluster.one(3);
        cluster.start_with_leaders(SNAPSHOT_EVERY + 1);
        cluster.one(3);
        (0..3).for_each(|server| cluster.crash1(server));
        (0..3).for_each(|server| cluster.start1(server));
        // A single command makes each server save its state anew.
        cluster.one(3);
        (0..3).for_each(|server| cluster.crash1(server));
        (0..3).for_each(|server| cluster.start1(server));
        cluster.one(3);
    });
}

/// InstallSnapshot messages are held, sent twice and overtaken; an old one must not undo what came since.
#[test]
fn late_snapshots() {
    graded("2d::late_snapshots", 3, |cluster| {
        cluster.snapshot_every(SNAPSHOT_EVERY);
        cluster.one(3);
        for _ in 0..5 {
            let leader = cluster.check_settled();
            let behind = (leader + 1) % 3;
            cluster.disconnect(behind);
            cluster.start_with_leaders(SNAPSHOT_EVERY * 2);
            cluster.one(2);
            let kinds = cluster.kinds("InstallSnapshot");
            let rule = |effect| Rule {
                links: Links::To(node_of(behind)),
                kinds: kinds.clone(),
                leg: Some(Leg::Request),
                effect,
            };
            cluster.add_rule(rule(Effect::Duplicate {
                chance: 0.8,
                delay: Duration::ZERO..Duration::from_secs(1),
            }));
            let held = cluster.add_rule(rule(Effect::Hold));
            cluster.connect(behind);
            cluster.sleep(Duration::from_millis(400));
            cluster.remove_rule(held);
            // It gets a newer snapshot, and entries, before the old ones arrive.
            cluster.start_with_leaders(SNAPSHOT_EVERY / 2);
            let span = Duration::from_millis(cluster.faults().range(0..800));
            cluster.sleep(span);
            cluster.release(|_| true);
            cluster.start_with_leaders(SNAPSHOT_EVERY / 2);
            cluster.sleep(Duration::from_millis(100));
            if cluster.faults().chance(0.5) {
                // What the others have is gone from memory, and must be on the disks of a majority.
                cluster.crash1(leader);
                cluster.sleep(Duration::from_secs(1));
                cluster.start1(leader);
            }
            cluster.heal();
            cluster.release(|_| true);
            cluster.one(3);
        }
    });
}

/// One server alone makes snapshots, and its answers are lost for a while. Then its leader looks for the end of
/// what both have, under that snapshot, and has none itself.
#[test]
fn probe_under_snapshot() {
    graded("2d::probe_under_snapshot", 3, |cluster| {
        cluster.one(3);
        for _ in 0..3 {
            let leader = cluster.check_settled();
            let follower = (leader + 1) % 3;
            cluster.snapshots_on(follower);
            cluster.cut(follower, leader);
            for _ in 0..8 {
                cluster.start_with_leaders(1);
                cluster.sleep(Duration::from_millis(60));
            }
            let covered = cluster.applied(follower);
            cluster.heal();
            cluster.check_catches_up(follower, |has, others| {
                Finding::liveness(
                    "what a server's own snapshot covers is committed, so it matches every leader's log (Raft 7)",
                    format!(
                        "S{follower}, whose snapshot covers entries up to {covered}, gets what follows it from a leader that has no snapshot, and that looks below entry {covered} for what both have, as it heard no answers"
                    ),
                    format!(
                        "S{follower}'s answers are not lost any more, and its log still ends at entry {has}; all others have applied entry {others}. Does S{follower} refuse AppendEntries with a prev_log_index under its snapshot, or its leader not go on from the refusal?"
                    ),
                )
            });
        }
        cluster.one(3);
    });
}

/// Servers crash at the most delicate instants of making, sending and installing snapshots.
#[test]
fn snapshot_crash_points() {
    graded("2d::snapshot_crash_points", 3, |cluster| {
        cluster.snapshot_every(SNAPSHOT_EVERY);
        cluster.one(3);
        for _ in 0..10 {
            let leader = cluster.check_one_leader();
            let behind = (leader + 1) % 3;
            cluster.disconnect(behind);
            cluster.start_with_leaders(SNAPSHOT_EVERY * 2);
            cluster.one(2);
            cluster.connect(behind);
            let victim = if cluster.faults().chance(0.7) { behind } else { leader };
            let moment = match cluster.faults().below(4) {
                0 => Moment::BeforeSave,
                1 => Moment::AfterSave,
                2 => cluster.sent(Leg::Reply, "InstallSnapshot"),
                _ => cluster.sent(Leg::Request, "InstallSnapshot"),
            };
            let nth = 1 + cluster.faults().below(3) as u32;
            cluster.crash_at(victim, moment, nth, InFlight::Delivered);
            cluster.start_with_leaders(3);
            let span = Duration::from_millis(cluster.faults().range(50..500));
            cluster.sleep(span);
            cluster.start1(victim);
            (0..3).for_each(|server| cluster.start1(server));
        }
        cluster.one(3);
    });
}

/// Threads are held up now and then while snapshots are made and sent.
#[test]
fn stalled_snapshots() {
    graded("2d::stalled_snapshots", 3, stalls::snapshots);
}

/// Everything at once, as the seed has it, while commands come in and snapshots are made; then the faults
/// end, and the cluster agrees.
#[test]
fn fault_storm() {
    graded("2d::fault_storm", 5, |cluster| {
        cluster.snapshot_every(SNAPSHOT_EVERY);
        cluster.storm(Duration::from_secs(15), 20, Mix::Crashes);
        cluster.one(5);
    });
}

/// What happens to a server while the others go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    CutOff,
    Crash,
}

fn snapshots(cluster: &mut Cluster, trouble: Trouble, is_unreliable: bool) {
    cluster.snapshot_every(SNAPSHOT_EVERY);
    if is_unreliable {
        cluster.make_unreliable();
    }
    cluster.one(3);
    let mut leader = cluster.check_one_leader();
    for round in 0..15 {
        let (victim, sender) =
            if round % 3 == 1 { (leader, (leader + 1) % 3) } else { ((leader + 1) % 3, leader) };
        match trouble {
            Trouble::None => {}
            Trouble::CutOff => cluster.disconnect(victim),
            Trouble::Crash => cluster.crash1(victim),
        }
        if trouble != Trouble::None {
            cluster.one(2);
        }
        // Enough commands for a snapshot, most of the time.
        let commands = SNAPSHOT_EVERY / 2 + cluster.faults().below(SNAPSHOT_EVERY as u64) as usize;
        cluster.start_with_leaders(commands);
        if trouble == Trouble::None {
            cluster.one(3);
        } else {
            cluster.one(2);
        }
        check_log_bytes(cluster, sender);
        match trouble {
            Trouble::None => {}
            Trouble::CutOff => cluster.connect(victim),
            Trouble::Crash => cluster.start1(victim),
        }
        if trouble != Trouble::None {
            cluster.one(3);
        }
        leader = cluster.check_one_leader();
    }
    cluster.heal();
    cluster.one(3);
}

/// Logs are cut when there are snapshots. A snapshot may be on its way while this is asked, and entries
/// that are not applied yet stay, so the limit is that of many snapshots' worth of commands.
fn check_log_bytes(cluster: &mut Cluster, server: usize) {
    let bytes = cluster.log_bytes(server);
    if bytes > LOG_BYTES_MAX {
        cluster.fail(Finding::new(
            labgrading::Class::Performance,
            "a log is cut when a snapshot covers its beginning (Raft 7)",
            format!(
                "at most {LOG_BYTES_MAX} bytes of log, with a snapshot after every {SNAPSHOT_EVERY} commands"
            ),
            format!("log size too large: S{server} has {bytes} bytes of log on its disk"),
        ));
    }
}

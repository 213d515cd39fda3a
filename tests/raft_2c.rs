//! Stage 2C: persistence.
//!
//! Kit-owned. Each test tells a story about a cluster in the words of `src/cluster.rs`. From here on
//! servers crash, at any instant and at chosen ones, and the checks under `src/checks/` look at disks too:
//! what a server has answered is on its disk by then, and stays there as long as the answer binds it.
//!
//! The single rules, one checkpoint each, are in `raft_2c/rules.rs`.
//!
//! The tests named as in MIT's 6.824 do what those do; where those toss coins, so do these, from the seed.

#[path = "raft_2c/rules.rs"]
mod rules;
#[path = "raft_2c/stalls.rs"]
mod stalls;

use std::time::Duration;

use labrpc::{Effect, InFlight, Leg, Links, Moment, Rule, long_reordering};
use tests::{Cluster, LEADER_WITHIN, Mix, graded, node_of};

/// All servers crash and come back, one by one and together; nothing is lost.
#[test]
fn persist1() {
    graded("2c::persist1", 3, |cluster| {
        cluster.one(3);
        (0..3).for_each(|server| cluster.crash1(server));
        (0..3).for_each(|server| cluster.start1(server));
        cluster.one(3);

        let leader = cluster.check_one_leader();
        cluster.restart(leader);
        cluster.one(3);

        let leader = cluster.check_one_leader();
        cluster.crash1(leader);
        let index = cluster.one(2);
        cluster.start1(leader);
        cluster.wait(index, 3);

        let follower = (cluster.check_one_leader() + 1) % 3;
        cluster.crash1(follower);
        cluster.one(2);
        cluster.start1(follower);
        cluster.one(3);
    });
}

/// Five servers, of which two and then three others are down, so that each majority shares only one server
/// with the one before.
#[test]
fn persist2() {
    graded("2c::persist2", 5, |cluster| {
        for _ in 0..5 {
            cluster.one(5);
            let leader = cluster.check_one_leader();
            let at = |step: usize| (leader + step) % 5;
            cluster.crash1(at(1));
            cluster.crash1(at(2));
            cluster.one(3);

            [at(0), at(3), at(4)].iter().for_each(|&server| cluster.crash1(server));
            cluster.start1(at(1));
            cluster.start1(at(2));
            cluster.sleep(Duration::from_secs(1));
            cluster.start1(at(3));
            cluster.one(3);
            cluster.start1(at(4));
            cluster.start1(at(0));
        }
        cluster.one(5);
    });
}

/// A leader and a follower crash while the third is cut off; the follower comes back alone, then with the
/// other.
#[test]
fn persist3() {
    graded("2c::persist3", 3, |cluster| {
        cluster.one(3);
        let leader = cluster.check_one_leader();
        let at = |step: usize| (leader + step) % 3;
        cluster.disconnect(at(2));
        cluster.one(2);
        cluster.crash1(at(0));
        cluster.crash1(at(1));
        cluster.connect(at(2));
        cluster.start1(at(0));
        cluster.one(2);
        cluster.start1(at(1));
        cluster.one(3);
    });
}

/// Figure 8 of the paper by chance: leaders crash soon after they have taken a command, and come back
/// rounds later with entries of old terms.
#[test]
fn figure_8() {
    graded("2c::figure_8", 5, |cluster| {
        cluster.one(1);
        let mut up = 5;
        for _ in 0..120 {
            let leader = cluster.start_everywhere();
            let wait = if cluster.faults().chance(0.1) { 500 } else { 13 };
            let span = Duration::from_millis(cluster.faults().range(0..wait));
            cluster.sleep(span);
            if let Some(leader) = leader {
                cluster.crash1(leader);
                up -= 1;
            }
            if up < 3 {
                let server = cluster.faults().below(5) as usize;
                if !cluster.is_up(server) {
                    cluster.start1(server);
                    up += 1;
                }
            }
        }
        (0..5).for_each(|server| cluster.start1(server));
        cluster.one(5);
    });
}

/// Many commands at once over a network that loses a tenth each way.
#[test]
fn unreliable_agree() {
    graded("2c::unreliable_agree", 5, |cluster| {
        cluster.make_unreliable();
        for _ in 0..8 {
            for _ in 0..4 {
                cluster.start_everywhere();
            }
            cluster.one(1);
        }
        cluster.heal();
        cluster.one(5);
    });
}

/// Figure 8 over a network that also loses messages, and holds two thirds of the replies back for up to
/// two seconds.
#[test]
fn figure_8_unreliable() {
    graded("2c::figure_8_unreliable", 5, |cluster| {
        cluster.make_unreliable();
        cluster.one(1);
        let mut connected = 5;
        for round in 0..150 {
            if round == 30 {
                cluster.add_rule(long_reordering(Leg::Reply));
            }
            let leader = cluster.start_everywhere();
            let wait = if cluster.faults().chance(0.1) { 500 } else { 13 };
            let span = Duration::from_millis(cluster.faults().range(0..wait));
            cluster.sleep(span);
            if let Some(leader) = leader
                && cluster.faults().chance(0.5)
                && cluster.connected().contains(&leader)
            {
                cluster.disconnect(leader);
                connected -= 1;
            }
            if connected < 3 {
                let server = cluster.faults().below(5) as usize;
                if !cluster.connected().contains(&server) {
                    cluster.connect(server);
                    connected += 1;
                }
            }
        }
        cluster.heal();
        cluster.one(5);
    });
}

/// Servers crash, come back, are cut off and reconnected, while clients start commands wherever they can.
#[test]
fn reliable_churn() {
    graded("2c::reliable_churn", 5, |cluster| churn(cluster, false));
}

/// The same over a network that loses a tenth each way.
#[test]
fn unreliable_churn() {
    graded("2c::unreliable_churn", 5, |cluster| churn(cluster, true));
}

/// Servers crash at the most delicate instants: before a save, after it, and between a save and the
/// answer, while leaders come and go.
#[test]
fn crash_points() {
    graded("2c::crash_points", 3, |cluster| {
        cluster.one(3);
        for _ in 0..25 {
            let server = cluster.faults().below(3) as usize;
            let moment = draw_moment(cluster);
            let nth = 1 + cluster.faults().below(3) as u32;
            cluster.crash_at(server, moment, nth, InFlight::Delivered);
            cluster.start_everywhere();
            if cluster.faults().chance(0.3) {
                // An election, so that votes are among what is saved and answered.
                let leader = cluster.faults().below(3) as usize;
                cluster.disconnect(leader);
                cluster.sleep(Duration::from_millis(700));
                cluster.connect(leader);
            }
            let span = Duration::from_millis(cluster.faults().range(5..250));
            cluster.sleep(span);
            cluster.start_everywhere();
            if cluster.faults().chance(0.6) {
                cluster.start1(server);
            }
        }
        (0..3).for_each(|server| cluster.start1(server));
        cluster.one(3);
    });
}

/// Disks that take up to twenty milliseconds a save, and crashes in between.
#[test]
fn slow_disks() {
    graded("2c::slow_disks", 3, |cluster| {
        for _ in 0..6 {
            (0..3).for_each(|server| cluster.slow_disk(server, Duration::ZERO..Duration::from_millis(20)));
            for _ in 0..4 {
                cluster.start_everywhere();
                let span = Duration::from_millis(cluster.faults().range(5..150));
                cluster.sleep(span);
            }
            let server = cluster.faults().below(3) as usize;
            cluster.restart(server);
            cluster.start_everywhere();
            (0..3).for_each(|server| cluster.slow_disk(server, Duration::ZERO..Duration::ZERO));
            cluster.heal();
            cluster.one(3);
        }
    });
}

/// Four servers, two of which crash again and again, not always the same two.
#[test]
fn even_cluster() {
    graded("2c::even_cluster", 4, |cluster| {
        for _ in 0..6 {
            cluster.one(4);
            let first = cluster.faults().below(4) as usize;
            let second = (first + 1 + cluster.faults().below(3) as usize) % 4;
            cluster.crash1(first);
            cluster.one(3);
            cluster.crash1(second);
            cluster.start_everywhere();
            cluster.sleep(Duration::from_millis(600));
            cluster.start1(first);
            cluster.one(3);
            cluster.start1(second);
        }
        cluster.one(4);
    });
}

/// Threads are held up now and then while two of three servers agree, and servers crash.
#[test]
fn stalled_saves() {
    graded("2c::stalled_saves", 3, stalls::saves);
}

/// Crashes, slow disks, and all that befell the network before, as the seed has it, while commands come in;
/// then the faults end, and the cluster agrees.
#[test]
fn fault_storm() {
    graded("2c::fault_storm", 5, |cluster| {
        cluster.storm(Duration::from_secs(15), 20, Mix::Crashes);
        cluster.one(5);
    });
}

fn churn(cluster: &mut Cluster, is_unreliable: bool) {
    if is_unreliable {
        cluster.make_unreliable();
    }
    for _ in 0..20 {
        if cluster.faults().chance(0.2) {
            let server = cluster.faults().below(5) as usize;
            cluster.disconnect(server);
        }
        if cluster.faults().chance(0.5) {
            let server = cluster.faults().below(5) as usize;
            cluster.start1(server);
            cluster.connect(server);
        }
        if cluster.faults().chance(0.2) {
            let server = cluster.faults().below(5) as usize;
            cluster.crash1(server);
        }
        // Time in which some client gets a command in, often without an answer before the next fault.
        for _ in 0..7 {
            cluster.start_everywhere();
            let span = Duration::from_millis(cluster.faults().range(20..160));
            cluster.sleep(span);
        }
    }
    cluster.heal();
    (0..5).for_each(|server| cluster.start1(server));
    cluster.one(5);
}

fn draw_moment(cluster: &mut Cluster) -> Moment {
    match cluster.faults().below(5) {
        0 => Moment::BeforeSave,
        1 => Moment::AfterSave,
        2 => cluster.sent(Leg::Reply, "RequestVote"),
        3 => cluster.sent(Leg::Reply, "AppendEntries"),
        _ => cluster.sent(Leg::Request, "AppendEntries"),
    }
}

/// A vote is given, its giver crashes, and the same question comes again: late, twice, and from another that
/// stands in the same term.
#[test]
fn votes_survive() {
    graded("2c::votes_survive", 3, |cluster| {
        cluster.one(3);
        for _ in 0..8 {
            let leader = cluster.check_one_leader();
            cluster.add_rule(Rule {
                links: Links::All,
                kinds: cluster.kinds("RequestVote"),
                leg: Some(Leg::Request),
                effect: Effect::Duplicate { chance: 0.7, delay: Duration::ZERO..Duration::from_millis(400) },
            });
            cluster.disconnect(leader);
            for _ in 0..6 {
                let voter = (leader + 1 + cluster.faults().below(2) as usize) % 3;
                let moment = cluster.sent(Leg::Reply, "RequestVote");
                cluster.crash_at(voter, moment, 1, InFlight::Delivered);
                let span = Duration::from_millis(cluster.faults().range(50..400));
                cluster.sleep(span);
                cluster.start1(voter);
                if cluster.faults().chance(0.3) {
                    cluster.connect(leader);
                }
            }
            cluster.heal();
            (0..3).for_each(|server| cluster.start1(server));
            cluster.one(3);
        }
        for _ in 0..8 {
            two_ask_one(cluster);
        }
        for _ in 0..6 {
            sleeper_stands(cluster);
        }
    });
}

/// Two servers that do not hear each other both stand, and both ask the third, which crashes whenever it has
/// answered one of them and comes back at once, while the other's question is on its way.
fn two_ask_one(cluster: &mut Cluster) {
    let voter = cluster.check_one_leader();
    let others = [(voter + 1) % 3, (voter + 2) % 3];
    cluster.cut(others[0], others[1]);
    cluster.cut(others[1], others[0]);
    for effect in [
        Effect::ExtraDelay { chance: 0.5, delay: Duration::ZERO..Duration::from_millis(100) },
        Effect::Duplicate { chance: 0.7, delay: Duration::ZERO..Duration::from_millis(400) },
    ] {
        let (links, kinds) = (Links::To(node_of(voter)), cluster.kinds("RequestVote"));
        cluster.add_rule(Rule { links, kinds, leg: Some(Leg::Request), effect });
    }
    cluster.restart(voter);
    for _ in 0..8 {
        cluster.crash_at(voter, cluster.sent(Leg::Reply, "RequestVote"), 1, InFlight::Delivered);
        for _ in 0..80 {
            if !cluster.is_up(voter) {
                break;
            }
            cluster.sleep(Duration::from_millis(5));
            // Two leaders of one term show when they are asked.
            for server in others {
                cluster.get_state(server);
            }
        }
        cluster.start1(voter);
    }
    cluster.heal();
    cluster.one(3);
}

/// A server sleeps through an election, and wakes up when the voter that decided it has crashed and come back:
/// now it stands in the term of that election itself. No message is named here, and no save: it does not matter
/// in which of them a server puts its vote.
fn sleeper_stands(cluster: &mut Cluster) {
    let first = cluster.check_one_leader();
    let other = 1 + cluster.faults().below(2) as usize;
    let (sleeper, voter) = ((first + other) % 3, (first + 3 - other) % 3);
    // Cut off, or it would find all that was said when it wakes up.
    cluster.disconnect(sleeper);
    cluster.pause(sleeper);
    cluster.restart(first);
    let leads = |cluster: &Cluster, server| cluster.get_state(server).is_some_and(|(_, is_leader)| is_leader);
    let asked = cluster.now();
    let won = loop {
        let won = [first, voter].into_iter().find(|&server| leads(cluster, server));
        if won.is_some() || cluster.now() - asked > LEADER_WITHIN {
            break won;
        }
        cluster.sleep(Duration::from_millis(1));
    };
    if let Some(winner) = won {
        let voter = if winner == first { voter } else { first };
        cluster.crash_with(voter, InFlight::Delivered);
        cluster.disconnect(winner);
        cluster.start1(voter);
        cluster.connect(sleeper);
        cluster.resume(sleeper);
        // Two leaders of one term show when they are asked.
        let woken = cluster.now();
        while cluster.now() - woken < Duration::from_secs(1) && !leads(cluster, sleeper) {
            leads(cluster, winner);
            cluster.sleep(Duration::from_millis(5));
        }
    }
    cluster.heal();
    cluster.one(3);
}

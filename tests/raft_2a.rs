//! Stage 2A: leader election.
//!
//! Kit-owned. Each test tells a story about a cluster in the words of `src/cluster.rs`. Beside what a
//! test checks itself, every run is watched by the checks under `src/checks/`: one vote per server and
//! term, one leader per term, a majority behind each leader, and terms that never fall.
//!
//! The single rules, one checkpoint each, are in `raft_2a/rules.rs`.
//!
//! The tests named as in MIT's 6.824 do what those do. No server crashes in this stage, and nothing on
//! disk is judged.

#[path = "raft_2a/rules.rs"]
mod rules;
#[path = "raft_2a/stalls.rs"]
mod stalls;

use std::time::Duration;

use labrpc::{Effect, HeldMessage, Kinds, Leg, Links, Rule};
use tests::{CALLS_RETURN_WITHIN, Cluster, DEPOSED_WITHIN, Finding, Mix, POLL_INTERVAL, graded, node_of};

/// Long enough for any server without a leader to have stood for election several times.
const SEVERAL_TIMEOUTS: Duration = Duration::from_secs(2);

/// A leader is elected; then, as nothing fails, all stay in its term and it stays leader.
#[test]
fn initial_election() {
    graded("2a::initial_election", 3, |cluster| {
        let leader = cluster.check_settled();
        let term = cluster.check_terms();
        if term == 0 {
            cluster.fail(Finding::safety(
                "the first election is that of term 1 (Raft 5.1)",
                "a term of at least 1",
                format!("S{leader} leads, but the servers are in term 0"),
            ));
        }
        cluster.check_quiet(SEVERAL_TIMEOUTS);
        cluster.check_one_leader();
    });
}

/// A leader that is cut off is replaced, does not come back to power, and where there is no majority
/// there is no leader.
#[test]
fn re_election() {
    graded("2a::re_election", 3, |cluster| {
        let first = cluster.check_one_leader();

        // The leader is cut off: the other two elect one of themselves.
        cluster.disconnect(first);
        cluster.check_one_leader();

        // It comes back, which must not disturb the new leader for long.
        cluster.connect(first);
        let second = cluster.check_settled();

        // Leader and one follower are cut off: no majority, no leader.
        cluster.disconnect(second);
        cluster.disconnect((second + 1) % 3);
        cluster.sleep(SEVERAL_TIMEOUTS);
        cluster.check_no_leader();

        // A second server makes a majority again.
        cluster.connect((second + 1) % 3);
        cluster.check_one_leader();

        // The last one joins.
        cluster.connect(second);
        cluster.check_settled();
    });
}

/// Ten times over, any three of seven servers are cut off: the other four have or elect a leader.
#[test]
fn many_elections() {
    graded("2a::many_elections", 7, |cluster| {
        cluster.check_one_leader();
        for _ in 0..10 {
            let mut servers: Vec<usize> = (0..7).collect();
            cluster.faults().shuffle(&mut servers);
            for &server in &servers[..3] {
                cluster.disconnect(server);
            }
            cluster.check_one_leader();
            for &server in &servers[..3] {
                cluster.connect(server);
            }
        }
        cluster.check_settled();
    });
}

/// Four servers, divided two against two: neither half is a majority. Three of four are one.
#[test]
fn even_cluster() {
    graded("2a::even_cluster", 4, |cluster| {
        let leader = cluster.check_settled();
        let term = cluster.check_terms();

        // The half with the leader may keep it; the other half must not win a later term, and nor may
        // the leader win one again.
        let follower = (leader + 1) % 4;
        let others = [(leader + 2) % 4, (leader + 3) % 4];
        cluster.partition(&[&[leader, follower], &others]);
        cluster.sleep(SEVERAL_TIMEOUTS * 2);
        for server in 0..4 {
            if let Some((new_term, true)) = cluster.get_state(server)
                && new_term > term
            {
                cluster.fail(Finding::safety(
                    "a leader has the votes of a majority of all servers in its term (Raft 5.2)",
                    "no new leader while the cluster is divided two against two",
                    format!("S{server} says that it leads term {new_term}"),
                ));
            }
        }

        // Three servers are enough, and two are not.
        cluster.heal();
        let leader = cluster.check_settled();
        cluster.disconnect(leader);
        let second = cluster.check_one_leader();
        cluster.disconnect(second);
        cluster.sleep(SEVERAL_TIMEOUTS);
        cluster.check_no_leader();

        cluster.heal();
        cluster.check_settled();
    });
}

/// A leader that can no longer send is replaced and gives way, because it still hears; so does one that
/// hears nothing but replies, where these carry a term. One that hears nothing at all may stay or go, and once it hears again there
/// is one leader.
#[test]
fn one_way_link() {
    graded("2a::one_way_link", 3, |cluster| {
        let leader = cluster.check_settled();
        let term = cluster.check_terms();
        let others: Vec<usize> = (0..3).filter(|&server| server != leader).collect();
        others.iter().for_each(|&other| cluster.cut(leader, other));

        // The others elect a leader. Its messages reach the old one, whose answers do not come back.
        let successor = wait_for_successor(cluster, &others, term);
        check_deposed(cluster, leader, term, successor);
        cluster.heal();
        cluster.check_settled();

        // A leader comes back from a partition and gets no requests, only replies to its own. They
        // carry the new term, which is enough to depose it. In messages of one's own a reply may say nothing.
        let leader = cluster.check_settled();
        let term = cluster.check_terms();
        cluster.disconnect(leader);
        let others: Vec<usize> = (0..3).filter(|&server| server != leader).collect();
        let successor = wait_for_successor(cluster, &others, term);
        let to_leader = Links::To(node_of(leader));
        cluster.add_rule(Rule {
            links: to_leader,
            kinds: Kinds::All,
            leg: Some(Leg::Request),
            effect: Effect::Lose(1.0),
        });
        cluster.connect(leader);
        if cluster.is_readable() {
            check_deposed(cluster, leader, term, successor);
        } else {
            cluster.sleep(SEVERAL_TIMEOUTS);
        }
        cluster.heal();
        cluster.check_settled();

        // Now the leader speaks but hears nothing.
        let leader = cluster.check_settled();
        (0..3).filter(|&server| server != leader).for_each(|other| cluster.cut(other, leader));
        cluster.sleep(SEVERAL_TIMEOUTS);
        cluster.heal();
        cluster.check_settled();
    });
}

/// Votes held back by the network arrive terms later. They belong to the term in which they were asked
/// for, and count in no other.
///
/// S0 and S2 do not hear each other, so both stand again and again and both ask S1; S1's answers to S0
/// are held and come in bursts, when S0 is a candidate of a later term.
#[test]
fn held_votes() {
    graded("2a::held_votes", 3, |cluster| {
        cluster.check_settled();
        cluster.cut(0, 2);
        cluster.cut(2, 0);
        hold_votes(cluster, Links::One(node_of(1), node_of(0)), Some(Leg::Reply));
        for _ in 0..20 {
            let span = Duration::from_millis(cluster.faults().range(200..1_500));
            cluster.sleep(span);
            cluster.release(|_| true);
        }

        // The same with requests: an old candidacy reaches voters that are terms ahead.
        cluster.heal();
        for _ in 0..5 {
            cluster.release(|_| true);
            let leader = cluster.check_settled();
            hold_votes(cluster, Links::All, Some(Leg::Request));
            cluster.disconnect(leader);
            let span = Duration::from_millis(cluster.faults().range(500..3_000));
            cluster.sleep(span);
            let chosen = cluster.faults().next_u64();
            cluster.release(|held: &HeldMessage| (held.call ^ chosen).is_multiple_of(2));
            cluster.sleep(span / 2);
            cluster.heal();
        }

        cluster.heal();
        cluster.release(|_| true);
        cluster.check_settled();
    });
}

/// Every vote request and every reply arrives twice, the second one up to two seconds later, while
/// leaders are cut off and come back.
#[test]
fn duplicated_votes() {
    graded("2a::duplicated_votes", 5, |cluster| {
        let delay = Duration::ZERO..Duration::from_secs(2);
        cluster.add_rule(Rule {
            links: Links::All,
            kinds: cluster.kinds("RequestVote"),
            leg: None,
            effect: Effect::Duplicate { chance: 1.0, delay },
        });
        for _ in 0..5 {
            let leader = cluster.check_one_leader();
            cluster.disconnect(leader);
            cluster.check_one_leader();
            cluster.connect(leader);
        }
        cluster.check_settled();
    });
}

/// Cut off with one follower, a leader may go on believing in its term while the other three elect a
/// leader of a later one: two leaders, in two terms. When they meet, the later term wins.
#[test]
fn two_leaders_two_terms() {
    graded("2a::two_leaders_two_terms", 5, |cluster| {
        let old = cluster.check_settled();
        let old_term = cluster.check_terms();
        let minority = [old, (old + 1) % 5];
        let majority = [(old + 2) % 5, (old + 3) % 5, (old + 4) % 5];
        cluster.partition(&[&minority, &majority]);

        let new = wait_for_successor(cluster, &majority, old_term);
        cluster.sleep(SEVERAL_TIMEOUTS);
        for server in minority {
            if let Some((term, true)) = cluster.get_state(server)
                && term != old_term
            {
                cluster.fail(Finding::safety(
                    "without a majority nobody becomes leader (Raft 5.2)",
                    format!("S{server} leads term {old_term} or none"),
                    format!("S{server}, in a minority of two, says that it leads term {term}"),
                ));
            }
        }

        // They meet again: one leader, in a term no earlier than the new one's.
        let new_term = cluster.get_state(new).map_or(0, |(term, _)| term);
        cluster.heal();
        cluster.check_settled();
        let term = cluster.check_terms();
        if term < new_term {
            cluster.fail(Finding::safety(
                "a server's term never falls (Raft 5.1)",
                format!("all servers in term {new_term} or later"),
                format!("all servers are in term {term}"),
            ));
        }
    });
}

/// Servers whose threads wake up late: whatever a thread was about to do, the world has moved on when it
/// does it. Leaders come and go meanwhile; then the servers recover, and one leader stays.
#[test]
fn slow_servers() {
    graded("2a::slow_servers", 3, |cluster| {
        cluster.check_settled();
        for _ in 0..6 {
            (0..3).for_each(|server| cluster.slow(server, LATENESS));
            for _ in 0..4 {
                let cut_off = cluster.faults().below(3) as usize;
                cluster.disconnect(cut_off);
                let span = Duration::from_millis(cluster.faults().range(300..1_500));
                cluster.sleep(span);
                cluster.connect(cut_off);
                let span = Duration::from_millis(cluster.faults().range(0..300));
                cluster.sleep(span);
            }
            (0..3).for_each(|server| cluster.slow(server, Duration::ZERO..Duration::ZERO));
            cluster.check_settled();
        }
    });
}

/// How late threads of a slow server are: long enough for a message to arrive and be answered meanwhile.
const LATENESS: std::ops::Range<Duration> = Duration::ZERO..Duration::from_millis(30);

/// Five servers with a leader and no faults: for a minute nobody stands for election.
#[test]
fn quiet_cluster() {
    graded("2a::quiet_cluster", 5, |cluster| {
        cluster.check_quiet(Duration::from_secs(60));
        cluster.check_one_leader();
    });
}

/// Threads are held up now and then, wherever they stand, while leaders come and go.
#[test]
fn stalled_elections() {
    graded("2a::stalled_elections", 3, stalls::elections);
}

/// Cuts, losses, delays, held and duplicated messages, slow servers, as the seed has it; then the faults
/// end, and there is one leader.
#[test]
fn fault_storm() {
    graded("2a::fault_storm", 5, |cluster| {
        cluster.storm(Duration::from_secs(15), 14, Mix::Network);
        cluster.check_settled();
    });
}

/// Waits until one of `servers`, the only ones that can win, leads a term after `term`.
fn wait_for_successor(cluster: &mut Cluster, servers: &[usize], term: u64) -> usize {
    loop {
        let leads = |&&server: &&usize| matches!(cluster.get_state(server), Some((new_term, true)) if new_term > term);
        if let Some(&leader) = servers.iter().find(leads) {
            return leader;
        }
        cluster.check_progress_of(servers);
        cluster.sleep(POLL_INTERVAL);
    }
}

/// Waits until `leader`, which can hear that `successor` leads a later term than `term`, no longer says
/// that it leads `term`. Calls that were under way when the network changed may keep it busy for a while.
fn check_deposed(cluster: &mut Cluster, leader: usize, term: u64, successor: usize) {
    let deadline = cluster.world().now() + CALLS_RETURN_WITHIN + DEPOSED_WITHIN;
    while cluster.get_state(leader) == Some((term, true)) {
        if cluster.world().now() > deadline {
            cluster.fail(Finding::liveness(
                "a leader that learns of a later term steps down (Raft 5.1)",
                format!("S{leader} steps down, as it hears of the later term of S{successor}"),
                format!("S{leader} still says that it leads term {term}"),
            ));
        }
        cluster.sleep(POLL_INTERVAL);
    }
}

/// Has the network keep vote messages until they are released.
fn hold_votes(cluster: &mut Cluster, links: Links, leg: Option<Leg>) {
    let kinds = cluster.kinds("RequestVote");
    let leg = leg.and_then(|leg| cluster.leg(leg));
    cluster.add_rule(Rule { links, kinds, leg, effect: Effect::Hold });
}

//! Stage 3A: a key-value service on Raft.
//!
//! Kit-owned. Each test tells a story about a service and its clients, in the words of `src/kv.rs`, and in
//! those of `src/cluster.rs` for the servers. In every one of them all that clients see is recorded, at the end
//! every key is read once more, and the checker decides whether the service could have been a single copy of
//! the store. Below the service, everything is checked that lab 2 asks for.
//!
//! The tests named as in MIT's 6.824 do what those do; where those toss coins, so do these, from the seed.

use std::time::Duration;

use labrpc::{Effect, InFlight, Kinds, Leg, Links, Moment, Rule, Stalls};
use tests::{Client, KvCluster, Load, Use, graded_kv};

/// One client, and nothing goes wrong.
#[test]
fn basic() {
    graded_kv("3a::basic", 5, None, |kv| kv.use_service(Use { clients: 1, ..Use::default() }));
}

/// A client that has the service to itself gets many operations done between two heartbeats.
#[test]
fn speed() {
    graded_kv("3a::speed", 3, None, KvCluster::measure_speed);
}

/// Five clients at the same time.
#[test]
fn concurrent() {
    graded_kv("3a::concurrent", 5, None, |kv| kv.use_service(Use { clients: 5, ..Use::default() }));
}

/// The same over a network that loses a tenth each way.
#[test]
fn unreliable() {
    graded_kv("3a::unreliable", 5, None, |kv| {
        kv.use_service(Use { clients: 5, unreliable: true, ..Use::default() });
    });
}

/// Clients append to one key, as fast as they can, over the same network: nothing is missing, and nothing
/// there twice.
#[test]
fn unreliable_one_key() {
    graded_kv("3a::unreliable_one_key", 3, None, |kv| {
        let load = Load { keys: 1, gets: 0.1, puts: 0.0, rest: Duration::from_millis(2) };
        kv.use_service(Use { clients: 5, load, unreliable: true, ..Use::default() });
    });
}

/// The leader is cut off with one other server. Clients go on with the other three; those who reach only the
/// two wait, readers too, until the cut is mended.
#[test]
fn one_partition() {
    graded_kv("3a::one_partition", 5, None, |kv| {
        let [first, of_majority, reader, writer] = [(); 4].map(|()| kv.new_client());
        kv.put(first, "1");
        let leader = kv.servers.check_one_leader();
        let at = |step: usize| (leader + step) % 5;
        let (minority, majority) = ([at(0), at(1)], [at(2), at(3), at(4)]);
        kv.servers.partition(&[&minority, &majority]);
        kv.connect_client(of_majority, &majority);
        kv.connect_client(reader, &minority);
        kv.connect_client(writer, &minority);
        kv.put(of_majority, "1");
        kv.get(of_majority, "1");

        let write = kv.begin_append(writer, "1");
        let read = kv.begin_get(reader, "1");
        kv.servers.sleep(Duration::from_secs(2));
        kv.check_not_over(&write);
        kv.check_not_over(&read);
        kv.get(of_majority, "1");
        kv.put(of_majority, "1");
        kv.get(of_majority, "1");
        kv.check_not_over(&write);
        kv.check_not_over(&read);

        kv.heal();
        kv.wait(&read);
        kv.wait(&write);
    });
}

/// The servers are divided in two at random, again and again, with one client.
#[test]
fn many_partitions_one_client() {
    graded_kv("3a::many_partitions_one_client", 5, None, |kv| {
        kv.use_service(Use { clients: 1, partitions: true, ..Use::default() });
    });
}

/// The same with five clients.
#[test]
fn many_partitions_many_clients() {
    graded_kv("3a::many_partitions_many_clients", 5, None, |kv| {
        kv.use_service(Use { clients: 5, partitions: true, ..Use::default() });
    });
}

/// All servers crash and come back, with one client.
#[test]
fn persist_one_client() {
    graded_kv("3a::persist_one_client", 5, None, |kv| {
        kv.use_service(Use { clients: 1, crashes: true, ..Use::default() });
    });
}

/// The same with five clients.
#[test]
fn persist_concurrent() {
    graded_kv("3a::persist_concurrent", 5, None, |kv| {
        kv.use_service(Use { clients: 5, crashes: true, ..Use::default() });
    });
}

/// The same over a network that loses a tenth each way.
#[test]
fn persist_concurrent_unreliable() {
    graded_kv("3a::persist_concurrent_unreliable", 5, None, |kv| {
        kv.use_service(Use { clients: 5, crashes: true, unreliable: true, ..Use::default() });
    });
}

/// All servers crash and come back, and in between they are divided at random.
#[test]
fn persist_partition() {
    graded_kv("3a::persist_partition", 5, None, |kv| {
        kv.use_service(Use { clients: 5, crashes: true, partitions: true, ..Use::default() });
    });
}

/// The same over a network that loses a tenth each way.
#[test]
fn persist_partition_unreliable() {
    graded_kv("3a::persist_partition_unreliable", 5, None, |kv| {
        kv.use_service(Use {
            clients: 5,
            crashes: true,
            partitions: true,
            unreliable: true,
            ..Use::default()
        });
    });
}

/// The same with seven servers and fifteen clients on few keys.
#[test]
fn persist_partition_unreliable_linearizable() {
    graded_kv("3a::persist_partition_unreliable_linearizable", 7, None, |kv| {
        let load = Load { keys: 2, rest: Duration::from_millis(80), ..Load::default() };
        kv.use_service(Use { clients: 15, load, crashes: true, partitions: true, unreliable: true });
    });
}

/// Leaders crash around the moment at which an operation is committed, mostly before its client has heard of
/// it: right after they have saved it, have sent it on, or have sent the answer, which is lost with them.
#[test]
fn crash_before_reply() {
    graded_kv("3a::crash_before_reply", 3, None, |kv| {
        let (writer, reader) = (kv.new_client(), kv.new_client());
        kv.append(writer, "0");
        for _ in 0..12 {
            let leader = kv.servers.check_one_leader();
            let (moment, nth) = match kv.servers.faults().below(6) {
                0 => (Moment::AfterSave, 1),
                1 => (kv.servers.sent(Leg::Request, "AppendEntries"), 1),
                2 => (kv.servers.sent(Leg::Request, "AppendEntries"), 2),
                _ => (Moment::Sent { leg: Leg::Reply, kind: "PutAppend" }, 1),
            };
            kv.servers.crash_at(leader, moment, nth, InFlight::Dropped);
            let write = kv.begin_append(writer, "0");
            let span = Duration::from_millis(kv.servers.faults().range(1..15));
            kv.servers.sleep(span);
            let read = kv.begin_get(reader, "0");
            let span = Duration::from_millis(kv.servers.faults().range(50..600));
            kv.servers.sleep(span);
            kv.servers.start1(leader);
            kv.wait(&write);
            kv.wait(&read);
        }
    });
}

/// A leader spreads an operation, hears nothing of it, and crashes. The client asks the next leader, who has it
/// in its log, not committed: so it is there twice.
#[test]
fn same_request_twice() {
    graded_kv("3a::same_request_twice", 3, None, |kv| {
        let client = kv.new_client();
        for _ in 0..5 {
            kv.append(client, "0");
            let leader = kv.servers.check_one_leader();
            for follower in (0..3).filter(|&server| server != leader) {
                let links = Links::One(tests::node_of(follower), tests::node_of(leader));
                let (kinds, leg) = (kv.servers.kinds("AppendEntries"), kv.servers.leg(Leg::Reply));
                kv.servers.add_rule(Rule { links, kinds, leg, effect: Effect::Hold });
            }
            let write = kv.begin_append(client, "0");
            kv.servers.sleep(Duration::from_millis(40));
            kv.servers.crash1(leader);
            kv.servers.heal();
            kv.wait(&write);
            kv.servers.start1(leader);
            kv.servers.release(|_| true);
        }
    });
}

/// Most requests arrive a second time, up to a second later, when their clients have gone on.
#[test]
fn late_duplicates() {
    graded_kv("3a::late_duplicates", 3, None, |kv| {
        let late = Effect::Duplicate { chance: 0.7, delay: Duration::ZERO..Duration::from_secs(1) };
        for kind in ["PutAppend", "Get"] {
            let (kinds, effect) = (Kinds::Only(kind), late.clone());
            kv.servers.add_rule(Rule { links: Links::All, kinds, leg: Some(Leg::Request), effect });
        }
        let clients = kv.new_clients(3);
        let busy = kv.work(&clients, Load { keys: 2, ..Load::default() });
        for _ in 0..3 {
            let leader = kv.servers.check_one_leader();
            let span = Duration::from_millis(kv.servers.faults().range(300..900));
            kv.servers.sleep(span);
            kv.servers.disconnect(leader);
            kv.servers.sleep(Duration::from_millis(700));
            kv.servers.connect(leader);
        }
        kv.stop_work(&busy);
        kv.servers.sleep(Duration::from_secs(1));
    });
}

/// Cuts the leader of three servers off from the other two, and returns it. The clients `of_old` reach it alone,
/// `of_new` the other two.
fn cut_leader_off(kv: &mut KvCluster, of_old: &[Client], of_new: Client) -> usize {
    kv.append(of_new, "0");
    let leader = kv.servers.check_one_leader();
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    kv.servers.disconnect(leader);
    for &client in of_old {
        kv.connect_client(client, &[leader]);
    }
    kv.connect_client(of_new, &others);
    leader
}

/// A leader that is cut off takes operations and waits for them, while the others commit theirs at the same
/// indexes. When it hears of those, nothing of its own was carried out.
#[test]
fn index_taken() {
    graded_kv("3a::index_taken", 3, None, |kv| {
        let [of_old, reader, of_new] = [(); 3].map(|()| kv.new_client());
        kv.explain(
            "
What this test does: a leader that is cut off takes an operation, and waits at
the index that `start` named. Entries of another leader are applied there, one
after the other. So an index that is passed says nothing: was it your entry
that was applied there? If not, the operation was not carried out, and a value
read at that moment may be older than writes that are over.",
        );
        for _ in 0..4 {
            let leader = cut_leader_off(kv, &[of_old, reader], of_new);
            // Writes that are over: the old leader learns of them one by one, and a read must show them all.
            for _ in 0..8 {
                kv.append(of_new, "0");
            }
            let write = kv.begin_append(of_old, "0");
            let read = kv.begin_get(reader, "0");
            for _ in 0..7 {
                kv.append(of_new, "0");
            }
            // By now both have found the server that they reach.
            kv.servers.sleep(Duration::from_millis(200));
            kv.servers.connect(leader);
            kv.servers.sleep(Duration::from_millis(300));
            kv.heal();
            kv.wait(&write);
            kv.wait(&read);
        }
    });
}

/// A leader that is cut off takes a write, and its handler is held up. Meanwhile others lead, commit other
/// entries at the same indexes, and go; the server has followed them, and leads again when its handler goes on.
#[test]
fn leads_again() {
    graded_kv("3a::leads_again", 3, None, |kv| {
        let [of_old, reader, of_new] = [(); 3].map(|()| kv.new_client());
        kv.explain(
            "
What this test does: a leader that is cut off takes an operation, and the
thread that serves it is held up. Meanwhile the server follows another leader,
whose entries take the index that `start` named, and then leads again. So its
index is applied, and it is the leader: neither says that it was your entry. A
term that has changed would, and so does what was applied at the index.",
        );
        for _ in 0..4 {
            let leader = cut_leader_off(kv, &[of_old, reader], of_new);
            let write = kv.begin_append(of_old, "0");
            let read = kv.begin_get(reader, "0");
            kv.hold_handlers_up(leader, Duration::from_secs(4));
            for _ in 0..3 {
                kv.append(of_new, "0");
            }
            let new = kv.servers.check_one_leader();
            kv.servers.connect(leader);
            kv.servers.sleep(Duration::from_millis(300));
            // One of the two that are left leads; in about every second round it is the first leader.
            kv.servers.disconnect(new);
            let left: Vec<usize> = (0..3).filter(|server| *server != new).collect();
            kv.connect_client(of_new, &left);
            kv.append(of_new, "0");
            kv.heal();
            kv.wait(&write);
            kv.wait(&read);
        }
    });
}

/// A leader is cut off from the other servers, but not from those who ask it. It goes on believing that it leads;
/// whoever waits there is let go, and served by the others.
#[test]
fn cut_off_leader_lets_go() {
    graded_kv("3a::cut_off_leader_lets_go", 5, None, |kv| {
        let [writer, reader, of_majority] = [(); 3].map(|()| kv.new_client());
        let all = [0, 1, 2, 3, 4];
        for _ in 0..2 {
            kv.append(of_majority, "0");
            let leader = kv.servers.check_one_leader();
            let others = [1, 2, 3, 4].map(|step| (leader + step) % 5);
            kv.servers.disconnect(leader);
            kv.connect_client(of_majority, &others);
            kv.connect_client(writer, &[leader]);
            kv.connect_client(reader, &[leader]);
            let write = kv.begin_append(writer, "0");
            let read = kv.begin_get(reader, "0");
            // The others have a leader when this is over, and both have found the server that they reach.
            kv.append(of_majority, "0");
            kv.servers.sleep(Duration::from_secs(1));
            kv.check_not_over(&write);
            kv.check_not_over(&read);
            kv.connect_client(writer, &all);
            kv.connect_client(reader, &all);
            kv.check_let_go(&write, leader);
            kv.check_let_go(&read, leader);
            kv.heal();
        }
    });
}

/// A leader crashes as soon as a client has the answer to a write; the next one, which has the write and does
/// not know that it is committed, is asked to read.
#[test]
fn new_leader_reads() {
    graded_kv("3a::new_leader_reads", 3, None, |kv| {
        let (writer, reader) = (kv.new_client(), kv.new_client());
        for _ in 0..6 {
            kv.append(writer, "0");
            let leader = kv.servers.check_one_leader();
            kv.append(writer, "0");
            kv.servers.crash1(leader);
            kv.get(reader, "0");
            kv.servers.start1(leader);
            kv.get(reader, "0");
        }
    });
}

/// Longer than it takes to commit and apply an operation.
const STALLS: Stalls = Stalls { one_in: 60, span: Duration::from_millis(1)..Duration::from_millis(60) };

/// Threads of the servers are held up now and then while a client waits for one operation; then all is well, and no
/// other operation comes.
#[test]
fn stalled_handlers() {
    graded_kv("3a::stalled_handlers", 3, None, |kv| {
        let client = kv.new_client();
        kv.append(client, "0");
        for _ in 0..12 {
            kv.servers.stall_all(&STALLS);
            let write = kv.begin_append(client, "0");
            let span = Duration::from_millis(kv.servers.faults().range(20..150));
            kv.servers.sleep(span);
            kv.servers.end_stalls();
            kv.wait(&write);
        }
    });
}

/// Fifteen seconds of random faults, over servers, network and clients; some clients give up in the middle of
/// an operation, and nobody knows what became of it.
#[test]
fn fault_storm() {
    graded_kv("3a::fault_storm", 5, None, |kv| kv.storm_under_load(Duration::from_secs(15), 20));
}

//! Stage 3B: the service with snapshots.
//!
//! Kit-owned. As in `kv_3a.rs`, all that clients see is recorded and judged. The servers of the service make a
//! snapshot when their logs have reached a limit, and come back from it.
//!
//! The tests named as in MIT's 6.824 do what those do; where those toss coins, so do these, from the seed.

use std::time::Duration;

use labrpc::{Effect, Kinds, Leg, Links, Rule, Stalls};
use tests::{Finding, KvCluster, Load, Use, graded_kv, node_of};

/// At so many bytes of log a server makes a snapshot, as in the classic tests.
const LIMIT: Option<usize> = Some(1_000);

/// A snapshot of two short values has no more bytes than this, as in the classic test.
const SNAPSHOT_BYTES_MAX: usize = 500;

/// A server that was cut off gets a snapshot from the others, and leads with one other then.
#[test]
fn snapshot_rpc() {
    graded_kv("3b::snapshot_rpc", 3, LIMIT, |kv| {
        let client = kv.new_client();
        kv.put(client, "a");
        kv.servers.partition(&[&[0, 1], &[2]]);
        kv.connect_client(client, &[0, 1]);
        for _ in 0..50 {
            kv.put(client, "a");
        }
        kv.servers.sleep(Duration::from_millis(500));
        kv.put(client, "b");
        kv.servers.partition(&[&[0, 2], &[1]]);
        kv.connect_client(client, &[0, 2]);
        kv.put(client, "c");
        kv.put(client, "d");
        for key in ["a", "b", "c", "d"] {
            kv.get(client, key);
        }
        kv.servers.partition(&[&[0, 1, 2]]);
        kv.connect_client(client, &[0, 1, 2]);
        kv.put(client, "e");
        for key in ["a", "c", "e"] {
            kv.get(client, key);
        }
        kv.check_log_sizes();
    });
}

/// Snapshots hold what the store holds now, not how it came to be.
#[test]
fn snapshot_size() {
    graded_kv("3b::snapshot_size", 3, LIMIT, |kv| {
        let client = kv.new_client();
        for _ in 0..150 {
            kv.put(client, "x");
            kv.get(client, "x");
            kv.put(client, "y");
        }
        kv.check_log_sizes();
        kv.check_snapshots_needed();
        for server in 0..3 {
            let bytes = kv.snapshot_bytes(server);
            if bytes > SNAPSHOT_BYTES_MAX {
                kv.servers.fail(Finding::safety(
                    "a snapshot holds the store as it is, and for each client its last operation",
                    format!("at most {SNAPSHOT_BYTES_MAX} bytes for two short values and one client"),
                    format!("snapshot size too large: S{server} has a snapshot of {bytes} bytes"),
                ));
            }
        }
    });
}

/// A client that has the service to itself is not held up by snapshots.
#[test]
fn speed() {
    graded_kv("3b::speed", 3, LIMIT, KvCluster::measure_speed);
}

/// All servers crash and come back from their snapshots, with one client.
#[test]
fn snapshot_recover() {
    graded_kv("3b::snapshot_recover", 5, LIMIT, |kv| {
        kv.use_service(Use { clients: 1, load: DENSE, crashes: true, ..Use::default() });
    });
}

/// The same with ten clients.
#[test]
fn snapshot_recover_many_clients() {
    graded_kv("3b::snapshot_recover_many_clients", 5, LIMIT, |kv| {
        kv.use_service(Use { clients: 10, crashes: true, ..Use::default() });
    });
}

/// Five clients over a network that loses a tenth each way.
#[test]
fn snapshot_unreliable() {
    graded_kv("3b::snapshot_unreliable", 5, LIMIT, |kv| {
        kv.use_service(Use { clients: 5, unreliable: true, ..Use::default() });
    });
}

/// The same, and all servers crash and come back.
#[test]
fn snapshot_unreliable_recover() {
    graded_kv("3b::snapshot_unreliable_recover", 5, LIMIT, |kv| {
        kv.use_service(Use { clients: 5, unreliable: true, crashes: true, ..Use::default() });
    });
}

/// The same, and in between the servers are divided at random.
#[test]
fn snapshot_unreliable_recover_concurrent_partition() {
    graded_kv("3b::snapshot_unreliable_recover_concurrent_partition", 5, LIMIT, |kv| {
        kv.use_service(Use {
            clients: 5,
            unreliable: true,
            crashes: true,
            partitions: true,
            ..Use::default()
        });
    });
}

/// The same with seven servers and fifteen clients on few keys.
#[test]
fn snapshot_unreliable_recover_concurrent_partition_linearizable() {
    graded_kv("3b::snapshot_unreliable_recover_concurrent_partition_linearizable", 7, LIMIT, |kv| {
        let load = Load { keys: 2, rest: Duration::from_millis(80), ..Load::default() };
        kv.use_service(Use { clients: 15, load, unreliable: true, crashes: true, partitions: true });
    });
}

/// Two clients hear nothing, and ask again and again, while their write and their read are carried out, get under
/// a snapshot, and all servers come back from that.
#[test]
fn retry_after_snapshot() {
    graded_kv("3b::retry_after_snapshot", 3, LIMIT, |kv| {
        kv.explain(
            "
What this test does: an append and a get are carried out, and their answers are
lost. Their entries get under a snapshot, all servers come back from that, and
the clients ask again. Which operation of each client was the last, and what it
returned, is part of the service's state: a snapshot has to hold both.",
        );
        let [writer, reader, other] = [(); 3].map(|()| kv.new_client());
        for _ in 0..3 {
            kv.append(writer, "0");
            kv.get(reader, "0");
            kv.keep_answers_from(writer);
            kv.keep_answers_from(reader);
            let write = kv.begin_append(writer, "0");
            let read = kv.begin_get(reader, "0");
            for _ in 0..25 {
                kv.put(other, "1");
            }
            (0..3).for_each(|server| kv.servers.crash1(server));
            (0..3).for_each(|server| kv.servers.start1(server));
            kv.heal();
            kv.wait(&write);
            kv.wait(&read);
        }
        kv.check_log_sizes();
    });
}

/// A server gets a snapshot from another one, and leads. It is asked for an append that is under that snapshot.
#[test]
fn retry_after_install() {
    graded_kv("3b::retry_after_install", 3, LIMIT, |kv| {
        kv.explain(
            "
What this test does: an append is carried out while one server is cut off, and
its answer is lost. That server gets a snapshot from another one, becomes leader,
and is asked for the append again. What arrives with a snapshot takes the place
of the whole state: data, and the sessions that say what was carried out.",
        );
        let (deaf, other) = (kv.new_client(), kv.new_client());
        for _ in 0..2 {
            kv.append(deaf, "0");
            let leader = kv.servers.check_one_leader();
            let (behind, third) = ((leader + 1) % 3, (leader + 2) % 3);
            kv.servers.disconnect(behind);
            kv.keep_answers_from(deaf);
            let write = kv.begin_append(deaf, "0");
            for _ in 0..40 {
                kv.put(other, "1");
            }
            kv.servers.connect(behind);
            kv.servers.sleep(Duration::from_secs(1));
            kv.servers.disconnect(leader);
            // So that the one which got the snapshot is elected.
            let (links, kinds) = (Links::From(node_of(third)), Kinds::Only("RequestVote"));
            kv.servers.add_rule(Rule { links, kinds, leg: Some(Leg::Request), effect: Effect::Lose(1.0) });
            for _ in 0..50 {
                if matches!(kv.servers.get_state(behind), Some((_, true))) {
                    break;
                }
                kv.servers.sleep(Duration::from_millis(100));
            }
            kv.heal();
            // If it leads, the client gets its answer there.
            kv.connect_client(deaf, &[behind]);
            kv.give_time(&write, Duration::from_secs(3));
            kv.heal();
            kv.wait(&write);
            kv.get(other, "0");
        }
        kv.check_log_sizes();
    });
}

/// Longer than it takes to commit and apply an operation.
const STALLS: Stalls = Stalls { one_in: 80, span: Duration::from_millis(4)..Duration::from_millis(50) };

/// Threads of the servers are held up now and then while clients work and snapshots are made; then all servers
/// crash, and come back from these.
#[test]
fn stalled_snapshots() {
    graded_kv("3b::stalled_snapshots", 3, LIMIT, |kv| {
        let clients = kv.new_clients(4);
        for _ in 0..3 {
            kv.servers.stall_all(&STALLS);
            let busy = kv.work(&clients, DENSE);
            kv.servers.sleep(Duration::from_millis(500));
            (0..3).for_each(|server| kv.servers.crash1(server));
            kv.heal();
            kv.stop_work(&busy);
        }
    });
}

/// Fifteen seconds of random faults, over servers, network and clients, with snapshots.
#[test]
fn fault_storm() {
    graded_kv("3b::fault_storm", 5, LIMIT, |kv| kv.storm_under_load(Duration::from_secs(15), 20));
}

/// One client that does as much as several.
const DENSE: Load = Load { keys: 3, gets: 0.4, puts: 0.15, rest: Duration::from_millis(6) };

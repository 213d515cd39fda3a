//! How much virtual time a cluster of five servers passes in a second of CPU time, and how many fault
//! storms.
//!
//! `cargo bench -p tests --features solution` measures the reference in release,
//! `cargo bench -p tests --features solution --profile dev` as `cargo lab` runs it. Rows named `watched`
//! have all checks on, as in a graded test. With `-- --once ROW` one round of one row runs and nothing
//! is timed, so that an instruction counter can be put around it.

#[path = "../../labrpc/benches/support/cpu_time.rs"]
mod cpu_time;

use std::time::Duration;

use cpu_time::cpu_time;
use tests::{Body, Cluster, Mix, run_unjudged};

struct Row {
    name: &'static str,
    is_watched: bool,
    body: Body,
}

/// Seeds of a storm that one measurement runs.
const STORM_SEEDS: u64 = 200;

const STORMS: &[Row] = &[
    Row { name: "storm", is_watched: false, body: storm },
    Row { name: "storm_watched", is_watched: true, body: storm },
];

const ROWS: &[Row] = &[
    Row { name: "idle", is_watched: false, body: idle },
    Row { name: "idle_watched", is_watched: true, body: idle },
    Row { name: "lossy", is_watched: false, body: lossy },
    Row { name: "lossy_watched", is_watched: true, body: lossy },
];

const ROUNDS: u64 = 9;
const SERVERS: usize = 5;
const SPAN: Duration = Duration::from_secs(2_000);

/// A leader and its heartbeats, and nothing else.
fn idle(cluster: &mut Cluster) {
    cluster.sleep(SPAN);
}

/// The same over a network that delays by up to 26 ms and loses a tenth each way.
fn lossy(cluster: &mut Cluster) {
    cluster.make_unreliable();
    cluster.sleep(SPAN);
}

/// Ten virtual seconds with twelve faults (cuts, losses, reordering, duplicates, held messages, pauses, slow
/// disks, crashes and restarts) while a command is started every 150 ms or so and the services snapshot
/// after every tenth; then the faults end, and the cluster agrees on one more command.
fn storm(cluster: &mut Cluster) {
    cluster.snapshot_every(10);
    cluster.storm(Duration::from_secs(10), 12, Mix::Crashes);
    cluster.one(cluster.len());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            ROWS.iter().for_each(measure);
            STORMS.iter().for_each(count);
        }
        ["--once", name] => match ROWS.iter().chain(STORMS).find(|row| row.name == name) {
            Some(row) => {
                run_unjudged(SERVERS, 1, row.is_watched, row.body);
            }
            None => eprintln!("no row is called {name}"),
        },
        _ => eprintln!("usage: cluster [--once ROW]"),
    }
}

fn measure(row: &Row) {
    let mut speeds: Vec<f64> = (1..=ROUNDS)
        .map(|seed| {
            let before = cpu_time();
            let passed = run_unjudged(SERVERS, seed, row.is_watched, row.body);
            passed.as_secs_f64() / (cpu_time() - before).as_secs_f64()
        })
        .collect();
    speeds.sort_by(f64::total_cmp);
    let (median, best) = (speeds[speeds.len() / 2], speeds[speeds.len() - 1]);
    println!("{:<14} {median:>8.0} virtual s per CPU s median {best:>8.0} best", row.name);
}

/// Runs a storm on many seeds.
fn count(row: &Row) {
    let mut speeds: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let before = cpu_time();
            let seeds = round * STORM_SEEDS + 1..=(round + 1) * STORM_SEEDS;
            seeds.for_each(|seed| {
                run_unjudged(SERVERS, seed, row.is_watched, row.body);
            });
            STORM_SEEDS as f64 / (cpu_time() - before).as_secs_f64()
        })
        .collect();
    speeds.sort_by(f64::total_cmp);
    let (median, best) = (speeds[speeds.len() / 2], speeds[speeds.len() - 1]);
    println!("{:<14} {median:>8.0} seeds per CPU s median        {best:>8.0} best", row.name);
}

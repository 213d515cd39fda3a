//! How much virtual time a cluster of five servers passes in a second of CPU time.
//!
//! `cargo bench -p tests --features solution` measures the reference in release,
//! `cargo bench -p tests --features solution --profile dev` as `cargo lab` runs it. Rows named `watched`
//! have all checks on, as in a graded test. With `-- --once ROW` one round of one row runs and nothing
//! is timed, so that an instruction counter can be put around it.

#[path = "../../labrpc/benches/support/cpu_time.rs"]
mod cpu_time;

use std::time::Duration;

use cpu_time::cpu_time;
use labrpc::unreliable;
use tests::{Body, Cluster, run_unjudged};

struct Row {
    name: &'static str,
    is_watched: bool,
    body: Body,
}

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
    unreliable().into_iter().for_each(|rule| cluster.add_rule(rule));
    cluster.sleep(SPAN);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => ROWS.iter().for_each(measure),
        ["--once", name] => match ROWS.iter().find(|row| row.name == name) {
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

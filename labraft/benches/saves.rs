//! What a save costs as the log grows: one entry is appended, and the state saved.
//!
//! Kit-owned. `cargo bench -p labraft` measures in release, with `--profile dev` as `cargo lab` runs it.
//! Bytes are those that reach the disk: they do not grow with the log, as nothing is encoded twice. Time
//! does, a little, as a save looks for what has changed.

#[path = "../../labrpc/benches/support/cpu_time.rs"]
mod cpu_time;

use std::hint::black_box;

use cpu_time::cpu_time;
use labraft::{Command, Entry, PersistentState, Persister};
use labrpc::Disk;

const LENGTHS: [usize; 5] = [10, 100, 1_000, 3_000, 10_000];
const SAVES: usize = 200;
const ROUNDS: usize = 15;

fn main() {
    println!(
        "{:>10} {:>12} {:>12} {:>14} {:>14}",
        "entries", "us a save", "best", "bytes a save", "us to load"
    );
    for length in LENGTHS {
        let mut times: Vec<f64> = (0..ROUNDS).map(|_| time_saves(length)).collect();
        times.sort_by(f64::total_cmp);
        let (bytes, load) = (bytes_of_save(length), time_load(length));
        println!("{length:>10} {:>12.2} {:>12.2} {bytes:>14} {load:>14.1}", times[ROUNDS / 2], times[0]);
    }
}

fn entry(number: usize) -> Entry {
    Entry { term: 3, command: Command(format!("command {number}").into_bytes().into()) }
}

fn state(length: usize) -> PersistentState {
    PersistentState { current_term: 3, log: (0..length).map(entry).collect(), ..PersistentState::default() }
}

/// Microseconds for one save after one more entry.
fn time_saves(length: usize) -> f64 {
    let persister = Persister::new(Disk::in_memory());
    let mut state = state(length);
    persister.save(&state);
    let before = cpu_time();
    for number in 0..SAVES {
        state.log.push(entry(length + number));
        persister.save(black_box(&state));
    }
    (cpu_time() - before).as_secs_f64() * 1e6 / SAVES as f64
}

/// Bytes that one more entry adds to the disk, and those of the header that is written anew.
fn bytes_of_save(length: usize) -> usize {
    let disk = Disk::in_memory();
    let persister = Persister::new(disk.clone());
    let mut state = state(length);
    persister.save(&state);
    state.log.push(entry(length));
    persister.save(&state);
    let content = disk.read();
    content.header.len() + content.records.back().map_or(0, |record| record.len())
}

fn time_load(length: usize) -> f64 {
    let persister = Persister::new(Disk::in_memory());
    persister.save(&state(length));
    let before = cpu_time();
    black_box(persister.load());
    (cpu_time() - before).as_secs_f64() * 1e6
}

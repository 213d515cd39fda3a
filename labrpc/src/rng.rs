//! Random numbers.
//!
//! Kit-owned; this is what students use instead of the rand crate. Inside a simulation each node draws
//! from a stream of its own that the seed decides; outside, each OS thread has one that the operating
//! system seeds.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use rand::Rng;

use crate::kernel;
use crate::streams::{Purpose, Stream};

/// 64 random bits.
pub fn next_u64() -> u64 {
    with_stream(Stream::next_u64)
}

/// A number in `range`.
///
/// # Panics
///
/// When `range` is empty.
#[track_caller]
pub fn range(range: Range<u64>) -> u64 {
    assert!(range.start < range.end, "rng::range needs a range that is not empty, got {range:?}");
    with_stream(|stream| stream.range(range))
}

/// A time span in `range`, in whole nanoseconds.
///
/// # Panics
///
/// When `range` is empty.
#[track_caller]
pub fn duration(range: Range<Duration>) -> Duration {
    assert!(range.start < range.end, "rng::duration needs a range that is not empty, got {range:?}");
    with_stream(|stream| stream.duration(&range))
}

/// True with probability `p`.
pub fn chance(p: f64) -> bool {
    with_stream(|stream| stream.chance(p))
}

fn with_stream<R>(f: impl FnOnce(&mut Stream) -> R) -> R {
    thread_local! {
        static REAL: RefCell<Stream> = RefCell::new(Stream::new(rand::rng().next_u64(), Purpose::Node, 0));
    }
    match kernel::current() {
        Some(kernel) => kernel.with_node(kernel.my_node(), |node| f(&mut node.random)),
        None => REAL.with(|stream| f(&mut stream.borrow_mut())),
    }
}

//! Seeded streams of random numbers, one per purpose.
//!
//! Kit-owned. Every source of chance in a simulation draws from a stream of its own, so that taking one
//! fault out of a run does not deal everything else anew. Range sampling is written out here, over a
//! generator whose values are fixed by its definition, so that a seed outlives updates of any library.

use std::ops::Range;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// What a stream is for. Two streams of one seed that differ in purpose or index are unrelated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Which thread runs next, and for how long.
    Scheduler,
    /// What happens to the messages of one directed link.
    Link,
    /// The numbers a node draws for itself through [`crate::rng`].
    Node,
    /// How long a node's disk takes.
    Disk,
    /// What the operating system would draw.
    System,
    /// How late the threads of a slow node are.
    Lateness,
    /// What the clients of a test do.
    Workload,
    /// Which faults a test makes, and when.
    Faults,
    /// When the threads of a node are held up by stalls, and for how long.
    Stalls,
    /// Whether threads have priorities, which, and when these change.
    Priorities,
}

/// A stream of random numbers that is a function of a seed, a [`Purpose`] and an index.
#[derive(Clone, Debug)]
pub struct Stream(Xoshiro256PlusPlus);

impl Stream {
    /// The stream of `seed` for `purpose`; `index` tells streams of one purpose apart.
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Stream {
        let key = spread(seed ^ spread((purpose as u64 + 1) << 56 ^ index));
        Stream(Xoshiro256PlusPlus::seed_from_u64(key))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`, by multiplication; its bias is below `bound / 2^64`.
    ///
    /// # Panics
    ///
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "Stream::below needs a bound of at least 1");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `range`.
    ///
    /// # Panics
    ///
    /// When `range` is empty.
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "Stream::range needs a range that is not empty, got {range:?}");
        range.start + self.below(range.end - range.start)
    }

    /// A time span in `range`, in whole nanoseconds; its start when `range` is empty.
    pub fn duration(&mut self, range: &Range<Duration>) -> Duration {
        let (low, high) = (nanos(range.start), nanos(range.end));
        if low >= high { range.start } else { Duration::from_nanos(self.range(low..high)) }
    }

    /// True with probability `p`; draws nothing when `p` is 0 or below, or 1 or above.
    pub fn chance(&mut self, p: f64) -> bool {
        if p <= 0.0 {
            return false;
        }
        // 2^53 equally likely steps: every one of them is an exact f64.
        p >= 1.0 || ((self.next_u64() >> 11) as f64) < p * (1u64 << 53) as f64
    }

    /// One element of `items`, or `None` when there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { Some(&items[self.below(items.len() as u64) as usize]) }
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// A time span as whole nanoseconds, at most `u64::MAX` (584 years).
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Spreads every bit of `x` over the whole result (the finalizer of SplitMix64).
pub(crate) fn spread(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

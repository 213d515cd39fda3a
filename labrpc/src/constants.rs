//! Every number of the simulated world that a test, a handout or a student may want to look up.
//!
//! Kit-owned. The network's values are those of the classic labs, so that old advice stays true.
//! Read first: nothing; this file stands alone.

use std::ops::Range;
use std::time::Duration;

/// One-way delay of a message on a reliable link: 0.5 to 2 ms.
pub const RELIABLE_DELAY: Range<Duration> = Duration::from_micros(500)..Duration::from_millis(2);

/// One-way delay of a request on an unreliable link: 0 to 26 ms.
pub const UNRELIABLE_DELAY: Range<Duration> = Duration::ZERO..Duration::from_millis(26);

/// Chance that an unreliable link loses a request; a reply has the same chance again.
pub const UNRELIABLE_LOSS: f64 = 0.10;

/// Chance that a reply is held back under long reordering.
pub const LONG_REORDERING_CHANCE: f64 = 2.0 / 3.0;

/// How long a reply is held back under long reordering: 200 to 2,200 ms.
pub const LONG_REORDERING_DELAY: Range<Duration> = Duration::from_millis(200)..Duration::from_millis(2_200);

/// A call to an unreachable server of lab 2 returns after 0 to 7,000 ms.
pub const UNREACHABLE_LAB2: Range<Duration> = Duration::ZERO..Duration::from_millis(7_000);

/// A call to an unreachable server of lab 3 returns after 0 to 100 ms.
pub const UNREACHABLE_LAB3: Range<Duration> = Duration::ZERO..Duration::from_millis(100);

/// Virtual cost of one operation of the facade.
///
/// Time moves with every operation, so a loop that only polls ends at its time limit and no two
/// operations happen at one instant.
pub const OPERATION_COST: Duration = Duration::from_nanos(200);

/// A running thread is preempted after 1 to `2 * n - 1` operations, `n` being one of these. The seed
/// chooses which, so that some runs switch at nearly every operation and some hardly ever.
pub const PREEMPTION_MEANS: [u32; 3] = [4, 16, 64];

/// Stack of a simulated thread. Only the pages that are touched cost memory.
pub const STACK_BYTES: usize = 256 * 1024;

/// CPU time without a call into the kit after which a thread counts as looping without end.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// How often a crashed thread may catch its own crash with `catch_unwind` before the run is failed.
pub const SWALLOWED_CRASHES_MAX: u32 = 64;

/// Virtual time after which a run is failed, where a test sets no limit of its own.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(600);

/// Facade operations after which a run is failed, where a test sets no limit of its own.
pub const DEFAULT_STEP_LIMIT: u64 = 200_000_000;

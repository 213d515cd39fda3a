//! The time of day on a node.
//!
//! Kit-owned; this is what students use instead of `std::time`. Inside a simulation time is virtual: it
//! passes when threads sleep or work, and each node has a clock of its own, which a test can make drift.

use std::fmt::{self, Debug};
use std::ops::{Add, AddAssign, Sub};
use std::sync::OnceLock;

pub use std::time::Duration;

use crate::kernel;
use crate::streams::nanos;

/// A moment, as the clock of one node shows it. Moments of different nodes, or of different runs, do
/// not compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Since the simulation began; outside one, since the program first asked.
    nanos: u64,
}

impl Instant {
    /// This moment. Reading the clock costs no virtual time.
    pub fn now() -> Instant {
        let nanos = match kernel::current() {
            Some(kernel) => kernel.local_now(),
            None => {
                static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
                nanos(ORIGIN.get_or_init(std::time::Instant::now).elapsed())
            }
        };
        Instant { nanos }
    }

    /// How long ago this moment was; zero when it is still to come.
    pub fn elapsed(self) -> Duration {
        Instant::now().saturating_duration_since(self)
    }

    /// How much later this moment is than `earlier`; zero when it is not.
    pub fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, span: Duration) -> Instant {
        Instant { nanos: self.nanos.saturating_add(nanos(span)) }
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    /// The earliest moment there is, where that would be before it.
    fn sub(self, span: Duration) -> Instant {
        Instant { nanos: self.nanos.saturating_sub(nanos(span)) }
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Zero when `earlier` is in fact later.
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", Duration::from_nanos(self.nanos).as_secs_f64())
    }
}

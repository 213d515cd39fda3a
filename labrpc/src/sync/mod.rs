//! Locks and condition variables, in the manner of parking_lot.
//!
//! Kit-owned; this is what students use instead of `std::sync`. Inside a simulation a thread that waits
//! lets others run; outside, these types are parking_lot's own. No lock is ever poisoned.

mod condvar;
mod mutex;
mod rwlock;
mod wait_queue;

pub use self::condvar::{Condvar, WaitTimeoutResult};
pub use self::mutex::{Mutex, MutexGuard};
pub use self::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use std::sync::{Arc, Weak};

pub(crate) use self::wait_queue::WaitQueue;

//! Disks: what a node keeps through a crash.
//!
//! Kit-owned; the labs give students a typed view of it. A disk holds a header, a row of records and a
//! blob. One write replaces the header, drops records at either end, appends others and may replace the
//! blob, all at once: a crash leaves the state before it or after it. Records that stay are not touched,
//! so a write costs what it changes.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::{Chance, Kernel, Mode, Moment, NodeId, Waiting, current};
use crate::record::{Body, What};
use crate::streams::{Stream, nanos};

/// Bytes that are shared and never change.
pub type Bytes = Arc<[u8]>;

/// Everything on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// A small piece that every write replaces.
    pub header: Vec<u8>,
    /// The records, oldest first.
    pub records: VecDeque<Bytes>,
    /// A large piece that few writes replace.
    pub blob: Bytes,
}

/// One atomic write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// The new header.
    pub header: Vec<u8>,
    /// How many of the oldest records go.
    pub drop_front: usize,
    /// How many of the newest records go.
    pub drop_back: usize,
    /// Records that come after those that stay.
    pub append: Vec<Bytes>,
    /// The new blob, where there is one.
    pub blob: Option<Bytes>,
}

/// What is stored, and how large its records are: that is asked for often, and there may be many.
#[derive(Debug, Default)]
struct Stored {
    content: Content,
    record_bytes: usize,
}

/// The simulated disk of one node.
pub(crate) struct DiskState {
    stored: Stored,
    delay: Range<Duration>,
    random: Stream,
}

/// A handle to a disk.
#[derive(Clone, Debug)]
pub struct Disk(Place);

#[derive(Clone, Debug)]
enum Place {
    Simulated(NodeId),
    Memory(Arc<parking_lot::Mutex<Stored>>),
}

impl Stored {
    fn bytes_without_blob(&self) -> usize {
        self.content.header.len() + self.record_bytes
    }

    /// Returns how many records stay.
    fn apply(&mut self, write: Write) -> usize {
        let Content { header, records, blob } = &mut self.content;
        let kept = records.len().checked_sub(write.drop_front + write.drop_back);
        let kept = kept.expect("a write cannot drop more records than there are");
        let dropped: usize = records.drain(..write.drop_front).map(|record| record.len()).sum();
        let cut: usize = records.drain(kept..).map(|record| record.len()).sum();
        self.record_bytes += size_of_all(&write.append);
        self.record_bytes -= dropped + cut;
        records.extend(write.append);
        *header = write.header;
        if let Some(new) = write.blob {
            *blob = new;
        }
        kept
    }
}

fn size_of_all(records: &[Bytes]) -> usize {
    records.iter().map(|record| record.len()).sum()
}

impl Write {
    fn size(&self) -> usize {
        self.header.len() + size_of_all(&self.append) + self.blob.as_ref().map_or(0, |blob| blob.len())
    }
}

impl DiskState {
    pub(crate) fn new(random: Stream) -> DiskState {
        DiskState { stored: Stored::default(), delay: Duration::ZERO..Duration::ZERO, random }
    }

    pub(crate) fn set_delay(&mut self, delay: Range<Duration>) {
        self.delay = delay;
    }
}

impl Disk {
    /// The disk of `node`, in the simulation in which the handle is used.
    pub fn simulated(node: NodeId) -> Disk {
        Disk(Place::Simulated(node))
    }

    /// A disk that exists in memory only, for use outside a simulation.
    pub fn in_memory() -> Disk {
        Disk(Place::Memory(Arc::default()))
    }

    /// What the disk holds.
    ///
    /// # Panics
    ///
    /// When the disk is one of a simulation and the caller runs outside of any.
    #[track_caller]
    pub fn read(&self) -> Content {
        match &self.0 {
            Place::Simulated(node) => look_at(*node, Location::caller(), |disk| disk.stored.content.clone()),
            Place::Memory(stored) => stored.lock().content.clone(),
        }
    }

    /// The blob alone, which is cheap however many records there are.
    ///
    /// # Panics
    ///
    /// As [`Disk::read`].
    #[track_caller]
    pub fn read_blob(&self) -> Bytes {
        match &self.0 {
            Place::Simulated(node) => {
                look_at(*node, Location::caller(), |disk| disk.stored.content.blob.clone())
            }
            Place::Memory(stored) => stored.lock().content.blob.clone(),
        }
    }

    /// How many bytes header and records take.
    ///
    /// # Panics
    ///
    /// As [`Disk::read`].
    #[track_caller]
    pub fn bytes_without_blob(&self) -> usize {
        match &self.0 {
            Place::Simulated(node) => {
                look_at(*node, Location::caller(), |disk| disk.stored.bytes_without_blob())
            }
            Place::Memory(stored) => stored.lock().bytes_without_blob(),
        }
    }

    /// Writes, and returns once the write is durable. `body` is what the write stands for; tests see it.
    ///
    /// # Panics
    ///
    /// When the write drops more records than there are, or the disk is one of a simulation and the
    /// caller runs outside of any.
    #[track_caller]
    pub fn write(&self, write: Write, body: &dyn Body) {
        match &self.0 {
            Place::Simulated(node) => {
                let at = Location::caller();
                kernel_of(*node, |kernel| kernel.write_disk(*node, write, body, at));
            }
            Place::Memory(stored) => _ = stored.lock().apply(write),
        }
    }
}

/// Looks at a disk of the simulation. The look is over at once, but a stall may come before it.
fn look_at<R>(node: NodeId, at: &'static Location<'static>, f: impl FnOnce(&DiskState) -> R) -> R {
    kernel_of(node, |kernel| {
        kernel.risk_stall(Chance::DiskRead, at);
        kernel.with_node(node, |node| f(&node.disk))
    })
}

fn kernel_of<R>(node: NodeId, f: impl FnOnce(&Kernel) -> R) -> R {
    let kernel =
        current().unwrap_or_else(|| panic!("the disk of node {} exists in its simulation only", node.0));
    f(&kernel)
}

impl Kernel {
    fn write_disk(&self, node: NodeId, write: Write, body: &dyn Body, at: &'static Location<'static>) {
        if self.step(at) == Mode::Unwinding {
            // A destructor that runs during a crash must not reach the disk: the crash came first.
            return;
        }
        self.reach(&Moment::BeforeSave);
        let delay = self.with_node(node, |node| node.disk.random.duration(&node.disk.delay));
        if !delay.is_zero() {
            self.block(Waiting::Disk, at, Some(self.now().saturating_add(nanos(delay))));
        }
        let bytes = write.size();
        self.recorder.mix_bytes(&write.header);
        write.append.iter().for_each(|record| self.recorder.mix_bytes(record));
        let blob = write.blob.clone();
        let (kept, incarnation) = self.with_node(node, |node| {
            node.saved_since_sent = true;
            (node.disk.stored.apply(write), node.incarnation)
        });
        self.emit(&What::Saved { node, incarnation, bytes, kept, body, blob: blob.as_ref() });
        self.reach(&Moment::AfterSave);
        self.risk_stall(Chance::Saved, at);
    }
}

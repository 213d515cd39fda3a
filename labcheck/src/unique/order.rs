//! Puts what the gets have shown against real time: is there an order in which nothing that had returned
//! comes after what was called later?
//!
//! Kit-owned. Read `mod.rs` first, then `epochs.rs`.

use super::epochs::{NONE, Reading, Spot};
use crate::history::OpId;
use crate::operations::{KeyOps, Op};
use crate::proof::Proof;

/// An epoch, or a single write that nobody saw. Its operations stand together in every order: between two
/// gets of an epoch nothing can have come that they do not show.
#[derive(Clone, Copy)]
struct Cluster {
    /// When the first operation returned. From then on, what is called comes after it.
    first_return: u32,
    /// When the last operation was called.
    last_call: u32,
    /// Which operations these were.
    returned: u32,
    called: u32,
}

/// Finds an order of all operations that completed and all that were seen, or shows that there is none.
pub(super) fn find(key: &KeyOps<'_>, reading: &mut Reading<'_>) -> Result<Vec<u32>, Proof> {
    let clusters = sweep(key, reading)?;
    let by_return = in_order_of_first_return(&clusters);
    if let Some((one, other)) = find_cycle(&clusters, &by_return) {
        return Err(explain_cycle(&key.ops, reading, (&clusters, one, other)));
    }
    Ok(emit(&key.ops, reading, &clusters, by_return))
}

/// One pass through the events. Inside an epoch the order of ranks is known, and must agree with real time.
fn sweep(key: &KeyOps<'_>, reading: &mut Reading<'_>) -> Result<Vec<Cluster>, Proof> {
    let mut clusters = vec![Cluster::empty(); give_clusters_to_unseen(&key.ops, reading)];
    // The initial epoch begins before everything.
    clusters[0].first_return = 0;
    let mut highest: Vec<Option<u32>> = vec![None; reading.epochs.len()];
    for (time, event) in key.events.iter().enumerate() {
        let (op, time) = (event.op() as u32, time as u32 + 1);
        let Spot { cluster, rank } = reading.spots[op as usize];
        if cluster == NONE {
            continue;
        }
        let highest = highest.get_mut(cluster as usize);
        let cluster = &mut clusters[cluster as usize];
        if event.is_call() {
            cluster.note_call(op, time);
            if let Some(&mut Some(other)) = highest
                && reading.spots[other as usize].rank > rank
            {
                return Err(explain_pair(&key.ops, reading, other, op));
            }
        } else {
            cluster.note_return(op, time);
            if let Some(highest) = highest
                && highest.is_none_or(|other| reading.spots[other as usize].rank < rank)
            {
                *highest = Some(op);
            }
        }
    }
    Ok(clusters)
}

/// A write that completed and that no get shows is a cluster of its own. One that did not complete either
/// need not have happened, and gets no place. Returns how many clusters there are.
fn give_clusters_to_unseen(ops: &[Op<'_>], reading: &mut Reading<'_>) -> usize {
    let mut next = reading.epochs.len() as u32;
    for (op, spot) in ops.iter().zip(&mut reading.spots) {
        if spot.cluster == NONE && op.is_complete() {
            *spot = Spot { cluster: next, rank: 0 };
            next += 1;
        }
    }
    next as usize
}

impl Cluster {
    fn empty() -> Cluster {
        Cluster { first_return: NONE, last_call: 0, returned: NONE, called: NONE }
    }

    fn note_call(&mut self, op: u32, time: u32) {
        (self.last_call, self.called) = (time, op);
    }

    fn note_return(&mut self, op: u32, time: u32) {
        if self.first_return == NONE {
            (self.first_return, self.returned) = (time, op);
        }
    }

    fn must_precede(&self, other: &Cluster) -> bool {
        self.first_return < other.last_call
    }
}

fn in_order_of_first_return(clusters: &[Cluster]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..clusters.len() as u32).collect();
    order.sort_unstable_by_key(|&cluster| clusters[cluster as usize].first_return);
    order
}

/// Two clusters each of which must come before the other.
///
/// If there is any cycle, there is one of two. Take the cluster `a` of a cycle whose first return is the
/// earliest, the cluster `b` before it, and the one `c` before that. `a` returned before `c` did, and `c`
/// before the last call of `b`: so `a` must come before `b`, and `b` before `a`.
fn find_cycle(clusters: &[Cluster], by_return: &[u32]) -> Option<(u32, u32)> {
    // Of all clusters up to a place, the one that is called last.
    let mut latest: Vec<u32> = Vec::with_capacity(by_return.len());
    for (place, &number) in by_return.iter().enumerate() {
        let cluster = &clusters[number as usize];
        let preceding = if cluster.first_return < cluster.last_call {
            place
        } else {
            let returned = |&other: &u32| clusters[other as usize].first_return < cluster.last_call;
            by_return[..place].partition_point(returned)
        };
        if preceding > 0 {
            let other = latest[preceding - 1];
            if cluster.must_precede(&clusters[other as usize]) {
                return Some((other, number));
            }
        }
        let last = match latest.last() {
            Some(&other) if clusters[other as usize].last_call > cluster.last_call => other,
            _ => number,
        };
        latest.push(last);
    }
    None
}

/// All operations that have a place, in order: by cluster, then by rank, then by call.
///
/// Clusters are sorted by their first return or their last call, whichever is earlier. Where `a` must come
/// before `b`, and not `b` before `a`, `a` is earlier in both: the return of `a` is before the call of `b`,
/// and the call of `a` before the return of `b`.
fn emit(ops: &[Op<'_>], reading: &Reading<'_>, clusters: &[Cluster], mut order: Vec<u32>) -> Vec<u32> {
    order.sort_by_key(|&number| {
        let cluster = &clusters[number as usize];
        cluster.first_return.min(cluster.last_call)
    });
    let mut first_slot = vec![0; clusters.len()];
    let mut slots = 0;
    for &number in &order {
        first_slot[number as usize] = slots;
        // A cluster of one write has one rank. The initial epoch has ranks of a put that nobody called.
        slots += reading.epochs.get(number as usize).map_or(1, |epoch| 2 * epoch.len() + 2);
    }
    let placed = || (0..ops.len()).filter(|&op| reading.spots[op].cluster != NONE);
    let slot_of = |op: usize| {
        let Spot { cluster, rank } = reading.spots[op];
        first_slot[cluster as usize] + rank as usize
    };
    let mut starts = vec![0_u32; slots + 1];
    placed().for_each(|op| starts[slot_of(op) + 1] += 1);
    for slot in 1..starts.len() {
        starts[slot] += starts[slot - 1];
    }
    let mut sorted = vec![0; starts[slots] as usize];
    for op in placed() {
        let start = &mut starts[slot_of(op)];
        sorted[*start as usize] = op as u32;
        *start += 1;
    }
    sorted
}

/// `first` had returned before `second` was called, and yet stands later in their epoch.
fn explain_pair(ops: &[Op<'_>], reading: &Reading<'_>, first: u32, second: u32) -> Proof {
    let cluster = reading.spots[first as usize].cluster;
    let longest = reading.id(reading.epochs[cluster as usize].longest);
    let missed = match ops[second as usize].is_write() {
        true => None,
        false => reading.missed_by(second).map(|write| reading.id(write)),
    };
    let has_put = reading.put_of(cluster).is_some();
    contradiction((&ops[first as usize], &ops[second as usize]), longest, has_put, missed)
}

/// The first had returned before the second was called, and yet stands later in their epoch, as `longest`
/// shows. If the second is a get, it does not show `missed`.
pub(super) fn contradiction(
    (first, second): (&Op<'_>, &Op<'_>),
    longest: OpId,
    has_put: bool,
    missed: Option<OpId>,
) -> Proof {
    let [one, other] = [first, second].map(|op| OpId::at(op.place as usize));
    match (first.is_write(), second.is_write()) {
        // Only the longest value shows that the write came after the put. In the initial epoch there is none.
        (true, false) => {
            Proof::MissesAcknowledged { write: one, get: other, shown_by: has_put.then_some(longest) }
        }
        (false, false) => Proof::MissesSeen { first: one, get: other, missed },
        (false, true) => Proof::Future { get: one, write: other },
        (true, true) => Proof::WriteOrder { first: one, second: other, get: longest },
    }
}

/// Two clusters must each come before the other.
fn explain_cycle(
    ops: &[Op<'_>],
    reading: &Reading<'_>,
    (clusters, one, other): (&[Cluster], u32, u32),
) -> Proof {
    let epochs = reading.epochs.len() as u32;
    // At most one of them is a single write: two of those cannot each come before the other.
    let (epoch, write) = if one < epochs { (one, other) } else { (other, one) };
    let span = clusters[epoch as usize];
    let longest = reading.epochs[epoch as usize].longest;
    let optional = |op: u32| (op != NONE).then(|| reading.id(op));
    // The initial epoch needs no operation to have begun.
    let begun = if epoch == 0 { None } else { optional(span.returned) };
    if write >= epochs {
        let unseen = clusters[write as usize].called;
        // What was called when the write had returned, and took effect, shows that the write never did. With
        // none of that the last get may only have returned something old.
        let is_newer = |other: &&u32| ops[**other as usize].called > ops[unseen as usize].returned;
        let shown = reading.epochs[epoch as usize].writes.iter().find(is_newer).copied();
        let is_in_sight = reading.shown_by(span.called).iter().any(|other| is_newer(&other));
        let after = if is_in_sight { span.called } else { shown.unwrap_or(span.called) };
        return Proof::Lost {
            write: reading.id(unseen),
            before: begun,
            after: reading.id(after),
            is_stale_read: shown.is_none() && !ops[after as usize].is_write(),
            shown_by: ops[after as usize].is_write().then(|| reading.id(longest)),
        };
    }
    explain_epochs(ops, reading, (one, clusters[one as usize]), (other, clusters[other as usize]))
}

/// Two epochs must each come before the other. The first operation of `old` returned before that of `new`.
fn explain_epochs(
    ops: &[Op<'_>],
    reading: &Reading<'_>,
    (one, old): (u32, Cluster),
    (other, new): (u32, Cluster),
) -> Proof {
    let op = |op: u32| &ops[op as usize];
    // The initial epoch is never the newer one.
    let put = reading.put_of(other).unwrap_or(new.returned);
    // The put of the newer epoch makes a plainer argument than a later operation of it.
    let is_late = one == 0 || op(old.returned).returned < op(put).called;
    let newer = if is_late { put } else { new.called };
    let earlier = (one != 0).then(|| (reading.id(old.returned), reading.id(newer)));
    // A get shows by itself what it belongs to, and the put that begins an epoch is what it is called by.
    let needs_proof = |&op: &u32| ops[op as usize].is_write() && reading.spots[op as usize].rank > 0;
    let of_old = if one == 0 { vec![old.called] } else { vec![old.returned, old.called] };
    let shown_by = [(one, of_old), (other, vec![newer, new.returned])]
        .into_iter()
        .filter(|(_, claimed)| claimed.iter().any(needs_proof))
        .map(|(epoch, _)| reading.id(reading.epochs[epoch as usize].longest));
    // First the old one, then the newer one, then the old one again.
    let in_turns = is_late || op(newer).returned < op(old.called).called;
    Proof::OldEpoch {
        earlier,
        seen: reading.id(new.returned),
        last: reading.id(old.called),
        is_stale_read: in_turns && !op(old.called).is_write(),
        puts: (reading.put_of(one).map(|put| reading.id(put)), reading.id(put)),
        shown_by: shown_by.collect(),
    }
}

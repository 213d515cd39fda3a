//! Reads all gets of a key: which writes each one shows, and in which order they took effect.
//!
//! Kit-owned. Read `mod.rs` first.

use super::code::Code;
use crate::history::OpId;
use crate::operations::{Kind, Op};
use crate::proof::Proof;

/// No epoch, no operation.
pub(super) const NONE: u32 = u32::MAX;

/// Where an operation belongs: in which epoch, and where inside it.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    /// An epoch, or a cluster of one unseen write; [`NONE`] for what has no place.
    pub(super) cluster: u32,
    /// Write number `p` of an epoch has rank `2p`, a get that shows it last has `2p + 1`.
    pub(super) rank: u32,
}

/// What happened from one put to the next, as far as gets have shown it.
pub(super) struct Epoch<'a> {
    /// The longest value seen. Every other one must be a beginning of it.
    chain: &'a str,
    /// The writes that made it, in order.
    pub(super) writes: Vec<u32>,
    /// The length of the value after each of them.
    ends: Vec<usize>,
    /// A get that returned the longest value.
    pub(super) longest: u32,
    /// The rank of the first write is 0, except in the initial epoch: there it is as if a put of the empty
    /// string had come before everything.
    first_rank: u32,
}

/// All gets of a key, read.
pub(super) struct Reading<'a> {
    ops: &'a [Op<'a>],
    code: Code<'a>,
    /// The initial epoch stands first.
    pub(super) epochs: Vec<Epoch<'a>>,
    /// One per operation.
    pub(super) spots: Vec<Spot>,
}

/// Reads the gets one by one.
pub(super) fn read<'a>(ops: &'a [Op<'a>], code: Code<'a>) -> Result<Reading<'a>, Proof> {
    let spots = vec![Spot { cluster: NONE, rank: 0 }; ops.len()];
    let mut reading = Reading { ops, code, epochs: vec![Epoch::initial()], spots };
    let mut latest = 0;
    for get in (0..ops.len()).filter(|&op| !ops[op].is_write()) {
        latest = reading.epoch_of(get, latest)?;
        let shown = reading.place(get, latest)?;
        let rank = 2 * (reading.epochs[latest].first_rank + shown as u32) - 1;
        reading.spots[get] = Spot { cluster: latest as u32, rank };
    }
    Ok(reading)
}

impl<'a> Reading<'a> {
    /// The id of an operation in the whole history.
    pub(super) fn id(&self, op: u32) -> OpId {
        OpId::at(self.ops[op as usize].place as usize)
    }

    /// The first write of its epoch that a get does not show, if there is one.
    pub(super) fn missed_by(&self, get: u32) -> Option<u32> {
        let epoch = &self.epochs[self.spots[get as usize].cluster as usize];
        epoch.writes.get(self.shown_by(get).len()).copied()
    }

    /// The writes that a get shows, in the order in which they took effect.
    pub(super) fn shown_by(&self, get: u32) -> &[u32] {
        let Spot { cluster, rank } = self.spots[get as usize];
        let epoch = &self.epochs[cluster as usize];
        let shown = rank.div_ceil(2).saturating_sub(epoch.first_rank) as usize;
        &epoch.writes[..shown.min(epoch.writes.len())]
    }

    /// The put that an epoch begins with.
    pub(super) fn put_of(&self, cluster: u32) -> Option<u32> {
        let epoch = &self.epochs[cluster as usize];
        (epoch.first_rank == 0).then(|| epoch.writes[0])
    }

    /// The epoch that a get belongs to: the value's first write tells. `latest` is a guess.
    fn epoch_of(&mut self, get: usize, latest: usize) -> Result<usize, Proof> {
        let text = self.ops[get].value;
        if text.is_empty() {
            return Ok(0);
        }
        if !self.code.is_whole() && self.epochs[latest].begins(text) {
            return Ok(latest);
        }
        let Some(write) = self.code.first(text) else { return Err(self.never_written(get, 0)) };
        if self.ops[write as usize].kind == Kind::Append {
            return Ok(0);
        }
        let known = self.spots[write as usize].cluster;
        if known != NONE {
            return Ok(known as usize);
        }
        let epoch = self.epochs.len();
        self.spots[write as usize] = Spot { cluster: epoch as u32, rank: 0 };
        self.epochs.push(Epoch::begun_by(write, &text[..self.ops[write as usize].value.len()], get));
        Ok(epoch)
    }

    /// How many writes of its epoch a get shows. The chain grows if it shows more than any before it.
    fn place(&mut self, get: usize, number: usize) -> Result<usize, Proof> {
        let text = self.ops[get].value;
        let epoch = &self.epochs[number];
        if text.len() <= epoch.chain.len() {
            return match epoch.shown_by(text) {
                Some(shown) => Ok(shown),
                None => Err(self.refute(get, number)),
            };
        }
        if !text.starts_with(epoch.chain) {
            return Err(self.refute(get, number));
        }
        let mut at = epoch.chain.len();
        while at < text.len() {
            let Some(write) = self.code.first(&text[at..]) else { return Err(self.never_written(get, at)) };
            self.extend(get, number, write)?;
            at += self.ops[write as usize].value.len();
            self.epochs[number].ends.push(at);
        }
        let epoch = &mut self.epochs[number];
        epoch.chain = text;
        epoch.longest = get as u32;
        Ok(epoch.writes.len())
    }

    /// A get shows one more write at the end of its epoch.
    fn extend(&mut self, get: usize, number: usize, write: u32) -> Result<(), Proof> {
        let Spot { cluster, .. } = self.spots[write as usize];
        let (get_id, write_id) = (self.id(get as u32), self.id(write));
        if self.ops[write as usize].kind == Kind::Put {
            return Err(Proof::PutInside { put: write_id, get: get_id });
        }
        if cluster == number as u32 {
            return Err(Proof::Twice { append: write_id, get: get_id });
        }
        if cluster != NONE {
            let first = self.id(self.epochs[cluster as usize].longest);
            return Err(Proof::TwoEpochs { append: write_id, first, second: get_id });
        }
        let epoch = &mut self.epochs[number];
        let rank = 2 * (epoch.first_rank + epoch.writes.len() as u32);
        epoch.writes.push(write);
        self.spots[write as usize] = Spot { cluster: number as u32, rank };
        Ok(())
    }

    /// Says what is wrong with a get that does not fit into its epoch.
    fn refute(&self, get: usize, number: usize) -> Proof {
        let epoch = &self.epochs[number];
        let text = self.ops[get].value;
        let mut shown: Vec<u32> = Vec::new();
        let mut seen = vec![false; self.ops.len()];
        let mut at = 0;
        while at < text.len() {
            let Some(write) = self.code.first(&text[at..]) else { return self.never_written(get, at) };
            if at > 0 && self.ops[write as usize].kind == Kind::Put {
                return Proof::PutInside { put: self.id(write), get: self.id(get as u32) };
            }
            if std::mem::replace(&mut seen[write as usize], true) {
                return Proof::Twice { append: self.id(write), get: self.id(get as u32) };
            }
            shown.push(write);
            at += self.ops[write as usize].value.len();
        }
        let same = epoch.writes.iter().zip(&shown).take_while(|(one, other)| one == other).count();
        Proof::Disagree {
            first: self.id(epoch.longest),
            second: self.id(get as u32),
            shown_first: epoch.writes.get(same).map(|&write| self.id(write)),
            shown_second: shown.get(same).map(|&write| self.id(write)),
        }
    }

    fn never_written(&self, get: usize, at: usize) -> Proof {
        Proof::NeverWritten { get: self.id(get as u32), at: Some(at) }
    }
}

impl<'a> Epoch<'a> {
    fn initial() -> Epoch<'a> {
        Epoch { chain: "", writes: Vec::new(), ends: Vec::new(), longest: NONE, first_rank: 1 }
    }

    fn begun_by(put: u32, value: &'a str, get: usize) -> Epoch<'a> {
        Epoch { chain: value, writes: vec![put], ends: vec![value.len()], longest: get as u32, first_rank: 0 }
    }

    /// How many writes made it.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether `text` begins with the first write. No other write's value does so then.
    fn begins(&self, text: &str) -> bool {
        self.ends.first().is_some_and(|&end| text.as_bytes().starts_with(&self.chain.as_bytes()[..end]))
    }

    /// How many writes `text` shows, if it is a beginning of the chain that ends where a write does.
    fn shown_by(&self, text: &str) -> Option<usize> {
        if text.is_empty() {
            return Some(0);
        }
        let border = self.ends.binary_search(&text.len()).ok()?;
        self.chain.starts_with(text).then_some(border + 1)
    }
}

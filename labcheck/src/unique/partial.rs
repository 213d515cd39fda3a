//! What can be shown to be wrong although some values were written more than once.
//!
//! Kit-owned. Read `mod.rs`, `epochs.rs` and `order.rs` first: this is the part of their work that still holds.
//!
//! A value that only one operation wrote is still told from all others wherever it stands. So are the epochs
//! that begin with one, and the initial one. What those contradict is wrong whatever the other writes did. If
//! they contradict nothing, nothing is known yet.

use super::order;
use crate::history::OpId;
use crate::operations::{KeyOps, Kind, Op};
use crate::proof::Proof;

/// A text that was written, by one operation or more.
struct Text<'a> {
    text: &'a str,
    /// One of those who wrote it.
    op: u32,
    puts: u32,
    appends: u32,
}

/// All texts that were written to a key, sorted. None is the beginning of another one.
struct Texts<'a>(Vec<Text<'a>>);

/// The gets that show what came after the same put, or after nothing.
#[derive(Default)]
struct Epoch {
    is_begun_by_put: bool,
    /// Those texts, by their places, that the longest value is made of.
    chain: Vec<usize>,
    longest: Option<u32>,
}

/// Where an operation belongs: an epoch, and a rank in it. The write at place `p` has rank `2p + 2`, a get that
/// shows `n` writes has `2n + 1`.
type Spot = Option<(usize, u32)>;

/// What is wrong with the history of a key, if values that were written once show it.
pub(super) fn refute(key: &KeyOps<'_>) -> Option<Proof> {
    let texts = Texts::new(&key.ops)?;
    let mut epochs = vec![Epoch::default()];
    let mut begun_by: Vec<Option<usize>> = vec![None; texts.0.len()];
    let mut spots: Vec<Spot> = vec![None; key.ops.len()];
    for (get, op) in key.ops.iter().enumerate().filter(|(_, op)| !op.is_write()) {
        let shown = match texts.read(op.value) {
            Ok(shown) => shown,
            Err(at) => return Some(Proof::NeverWritten { get: id(op), at: Some(at) }),
        };
        if let Some(proof) = texts.refute(&key.ops, op, &shown) {
            return Some(proof);
        }
        let Some(epoch) = texts.epoch_of(&shown, &mut epochs, &mut begun_by) else { continue };
        spots[get] = Some((epoch, 2 * shown.len() as u32 + 1));
        if let Err(proof) = epochs[epoch].place(&key.ops, &texts, get as u32, shown) {
            return Some(proof);
        }
    }
    for (number, epoch) in epochs.iter().enumerate() {
        for (place, text) in epoch.chain.iter().map(|&text| &texts.0[text]).enumerate() {
            if text.is_single() {
                spots[text.op as usize] = Some((number, 2 * place as u32 + 2));
            }
        }
    }
    sweep(key, &texts, &epochs, &spots)
}

/// One pass through the events: what had returned must not stand later in its epoch than what was called
/// after that.
fn sweep(key: &KeyOps<'_>, texts: &Texts<'_>, epochs: &[Epoch], spots: &[Spot]) -> Option<Proof> {
    let mut highest: Vec<Option<(u32, usize)>> = vec![None; epochs.len()];
    for event in &key.events {
        let Some((number, rank)) = spots[event.op()] else { continue };
        let highest = &mut highest[number];
        if !event.is_call() {
            *highest = (*highest).max(Some((rank, event.op())));
            continue;
        }
        let Some((_, other)) = highest.filter(|(other, _)| *other > rank) else { continue };
        let epoch = &epochs[number];
        let longest = id(&key.ops[epoch.longest? as usize]);
        let missed = epoch.chain.get(rank as usize / 2).map(|&text| &texts.0[text]);
        let missed = missed.filter(|text| text.is_single()).map(|text| id(&key.ops[text.op as usize]));
        let pair = (&key.ops[other], &key.ops[event.op()]);
        return Some(order::contradiction(pair, longest, epoch.is_begun_by_put, missed));
    }
    None
}

impl<'a> Texts<'a> {
    /// `None` if some value might be taken apart in two ways: a text is empty, or the beginning of another.
    fn new(ops: &[Op<'a>]) -> Option<Texts<'a>> {
        let mut texts: Vec<Text<'a>> = Vec::new();
        for (op, write) in ops.iter().enumerate().filter(|(_, op)| op.is_write()) {
            let is_put = u32::from(write.kind == Kind::Put);
            texts.push(Text { text: write.value, op: op as u32, puts: is_put, appends: 1 - is_put });
        }
        texts.sort_by_key(|text| text.text);
        texts.dedup_by(|next, kept| {
            let is_same = next.text == kept.text;
            if is_same {
                kept.puts += next.puts;
                kept.appends += next.appends;
            }
            is_same
        });
        let is_beginning = |pair: &[Text<'_>]| pair[1].text.starts_with(pair[0].text);
        let is_ambiguous =
            texts.first().is_some_and(|first| first.text.is_empty()) || texts.windows(2).any(is_beginning);
        (!is_ambiguous).then_some(Texts(texts))
    }

    /// The texts that a value is made of, or the byte at which it goes on with something else.
    fn read(&self, value: &str) -> Result<Vec<usize>, usize> {
        let mut shown = Vec::new();
        let mut at = 0;
        while at < value.len() {
            let rest = &value[at..];
            let place = self.0.partition_point(|text| text.text <= rest).checked_sub(1).ok_or(at)?;
            if !rest.starts_with(self.0[place].text) {
                return Err(at);
            }
            shown.push(place);
            at += self.0[place].text.len();
        }
        Ok(shown)
    }

    /// What is wrong with a get whatever others have seen.
    fn refute(&self, ops: &[Op<'_>], get: &Op<'_>, shown: &[usize]) -> Option<Proof> {
        for (place, &number) in shown.iter().enumerate() {
            let text = &self.0[number];
            let write = &ops[text.op as usize];
            if !text.is_single() {
                continue;
            }
            if place > 0 && text.appends == 0 {
                return Some(Proof::PutInside { put: id(write), get: id(get) });
            }
            if shown[..place].contains(&number) {
                return Some(Proof::Twice { append: id(write), get: id(get) });
            }
            if get.returned < write.called {
                return Some(Proof::Future { get: id(get), write: id(write) });
            }
        }
        None
    }

    /// The epoch of a value that is made of these texts, if it is known.
    fn epoch_of(
        &self,
        shown: &[usize],
        epochs: &mut Vec<Epoch>,
        begun_by: &mut [Option<usize>],
    ) -> Option<usize> {
        let Some(&first) = shown.first() else { return Some(0) };
        let text = &self.0[first];
        match (text.puts, text.appends) {
            (0, _) => Some(0),
            (1, 0) => Some(*begun_by[first].get_or_insert_with(|| {
                epochs.push(Epoch { is_begun_by_put: true, ..Epoch::default() });
                epochs.len() - 1
            })),
            _ => None,
        }
    }
}

impl Text<'_> {
    fn is_single(&self) -> bool {
        self.puts + self.appends == 1
    }
}

impl Epoch {
    /// Adds a get, which must show the beginning of what others show, or more.
    fn place(&mut self, ops: &[Op<'_>], texts: &Texts<'_>, get: u32, shown: Vec<usize>) -> Result<(), Proof> {
        let same = self.chain.iter().zip(&shown).take_while(|(one, other)| one == other).count();
        if same < self.chain.len().min(shown.len()) {
            let single = |places: &[usize]| {
                let text = &texts.0[places[same]];
                text.is_single().then(|| id(&ops[text.op as usize]))
            };
            let longest = self.longest.unwrap_or(get);
            return Err(Proof::Disagree {
                first: id(&ops[longest as usize]),
                second: id(&ops[get as usize]),
                shown_first: single(&self.chain),
                shown_second: single(&shown),
            });
        }
        if self.longest.is_none() || shown.len() > self.chain.len() {
            (self.chain, self.longest) = (shown, Some(get));
        }
        Ok(())
    }
}

fn id(op: &Op<'_>) -> OpId {
    OpId::at(op.place as usize)
}

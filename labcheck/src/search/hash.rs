//! Hashing for the search: fast, and the same on every machine.
//!
//! Kit-owned. None of it keeps out an attacker; histories are no attackers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map for look-ups. Its order means nothing, and nothing may iterate over it.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<FastHasher>>;

/// Multiplies and folds, word by word.
#[derive(Default)]
pub(crate) struct FastHasher(u64);

/// A set of 128-bit keys that are random already, in one block of memory.
pub(super) struct KeySet {
    /// A power of two of slots; 0 means empty.
    slots: Vec<u128>,
    filled: usize,
}

/// The word that stands for `index` among those of kind `salt`.
pub(super) fn random_word(salt: u64, index: u64) -> u128 {
    let seed = salt.wrapping_mul(0xd6e8_feb8_6659_fd93).wrapping_add(index.wrapping_mul(2));
    u128::from(mix(seed)) << 64 | u128::from(mix(seed.wrapping_add(1)))
}

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last) ^ (rest.len() as u64) << 56);
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

impl KeySet {
    pub(super) fn new() -> KeySet {
        KeySet { slots: vec![0; 256], filled: 0 }
    }

    /// Adds a key; whether it is new.
    pub(super) fn insert(&mut self, key: u128) -> bool {
        // One key out of 2^128 shares its slot with the mark for an empty one.
        let key = key.max(1);
        let slot = self.slot_of(key);
        if self.slots[slot] == key {
            return false;
        }
        self.slots[slot] = key;
        self.filled += 1;
        if self.filled * 2 > self.slots.len() {
            self.grow();
        }
        true
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u128>()
    }

    fn slot_of(&self, key: u128) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = key as usize & mask;
        while self.slots[slot] != 0 && self.slots[slot] != key {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        let larger = vec![0; self.slots.len() * 2];
        for key in std::mem::replace(&mut self.slots, larger) {
            if key != 0 {
                let slot = self.slot_of(key);
                self.slots[slot] = key;
            }
        }
    }
}

/// The finisher of the generator splitmix64.
fn mix(seed: u64) -> u64 {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

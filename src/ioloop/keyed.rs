//! A slab whose keys are never used twice: a key of a value that is gone matches nothing.

use slab::Slab;

/// Names one value of a [`Keyed`], for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    slot: usize,
    seq: u64,
}

impl Key {
    /// Matches nothing.
    pub(crate) const NONE: Self = Self { slot: usize::MAX, seq: 0 };
}

pub(crate) struct Keyed<T> {
    slots: Slab<(u64, T)>,
    last_seq: u64,
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self { slots: Slab::new(), last_seq: 0 }
    }
}

impl<T> Keyed<T> {
    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.last_seq += 1;
        let slot = self.slots.insert((self.last_seq, value));
        Key { slot, seq: self.last_seq }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(key.slot).filter(|(seq, _)| *seq == key.seq).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.slots.remove(key.slot).1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes everything out. The caller drops it, once nothing is borrowed.
    pub(crate) fn take(&mut self) -> Vec<T> {
        let mut slots = std::mem::take(&mut self.slots);
        slots.drain().map(|(_, value)| value).collect()
    }
}

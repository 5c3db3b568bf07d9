//! Where the timers are kept. A timer stays in its slot, whatever its deadline.

use std::ops::{Index, IndexMut};

use super::node::Node;
use super::{KEEP, TimerId};

/// No slot has this number.
pub(super) const NONE: u32 = u32::MAX;

/// What moving a timer takes, which is half a cache line. What only its calls take is elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// Of its timer, with [`PERIODIC`](super::PERIODIC); 0 if it has none.
    pub(super) seq: u64,
    /// The deadline.
    pub(super) at: u64,
    /// The deadline that its node in the heap tells: this one or an earlier one.
    pub(super) placed: u64,
    /// The node's index in the heap; of an empty slot, the next empty one.
    pub(super) index: u32,
    /// Its place among equal deadlines.
    pub(super) order: u32,
}

pub(super) struct Slots {
    slots: Vec<Slot>,
    /// The first empty one.
    empty: u32,
}

impl Default for Slots {
    fn default() -> Self {
        Self { slots: Vec::new(), empty: NONE }
    }
}

impl Index<u32> for Slots {
    type Output = Slot;

    #[inline]
    fn index(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }
}

impl IndexMut<u32> for Slots {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }
}

impl Slots {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The timer's slot, while it is pending.
    #[inline]
    pub(super) fn get(&self, id: TimerId) -> Option<&Slot> {
        self.slots.get(id.slot as usize).filter(|slot| slot.seq == id.seq)
    }

    /// Any slot, unless there is none of that number.
    #[inline]
    pub(super) fn any_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot as usize)
    }

    /// The node that the timer in a slot should have.
    #[inline]
    pub(super) fn node(&self, slot: u32) -> Node {
        let Slot { at, order, .. } = self[slot];
        Node::new(at, order, slot)
    }

    /// Puts a timer, whose node is yet to be placed, into an empty slot.
    #[inline]
    pub(super) fn fill(&mut self, timer: Slot) -> u32 {
        let mut slot = self.empty;
        if let Some(empty) = self.slots.get_mut(slot as usize) {
            self.empty = empty.index;
            *empty = timer;
        } else {
            slot = self.slots.len() as u32;
            self.slots.push(timer);
        }
        slot
    }

    /// Takes back a slot that has neither a timer nor a node any more.
    #[inline]
    pub(super) fn give_up(&mut self, slot: u32) {
        self[slot].index = self.empty;
        self.empty = slot;
    }

    /// Gives back the memory beyond the last slot that has a timer. All without one are empty.
    pub(super) fn truncate(&mut self) {
        let used = self.slots.iter().rposition(|slot| slot.seq != 0);
        self.slots.truncate(used.map_or(0, |last| last + 1));
        self.slots.shrink_to(KEEP);
        // The lowest are taken first.
        self.empty = NONE;
        for (index, slot) in self.slots.iter_mut().enumerate().rev() {
            if slot.seq == 0 {
                slot.index = std::mem::replace(&mut self.empty, index as u32);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }
}

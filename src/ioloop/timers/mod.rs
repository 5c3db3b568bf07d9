//! Timers by deadline: a heap whose nodes know their slots and slots that know their nodes, so that
//! the first one is at hand, and any one can be moved or taken out in O(log n).
//!
//! What programs do most costs less than that, for the heap is put right as late as possible:
//! - A timer that is moved to a later deadline, such as one for idleness, stays at its place, whose
//!   node then tells too early a deadline. It goes to its own place when that node comes up.
//! - Timers that are moved to earlier deadlines go to their places some at a time, or when somebody
//!   wants to know the first.
//! - A timer that is removed leaves its slot, with its node, as the one *spare*, which the next timer
//!   takes.
//!
//! Nothing here reads a clock.

mod due;
mod heap;
mod node;
mod slots;
#[cfg(test)]
mod tests;
mod time;

use self::due::Batch;
use self::heap::Heap;
use self::node::Node;
use self::slots::{Slot, Slots};
pub(crate) use self::time::{Period, nanos};

/// Memory for so many is kept. What a burst took beyond that is given back after it.
const KEEP: usize = if cfg!(test) { 8 } else { 1024 };

/// Names one timer, for ever: the id of a timer that fired or was removed matches no later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: u32,
    seq: u64,
}

impl TimerId {
    /// What a loop that is gone gives: matches nothing.
    pub(crate) const NONE: Self = Self { slot: slots::NONE, seq: 0 };
}

/// Marks the sequence number of a periodic timer.
const PERIODIC: u64 = 1 << 63;

pub(crate) struct Timers<T> {
    heap: Heap,
    slots: Slots,
    /// By slot. Out while a periodic timer is being called.
    values: Vec<Option<T>>,
    /// By slot, as far as there was ever a periodic timer; only those of periodic timers count.
    periods: Vec<Period>,
    /// A slot that has a node in the heap, but no timer.
    spare: Option<u32>,
    /// How many slots have a timer.
    count: usize,
    /// The count at which it is worth a look whether slots can be given back.
    few: usize,
    last_seq: u64,
    next_order: u32,
    /// Those being called, or left behind by a panic.
    due: Batch,
}

/// A timer to call now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Once,
    /// A periodic timer: its value goes back by [`Timers::put_back`].
    Every(TimerId),
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            heap: Heap::default(),
            slots: Slots::default(),
            values: Vec::new(),
            periods: Vec::new(),
            spare: None,
            count: 0,
            few: 0,
            last_seq: 0,
            next_order: 0,
            due: Batch::default(),
        }
    }
}

impl<T> Timers<T> {
    /// A timer for `at`, and then every `period` if there is one; and the empty place for its value,
    /// which is made there instead of being moved there.
    #[inline]
    pub(crate) fn insert(&mut self, at: u64, period: Option<Period>) -> (TimerId, &mut Option<T>) {
        let id = self.insert_empty(at, period);
        (id, &mut self.values[id.slot as usize])
    }

    fn insert_empty(&mut self, at: u64, period: Option<Period>) -> TimerId {
        if self.next_order == u32::MAX {
            self.renumber();
        }
        self.next_order += 1;
        self.last_seq += 1;
        self.count += 1;
        let (mut seq, order) = (self.last_seq, self.next_order);
        if period.is_some() {
            seq |= PERIODIC;
        }
        let slot = if let Some(slot) = self.spare.take() {
            let spare = &mut self.slots[slot];
            (spare.seq, spare.at, spare.order) = (seq, at, order);
            self.heap.update(&mut self.slots, slot);
            slot
        } else {
            let slot = self.slots.fill(Slot { seq, at, placed: at, index: self.heap.end(), order });
            if slot as usize == self.values.len() {
                self.values.push(None);
                self.few = self.slots.len() / 8;
            }
            self.heap.push(&mut self.slots, Node::new(at, order, slot));
            slot
        };
        self.set_period(slot, period);
        TimerId { slot, seq }
    }

    #[inline]
    fn set_period(&mut self, slot: u32, period: Option<Period>) {
        if let Some(period) = period {
            let index = slot as usize;
            if self.periods.len() <= index {
                self.periods.resize(index + 1, period);
            }
            self.periods[index] = period;
        }
    }

    /// Whether the timer was pending, be it in the due batch, or is periodic and being called; and
    /// its value, unless it is out.
    #[inline]
    pub(crate) fn remove(&mut self, id: TimerId) -> (bool, Option<T>) {
        if self.slots.get(id).is_none() {
            return (false, None);
        }
        let due = self.is_due(id.slot);
        self.slots[id.slot].seq = 0;
        self.count -= 1;
        if due {
            self.due.skip(self.slots.node(id.slot));
            self.slots.give_up(id.slot);
        } else {
            self.give_up_spare();
            self.spare = Some(id.slot);
        }
        (true, self.values[id.slot as usize].take())
    }

    /// Moves a timer to another deadline. False if it is not pending any more.
    #[inline]
    pub(crate) fn reset(&mut self, id: TimerId, at: u64) -> bool {
        if self.slots.get(id).is_none() {
            return false;
        }
        if self.is_due(id.slot) {
            self.due.skip(self.slots.node(id.slot));
            let slot = &mut self.slots[id.slot];
            (slot.at, slot.placed, slot.index) = (at, at, self.heap.end());
            let node = self.slots.node(id.slot);
            self.heap.push(&mut self.slots, node);
        } else {
            self.slots[id.slot].at = at;
            self.heap.update(&mut self.slots, id.slot);
        }
        true
    }

    /// The first deadline, of those not in the due batch.
    #[inline]
    pub(crate) fn first(&mut self) -> Option<u64> {
        self.heap.settle(&mut self.slots);
        while let Some(first) = self.heap.first() {
            if !self.put_right(first) {
                return Some(first.at());
            }
        }
        None
    }

    /// Whether the due batch has something left, if only timers that have been removed.
    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether there is no timer, be it in the due batch.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Gives back what a burst took, once most of its timers are gone. For once a turn, before
    /// `collect_due`.
    #[inline]
    pub(crate) fn trim(&mut self) {
        if self.slots.len() > KEEP && self.count <= self.few && !self.has_due() {
            self.truncate();
        }
    }

    /// Gives back what is beyond the last slot in use. The next look is worth it when half of the
    /// timers are gone: so it costs little, however many come and go.
    #[cold]
    fn truncate(&mut self) {
        self.heap.settle(&mut self.slots);
        self.give_up_spare();
        self.slots.truncate();
        self.values.truncate(self.slots.len());
        self.values.shrink_to(KEEP);
        self.periods.truncate(self.slots.len());
        self.periods.shrink_to(KEEP);
        self.heap.shrink();
        self.due.shrink();
        self.few = self.count / 2;
    }

    /// Moves all timers that are due at `now` to the due batch, in order.
    pub(crate) fn collect_due(&mut self, now: u64) {
        self.heap.settle(&mut self.slots);
        let left_behind = self.has_due();
        let due = self.due.nodes_mut();
        if !left_behind && self.spare.is_none() && self.heap.take_burst(now, due) {
            return;
        }
        if self.heap.is_due_in_bulk(now) {
            self.give_up_spare();
            self.heap.take_due(&mut self.slots, now, self.due.nodes_mut());
            self.due.sort();
            return;
        }
        while let Some(first) = self.heap.first()
            && first.at() <= now
        {
            if !self.put_right(first) {
                self.heap.cut(&mut self.slots, 0);
                self.due.nodes_mut().push(first);
            }
        }
        if left_behind {
            self.due.sort();
        }
    }

    /// Takes the next timer of the due batch that has not been removed or reset, and puts its value
    /// into `value`, which is empty. A periodic one is set to its next deadline after `now`: those
    /// that it has missed are left out.
    #[inline]
    pub(crate) fn next_due(&mut self, now: u64, value: &mut Option<T>) -> Option<Due> {
        while let Some(node) = self.due.next() {
            let index = node.slot() as usize;
            let Some(slot) = self.slots.any_mut(node.slot()) else { continue };
            let Some(place) = self.values.get_mut(index) else { continue };
            let period = match slot.seq & PERIODIC {
                0 => None,
                _ => self.periods.get(index),
            };
            // By way of no third place: the call would wait for what is on its way through memory.
            debug_assert!(value.is_none());
            std::mem::swap(value, place);
            let Some(period) = period else {
                slot.seq = 0;
                self.count -= 1;
                self.slots.give_up(node.slot());
                return Some(Due::Once);
            };
            slot.at = period.next(slot.at, now);
            (slot.placed, slot.index) = (slot.at, self.heap.end());
            let id = TimerId { slot: node.slot(), seq: slot.seq };
            let node = self.slots.node(id.slot);
            self.heap.push(&mut self.slots, node);
            if value.is_some() {
                return Some(Due::Every(id));
            }
        }
        None
    }

    /// Puts the value of a periodic timer that has been called back. If the timer has been removed,
    /// it stays, for the caller to drop.
    pub(crate) fn put_back(&mut self, id: TimerId, value: &mut Option<T>) {
        if self.slots.get(id).is_some() {
            self.values[id.slot as usize] = value.take();
        }
    }

    /// Takes everything out. The caller drops it, once nothing is borrowed.
    pub(crate) fn take(&mut self) -> Vec<T> {
        // The sequence goes on: no id of before may match.
        let gone = Self { last_seq: self.last_seq, ..Self::default() };
        let values = std::mem::replace(self, gone).values;
        values.into_iter().flatten().collect()
    }

    /// Whether a timer is in the due batch, and not in the heap.
    #[inline]
    fn is_due(&self, slot: u32) -> bool {
        self.has_due() && !self.heap.is_at(self.slots[slot].index, slot)
    }

    #[inline]
    fn give_up_spare(&mut self) {
        if let Some(spare) = self.spare.take() {
            let index = self.slots[spare].index as usize;
            self.heap.cut(&mut self.slots, index);
            self.slots.give_up(spare);
        }
    }

    /// Sees to the first node if it is the spare's, or tells too early a deadline. False: it is
    /// right.
    #[inline]
    fn put_right(&mut self, first: Node) -> bool {
        if self.spare == Some(first.slot()) {
            self.give_up_spare();
            return true;
        }
        self.heap.put_first_right(&mut self.slots, first)
    }

    /// Once in four billion timers the count of their order starts over, and those that are there
    /// are given new places in the order that they have.
    #[cold]
    fn renumber(&mut self) {
        let mut live: Vec<u32> = self.heap.iter().chain(self.due.left()).map(Node::slot).collect();
        live.sort_unstable_by_key(|&slot| self.slots[slot].order);
        for (order, &slot) in live.iter().enumerate() {
            self.slots[slot].order = order as u32;
        }
        self.next_order = live.len() as u32;
        self.heap.renew(&mut self.slots);
        self.due.renew(&self.slots);
    }
}

/// Puts a value to a place that is known to be empty, without a look at what is there.
#[inline]
pub(crate) fn overwrite<T>(place: &mut Option<T>, value: Option<T>) {
    debug_assert!(place.is_none());
    std::mem::forget(std::mem::replace(place, value));
}

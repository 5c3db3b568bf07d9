//! Timers by deadline: a 4-ary heap whose nodes know their slots and whose slots know their nodes,
//! so that the first one is at hand, and any one can be moved or taken out in O(log n).
//!
//! What programs do most costs less than that, for the heap is put right as late as possible:
//! - A timer that is moved to a later deadline, such as one for idleness, stays at its place, whose
//!   node then tells too early a deadline. It goes to its own place when that node comes up.
//! - A timer that is removed leaves its slot, with its node, as the one *spare*, which the next timer
//!   takes.
//!
//! Time is a number of nanoseconds here: nothing reads a clock.

mod node;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::time::Duration;

use self::node::Node;

/// Four children lie in one or two cache lines, and the heap is half as deep as a binary one.
const ARITY: usize = 4;

/// So many are taken out of the heap one by one in any case.
const ONE_BY_ONE: usize = 16;

/// Memory for so many is kept. What a burst took beyond that is given back after it.
const KEEP: usize = if cfg!(test) { 8 } else { 1024 };

/// The time between the calls of a periodic timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(NonZeroU64);

impl From<Duration> for Period {
    /// Of a period of nothing, the shortest there is.
    fn from(period: Duration) -> Self {
        Self(NonZeroU64::new(nanos(period)).unwrap_or(NonZeroU64::MIN))
    }
}

/// A duration as these timers count. All that is too far, some 584 years, is the same.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(duration.subsec_nanos().into())
}

/// Names one timer, for ever: the id of a timer that fired or was removed matches no later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: u32,
    seq: u64,
}

impl TimerId {
    /// What a loop that is gone gives: matches nothing.
    pub(crate) const NONE: Self = Self { slot: NO_SLOT, seq: 0 };
}

/// No slot has this number: in the due batch, of a timer that was removed or reset.
const NO_SLOT: u32 = u32::MAX;

/// Marks the sequence number of a periodic timer.
const PERIODIC: u64 = 1 << 63;

/// What moving a timer takes, which is half a cache line. What only its calls take is elsewhere.
struct Slot {
    /// Of its timer, with [`PERIODIC`]; 0 if it has none.
    seq: u64,
    /// The deadline.
    at: u64,
    /// The deadline that its node in the heap tells: this one or an earlier one.
    placed: u64,
    /// The node's index in the heap; of an empty slot, the next empty one.
    index: u32,
    order: u32,
}

pub(crate) struct Timers<T> {
    /// Each node is its timer's, or tells an earlier deadline.
    heap: Vec<Node>,
    /// Whether no node tells an earlier deadline than its timer's.
    exact: bool,
    /// Whether the nodes are in order, as they are while each new timer is the latest.
    ordered: bool,
    slots: Vec<Slot>,
    /// By slot. Out while a periodic timer is being called.
    values: Vec<Option<T>>,
    /// A slot that has a node in the heap, but no timer.
    spare: Option<u32>,
    /// The first empty slot.
    empty: u32,
    /// How many slots have a timer.
    count: usize,
    /// By slot, as far as there was ever a periodic timer; only those of periodic timers count.
    periods: Vec<Period>,
    /// The count at which it is worth a look whether slots can be given back.
    few: usize,
    last_seq: u64,
    next_order: u32,
    /// The batch under way, in order, and how far it has come.
    due: Vec<Node>,
    done: usize,
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
            heap: Vec::new(),
            exact: true,
            ordered: true,
            slots: Vec::new(),
            values: Vec::new(),
            spare: None,
            empty: NO_SLOT,
            count: 0,
            periods: Vec::new(),
            few: 0,
            last_seq: 0,
            next_order: 0,
            due: Vec::new(),
            done: 0,
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
        if let Some(slot) = self.spare.take() {
            let spare = &mut self.slots[slot as usize];
            (spare.seq, spare.at, spare.order) = (seq, at, order);
            self.move_node(slot);
            self.set_period(slot, period);
            return TimerId { slot, seq };
        }
        let index = self.heap.len();
        let new = Slot { seq, at, placed: at, index: index as u32, order };
        let mut slot = self.empty;
        if let Some(empty) = self.slots.get_mut(slot as usize) {
            self.empty = empty.index;
            *empty = new;
        } else {
            slot = self.slots.len() as u32;
            self.slots.push(new);
            self.values.push(None);
            self.few = self.slots.len() / 8;
        }
        let node = Node::new(at, order, slot);
        let latest = self.heap.last().is_none_or(|&last| last < node);
        self.heap.push(node);
        if index == 0 {
            self.ordered = true;
        } else if !(self.ordered && latest) {
            self.sift_up(index, node);
        }
        self.set_period(slot, period);
        TimerId { slot, seq }
    }

    /// Whether the timer was pending, be it in the due batch, or is periodic and being called; and
    /// its value, unless it is out.
    #[inline]
    pub(crate) fn remove(&mut self, id: TimerId) -> (bool, Option<T>) {
        if self.get(id).is_none() {
            return (false, None);
        }
        let due = self.place_in_due(id.slot);
        let slot = &mut self.slots[id.slot as usize];
        slot.seq = 0;
        self.count -= 1;
        if let Some(index) = due {
            self.due[index] = self.due[index].given_to(NO_SLOT);
            self.give_up(id.slot);
        } else {
            self.give_up_spare();
            self.spare = Some(id.slot);
        }
        (true, self.values[id.slot as usize].take())
    }

    /// Moves a timer to another deadline. False if it is not pending any more.
    #[inline]
    pub(crate) fn reset(&mut self, id: TimerId, at: u64) -> bool {
        if self.get(id).is_none() {
            return false;
        }
        let due = self.place_in_due(id.slot);
        self.slots[id.slot as usize].at = at;
        if let Some(index) = due {
            self.due[index] = self.due[index].given_to(NO_SLOT);
            self.link(self.node(id.slot));
        } else {
            self.move_node(id.slot);
        }
        true
    }

    /// The first deadline, of those not in the due batch.
    #[inline]
    pub(crate) fn first(&mut self) -> Option<u64> {
        while let Some(&first) = self.heap.first() {
            if !self.put_right(first) {
                return Some(first.at());
            }
        }
        None
    }

    /// Whether the due batch has something left, if only timers that have been removed.
    pub(crate) fn has_due(&self) -> bool {
        self.done < self.due.len()
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
        self.give_up_spare();
        let used = self.slots.iter().rposition(|slot| slot.seq != 0);
        self.slots.truncate(used.map_or(0, |last| last + 1));
        self.slots.shrink_to(KEEP);
        self.values.truncate(self.slots.len());
        self.values.shrink_to(KEEP);
        self.periods.truncate(self.slots.len());
        self.periods.shrink_to(KEEP);
        self.heap.shrink_to(KEEP.max(2 * self.heap.len()));
        self.due.shrink_to(KEEP);
        self.few = self.count / 2;
        // The lowest are taken first.
        self.empty = NO_SLOT;
        for (index, slot) in self.slots.iter_mut().enumerate().rev() {
            if slot.seq == 0 {
                slot.index = std::mem::replace(&mut self.empty, index as u32);
            }
        }
    }

    /// Moves all timers that are due at `now` to the due batch, in order.
    pub(crate) fn collect_due(&mut self, now: u64) {
        let left_behind = self.has_due();
        if !self.sweep_due(now) {
            while let Some(&first) = self.heap.first()
                && first.at() <= now
            {
                if !self.put_right(first) {
                    self.cut(0);
                    self.due.push(first);
                }
            }
        }
        if left_behind {
            self.due[self.done..].sort_unstable();
        }
    }

    /// Takes the next timer of the due batch that has not been removed or reset, and puts its value
    /// into `value`, which is empty. A periodic one is set to its next deadline after `now`: those
    /// that it has missed are left out.
    #[inline]
    pub(crate) fn next_due(&mut self, now: u64, value: &mut Option<T>) -> Option<Due> {
        while let Some(&node) = self.due.get(self.done) {
            self.done += 1;
            let index = node.slot() as usize;
            let Some(slot) = self.slots.get_mut(index) else { continue };
            let Some(place) = self.values.get_mut(index) else { continue };
            let period = match slot.seq & PERIODIC {
                0 => None,
                _ => self.periods.get(index),
            };
            let Some(&Period(period)) = period else {
                slot.seq = 0;
                overwrite(value, place.take());
                self.count -= 1;
                self.give_up(node.slot());
                return Some(Due::Once);
            };
            let id = TimerId { slot: node.slot(), seq: slot.seq };
            overwrite(value, place.take());
            let missed = now.saturating_sub(slot.at) / period;
            let ahead = missed.saturating_add(1).saturating_mul(period.get());
            slot.at = slot.at.saturating_add(ahead);
            self.link(self.node(id.slot));
            if value.is_some() {
                return Some(Due::Every(id));
            }
        }
        self.due.clear();
        self.done = 0;
        None
    }

    /// Puts the value of a periodic timer that has been called back. If the timer has been removed,
    /// it stays, for the caller to drop.
    pub(crate) fn put_back(&mut self, id: TimerId, value: &mut Option<T>) {
        if self.get(id).is_some() {
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

    #[inline]
    fn get(&self, id: TimerId) -> Option<&Slot> {
        self.slots.get(id.slot as usize).filter(|slot| slot.seq == id.seq)
    }

    /// The index in the due batch of a timer that is in there, and not in the heap.
    #[inline]
    fn place_in_due(&self, slot: u32) -> Option<usize> {
        if !self.has_due() {
            return None;
        }
        let index = self.slots[slot as usize].index as usize;
        if self.heap.get(index).is_some_and(|node| node.slot() == slot) {
            return None;
        }
        let node = self.node(slot);
        Some(self.done + self.due[self.done..].partition_point(|&due| due < node))
    }

    /// The node that a timer should have.
    #[inline]
    fn node(&self, slot: u32) -> Node {
        let Slot { at, order, .. } = self.slots[slot as usize];
        Node::new(at, order, slot)
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

    /// Empties a slot that has neither a timer nor a node any more.
    #[inline]
    fn give_up(&mut self, slot: u32) {
        self.slots[slot as usize].index = self.empty;
        self.empty = slot;
    }

    #[inline]
    fn give_up_spare(&mut self) {
        if let Some(spare) = self.spare.take() {
            self.cut(self.slots[spare as usize].index as usize);
            self.give_up(spare);
        }
    }

    /// Puts the node of a timer that has none into the heap.
    #[inline]
    fn link(&mut self, node: Node) {
        self.heap.push(node);
        self.sift_up(self.heap.len() - 1, node);
    }

    /// Sees to the node of a timer that has another deadline now: nothing is to be done if that is
    /// later than what the node tells.
    fn move_node(&mut self, slot: u32) {
        let Slot { at, placed, index, .. } = self.slots[slot as usize];
        let index = index as usize;
        if at > placed {
            self.exact = false;
        } else if self.node(slot) < self.heap[index] {
            self.sift_up(index, self.node(slot));
        } else {
            self.sift_down(index, self.node(slot));
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
        let node = self.node(first.slot());
        if node != first {
            self.sift_down(0, node);
        }
        node != first
    }

    /// Takes the node at `index` out of the heap.
    fn cut(&mut self, index: usize) {
        let Some(last) = self.heap.pop() else { return };
        let Some(&old) = self.heap.get(index) else { return };
        // The last node comes from another branch: it may have to go either way.
        if last < old {
            self.sift_up(index, last);
        } else {
            self.sift_down(index, last);
        }
    }

    /// Moves all that is due at once, if that is a good part of all: then to sort it and to make a
    /// new heap of the rest costs less than to take each out of the old. False: it was not done.
    fn sweep_due(&mut self, now: u64) -> bool {
        // Of a burst for one deadline, all is due, and in order as it is.
        let is_burst = self.ordered && self.exact && self.spare.is_none() && self.due.is_empty();
        if is_burst && self.heap.last().is_some_and(|last| last.at() <= now) {
            std::mem::swap(&mut self.heap, &mut self.due);
            return true;
        }
        let mut enough = (self.heap.len() / 16).max(ONE_BY_ONE);
        if !self.has_due_below(0, now, &mut enough) {
            return false;
        }
        self.give_up_spare();
        let (slots, due, exact) = (&self.slots, &mut self.due, self.exact);
        due.reserve(self.heap.len());
        self.heap.retain_mut(|node| {
            if node.at() <= now && !exact {
                let Slot { at, order, .. } = slots[node.slot() as usize];
                *node = Node::new(at, order, node.slot());
            }
            if node.at() <= now {
                due.push(*node);
            }
            node.at() > now
        });
        self.exact |= self.heap.is_empty();
        self.due[self.done..].sort_unstable();
        self.heapify();
        true
    }

    /// Whether more than `left` nodes are due from this one down.
    fn has_due_below(&self, index: usize, now: u64, left: &mut usize) -> bool {
        match self.heap.get(index) {
            Some(node) if node.at() <= now => {}
            _ => return false,
        }
        if *left == 0 {
            return true;
        }
        *left -= 1;
        children(index).any(|child| self.has_due_below(child, now, left))
    }

    /// Once in four billion timers the count of their order starts over, and those that are there
    /// are given new places in the order that they have.
    #[cold]
    fn renumber(&mut self) {
        self.due.drain(..self.done);
        self.done = 0;
        self.due.retain(|node| node.slot() != NO_SLOT);
        let mut live: Vec<u32> =
            self.heap.iter().chain(&self.due).map(|node| node.slot()).collect();
        live.sort_unstable_by_key(|&slot| self.slots[slot as usize].order);
        for (order, &slot) in live.iter().enumerate() {
            self.slots[slot as usize].order = order as u32;
        }
        self.next_order = live.len() as u32;
        for node in self.heap.iter_mut().chain(&mut self.due) {
            let Slot { at, order, .. } = self.slots[node.slot() as usize];
            *node = Node::new(at, order, node.slot());
        }
        self.heapify();
    }

    /// Makes a heap of nodes in any order.
    fn heapify(&mut self) {
        self.ordered = false;
        for (index, node) in self.heap.iter().enumerate() {
            let slot = &mut self.slots[node.slot() as usize];
            slot.index = index as u32;
            slot.placed = node.at();
        }
        for index in (0..self.heap.len().div_ceil(ARITY)).rev() {
            self.sift_down(index, self.heap[index]);
        }
    }

    /// Finds a place for `node`, at `index` or nearer to the root.
    fn sift_up(&mut self, mut index: usize, node: Node) {
        self.ordered = false;
        while index > 0 {
            let parent = parent(index);
            if self.heap[parent] < node {
                break;
            }
            self.place(index, self.heap[parent]);
            index = parent;
        }
        self.place(index, node);
    }

    /// Finds a place for `node`, at `index` or farther from the root.
    fn sift_down(&mut self, mut index: usize, node: Node) {
        self.ordered = false;
        loop {
            let first = children(index).start;
            let least = match self.heap.get(first..first + ARITY) {
                Some(&[a, b, c, d]) => {
                    let (ab, cd) = (usize::from(b < a), 2 + usize::from(d < c));
                    first + if c.min(d) < a.min(b) { cd } else { ab }
                }
                _ => {
                    let there = first..self.heap.len().min(first + ARITY);
                    let Some(least) = there.min_by_key(|&child| self.heap[child]) else { break };
                    least
                }
            };
            if node < self.heap[least] {
                break;
            }
            self.place(index, self.heap[least]);
            index = least;
        }
        self.place(index, node);
    }

    #[inline]
    fn place(&mut self, index: usize, node: Node) {
        self.heap[index] = node;
        let slot = &mut self.slots[node.slot() as usize];
        slot.index = index as u32;
        slot.placed = node.at();
    }
}

/// Puts a value to a place that is known to be empty, without a look at what is there.
#[inline]
pub(crate) fn overwrite<T>(place: &mut Option<T>, value: Option<T>) {
    debug_assert!(place.is_none());
    std::mem::forget(std::mem::replace(place, value));
}

#[inline]
fn parent(index: usize) -> usize {
    (index - 1) / ARITY
}

#[inline]
fn children(index: usize) -> std::ops::Range<usize> {
    let first = index * ARITY + 1;
    first..first + ARITY
}

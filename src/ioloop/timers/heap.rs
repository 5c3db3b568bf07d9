//! The order of the deadlines: a 4-ary heap of nodes.

use std::cmp::Ordering;

use super::KEEP;
use super::node::Node;
use super::slots::{Slot, Slots};

/// Four children lie in one or two cache lines, and the heap is half as deep as a binary one.
const ARITY: usize = 4;

/// So many are taken out of the heap one by one in any case.
const ONE_BY_ONE: usize = 16;

/// So many timers come to earlier deadlines before the heap is put right.
const UNSETTLED: usize = if cfg!(test) { 4 } else { 32 };

/// Each node knows its slot, and its slot knows where the node is and what deadline it tells: that
/// of the slot's timer or, unless the slot is among the unsettled, an earlier one.
pub(super) struct Heap {
    nodes: Vec<Node>,
    /// Whether no node tells an earlier deadline than its timer's.
    exact: bool,
    /// Whether the nodes are in order, as they are while each new timer is the latest.
    ordered: bool,
    /// Slots whose timers may have earlier deadlines than their nodes tell: the first so many.
    unsettled: [u32; UNSETTLED],
    unsettled_count: usize,
}

impl Default for Heap {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            exact: true,
            ordered: true,
            unsettled: [0; UNSETTLED],
            unsettled_count: 0,
        }
    }
}

impl Heap {
    #[inline]
    pub(super) fn first(&self) -> Option<Node> {
        debug_assert_eq!(self.unsettled_count, 0);
        self.nodes.first().copied()
    }

    /// Whether the node at `index` is that of `slot`.
    #[inline]
    pub(super) fn is_at(&self, index: u32, slot: u32) -> bool {
        self.nodes.get(index as usize).is_some_and(|node| node.slot() == slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Node> + '_ {
        self.nodes.iter().copied()
    }

    /// Where the next node is put first.
    #[inline]
    pub(super) fn end(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Puts in the node of a timer that has none, whose slot tells that it is at the [end](Self::end).
    #[inline]
    pub(super) fn push(&mut self, slots: &mut Slots, node: Node) {
        let index = self.nodes.len();
        let is_last = self.nodes.last().is_none_or(|&last| last < node);
        self.nodes.push(node);
        if index == 0 {
            self.ordered = true;
        } else if !(self.ordered && is_last) {
            self.sift_up(slots, index, node);
        }
    }

    /// To be called when a timer that has a node has another deadline. Nothing is to be done if that
    /// is later than what the node tells; else [`settle`](Self::settle) does it.
    ///
    /// Here is no branch on which it is. It could not be predicted, and so each timer's memory would
    /// have to be there before that of the next one is asked for.
    #[inline]
    pub(super) fn update(&mut self, slots: &mut Slots, slot: u32) {
        let Slot { at, placed, .. } = slots[slot];
        let is_later = at > placed;
        self.exact &= !is_later;
        self.unsettled[self.unsettled_count] = slot;
        self.unsettled_count += usize::from(!is_later);
        if self.unsettled_count == UNSETTLED {
            self.settle(slots);
        }
    }

    /// Moves the nodes of timers with earlier deadlines. It goes before all that goes by the order.
    #[inline]
    pub(super) fn settle(&mut self, slots: &mut Slots) {
        if self.unsettled_count > 0 {
            self.settle_all(slots);
        }
    }

    #[inline(never)]
    fn settle_all(&mut self, slots: &mut Slots) {
        let count = std::mem::take(&mut self.unsettled_count);
        for slot in self.unsettled.into_iter().take(count) {
            let Slot { seq, at, placed, index, .. } = slots[slot];
            let (node, index) = (slots.node(slot), index as usize);
            match at.cmp(&placed) {
                // The spare's node may stay, and a slot that was given up has none.
                _ if seq == 0 => {}
                Ordering::Less => self.sift_up(slots, index, node),
                // A new timer of the deadline that the spare's node tells comes after others of it.
                Ordering::Equal => self.sift_down(slots, index, node),
                // It was moved once more.
                Ordering::Greater => {}
            }
        }
    }

    /// Has the first node tell its timer's deadline, at the place of that. False: it does.
    #[inline]
    pub(super) fn put_first_right(&mut self, slots: &mut Slots, first: Node) -> bool {
        let node = slots.node(first.slot());
        if node != first {
            self.sift_down(slots, 0, node);
        }
        node != first
    }

    /// Takes out the node at `index`.
    pub(super) fn cut(&mut self, slots: &mut Slots, index: usize) {
        let Some(last) = self.nodes.pop() else { return };
        let Some(&old) = self.nodes.get(index) else { return };
        // The last node comes from another branch: it may have to go either way.
        if last < old {
            self.sift_up(slots, index, last);
        } else {
            self.sift_down(slots, index, last);
        }
    }

    /// If this is a burst for one deadline, all of it is due, and in order as it is: then it goes to
    /// `due`, which is empty. False: it was not done.
    pub(super) fn take_burst(&mut self, now: u64, due: &mut Vec<Node>) -> bool {
        let is_burst = self.ordered && self.exact;
        let all_due = is_burst && self.nodes.last().is_some_and(|last| last.at() <= now);
        if all_due {
            std::mem::swap(&mut self.nodes, due);
        }
        all_due
    }

    /// Whether so many are due that it costs less to take all of them out at once, and to sort them,
    /// than one by one.
    pub(super) fn is_due_in_bulk(&self, now: u64) -> bool {
        let mut enough = (self.nodes.len() / 16).max(ONE_BY_ONE);
        self.has_due_below(0, now, &mut enough)
    }

    /// Whether more than `left` nodes are due from this one down.
    fn has_due_below(&self, index: usize, now: u64, left: &mut usize) -> bool {
        match self.nodes.get(index) {
            Some(node) if node.at() <= now => {}
            _ => return false,
        }
        if *left == 0 {
            return true;
        }
        *left -= 1;
        children(index).any(|child| self.has_due_below(child, now, left))
    }

    /// Takes out all that is due, in any order, and makes a new heap of the rest.
    pub(super) fn take_due(&mut self, slots: &mut Slots, now: u64, due: &mut Vec<Node>) {
        due.reserve(self.nodes.len());
        let exact = self.exact;
        self.nodes.retain_mut(|node| {
            if node.at() <= now && !exact {
                *node = slots.node(node.slot());
            }
            if node.at() <= now {
                due.push(*node);
            }
            node.at() > now
        });
        self.exact |= self.nodes.is_empty();
        self.heapify(slots);
    }

    /// Has each node tell what its slot does.
    pub(super) fn renew(&mut self, slots: &mut Slots) {
        for node in &mut self.nodes {
            *node = slots.node(node.slot());
        }
        self.exact = true;
        self.unsettled_count = 0;
        self.heapify(slots);
    }

    pub(super) fn shrink(&mut self) {
        self.nodes.shrink_to(KEEP.max(2 * self.nodes.len()));
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.nodes.capacity()
    }

    /// Makes a heap of nodes in any order.
    fn heapify(&mut self, slots: &mut Slots) {
        self.ordered = false;
        for (index, &node) in self.nodes.iter().enumerate() {
            note(slots, index, node);
        }
        for index in (0..self.nodes.len().div_ceil(ARITY)).rev() {
            self.sift_down(slots, index, self.nodes[index]);
        }
    }

    /// Finds a place for `node`, at `index` or nearer to the root.
    fn sift_up(&mut self, slots: &mut Slots, mut index: usize, node: Node) {
        self.ordered = false;
        while index > 0 {
            let parent = parent(index);
            if self.nodes[parent] < node {
                break;
            }
            self.place(slots, index, self.nodes[parent]);
            index = parent;
        }
        self.place(slots, index, node);
    }

    /// Finds a place for `node`, at `index` or farther from the root.
    fn sift_down(&mut self, slots: &mut Slots, mut index: usize, node: Node) {
        self.ordered = false;
        loop {
            let first = children(index).start;
            let least = match self.nodes.get(first..first + ARITY) {
                Some(&[a, b, c, d]) => {
                    let (ab, cd) = (usize::from(b < a), 2 + usize::from(d < c));
                    first + if c.min(d) < a.min(b) { cd } else { ab }
                }
                _ => {
                    let there = first..self.nodes.len().min(first + ARITY);
                    let Some(least) = there.min_by_key(|&child| self.nodes[child]) else { break };
                    least
                }
            };
            if node < self.nodes[least] {
                break;
            }
            self.place(slots, index, self.nodes[least]);
            index = least;
        }
        self.place(slots, index, node);
    }

    #[inline]
    fn place(&mut self, slots: &mut Slots, index: usize, node: Node) {
        self.nodes[index] = node;
        note(slots, index, node);
    }
}

/// Has a slot know its node.
#[inline]
fn note(slots: &mut Slots, index: usize, node: Node) {
    let slot = &mut slots[node.slot()];
    (slot.index, slot.placed) = (index as u32, node.at());
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

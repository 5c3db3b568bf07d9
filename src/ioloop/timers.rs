//! Timers by deadline: a 4-ary heap whose nodes know their slots and whose slots know their nodes,
//! so that the first one is at hand, and any one can be taken out in O(log n).
//!
//! Time is a number here, and so is its unit the caller's: nothing reads a clock.

use std::collections::VecDeque;

use super::keyed::{Key, Keyed};

/// Four children lie in one or two cache lines, and the heap is half as deep as a binary one.
const ARITY: usize = 4;

/// Names one timer, for ever: the id of a timer that fired or was removed matches no later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(Key);

impl TimerId {
    /// What a loop that is gone gives: matches nothing.
    pub(crate) const NONE: Self = Self(Key::NONE);
}

pub(crate) struct Timers<T> {
    heap: Vec<Node>,
    slots: Keyed<Entry<T>>,
    /// The batch under way. Those removed meanwhile stay in here; their keys match nothing.
    due: VecDeque<Key>,
}

#[derive(Clone, Copy)]
struct Node {
    at: u64,
    key: Key,
}

impl Node {
    /// Equal deadlines go in order of creation.
    fn order(&self) -> (u64, u64) {
        (self.at, self.key.seq())
    }
}

struct Entry<T> {
    /// The node's index in the heap; `None` once the timer is in the due batch.
    index: Option<usize>,
    value: T,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: Vec::new(), slots: Keyed::default(), due: VecDeque::new() }
    }
}

impl<T> Timers<T> {
    pub(crate) fn insert(&mut self, at: u64, value: T) -> TimerId {
        let index = self.heap.len();
        let key = self.slots.insert(Entry { index: Some(index), value });
        self.heap.push(Node { at, key });
        self.sift_up(index);
        TimerId(key)
    }

    /// Gives back the value if the timer was pending, be it in the due batch.
    pub(crate) fn remove(&mut self, id: TimerId) -> Option<T> {
        let entry = self.slots.remove(id.0)?;
        if let Some(index) = entry.index {
            self.cut(index);
        }
        Some(entry.value)
    }

    /// The first deadline, of those not in the due batch.
    pub(crate) fn first(&self) -> Option<u64> {
        self.heap.first().map(|node| node.at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Moves all timers that are due at `now` to the end of the due batch, in order.
    pub(crate) fn collect_due(&mut self, now: u64) {
        while let Some(&Node { at, key }) = self.heap.first()
            && at <= now
        {
            self.cut(0);
            if let Some(entry) = self.slots.get_mut(key) {
                entry.index = None;
            }
            self.due.push_back(key);
        }
    }

    /// Takes the next timer of the due batch that has not been removed.
    pub(crate) fn next_due(&mut self) -> Option<T> {
        while let Some(key) = self.due.pop_front() {
            if let Some(entry) = self.slots.remove(key) {
                return Some(entry.value);
            }
        }
        None
    }

    /// Takes everything out. The caller drops it, once nothing is borrowed.
    pub(crate) fn take(&mut self) -> Vec<T> {
        self.heap.clear();
        self.due.clear();
        self.slots.take().into_iter().map(|entry| entry.value).collect()
    }

    /// Takes the node at `index` out of the heap.
    fn cut(&mut self, index: usize) {
        self.heap.swap_remove(index);
        if index < self.heap.len() {
            // The node that took the place came from another branch: it may have to go either way.
            self.sift_up(index);
            self.sift_down(index);
        }
    }

    fn sift_up(&mut self, mut index: usize) {
        let node = self.heap[index];
        while index > 0 {
            let parent = (index - 1) / ARITY;
            if self.heap[parent].order() <= node.order() {
                break;
            }
            self.place(index, self.heap[parent]);
            index = parent;
        }
        self.place(index, node);
    }

    fn sift_down(&mut self, mut index: usize) {
        let node = self.heap[index];
        loop {
            let children = index * ARITY + 1..(index * ARITY + 1 + ARITY).min(self.heap.len());
            let Some(least) = children.min_by_key(|&child| self.heap[child].order()) else { break };
            if node.order() <= self.heap[least].order() {
                break;
            }
            self.place(index, self.heap[least]);
            index = least;
        }
        self.place(index, node);
    }

    fn place(&mut self, index: usize, node: Node) {
        self.heap[index] = node;
        if let Some(entry) = self.slots.get_mut(node.key) {
            entry.index = Some(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(usize),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..50u64).prop_map(Step::Insert),
            1 => Just(Step::Insert(u64::MAX)),
            3 => any::<prop::sample::Index>().prop_map(|index| Step::Remove(index.index(1 << 16))),
            1 => (0..20u64).prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// The model: a map by (deadline, order of creation).
        #[test]
        fn agrees_with_an_ordered_map(steps in prop::collection::vec(step(), 1..400)) {
            let mut timers = Timers::default();
            let mut model = BTreeMap::new();
            let mut ids = Vec::new();
            let mut now = 0u64;
            for step in steps {
                match step {
                    Step::Insert(delay) => {
                        let at = now.saturating_add(delay);
                        let number = ids.len();
                        ids.push((timers.insert(at, number), at));
                        model.insert((at, number), number);
                    }
                    Step::Remove(_) if ids.is_empty() => {}
                    Step::Remove(index) => {
                        let number = index % ids.len();
                        let (id, at) = ids[number];
                        prop_assert_eq!(timers.remove(id), model.remove(&(at, number)));
                    }
                    Step::Advance(by) => {
                        now += by;
                        timers.collect_due(now);
                        let later = model.split_off(&(now + 1, 0));
                        for expected in model.into_values() {
                            prop_assert_eq!(timers.next_due(), Some(expected));
                        }
                        model = later;
                        prop_assert_eq!(timers.next_due(), None);
                    }
                }
                prop_assert_eq!(timers.first(), model.keys().next().map(|&(at, _)| at));
                prop_assert_eq!(timers.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn ids_of_spent_timers_match_no_later_timer() {
        let mut timers = Timers::default();
        let mut spent = Vec::new();
        for round in 0..100_000u64 {
            let id = timers.insert(round % 7, round);
            if round % 2 == 0 {
                assert_eq!(timers.remove(id), Some(round));
            } else {
                timers.collect_due(u64::MAX);
                assert_eq!(timers.next_due(), Some(round));
            }
            spent.push(id);
        }
        let pending: Vec<_> = (0..10).map(|value| timers.insert(0, value)).collect();
        assert!(spent.iter().all(|&id| timers.remove(id).is_none()));
        assert!(pending.iter().all(|&id| timers.remove(id).is_some()));
    }

    #[test]
    fn one_removed_from_the_due_batch_is_not_given() {
        let mut timers = Timers::default();
        let ids: Vec<_> = (0..3).map(|value| timers.insert(1, value)).collect();
        timers.collect_due(1);
        assert_eq!(timers.next_due(), Some(0));
        assert_eq!(timers.remove(ids[1]), Some(1));
        assert_eq!(timers.remove(ids[0]), None);
        assert_eq!(timers.next_due(), Some(2));
        assert_eq!(timers.next_due(), None);
    }
}

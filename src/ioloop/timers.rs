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
    /// The batch under way, with the deadline of each. Those removed or reset meanwhile stay in
    /// here: their keys match nothing, or a timer that has a node in the heap.
    due: VecDeque<Node>,
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
    /// For a periodic timer.
    period: Option<u64>,
    /// Out while a periodic timer is being called.
    value: Option<T>,
}

/// A timer to call now.
pub(crate) struct Due<T> {
    pub(crate) value: T,
    /// For a periodic timer: its value goes back by [`Timers::put_back`].
    pub(crate) again: Option<TimerId>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: Vec::new(), slots: Keyed::default(), due: VecDeque::new() }
    }
}

impl<T> Timers<T> {
    /// A timer for `at`, and then every `period` if there is one.
    pub(crate) fn insert(&mut self, at: u64, period: Option<u64>, value: T) -> TimerId {
        let key = self.slots.insert(Entry { index: None, period, value: Some(value) });
        self.link(Node { at, key });
        TimerId(key)
    }

    /// Whether the timer was pending, be it in the due batch, or is periodic and being called; and
    /// its value, unless it is out.
    pub(crate) fn remove(&mut self, id: TimerId) -> (bool, Option<T>) {
        let Some(entry) = self.slots.remove(id.0) else { return (false, None) };
        if let Some(index) = entry.index {
            self.cut(index);
        }
        (true, entry.value)
    }

    /// Moves a timer to another deadline. False if it is not pending any more.
    pub(crate) fn reset(&mut self, id: TimerId, at: u64) -> bool {
        let Some(entry) = self.slots.get(id.0) else { return false };
        let node = Node { at, key: id.0 };
        match entry.index {
            None => self.link(node),
            Some(index) if node.order() < self.heap[index].order() => {
                self.heap[index] = node;
                self.sift_up(index);
            }
            Some(index) => {
                self.heap[index] = node;
                self.sift_down(index);
            }
        }
        true
    }

    /// The first deadline, of those not in the due batch.
    pub(crate) fn first(&self) -> Option<u64> {
        self.heap.first().map(|node| node.at)
    }

    /// Whether the due batch has something left, if only timers that have been removed.
    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Moves all timers that are due at `now` to the end of the due batch, in order.
    pub(crate) fn collect_due(&mut self, now: u64) {
        while let Some(&node) = self.heap.first()
            && node.at <= now
        {
            self.cut(0);
            if let Some(entry) = self.slots.get_mut(node.key) {
                entry.index = None;
            }
            self.due.push_back(node);
        }
    }

    /// Takes the next timer of the due batch that has not been removed or reset. A periodic one is
    /// set to its next deadline after `now`: those that it has missed are left out.
    pub(crate) fn next_due(&mut self, now: u64) -> Option<Due<T>> {
        while let Some(Node { at, key }) = self.due.pop_front() {
            let entry = match self.slots.get_mut(key) {
                Some(entry) if entry.index.is_none() => entry,
                _ => continue,
            };
            let Some(period) = entry.period else {
                let entry = self.slots.remove(key)?;
                return entry.value.map(|value| Due { value, again: None });
            };
            let value = entry.value.take();
            let missed = now.saturating_sub(at) / period;
            let next = at.saturating_add(missed.saturating_add(1).saturating_mul(period));
            self.link(Node { at: next, key });
            if let Some(value) = value {
                return Some(Due { value, again: Some(TimerId(key)) });
            }
        }
        None
    }

    /// Returns the value of a periodic timer that has been called; gives it to the caller to drop
    /// if the timer has been removed.
    pub(crate) fn put_back(&mut self, id: TimerId, value: T) -> Option<T> {
        match self.slots.get_mut(id.0) {
            Some(entry) => entry.value.replace(value),
            None => Some(value),
        }
    }

    /// Takes everything out. The caller drops it, once nothing is borrowed.
    pub(crate) fn take(&mut self) -> Vec<T> {
        self.heap.clear();
        self.due.clear();
        self.slots.take().into_iter().filter_map(|entry| entry.value).collect()
    }

    /// Puts the node of a timer that has none into the heap.
    fn link(&mut self, node: Node) {
        self.heap.push(node);
        self.sift_up(self.heap.len() - 1);
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
        Reset(usize, u64),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
        prop_oneof![
            4 => (0..50u64).prop_map(Step::Insert),
            1 => Just(Step::Insert(u64::MAX)),
            3 => index().prop_map(Step::Remove),
            3 => (index(), 0..50u64).prop_map(|(index, delay)| Step::Reset(index, delay)),
            1 => (0..20u64).prop_map(Step::Advance),
        ]
    }

    fn next<T>(timers: &mut Timers<T>) -> Option<T> {
        timers.next_due(0).map(|due| due.value)
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
                        ids.push((timers.insert(at, None, number), at));
                        model.insert((at, number), number);
                    }
                    Step::Remove(_) | Step::Reset(..) if ids.is_empty() => {}
                    Step::Remove(index) => {
                        let number = index % ids.len();
                        let (id, at) = ids[number];
                        prop_assert_eq!(timers.remove(id).1, model.remove(&(at, number)));
                    }
                    Step::Reset(index, delay) => {
                        let number = index % ids.len();
                        let (id, at) = ids[number];
                        let to = now + delay;
                        let pending = model.remove(&(at, number)).is_some();
                        prop_assert_eq!(timers.reset(id, to), pending);
                        if pending {
                            model.insert((to, number), number);
                            ids[number].1 = to;
                        }
                    }
                    Step::Advance(by) => {
                        now += by;
                        timers.collect_due(now);
                        let later = model.split_off(&(now + 1, 0));
                        for expected in model.into_values() {
                            prop_assert_eq!(next(&mut timers), Some(expected));
                        }
                        model = later;
                        prop_assert_eq!(next(&mut timers), None);
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
            let id = timers.insert(round % 7, None, round);
            if round % 2 == 0 {
                assert_eq!(timers.remove(id), (true, Some(round)));
            } else {
                timers.collect_due(u64::MAX);
                assert_eq!(next(&mut timers), Some(round));
            }
            spent.push(id);
        }
        let pending: Vec<_> = (0..10).map(|value| timers.insert(0, None, value)).collect();
        assert!(spent.iter().all(|&id| !timers.reset(id, 5) && !timers.remove(id).0));
        assert!(pending.iter().all(|&id| timers.remove(id).0));
    }

    #[test]
    fn one_removed_from_the_due_batch_is_not_given() {
        let mut timers = Timers::default();
        let ids: Vec<_> = (0..3).map(|value| timers.insert(1, None, value)).collect();
        timers.collect_due(1);
        assert_eq!(next(&mut timers), Some(0));
        assert_eq!(timers.remove(ids[1]), (true, Some(1)));
        assert_eq!(timers.remove(ids[0]), (false, None));
        assert_eq!(next(&mut timers), Some(2));
        assert_eq!(next(&mut timers), None);
    }

    #[test]
    fn one_reset_out_of_the_due_batch_waits_for_its_new_deadline() {
        let mut timers = Timers::default();
        let ids: Vec<_> = (0..2).map(|value| timers.insert(1, None, value)).collect();
        timers.collect_due(1);
        assert!(timers.reset(ids[0], 5));
        assert_eq!(next(&mut timers), Some(1));
        assert_eq!(next(&mut timers), None);
        timers.collect_due(5);
        assert_eq!(next(&mut timers), Some(0));
        assert!(timers.is_empty());
    }

    #[test]
    fn a_periodic_timer_keeps_to_its_grid_and_leaves_out_what_it_missed() {
        let mut timers = Timers::default();
        let id = timers.insert(10, Some(10), 'p');
        for (now, next) in [(10, 20), (23, 30), (67, 70), (70, 80)] {
            timers.collect_due(now);
            let due = timers.next_due(now).expect("it is due");
            assert_eq!(due.again, Some(id));
            assert!(timers.next_due(now).is_none(), "once a batch");
            assert_eq!(timers.put_back(id, due.value), None);
            assert_eq!(timers.first(), Some(next));
        }
    }

    #[test]
    fn a_periodic_timer_may_be_removed_or_reset_while_it_is_called() {
        let mut timers = Timers::default();
        let id = timers.insert(1, Some(10), 'p');
        timers.collect_due(1);
        let due = timers.next_due(1).expect("it is due");
        assert!(timers.reset(id, 4));
        assert_eq!(timers.put_back(id, due.value), None);
        assert_eq!(timers.first(), Some(4));
        timers.collect_due(4);
        let due = timers.next_due(4).expect("it is due");
        assert_eq!(timers.remove(id), (true, None));
        assert_eq!(timers.put_back(id, due.value), Some('p'));
        assert!(timers.is_empty());
    }
}

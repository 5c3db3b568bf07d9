//! Which deliveries of a channel are not acknowledged, as the broker counts them: in little memory,
//! whatever the order of acknowledgements.

use std::collections::BTreeMap;

/// Delivery tags count from 1 on. Those up to `settled` are all settled, those past `last` have not
/// come; what is settled between them is kept as ranges.
#[derive(Default)]
pub(crate) struct Unacked {
    last: u64,
    settled: u64,
    /// First and last tag of each range; no two touch.
    ranges: BTreeMap<u64, u64>,
    /// How many tags are in the ranges.
    apart: u64,
}

impl Unacked {
    /// How many are not settled.
    pub(crate) fn len(&self) -> u64 {
        self.last - self.settled - self.apart
    }

    /// A delivery has come. `no_ack`: the broker takes it as settled.
    #[inline]
    pub(crate) fn delivered(&mut self, tag: u64, no_ack: bool) {
        if tag != self.last.wrapping_add(1) {
            return; // as no broker counts
        }
        self.last = tag;
        if no_ack {
            self.settle(tag, false);
        }
    }

    /// It is acknowledged or refused; with `multiple`, all up to it are, and with tag 0, all.
    #[inline]
    pub(crate) fn settle(&mut self, tag: u64, multiple: bool) {
        if multiple {
            self.settle_up_to(if tag == 0 { self.last } else { tag.min(self.last) });
        } else if tag == self.settled + 1 && tag <= self.last {
            self.settled = tag;
            self.join();
        } else if tag > self.settled && tag <= self.last {
            self.settle_apart(tag);
        }
    }

    /// The broker takes all of them back.
    pub(crate) fn clear(&mut self) {
        self.settle_up_to(self.last);
    }

    fn settle_up_to(&mut self, tag: u64) {
        if tag <= self.settled {
            return;
        }
        self.settled = tag;
        while let Some(range) = self.ranges.first_entry().filter(|range| *range.key() <= tag) {
            let (first, last) = range.remove_entry();
            self.apart -= last - first + 1;
            self.settled = self.settled.max(last);
        }
        self.join();
    }

    /// Takes the first range up, if nothing is between.
    #[inline]
    fn join(&mut self) {
        if !self.ranges.is_empty()
            && let Some(last) = self.ranges.remove(&(self.settled + 1))
        {
            self.apart -= last - self.settled;
            self.settled = last;
        }
    }

    fn settle_apart(&mut self, tag: u64) {
        let before = self.ranges.range(..=tag).next_back();
        let (mut first, mut last) = (tag, tag);
        match before {
            Some((_, end)) if *end >= tag => return, // settled before
            Some((start, end)) if *end + 1 == tag => first = *start,
            _ => {}
        }
        if let Some(end) = self.ranges.remove(&(tag + 1)) {
            last = end;
        }
        self.ranges.insert(first, last);
        self.apart += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Delivered { no_ack: bool },
        Settled { tag: u64, multiple: bool },
        Cleared,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<bool>().prop_map(|no_ack| Step::Delivered { no_ack }),
            4 => (0..40_u64).prop_map(|tag| Step::Settled { tag, multiple: false }),
            1 => (0..40_u64).prop_map(|tag| Step::Settled { tag, multiple: true }),
            1 => Just(Step::Cleared),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn it_counts_as_a_set_of_tags_does(steps in steps()) {
            let (mut unacked, mut model, mut last) = (Unacked::default(), BTreeSet::new(), 0);
            for step in steps {
                match step {
                    Step::Delivered { no_ack } => {
                        last += 1;
                        unacked.delivered(last, no_ack);
                        if !no_ack {
                            model.insert(last);
                        }
                    }
                    Step::Settled { tag, multiple } => {
                        unacked.settle(tag, multiple);
                        model.retain(|it| match multiple {
                            true => tag != 0 && *it > tag,
                            false => *it != tag,
                        });
                    }
                    Step::Cleared => {
                        unacked.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!(unacked.len(), model.len() as u64);
                prop_assert!(unacked.ranges.len() as u64 <= unacked.len() + 1);
            }
        }
    }

    #[test]
    fn one_that_is_kept_for_long_takes_no_memory_for_the_others() {
        let mut unacked = Unacked::default();
        unacked.delivered(1, false);
        for tag in 2..100_000 {
            unacked.delivered(tag, false);
            unacked.settle(tag, false);
        }
        assert_eq!((unacked.len(), unacked.ranges.len()), (1, 1));
        unacked.settle(1, false);
        assert_eq!((unacked.len(), unacked.ranges.len()), (0, 0));
    }

    #[test]
    fn tags_as_no_broker_gives_them_do_no_harm() {
        let mut unacked = Unacked::default();
        for tag in [0, 2, u64::MAX, 1, 1, u64::MAX] {
            unacked.delivered(tag, false);
        }
        assert_eq!(unacked.len(), 1);
        for multiple in [false, true] {
            unacked.settle(u64::MAX, multiple);
            unacked.settle(0, false);
        }
        assert_eq!(unacked.len(), 0);
    }
}

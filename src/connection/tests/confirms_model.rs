//! Publisher confirms against a model: whatever is published, returned, acknowledged in whatever
//! order, and whenever it ends, each publish resolves exactly once, with the outcome it had.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::broker;
use super::pair::{Happened, Pair};
use crate::channel::ChannelId;
use crate::protocol::basic;

/// What happens next. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Publish {
        mandatory: bool,
        routable: bool,
    },
    /// The broker routes the next publishes, and returns those that it cannot route.
    Route(usize),
    Acknowledge {
        which: usize,
        multiple: bool,
        acked: bool,
    },
    /// The broker says once more what it has said.
    Repeat {
        which: usize,
        multiple: bool,
        acked: bool,
    },
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..1000_usize;
    prop_oneof![
        6 => any::<(bool, bool)>()
            .prop_map(|(mandatory, routable)| Step::Publish { mandatory, routable }),
        3 => (1..8_usize).prop_map(Step::Route),
        4 => (which.clone(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(which, multiple, acked)| Step::Acknowledge { which, multiple, acked }),
        1 => (which, any::<bool>(), any::<bool>())
            .prop_map(|(which, multiple, acked)| Step::Repeat { which, multiple, acked }),
        1 => Just(Step::Wait),
    ]
}

/// What the publisher must be told.
struct Model {
    pair: Pair,
    channel: ChannelId,
    published: Vec<(bool, bool)>,
    routed: usize,
    outstanding: BTreeSet<u64>,
    expected: BTreeMap<u64, &'static str>,
    told: BTreeMap<u64, &'static str>,
    /// Those who wait, by label: the last number each waits for.
    waiting: Vec<(String, u64)>,
}

impl Model {
    fn new() -> Self {
        let (pair, channel) = Pair::confirming();
        Self {
            pair,
            channel,
            published: Vec::new(),
            routed: 0,
            outstanding: BTreeSet::new(),
            expected: BTreeMap::new(),
            told: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    fn body(number: u64) -> String {
        format!("message {number}")
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Publish { mandatory, routable } => {
                let number = self.published.len() as u64 + 1;
                let body = Self::body(number);
                let given = if mandatory {
                    self.pair.publish_mandatory(self.channel, "key", &body)
                } else {
                    self.pair.publish(self.channel, &*body)
                };
                assert_eq!(given, Ok(number));
                self.published.push((mandatory, routable));
            }
            Step::Route(count) => self.route(count),
            Step::Acknowledge { which, multiple, acked } => {
                let candidates: Vec<_> = self.outstanding.iter().copied().collect();
                if candidates.is_empty() {
                    return;
                }
                let tag = candidates[which % candidates.len()];
                let covered = candidates.into_iter().filter(|&n| n == tag || multiple && n < tag);
                for number in covered {
                    let (mandatory, routable) = self.published[number as usize - 1];
                    let outcome = match (acked, mandatory && !routable) {
                        (false, _) => "nacked",
                        (true, true) => "returned",
                        (true, false) => "acked",
                    };
                    self.expected.insert(number, outcome);
                    self.outstanding.remove(&number);
                }
                self.acknowledge(tag, multiple, acked);
            }
            Step::Repeat { which, multiple, acked } => {
                let told = |number: &u64| {
                    let before = self.outstanding.range(..number).next();
                    !self.outstanding.contains(number) && (!multiple || before.is_none())
                };
                let said: Vec<_> = (1..=self.routed as u64).filter(told).collect();
                if let Some(&tag) = said.get(which % said.len().max(1)) {
                    self.acknowledge(tag, multiple, acked);
                }
            }
            Step::Wait => {
                let (number, label) = (self.published.len() as u64, self.waiting.len().to_string());
                self.pair.when_confirmed(self.channel, &label).unwrap();
                self.waiting.push((label, number));
                self.pair.settle();
            }
        }
        self.look();
    }

    fn route(&mut self, count: usize) {
        self.pair.sent();
        for _ in 0..count.min(self.published.len() - self.routed) {
            let (mandatory, routable) = self.published[self.routed];
            self.routed += 1;
            let number = self.routed as u64;
            self.outstanding.insert(number);
            if mandatory && !routable {
                let back = basic::Return { routing_key: "key".into(), ..Default::default() };
                let mut bytes = broker::method(1, &back);
                bytes.extend(broker::content(1, Self::body(number).as_bytes(), 131_072));
                self.pair.feed(&bytes);
            }
        }
    }

    fn acknowledge(&mut self, delivery_tag: u64, multiple: bool, acked: bool) {
        self.pair.feed(&if acked {
            broker::method(1, &basic::Ack { delivery_tag, multiple })
        } else {
            broker::method(1, &basic::Nack { delivery_tag, multiple, requeue: true })
        });
    }

    /// Takes note of what was told, which must be news and right, and who was told that all is.
    fn look(&mut self) {
        for happened in self.pair.happened() {
            match happened {
                Happened::Confirmed(_, number, outcome) => {
                    assert_eq!(self.told.insert(number, outcome), None, "told twice: {number}");
                }
                Happened::AllConfirmed(label, summary) => {
                    assert!(!self.waiting.is_empty(), "nobody waits");
                    let (first, up_to) = self.waiting.remove(0);
                    assert_eq!(label, first, "they are told in order");
                    let lost = self.told.range(..=up_to).any(|(_, told)| *told == "lost");
                    assert_eq!(summary.is_err(), lost);
                    assert_eq!(self.told.range(..=up_to).count() as u64, up_to, "all are told");
                }
                Happened::Returned(..) | Happened::ChannelClosed(..) | Happened::Closed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(self.told, self.expected);
        let first_open = (1..).find(|number| !self.told.contains_key(number)).unwrap();
        assert!(self.waiting.iter().all(|(_, up_to)| *up_to >= first_open), "told too late");
    }

    fn end(mut self, connection: bool) {
        if connection {
            self.pair.lose();
        } else {
            self.pair.feed(&broker::channel_close(1, 404, "gone"));
        }
        for number in 1..=self.published.len() as u64 {
            self.expected.entry(number).or_insert("lost");
        }
        self.look();
        assert!(self.waiting.is_empty());
    }
}

proptest! {
    #[test]
    fn each_publish_resolves_once_with_its_outcome_hazard_14(
        steps in prop::collection::vec(step(), 0..200),
        connection in any::<bool>(),
    ) {
        let mut model = Model::new();
        for step in &steps {
            model.run(step);
            let unresolved = model.published.len() - model.told.len();
            prop_assert_eq!(model.pair.unconfirmed(model.channel), unresolved);
        }
        model.end(connection);
    }

    #[test]
    fn whatever_a_hostile_broker_says_nothing_resolves_twice_and_all_resolve(
        steps in prop::collection::vec((0..12_u64, any::<bool>(), 0..4_u8), 0..100),
    ) {
        let (mut pair, channel) = Pair::confirming();
        let (mut published, mut told) = (0, BTreeSet::new());
        let mut look = |pair: &mut Pair| {
            for happened in pair.happened() {
                if let Happened::Confirmed(_, number, _) = happened {
                    assert!(told.insert(number), "told twice: {number}");
                }
            }
            told.len()
        };
        for (delivery_tag, multiple, what) in steps {
            match what {
                0 => published += u64::from(pair.publish_mandatory(channel, "k", "x").is_ok()),
                1 => pair.feed(&broker::method(1, &basic::Ack { delivery_tag, multiple })),
                2 => {
                    let requeue = false;
                    let nack = basic::Nack { delivery_tag, multiple, requeue };
                    pair.feed(&broker::method(1, &nack));
                }
                _ => {
                    let back = basic::Return { routing_key: "k".into(), ..Default::default() };
                    pair.feed(&[broker::method(1, &back), broker::content(1, b"x", 4096)].concat());
                }
            }
            look(&mut pair);
        }
        pair.lose();
        prop_assert_eq!(look(&mut pair) as u64, published);
    }
}

//! Against a model, and case by case.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Remove(usize),
    Reset(usize, u64),
    First,
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    prop_oneof![
        4 => (0..50u64).prop_map(Step::Insert),
        1 => Just(Step::Insert(u64::MAX)),
        3 => index().prop_map(Step::Remove),
        3 => (index(), 0..50u64).prop_map(|(index, delay)| Step::Reset(index, delay)),
        1 => Just(Step::First),
        1 => (0..20u64).prop_map(Step::Advance),
    ]
}

fn insert<T>(timers: &mut Timers<T>, at: u64, period: Option<Period>, value: T) -> TimerId {
    let (id, place) = timers.insert(at, period);
    assert!(place.replace(value).is_none());
    id
}

fn next_due<T>(timers: &mut Timers<T>, now: u64) -> Option<(Due, Option<T>)> {
    let mut value = None;
    timers.next_due(now, &mut value).map(|due| (due, value))
}

fn next<T>(timers: &mut Timers<T>) -> Option<T> {
    next_due(timers, 0).and_then(|(_, value)| value)
}

/// What is left for the caller.
fn put_back<T>(timers: &mut Timers<T>, id: TimerId, mut value: Option<T>) -> Option<T> {
    timers.put_back(id, &mut value);
    value
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
                    ids.push((insert(&mut timers, at, None, number), at));
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
                Step::First => {
                    prop_assert_eq!(timers.first(), model.keys().next().map(|&(at, _)| at));
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
            prop_assert_eq!(timers.is_empty(), model.is_empty());
        }
    }
}

#[test]
fn ids_of_spent_timers_match_no_later_timer() {
    let mut timers = Timers::default();
    let mut spent = Vec::new();
    for round in 0..100_000u64 {
        let id = insert(&mut timers, round % 7, None, round);
        if round % 2 == 0 {
            assert_eq!(timers.remove(id), (true, Some(round)));
        } else {
            timers.collect_due(u64::MAX);
            assert_eq!(next(&mut timers), Some(round));
        }
        spent.push(id);
    }
    let pending: Vec<_> = (0..10).map(|value| insert(&mut timers, 0, None, value)).collect();
    assert!(spent.iter().all(|&id| !timers.reset(id, 5) && !timers.remove(id).0));
    assert!(pending.iter().all(|&id| timers.remove(id).0));
}

#[test]
fn one_removed_from_the_due_batch_is_not_given() {
    let mut timers = Timers::default();
    let ids: Vec<_> = (0..3).map(|value| insert(&mut timers, 1, None, value)).collect();
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
    let ids: Vec<_> = (0..2).map(|value| insert(&mut timers, 1, None, value)).collect();
    timers.collect_due(1);
    assert!(timers.reset(ids[0], 5));
    assert_eq!(next(&mut timers), Some(1));
    assert_eq!(next(&mut timers), None);
    timers.collect_due(5);
    assert_eq!(next(&mut timers), Some(0));
    assert!(timers.is_empty());
}

/// A panic leaves a batch half done: what it left may be reset, and fall due again, before the
/// next turn goes on with it.
#[test]
fn one_reset_out_of_a_batch_left_behind_keeps_to_its_new_deadline() {
    let mut timers = Timers::default();
    let ids: Vec<_> = (0..2).map(|value| insert(&mut timers, 1, None, value)).collect();
    let periodic = insert(&mut timers, 1, Some(Duration::from_nanos(10).into()), 2);
    timers.collect_due(1);
    assert!(timers.reset(ids[0], 5));
    assert!(timers.reset(periodic, 4));
    timers.collect_due(6);
    let order = std::iter::from_fn(|| next(&mut timers)).collect::<Vec<_>>();
    assert_eq!(order, [1, 2, 0]);
    assert_eq!(timers.first(), Some(14));
}

#[test]
fn a_periodic_timer_keeps_to_its_grid_and_leaves_out_what_it_missed() {
    let mut timers = Timers::default();
    let id = insert(&mut timers, 10, Some(Duration::from_nanos(10).into()), 'p');
    for (now, next) in [(10, 20), (23, 30), (67, 70), (70, 80)] {
        timers.collect_due(now);
        let (due, value) = next_due(&mut timers, now).expect("it is due");
        assert_eq!(due, Due::Every(id));
        assert!(next_due(&mut timers, now).is_none(), "once a batch");
        assert_eq!(put_back(&mut timers, id, value), None);
        assert_eq!(timers.first(), Some(next));
    }
}

#[test]
fn a_periodic_timer_may_be_removed_or_reset_while_it_is_called() {
    let mut timers = Timers::default();
    let id = insert(&mut timers, 1, Some(Duration::from_nanos(10).into()), 'p');
    timers.collect_due(1);
    let (_, value) = next_due(&mut timers, 1).expect("it is due");
    assert!(timers.reset(id, 4));
    assert_eq!(put_back(&mut timers, id, value), None);
    assert_eq!(timers.first(), Some(4));
    timers.collect_due(4);
    let (_, value) = next_due(&mut timers, 4).expect("it is due");
    assert_eq!(timers.remove(id), (true, None));
    assert_eq!(put_back(&mut timers, id, value), Some('p'));
    assert!(timers.is_empty());
}

#[test]
fn a_batch_of_many_comes_in_order_and_leaves_the_rest_in_order() {
    let mut timers = Timers::default();
    // Few due, a good part due, all due.
    for (count, now) in [(1000, 20), (1000, 500), (1000, 1000), (17, 17)] {
        let mut at: Vec<u64> = (1..=count).collect();
        let length = at.len();
        (0..length).for_each(|index| at.swap(index, (index * 7919) % length));
        let ids: Vec<_> = at.iter().map(|&at| insert(&mut timers, at, None, at)).collect();
        timers.collect_due(now);
        assert!((1..=now).all(|expected| next(&mut timers) == Some(expected)));
        assert_eq!(next(&mut timers), None);
        // The indices of the others hold: each can be taken out.
        for (id, &at) in ids.iter().zip(&at).filter(|(_, at)| **at % 2 == 0) {
            assert_eq!(timers.remove(*id).0, at > now);
        }
        timers.collect_due(u64::MAX);
        let rest: Vec<_> = std::iter::from_fn(|| next(&mut timers)).collect();
        assert_eq!(rest, (now + 1..=count).filter(|at| at % 2 == 1).collect::<Vec<_>>());
    }
}

/// The heap learns of earlier deadlines some at a time, and by then the timer may be gone.
#[test]
fn those_moved_to_earlier_deadlines_come_in_order_whatever_became_of_others() {
    for moved in 0..20 {
        let mut timers = Timers::default();
        let ids: Vec<_> = (0..40).map(|value| insert(&mut timers, 1000, None, value)).collect();
        for (id, at) in ids[..moved].iter().zip((0..500).rev()) {
            assert!(timers.reset(*id, at));
        }
        // Two slots more are empty, and one of them is taken again.
        for &id in &ids[moved..moved + 3] {
            assert!(timers.reset(id, 700));
            assert!(timers.remove(id).0);
        }
        insert(&mut timers, 600, None, 600);
        insert(&mut timers, 800, None, 800);
        timers.collect_due(900);
        let expected = (0..moved).rev().chain([600, 800]).collect::<Vec<_>>();
        assert_eq!(std::iter::from_fn(|| next(&mut timers)).collect::<Vec<_>>(), expected);
        timers.collect_due(1000);
        let rest = std::iter::from_fn(|| next(&mut timers)).collect::<Vec<_>>();
        assert_eq!(rest, (moved + 3..40).collect::<Vec<_>>());
    }
}

/// The slots that are given back may have been waiting for the heap to learn of their deadlines.
#[test]
fn memory_is_given_back_of_timers_that_had_been_moved() {
    let mut timers = Timers::default();
    let ids: Vec<_> = (0..100).map(|value| insert(&mut timers, 1000, None, value)).collect();
    for &id in ids[1..].iter().rev() {
        assert!(timers.reset(id, 500));
        assert!(timers.remove(id).0);
    }
    assert!(timers.reset(ids[0], 500));
    timers.trim();
    assert!(timers.slots.capacity() < 50);
    assert_eq!(timers.first(), Some(500));
}

#[test]
fn equal_deadlines_keep_their_order_when_the_count_starts_over() {
    let mut timers = Timers { next_order: u32::MAX - 50, ..Timers::default() };
    // One in the due batch takes part, and one that tells too early a deadline.
    insert(&mut timers, 0, None, -2);
    let late = insert(&mut timers, 0, None, -1);
    timers.reset(late, 7);
    timers.collect_due(0);
    let ids: Vec<_> = (0..100).map(|value| insert(&mut timers, 7, None, value)).collect();
    assert!(timers.next_order < 1000, "the count has started over");
    assert!(timers.remove(ids[10]).0);
    timers.collect_due(7);
    let order: Vec<_> = std::iter::from_fn(|| next(&mut timers)).collect();
    assert_eq!(order, (-2..100).filter(|&value| value != 10).collect::<Vec<_>>());
}

#[test]
fn a_burst_gives_its_memory_back_though_some_of_it_stay() {
    let mut timers = Timers::default();
    let early = insert(&mut timers, 1_000_000, None, 0);
    let ids: Vec<_> = (1..10_000).map(|value| insert(&mut timers, value, None, value)).collect();
    let peak = timers.slots.capacity();
    for id in ids {
        assert!(timers.remove(id).0);
    }
    timers.trim();
    assert!(timers.slots.capacity() < peak / 100 && timers.heap.capacity() < peak / 100);
    assert!(timers.reset(early, 5));
    timers.collect_due(5);
    assert_eq!(next(&mut timers), Some(0));
    let again: Vec<_> = (0..100).map(|value| insert(&mut timers, value, None, value)).collect();
    assert!(!timers.remove(early).0 && timers.remove(again[99]).0);
}

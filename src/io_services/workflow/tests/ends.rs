//! It ends, whatever happens and whatever does not.

use super::*;

#[test]
fn without_timeouts_it_waits() {
    let mut parameters = ConnectionParameters::new("a");
    parameters.set_socket_timeout(None).unwrap().set_stack_timeout(None).unwrap();
    let mut scene = Scene::new(parameters.into());
    assert_eq!(scene.plan.deadline(), None);
    scene.resolved(&[1]);
    assert_eq!(scene.plan.deadline(), None);
    scene.connected(1, Ok(()));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1", "open"]);
}

#[test]
fn one_deadline_ends_it_in_each_phase() {
    let limited = || {
        let mut all = workflow(&["a", "b"]);
        all.set_connection_attempts(100).unwrap().set_timeout(Some(seconds(8))).unwrap();
        all
    };
    let lookup = |host: &str| {
        let cause = io::Error::from(io::ErrorKind::TimedOut).into();
        Error::from(ConnectError::Resolve { host: host.into(), cause })
    };
    // Resolving.
    let mut scene = Scene::new(limited());
    scene.wait(millis(7999));
    assert_eq!(scene.ordered(), ["resolve a"]);
    scene.wait(millis(1));
    assert_eq!(scene.ordered(), ["cancel lookup", "give up"]);
    assert_eq!(scene.timed_out(), [lookup("a")]);
    // Racing: what waits was not tried.
    let mut scene = Scene::new(limited());
    scene.wait(millis(7600)).resolved(&[1, 2, 3]).wait(millis(400));
    assert_eq!(
        scene.ordered(),
        ["resolve a", "connect 1", "connect 2", "cancel 1", "cancel 2", "give up"]
    );
    let late = |n| socket("a", n, io::ErrorKind::TimedOut);
    assert_eq!(scene.timed_out(), [late(1), late(2)]);
    // Opening: the machine is given the limit, and ends by it.
    let mut scene = Scene::new(limited());
    scene.wait(seconds(1)).resolved(&[1]).wait(seconds(1)).connected(1, Ok(()));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1", "open within 8s, until 8s"]);
    let error = HandshakeError::TimedOut { phase: Phase::Protocol, limit: seconds(8) };
    scene.wait(seconds(6)).failed(error.clone());
    assert_eq!(scene.ordered(), ["give up"]);
    assert_eq!(scene.timed_out(), [error.into()]);
    // Pausing, for at least a second: the pause that would end too late is not begun.
    let mut scene = Scene::new(limited());
    scene.not_resolved().wait(millis(7000)).not_resolved();
    assert_eq!(scene.failures().len(), 2);
}

#[test]
fn what_was_cancelled_is_ignored() {
    let mut scene = Scene::new(workflow(&["a", "b"]));
    scene.resolved(&[1, 2]).wait(millis(250));
    let late = scene.attempts.clone();
    scene.connected(2, Ok(()));
    scene.ordered();
    for (id, _) in late {
        scene.plan.connected(scene.now, id, Ok(()));
        scene.plan.connected(scene.now, id, Err(refused()));
    }
    scene.plan.resolved(scene.now, Ok(vec![address(9)]));
    scene.plan.deadline_passed(scene.now + seconds(1000));
    scene.take_orders();
    assert_eq!(scene.ordered(), [""; 0]);
    // Nor does it take what it did not ask for.
    scene.failed(bad_credentials()).failed(bad_credentials());
    assert_eq!(scene.ordered(), ["connect 1"]);
}

#[test]
fn an_early_call_does_nothing() {
    let mut scene = Scene::new(workflow(&["a"]));
    scene.ordered();
    for is_resolving in [true, false] {
        if !is_resolving {
            scene.resolved(&[1, 2]).ordered();
        }
        let deadline = scene.plan.deadline().unwrap();
        scene.plan.deadline_passed(deadline - Duration::from_nanos(1));
        scene.take_orders();
        assert_eq!(scene.ordered(), [""; 0]);
        assert_eq!(scene.plan.deadline(), Some(deadline));
    }
}

#[test]
fn who_tries_for_ever_keeps_a_bounded_story() {
    let mut endless = workflow(&["a"]);
    endless.set_connection_attempts(u32::MAX).unwrap().set_retry_delay(Duration::ZERO);
    let day = Duration::from_secs(24 * 60 * 60);
    endless.set_timeout(Some(day)).unwrap();
    let mut scene = Scene::new(endless);
    for n in 0..5000 {
        scene.wait(Duration::ZERO).resolved(&[1]).connected(1, Ok(()));
        scene.failed(HandshakeError::NotAmqp { received: format!("{n}") });
    }
    scene.wait(day);
    assert!((200..1000).contains(&scene.timed_out().len()));
}

/// Whatever the network does, and whenever, it ends: by the deadline, once, and with nothing left
/// under way.
#[test]
fn it_always_ends() {
    for seed in 0..3000_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut chance = move |sides: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % sides
        };
        let mut all = workflow(&["a", "b", "c"]);
        all.set_connection_attempts(1 + chance(4) as u32).unwrap();
        let limit = seconds(1 + chance(200));
        all.set_timeout(Some(limit)).unwrap();
        let mut scene = Scene::new(all);
        let end = scene.began + limit;
        while scene.ended.is_none() {
            assert!(scene.now < end, "seed {seed}");
            scene.wait(millis(chance(3000)));
            if scene.plan.is_opening() && scene.now >= end {
                // The machine's limit.
                scene.failed(bad_credentials());
            }
            match chance(6) {
                0 => drop(scene.not_resolved()),
                1 => drop(scene.resolved(&[60, 1, 2, 61, 3][..chance(6) as usize])),
                2 | 3 if !scene.attempts.is_empty() => {
                    let index = chance(scene.attempts.len() as u64) as usize;
                    let (id, _) = scene.attempts.remove(index);
                    let outcome = if chance(3) == 0 { Ok(()) } else { Err(refused()) };
                    scene.plan.connected(scene.now, id, outcome);
                    scene.take_orders();
                }
                4 => drop(scene.failed(bad_credentials())),
                _ => {}
            }
        }
        scene.error();
    }
}

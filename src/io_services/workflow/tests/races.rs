//! The addresses of one host race.

use super::*;

#[test]
fn the_stack_timeout_counts_from_the_start_of_the_tcp_connect() {
    let mut scene = Scene::new(workflow(&["a"]));
    assert_eq!(scene.ordered(), ["resolve a"]);
    scene.wait(seconds(1)).resolved(&[1]);
    assert_eq!(scene.ordered(), ["connect 1"]);
    scene.wait(seconds(9)).connected(1, Ok(()));
    assert_eq!(scene.ordered(), ["open within 15s, until 16s"]);
    assert_eq!(scene.plan.deadline(), None, "the machine keeps the limit");
}

#[test]
fn an_address_that_is_silent_is_raced_by_one_of_the_other_family() {
    let mut scene = Scene::new(workflow(&["a"]));
    scene.resolved(&[60, 61, 1]);
    assert_eq!(scene.ordered(), ["resolve a", "connect 60"]);
    scene.wait(millis(249));
    assert_eq!(scene.ordered(), [""; 0]);
    scene.wait(millis(1));
    assert_eq!(scene.ordered(), ["connect 1"]);
    scene.wait(millis(100)).connected(1, Ok(()));
    assert_eq!(scene.ordered(), ["cancel 60", "open within 15s, until 15.25s"]);
    // It is no broker: those that have lost the race, and those that have not run, are tried.
    scene.failed(HandshakeError::NotAmqp { received: "SSH".into() });
    assert_eq!(scene.ordered(), ["connect 60"]);
    scene.wait(millis(250));
    assert_eq!(scene.ordered(), ["connect 61"]);
    scene.connected(60, Err(refused())).connected(61, Err(refused()));
    let failures = scene.failures();
    let addresses: Vec<_> = failures.iter().map(|failure| failure.address).collect();
    assert_eq!(addresses, [Some(address(1)), Some(address(60)), Some(address(61))]);
}

#[test]
fn those_that_lose_a_race_are_tried_in_their_order_before_those_that_did_not_run() {
    let mut scene = Scene::new(workflow(&["a"]));
    scene.resolved(&[1, 2, 3, 4]).wait(millis(500));
    scene.connected(3, Ok(())).ordered();
    scene.failed(HandshakeError::NotAmqp { received: "SSH".into() });
    for n in [1, 2, 4] {
        assert_eq!(scene.ordered(), [format!("connect {n}")]);
        scene.connected(n, Err(refused()));
    }
    assert_eq!(scene.failures().len(), 4);
}

#[test]
fn the_delay_of_the_race_can_be_set() {
    let mut patient = workflow(&["a"]);
    patient.set_connection_attempt_delay(seconds(2)).unwrap();
    let mut scene = Scene::new(patient);
    scene.resolved(&[1, 2, 3]).wait(millis(1999));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1"]);
    scene.wait(millis(1));
    assert_eq!(scene.ordered(), ["connect 2"]);
    scene.wait(seconds(2));
    assert_eq!(scene.ordered(), ["connect 3"]);
}

#[test]
fn an_attempt_that_fails_has_the_next_start_at_once() {
    let mut scene = Scene::new(workflow(&["a"]));
    scene.resolved(&[1, 2, 3]).wait(millis(10)).connected(1, Err(refused()));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1", "connect 2"]);
    // And the delay counts from then.
    scene.wait(millis(249));
    assert_eq!(scene.ordered(), [""; 0]);
    scene.wait(millis(1));
    assert_eq!(scene.ordered(), ["connect 3"]);
    scene.connected(3, Err(refused()));
    assert_eq!(scene.ordered(), [""; 0]);
    scene.connected(2, Ok(()));
    assert_eq!(scene.ordered(), ["open within 15s, until 15.01s"]);
}

#[test]
fn an_address_has_the_socket_timeout_or_the_stack_timeout_if_that_is_shorter() {
    for (socket_timeout, stack_timeout) in [(3, 15), (10, 3)] {
        let mut parameters = ConnectionParameters::new("a");
        parameters.set_socket_timeout(Some(seconds(socket_timeout))).unwrap();
        parameters.set_stack_timeout(Some(seconds(stack_timeout))).unwrap();
        let mut scene = Scene::new(parameters.into());
        scene.resolved(&[1]).wait(millis(2999));
        assert_eq!(scene.ordered(), ["resolve a", "connect 1"]);
        scene.wait(millis(1));
        assert_eq!(scene.ordered(), ["cancel 1", "give up"]);
        assert_eq!(scene.error(), socket("a", 1, io::ErrorKind::TimedOut));
    }
}

#[test]
fn addresses_that_run_together_end_each_by_its_own_timeout() {
    let mut scene = Scene::new(workflow(&["a", "b"]));
    scene.resolved(&[1, 2]).wait(seconds(10));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1", "connect 2", "cancel 1"]);
    scene.wait(millis(249));
    assert_eq!(scene.ordered(), [""; 0]);
    scene.wait(millis(1));
    assert_eq!(scene.ordered(), ["cancel 2", "resolve b"]);
}

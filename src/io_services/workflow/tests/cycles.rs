//! Hosts one after another, and all of them again.

use super::*;

#[test]
fn what_fails_once_is_the_error_itself() {
    let mut scene = Scene::new(workflow(&["a"]));
    scene.resolved(&[1]).connected(1, Err(refused()));
    assert_eq!(scene.ordered(), ["resolve a", "connect 1", "give up"]);
    assert_eq!(scene.error(), socket("a", 1, io::ErrorKind::ConnectionRefused));

    let mut scene = Scene::new(workflow(&["a"]));
    scene.not_resolved();
    let cause = io::Error::from(io::ErrorKind::NotFound).into();
    assert_eq!(scene.error(), ConnectError::Resolve { host: "a".into(), cause }.into());

    let mut scene = Scene::new(workflow(&["a"]));
    scene.resolved(&[]);
    assert!(scene.error().to_string().contains("no address"));

    // All addresses of the host, and all cycles, end alike.
    let mut all = workflow(&["a"]);
    all.set_connection_attempts(2).unwrap();
    let mut scene = Scene::new(all);
    let lost = || HandshakeError::NotAmqp { received: "HTTP".into() };
    for _ in 0..2 {
        scene.wait(seconds(2)).resolved(&[1, 2]);
        scene.connected(1, Ok(())).failed(lost());
        scene.connected(2, Ok(())).failed(lost());
    }
    assert_eq!(scene.error(), lost().into());
}

#[test]
fn nothing_to_try_is_an_error() {
    assert_eq!(Scene::new(workflow(&[])).error(), ConnectError::NoHost.into());
}

#[test]
fn a_host_that_fails_in_any_way_leads_to_the_next() {
    let mut scene = Scene::new(workflow(&["nowhere", "down", "other", "strict", "good"]));
    scene.not_resolved();
    scene.resolved(&[1]).connected(1, Err(refused()));
    scene.resolved(&[2]).connected(2, Ok(()));
    scene.failed(HandshakeError::NotAmqp { received: "HTTP".into() });
    scene.resolved(&[3]).connected(3, Ok(())).failed(bad_credentials());
    scene.ordered();
    scene.resolved(&[4]).connected(4, Ok(()));
    assert_eq!(scene.ordered(), ["connect 4", "open within 15s, until 15s"]);
    // So near, and lost: the story is whole.
    scene.failed(HandshakeError::TimedOut { phase: Phase::Open, limit: seconds(15) });
    assert_eq!(
        scene.error().to_string(),
        "no connection: \
         cannot resolve host \"nowhere\": entity not found; \
         cannot connect to \"down\" at 10.0.0.1:5672: connection refused; \
         \"other\" at 10.0.0.2:5672: the server does not speak AMQP: its first bytes are \"HTTP\"; \
         \"strict\" at 10.0.0.3:5672: authentication failed: (403) no; \
         \"good\" at 10.0.0.4:5672: no answer within 15s while opening the virtual host"
    );
}

#[test]
fn a_lookup_that_hangs_is_that_hosts_failure() {
    let mut scene = Scene::new(workflow(&["hangs", "good"]));
    scene.wait(seconds(15));
    assert_eq!(scene.ordered(), ["resolve hangs", "cancel lookup", "resolve good"]);
    scene.resolved(&[1]).connected(1, Err(refused()));
    let cause = io::Error::from(io::ErrorKind::TimedOut).into();
    let hung = ConnectError::Resolve { host: "hangs".into(), cause }.into();
    let down = socket("good", 1, io::ErrorKind::ConnectionRefused);
    assert_eq!(causes(scene.failures()), [hung, down]);
}

#[test]
fn cycles_are_repeated_with_growing_pauses_and_counted() {
    let mut all = workflow(&["a", "b"]);
    all.set_connection_attempts(4).unwrap().set_retry_delay(seconds(2));
    all.set_max_retry_delay(seconds(6));
    let mut scene = Scene::new(all);
    for longest in [2, 4, 6, 0].map(seconds) {
        assert_eq!(scene.ordered(), ["resolve a"]);
        scene.not_resolved().resolved(&[1]).connected(1, Err(refused()));
        let paused_at = scene.now;
        assert_eq!(scene.ordered()[..2], ["resolve b", "connect 1"]);
        if let Some(next) = scene.plan.deadline() {
            let pause = next - paused_at;
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?} of {longest:?}");
            scene.wait(pause);
        }
    }
    let failures = scene.failures();
    assert_eq!(failures.iter().map(|failure| failure.times).collect::<Vec<_>>(), [4, 4]);
    assert!(failures[1].to_string().ends_with("connection refused (4 times)"), "{}", failures[1]);
}

#[test]
fn refused_credentials_are_not_tried_again() {
    let cycle = |scene: &mut Scene, others: bool| {
        scene.resolved(&[1]).connected(1, Ok(())).failed(bad_credentials());
        match others {
            true => scene.not_resolved(),
            false => scene.resolved(&[2]).connected(2, Ok(())).failed(bad_credentials()),
        };
    };
    let mut all = workflow(&["a", "b"]);
    all.set_connection_attempts(3).unwrap();
    let mut scene = Scene::new(all.clone());
    cycle(&mut scene, false);
    assert_eq!(causes(scene.failures()), [bad_credentials(), bad_credentials()]);
    // But if something else went wrong beside, it may go well another time.
    let mut scene = Scene::new(all);
    cycle(&mut scene, true);
    assert_eq!(scene.ended, None);
    scene.wait(seconds(2));
    assert_eq!(scene.ordered().last().unwrap(), "resolve a");
    // What failed in an earlier cycle does not count for this one.
    cycle(&mut scene, false);
    assert_eq!(causes(scene.failures()).len(), 3);
}

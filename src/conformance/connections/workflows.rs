//! Several hosts, several times. What pika starts by `create_connection` is here what each
//! constructor takes, and its `abort` is `close`.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    ConnectError, ConnectFailure, Connection, ConnectionParameters, ConnectionWorkflow, Error,
    HandshakeError, Phase,
};

use crate::conformance::stage::{Stage, assert_closed, close};
use crate::conformance::tools::forward::{End, Forward, Toward, Verdict, is_method};
use crate::conformance::tools::peers;

/// So short that no scenario waits for it, so long that one that does not come is seen.
const PAUSE: Duration = Duration::from_millis(20);

fn dead() -> ConnectionParameters {
    peers::parameters_of(peers::dead_end())
}

pub(in crate::conformance) fn of_one_host(stage: &Stage) {
    let workflow = ConnectionWorkflow::from(vec![stage.broker()]);
    assert_closed(stage.session(workflow, close));
}

/// pika's gives a workflow object of its own; here one has settings of its own.
pub(in crate::conformance) fn with_settings_of_its_own(stage: &Stage) {
    let mut workflow = ConnectionWorkflow::from(vec![dead(), stage.broker()]);
    workflow
        .set_connection_attempts(2)
        .and_then(|workflow| workflow.set_connection_attempt_delay(Duration::from_millis(50)))
        .and_then(|workflow| workflow.set_timeout(Some(Duration::from_secs(20))))
        .expect("in range")
        .set_retry_delay(PAUSE)
        .set_max_retry_delay(PAUSE);
    assert_closed(stage.session(workflow, close));
}

pub(in crate::conformance) fn a_dead_host_leads_to_the_next(stage: &Stage) {
    assert_closed(stage.session(vec![dead(), stage.broker()], close));
}

/// The first host refuses in the first cycle only, the second one never gets through its handshake.
/// The next cycle begins with the first again: the second is tried once.
pub(in crate::conformance) fn a_cycle_that_failed_is_followed_by_another(stage: &Stage) {
    let first = Arc::new(Forward::refusing(&stage.broker()));
    let second = Forward::to(&stage.broker());
    let revived = Arc::clone(&first);
    second.inspect(move |toward, frame| {
        if toward == Toward::Broker || !is_method(frame, "connection.start") {
            return Verdict::Pass;
        }
        revived.accept();
        Verdict::End(End::Cut, 0)
    });
    let mut last = second.parameters(stage.broker());
    last.set_connection_attempts(3).expect("not 0").set_retry_delay(PAUSE);
    let workflow = vec![first.parameters(stage.broker()), last];
    assert_closed(stage.session(workflow, close));
    assert_eq!((first.accepted(), second.accepted()), (1, 1));
}

fn failures(error: Error) -> Vec<ConnectFailure> {
    let Error::Connect(ConnectError::Failed { failures }) = error else { panic!("{error:?}") };
    failures
}

fn assert_refused(failure: &ConnectFailure, host: &ConnectionParameters) {
    let Error::Connect(ConnectError::Socket { address, cause, .. }) = &failure.cause else {
        panic!("{failure:?}");
    };
    assert_eq!((address.port(), cause.kind()), (host.port(), ErrorKind::ConnectionRefused));
    assert_eq!((failure.host.as_str(), failure.port), (host.host(), host.port()));
}

pub(in crate::conformance) fn hosts_that_refuse_are_each_told(stage: &Stage) {
    let hosts = [dead(), dead()];
    let mut workflow = ConnectionWorkflow::from(hosts.to_vec());
    workflow.set_connection_attempts(2).expect("not 0").set_retry_delay(PAUSE);
    let failures = failures(stage.failure(workflow, |_| ()));
    assert_eq!(failures.len(), 2, "{failures:?}");
    for (failure, host) in failures.iter().zip(&hosts) {
        assert_refused(failure, host);
        assert_eq!(failure.times, 2);
    }
}

pub(in crate::conformance) fn a_handshake_that_times_out_is_told(stage: &Stage) {
    let forward = Forward::to(&stage.broker());
    forward.stall(Toward::Client);
    let (mut silent, dead) = (forward.parameters(stage.broker()), dead());
    let limit = Duration::from_millis(500);
    silent.set_stack_timeout(Some(limit)).expect("not zero");
    let failures = failures(stage.failure(vec![silent, dead.clone()], |_| ()));
    let [first, second] = &failures[..] else { panic!("{failures:?}") };
    let timed_out = HandshakeError::TimedOut { phase: Phase::Protocol, limit };
    assert_eq!((&first.cause, first.address), (&timed_out.into(), Some(forward.address())));
    assert_refused(second, &dead);
}

pub(in crate::conformance) fn close_at_once_aborts_a_workflow(stage: &Stage) {
    let failure = stage.failure(vec![dead(), stage.broker()], close);
    assert_eq!(failure, ConnectError::Aborted.into());
}

/// While it connects, and in the pause between two cycles.
pub(in crate::conformance) fn close_from_the_loop_aborts_a_workflow(stage: &Stage) {
    let hour = Duration::from_secs(3600);
    let connecting = ConnectionWorkflow::from(peers::parameters_of(peers::silent()));
    let mut pausing = ConnectionWorkflow::from(dead());
    pausing.set_connection_attempts(2).expect("not 0");
    pausing.set_retry_delay(hour).set_max_retry_delay(hour);
    for workflow in [connecting, pausing] {
        let failure = stage.failure(workflow, |connection: &Connection| {
            let connection = connection.clone();
            stage.services().call_later(2 * PAUSE, move || close(&connection));
        });
        assert_eq!(failure, ConnectError::Aborted.into());
    }
}

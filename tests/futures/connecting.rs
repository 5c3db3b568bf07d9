//! Connections as futures: they open, or do not, and end.

use std::time::Duration;

use haypile::{ConnectError, ConnectionCallbacks, Error, Misuse, Party};

use crate::support::hosts::ConformanceHost;
use crate::support::peers::{dead_end, parameters_of};
use crate::support::{Host, Log, broker, every_host, logs};
use crate::task::{block_on, connect, poll};

every_host!(
    a_connection_opens_and_closes,
    what_keeps_a_connection_from_opening_is_told,
    an_open_error_that_nobody_waits_for_is_not_silent,
    closures_are_told_beside_futures,
    closures_for_the_opening_come_too_late_once_it_is_open,
    the_secret_is_updated,
);

fn a_connection_opens_and_closes<H: Host>() {
    logs::keep();
    let host = H::new();
    let handle = host.connect(broker(), ConnectionCallbacks::new());
    let mut early = handle.opened();
    assert!(poll(&mut early).is_pending());
    let connection = block_on(&host, early).expect("it opens");
    assert!(connection.is_open());
    // At once, now.
    let again = block_on(&host, handle.opened()).expect("it is open");
    let (mut closed, mut also_closed) = (connection.closed(), again.closed());
    assert!(poll(&mut closed).is_pending() && poll(&mut also_closed).is_pending());
    assert_eq!(block_on(&host, connection.close(200, "bye")), Ok(()));
    let reason = block_on(&host, closed);
    assert!(matches!(&reason, Error::ConnectionClosed(it) if it.by == Party::Client), "{reason}");
    assert_eq!(block_on(&host, also_closed), reason);
    assert_eq!(block_on(&host, connection.closed()), reason, "later, too");
    let refused = Error::from(Misuse::ConnectionNotOpen);
    assert_eq!(block_on(&host, connection.close(200, "again")), Err(refused.clone()));
    assert_eq!(block_on(&host, connection.open_channel()).unwrap_err(), refused);
    assert_eq!(block_on(&host, handle.opened()).unwrap_err(), refused);
    assert!(!logs::take().iter().any(|line| line.starts_with("ERROR")));
}

fn what_keeps_a_connection_from_opening_is_told<H: Host>() {
    logs::keep();
    let host = H::new();
    let connection = host.connect(parameters_of(dead_end()), ConnectionCallbacks::new());
    let (mut first, second) = (connection.opened(), connection.opened());
    assert!(poll(&mut first).is_pending());
    let error = block_on(&host, second).unwrap_err();
    assert!(matches!(error, Error::Connect(ConnectError::Socket { .. })), "{error:?}");
    assert_eq!(block_on(&host, first).unwrap_err(), error);
    assert!(!logs::take().iter().any(|line| line.starts_with("ERROR")), "somebody was told");
}

fn an_open_error_that_nobody_waits_for_is_not_silent<H: Host>() {
    logs::keep();
    let host = H::new();
    let connection = host.connect(parameters_of(dead_end()), ConnectionCallbacks::new());
    drop(connection.opened());
    let (services, stop) = (host.services(), host.stopper());
    let services_too = services.clone();
    let look = services.call_every(Duration::from_millis(1), move || {
        if connection.is_closed() {
            let stop = stop.clone();
            services_too.add_callback(move || stop());
        }
    });
    let ran = ConformanceHost::run_until_stopped(&host);
    services.remove_timeout(look);
    let logged = logs::take().iter().any(|line| line.starts_with("ERROR"));
    assert_eq!(ran.is_err(), !logged, "told once: {ran:?}");
}

fn closures_are_told_beside_futures<H: Host>() {
    let log = Log::default();
    let (opened, closed, added) = (log.clone(), log.clone(), log.clone());
    let host = H::new();
    let callbacks = ConnectionCallbacks::new()
        .on_open(move |_| opened.add("open"))
        .on_close(move |_, _| closed.add("closed"))
        .on_open_error(|_, error| unreachable!("{error}"));
    let connection = host.connect(broker(), callbacks);
    connection.add_on_open_callback(move |_| added.add("open, too")).expect("it opens");
    connection.add_on_open_error_callback(|_, _| unreachable!("it opens")).expect("it opens");
    let connection = block_on(&host, connection.opened()).expect("it opens");
    assert_eq!(log.lines(), ["open", "open, too"]);
    assert_eq!(block_on(&host, connection.close(200, "bye")), Ok(()));
    assert_eq!(log.lines(), ["open", "open, too", "closed"]);
}

fn closures_for_the_opening_come_too_late_once_it_is_open<H: Host>() {
    let host = H::new();
    let connection = connect(&host, broker());
    let too_late = |because: Misuse| {
        let added = connection.add_on_open_callback(|_| unreachable!());
        assert_eq!(added, Err(because.clone().into()));
        let added = connection.add_on_open_error_callback(|_, _| unreachable!());
        assert_eq!(added, Err(because.into()));
    };
    too_late(Misuse::AlreadyOpen);
    let closed = connection.close(200, "bye");
    too_late(Misuse::AlreadyOpen);
    assert_eq!(block_on(&host, closed), Ok(()));
    too_late(Misuse::ConnectionNotOpen);

    // One that fails is told to those that were added.
    let log = Log::default();
    let told = log.clone();
    let connection = host.connect(parameters_of(dead_end()), ConnectionCallbacks::new());
    connection
        .add_on_open_error_callback(move |_, _| told.add("failed"))
        .expect("it has not failed yet");
    let failed = block_on(&host, connection.opened());
    assert!(failed.is_err());
    assert_eq!(log.lines(), ["failed"]);
}

fn the_secret_is_updated<H: Host>() {
    let host = H::new();
    let connection = connect(&host, broker());
    assert_eq!(block_on(&host, connection.update_secret("guest", "it expires")), Ok(()));
}

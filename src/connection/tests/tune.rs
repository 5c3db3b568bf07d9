//! Tune: whatever the broker says, the limits are sound or the connection is refused. Hazard 2.

use super::broker;
use super::pair::{Happened, Pair};
use crate::connection::ConnectionParameters;
use crate::error::HandshakeError;
use crate::protocol::{Frame, Method, connection};

fn tuned(channel_max: u16, frame_max: u32, heartbeat: u16) -> Pair {
    let mut pair = Pair::connected();
    pair.feed(&broker::start());
    pair.sent();
    pair.feed(&broker::method(0, &connection::Tune { channel_max, frame_max, heartbeat }));
    pair
}

#[test]
fn every_sound_tune_is_answered_with_limits_that_hold_hazard_2() {
    let asked = (u16::MAX, 131_072);
    for (broker_channels, channel_max) in [(0, asked.0), (1, 1), (2047, 2047), (65_535, 65_535)] {
        for (broker_frames, frame_max) in [
            (0, asked.1),
            (4096, 4096),
            (8191, 8191),
            (8192, 8192),
            (131_072, 131_072),
            (u32::MAX, asked.1),
        ] {
            for heartbeat in [0, 1, 65_535] {
                let mut pair = tuned(broker_channels, broker_frames, heartbeat);
                let sent = pair.sent();
                let (frame, _) = Frame::parse(&sent, 0).unwrap().unwrap();
                let tune_ok = connection::TuneOk { channel_max, frame_max, heartbeat };
                let tune_ok = Method::Connection(connection::Method::TuneOk(tune_ok));
                assert_eq!(Method::decode(frame.payload), Ok(tune_ok));
                assert_eq!(broker::names(&sent), ["0 connection.tune-ok", "0 connection.open"]);
                pair.feed(&broker::open_ok());
                assert_eq!(pair.happened(), [Happened::Opened]);
                let limits = pair.machine.limits();
                assert_eq!((limits.channel_max, limits.frame_max), (channel_max, frame_max));
            }
        }
    }
}

#[test]
fn a_frame_max_below_what_amqp_promises_is_refused_hazard_2() {
    for broker in [1, 7, 8, 4095] {
        let mut pair = tuned(0, broker, 0);
        let error = HandshakeError::Tuning { broker, minimum: 4096 }.into();
        assert_eq!(pair.happened(), [Happened::Closed { error, was_open: false }]);
        assert!(pair.sent().is_empty(), "such limits are not agreed to");
    }
}

#[test]
fn the_agreed_frame_max_holds_inbound_from_tune_ok_on_hazard_3() {
    // A frame of 4096 octets in all is the longest before Tune; then it is what was agreed on.
    for (agreed, longest) in [(4096, 4096), (8191, 8191), (0, 131_072)] {
        for (size, too_large) in [(longest, false), (longest + 1, true)] {
            let mut pair = tuned(0, agreed, 0);
            let mut open_ok = vec![0, 10, 0, 41, 0];
            open_ok.resize(size - 8, 0); // octets behind the arguments are let pass
            pair.feed(&broker::raw(1, 0, &open_ok));
            let opened = pair.happened() == [Happened::Opened];
            assert_eq!(opened, !too_large, "frame_max {agreed}, a frame of {size}");
            let codes: Vec<u16> =
                broker::closes(&pair.sent()).iter().map(|close| close.0).collect();
            assert_eq!(codes, if too_large { &[501][..] } else { &[] });
        }
    }
}

#[test]
fn before_tune_a_frame_has_at_most_4096_octets_hazard_3() {
    for (size, too_large) in [(4096, false), (4097, true)] {
        let mut pair = Pair::connected();
        let mut start = broker::start()[7..].to_vec();
        start.pop();
        start.resize(size - 8, 0);
        pair.feed(&broker::raw(1, 0, &start));
        let answered = pair.sent_names().contains(&"0 connection.start-ok".to_owned());
        assert_eq!(answered, !too_large, "a frame of {size}");
        assert_eq!(pair.machine.is_closed(), too_large);
    }
}

/// It closes a connection that agrees to less, before it authenticates.
#[test]
fn no_less_can_be_asked_for_than_rabbitmq_4_1_takes_hazard_7() {
    let mut parameters = ConnectionParameters::default();
    assert!(parameters.set_frame_max(8191).is_err());
    assert!("amqp://localhost?frame_max=8191".parse::<ConnectionParameters>().is_err());
    for frame_max in [8192, 131_072] {
        parameters.set_frame_max(frame_max).unwrap();
        let pair = Pair::open_with(parameters.clone());
        assert_eq!(pair.machine.limits().frame_max, frame_max);
    }
}

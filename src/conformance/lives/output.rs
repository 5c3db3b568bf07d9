//! What is sent leaves by itself, and what waits to be sent is bounded.

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use crate::conformance::stage::{Stage, assert_closed, close, open_channel};
use crate::conformance::tools::peers::{Peer, Wire};
use crate::conformance::tools::{publish, readable_pair};
use crate::{
    BasicProperties, Channel, Connection, Error, FdKey, PublishError, Ready, Services, basic,
};

/// A peer that closes the connection when a message has come. Nothing else is going on by then: what
/// the loop does not send before it waits is never sent.
fn waits_for_a_message() -> Peer {
    Peer::new(|wire: &mut Wire| {
        wire.open();
        let channel = wire.expect("channel.open").channel;
        wire.method(channel, &crate::protocol::channel::OpenOk {});
        wire.expect("basic.publish");
        let close = crate::protocol::connection::Close {
            reply_code: 320,
            reply_text: "it has come".into(),
            ..Default::default()
        };
        wire.method(0, &close);
        wire.expect("connection.close-ok");
        wire.read_to_end();
    })
}

/// Publishes by `from`, which calls what it is given from somewhere.
fn leaves(stage: &Stage, from: impl FnOnce(Services, Box<dyn FnOnce()>) + 'static) {
    let (peer, services) = (waits_for_a_message(), stage.services());
    let ended = stage.session(peer.parameters(), move |connection| {
        open_channel(connection, move |channel| {
            let channel = channel.clone();
            // Once the loop has sent all else, and waits.
            services.clone().call_later(Duration::from_millis(5), move || {
                from(services, Box::new(move || publish(&channel, "nowhere", "a message")));
            });
        });
    });
    let Error::ConnectionClosed(closed) = ended else { panic!("{ended:?}") };
    assert_eq!(closed.reply_text, "it has come");
    peer.join();
}

pub(in crate::conformance) fn it_leaves_from_a_timer(stage: &Stage) {
    leaves(stage, |_, publish| publish());
}

pub(in crate::conformance) fn it_leaves_from_a_callback(stage: &Stage) {
    leaves(stage, |services, publish| services.add_callback(publish));
}

/// That of the user's own descriptor, of which the connection knows nothing.
pub(in crate::conformance) fn it_leaves_from_a_handler(stage: &Stage) {
    let (there, here) = readable_pair();
    let publish = Rc::new(Cell::new(None::<Box<dyn FnOnce()>>));
    let (later, services) = (Rc::clone(&publish), stage.services());
    let own = Rc::new(Cell::new(None::<FdKey>));
    let key = Rc::clone(&own);
    own.set(Some(stage.watch(here, Ready::NONE, move |_| {
        let _open: &UnixStream = &there;
        services.modify_fd(key.get().expect("it is set"), Ready::NONE).expect("it is watched");
        publish.take().expect("called once")();
        Ready::NONE
    })));
    leaves(stage, move |services, publish| {
        later.set(Some(publish));
        let key = own.get().expect("it is set");
        services.modify_fd(key, Ready::READ).expect("it is watched");
    });
}

/// From nowhere that the loop knows of: before it is run again.
pub(in crate::conformance) fn it_leaves_from_outside(stage: &Stage) {
    let peer = waits_for_a_message();
    let opened = Rc::new(Cell::new(None::<Channel>));
    let (keep, [open, closed]) = (Rc::clone(&opened), [stage.stopper(), stage.stopper()]);
    let callbacks = crate::ConnectionCallbacks::new()
        .on_open(|connection| {
            open_channel(connection, move |channel| {
                keep.set(Some(channel.clone()));
                open();
            });
        })
        .on_close(move |_, _| closed());
    drop(stage.connect(peer.parameters(), callbacks));
    stage.run();
    stage.settle();
    publish(&opened.take().expect("it is open"), "nowhere", "a message");
    stage.run();
    peer.join();
}

/// A peer that reads no more: what waits to be sent is bounded, and when the peer reads on, room is
/// told of and all of it arrives.
pub(in crate::conformance) fn what_waits_is_bounded_and_room_is_told(stage: &Stage) {
    const HIGH: usize = 256 * 1024;
    let (read_on, may_read) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let peer = Peer::new(move |wire| {
        wire.open();
        let channel = wire.expect("channel.open").channel;
        wire.method(channel, &crate::protocol::channel::OpenOk {});
        may_read.recv().expect("the scenario goes on");
        let mut messages = 0;
        while let Some(frame) = wire.frame() {
            if frame.kind == crate::protocol::FrameKind::Method
                && frame.method().name() == "basic.publish"
            {
                messages += 1;
            }
            if wire.answer(&frame) {
                break;
            }
        }
        tell.send(messages).expect("the scenario goes on");
    });
    let mut parameters = peer.parameters();
    parameters.set_water_marks(HIGH / 2, HIGH).expect("low is below high");
    let sent = Rc::new(Cell::new(0));
    let count = Rc::clone(&sent);
    let ended = stage.session(parameters, move |connection| {
        let on_writable = move |connection: &Connection| {
            assert!(connection.counters().buffered_out <= HIGH / 2);
            close(connection);
        };
        connection.add_on_writable_callback(on_writable).expect("it is open");
        open_channel(connection, move |channel| publish_all(channel, &count, read_on));
    });
    assert_closed(ended);
    assert_eq!(told.recv().expect("the peer counts"), sent.get());
    peer.join();
}

/// Until there is no room; then the peer may read on.
fn publish_all(channel: &Channel, sent: &Cell<u32>, read_on: mpsc::Sender<()>) {
    let body = [0; 16 * 1024];
    loop {
        let to = basic::Publish::default();
        match channel.basic_publish(to, &BasicProperties::default(), &body[..]) {
            Ok(_) => sent.set(sent.get() + 1),
            Err(error) => {
                assert_eq!(error, PublishError::Full);
                break;
            }
        }
    }
    read_on.send(()).expect("the peer waits");
}

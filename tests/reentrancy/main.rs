//! Everything may be called from every callback: each kind of callback, times each thing to do in
//! it, against RabbitMQ.

mod callbacks;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use haypile::{Error, Party};
use scene::{Scene, Shared};
use support::peers::{dead_end, parameters_of};
use support::{Host, broker, every_host};

every_host!(
    the_channel_is_closed_in,
    the_connection_is_closed_in,
    all_handles_are_dropped_in,
    more_is_asked_in,
    the_channel_is_closed_behind_requests_in,
    all_of_it_is_done_in,
);

const KINDS: [&str; 39] = [
    // Of the connection.
    "on_open",
    "on_open_error",
    "on_close",
    "connection on_writable",
    "update_secret",
    // Of a channel.
    "channel on_open",
    "on_message",
    "on_return",
    "on_cancel",
    "on_confirm",
    "on_confirm of a loss",
    "on_writable",
    "channel closed by us",
    "channel closed by the broker",
    // Completions, of each request.
    "queue_declare",
    "queue_bind",
    "queue_unbind",
    "queue_purge",
    "queue_delete",
    "exchange_declare",
    "exchange_bind",
    "exchange_unbind",
    "exchange_delete",
    "basic_qos",
    "basic_recover",
    "basic_consume",
    "basic_cancel",
    "basic_get of nothing",
    "basic_get of a message",
    "flow",
    "tx_select",
    "tx_commit",
    "tx_rollback",
    "confirm_delivery",
    "when_confirmed",
    "a refused request",
    // Of the loop.
    "a timer",
    "a post",
    "a remote post",
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    CloseChannel,
    CloseConnection,
    DropHandles,
    AskMore,
}

use Action::{AskMore, CloseChannel, CloseConnection, DropHandles};

fn the_channel_is_closed_in<H: Host>() {
    each_kind::<H>(&[CloseChannel]);
}

fn the_connection_is_closed_in<H: Host>() {
    each_kind::<H>(&[CloseConnection]);
}

fn all_handles_are_dropped_in<H: Host>() {
    each_kind::<H>(&[DropHandles]);
}

fn more_is_asked_in<H: Host>() {
    each_kind::<H>(&[AskMore]);
}

fn the_channel_is_closed_behind_requests_in<H: Host>() {
    each_kind::<H>(&[AskMore, CloseChannel]);
}

fn all_of_it_is_done_in<H: Host>() {
    each_kind::<H>(&[AskMore, CloseChannel, AskMore, CloseConnection, AskMore, DropHandles]);
}

fn each_kind<H: Host>(actions: &'static [Action]) {
    for kind in KINDS {
        println!("{actions:?} in {kind}");
        let host = H::new();
        let scene = Scene(Rc::new(Shared {
            kind,
            actions,
            stop: host.stopper(),
            asked: Cell::default(),
            completed: Cell::default(),
            acted: Cell::default(),
            silenced: Cell::default(),
            messages: Cell::default(),
            connections: RefCell::default(),
            hosts: RefCell::default(),
            channels: RefCell::default(),
            ended: RefCell::default(),
        }));
        let refused = kind == "on_open_error";
        let parameters = if refused { parameters_of(dead_end()) } else { broker() };
        let connection = host.connect(parameters, scene.callbacks());
        scene.0.hosts.borrow_mut().push(connection);
        host.run();

        let Shared { asked, completed, acted, ended, .. } = &*scene.0;
        let [ended] = &ended.borrow()[..] else { panic!("ended not once: {ended:?}") };
        match ended {
            Error::Connect(_) if refused => {}
            Error::ConnectionClosed(closed) if closed.by == Party::Client => {}
            other => panic!("{other}"),
        }
        assert_eq!(acted.get(), 1, "the callback was not called");
        assert_eq!(completed.get(), asked.get(), "not every request was completed");
        // Once more, to see that nobody comes late.
        let (stop, asked) = (host.stopper(), asked.get());
        host.services().add_callback(move || stop());
        host.run();
        assert_eq!((scene.0.completed.get(), scene.0.asked.get()), (asked, asked));
        assert_eq!(Rc::strong_count(&scene.0), 1, "a closure is kept");
    }
}

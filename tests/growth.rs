//! What comes and goes leaves no memory behind.

mod support;

use std::cell::Cell;
use std::rc::Rc;

use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, Delivery, Error, Result, basic, queue,
};
use support::allocations::{Allocations, Counting};
use support::peers::Peer;
use support::{Host, every_host};

every_host!(
    channels_leave_nothing,
    requests_and_consumers_leave_nothing,
    connections_leave_nothing
);

#[global_allocator]
static COUNTING: Counting = Counting;

/// How much more is held after so many rounds than after the first hundredth of them.
#[derive(Default)]
struct Growth {
    rounds: Cell<usize>,
    warm: Cell<isize>,
}

impl Growth {
    /// Counts a round; false after the last.
    fn goes_on(&self, rounds: usize) -> bool {
        let done = self.rounds.get() + 1;
        self.rounds.set(done);
        if done == rounds / 100 {
            self.warm.set(Allocations::now().live);
        }
        done < rounds
    }

    #[track_caller]
    fn assert_none(&self) {
        let grown = Allocations::now().live - self.warm.get();
        // A queue may have doubled, but nothing is left of each round.
        assert!(grown < 4096, "{grown} bytes in {} rounds", self.rounds.get());
    }
}

/// Runs rounds on one connection, each from the one before; `next` starts the first.
fn on_connection<H: Host>(next: impl FnOnce(&Channel) + 'static) {
    let host = H::new();
    let peer = Peer::new(|wire| {
        wire.open();
        assert!(wire.obey());
    });
    let ended = support::on_channel(&host, peer.parameters(), next).to_string();
    assert_eq!(ended, "connection closed by this client: (200) the test is done");
    peer.join();
}

fn channels_leave_nothing<H: Host>() {
    fn next(channel: &Channel, growth: Rc<Growth>) {
        let closed = move |channel: &Channel, _: Error| {
            let connection = channel.connection();
            if !growth.goes_on(10_000) {
                growth.assert_none();
                return support::close(&connection);
            }
            let opened = move |channel: &Channel, opened: Result<()>| {
                opened.unwrap();
                assert_eq!(channel.channel_number(), 1);
                next(channel, growth);
            };
            connection.channel(None, opened).unwrap();
        };
        channel.add_on_close_callback(closed).unwrap();
        channel.add_on_return_callback(|_, _| ()).unwrap();
        let consume = basic::Consume { consumer_tag: "mine".into(), ..Default::default() };
        channel.basic_consume(consume, |_, _| (), |_, _| ()).unwrap();
        channel.close(200, "next").unwrap();
    }
    on_connection::<H>(|channel| next(channel, Rc::default()));
}

fn requests_and_consumers_leave_nothing<H: Host>() {
    fn next(channel: &Channel, growth: Rc<Growth>) {
        let on_message = |_: &Channel, _: &Delivery<'_>| ();
        let consume = basic::Consume { consumer_tag: "mine".into(), ..Default::default() };
        channel.basic_consume(consume, on_message, |_, _| ()).unwrap();
        let tag = channel.basic_consume(basic::Consume::default(), on_message, |_, _| ()).unwrap();
        let to = basic::Publish::default();
        channel.basic_publish(to, &BasicProperties::default(), vec![0; 10_000]).unwrap();
        channel.queue_declare(queue::Declare::default(), |_, _| ()).unwrap();
        channel.basic_get(basic::Get::default(), |_, _| ()).unwrap();
        let cancel = basic::Cancel { consumer_tag: "mine".into() };
        channel.basic_cancel(cancel, |_, _| ()).unwrap();
        let cancelled = move |channel: &Channel, cancelled: Result<basic::CancelOk<'static>>| {
            cancelled.unwrap();
            if growth.goes_on(1_000) {
                return next(channel, growth);
            }
            growth.assert_none();
            support::close(&channel.connection());
        };
        channel.basic_cancel(basic::Cancel { consumer_tag: tag }, cancelled).unwrap();
    }
    on_connection::<H>(|channel| next(channel, Rc::default()));
}

fn connections_leave_nothing<H: Host>() {
    let host = H::new();
    let growth = Growth::default();
    let peer = Peer::several(1_000, |wire| {
        wire.open();
        assert!(wire.obey());
    });
    loop {
        let stop = host.stopper();
        let callbacks =
            ConnectionCallbacks::new().on_open(support::close).on_close(move |_, _| stop());
        host.connect(peer.parameters(), callbacks);
        host.run();
        if !growth.goes_on(1_000) {
            break;
        }
    }
    peer.join();
    // What is freed elsewhere is not counted here.
    if !H::FREES_ELSEWHERE {
        growth.assert_none();
    }
}

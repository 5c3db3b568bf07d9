//! Everything may be called from every callback: each kind of callback, times each thing to do in
//! it, against RabbitMQ.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use haypile::{
    BaseConnection, BasicProperties, Channel, Confirm, ConfirmSummary, Connection,
    ConnectionCallbacks, Delivery, Error, Misuse, Party, PublishError, Result, basic, exchange,
    queue, tx,
};
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

const KINDS: [&str; 37] = [
    // Of the connection.
    "on_open",
    "on_open_error",
    "on_close",
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
enum Action {
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

/// What the callbacks of one session share.
#[derive(Clone)]
struct Scene(Rc<Shared>);

struct Shared {
    kind: &'static str,
    actions: &'static [Action],
    stop: Rc<dyn Fn()>,
    /// Requests that were taken, and those that were completed.
    asked: Cell<usize>,
    completed: Cell<usize>,
    /// How often the actions were done.
    acted: Cell<usize>,
    /// Messages after which none may come any more.
    silenced: Cell<bool>,
    messages: Cell<usize>,
    /// Every handle that the scene keeps.
    connections: RefCell<Vec<Connection>>,
    hosts: RefCell<Vec<Box<dyn BaseConnection>>>,
    channels: RefCell<Vec<Channel>>,
    ended: RefCell<Vec<Error>>,
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

/// Asks for something on a channel, which is taken if it is open, and notes that it was completed.
macro_rules! ask {
    ($scene:expr, $channel:expr, $name:ident($method:expr), $then:expr) => {{
        let scene = $scene.clone();
        let was_open = $channel.is_open();
        let asked = $channel.$name($method, move |channel, _| {
            scene.complete();
            $then(&scene, channel);
        });
        $scene.asked(asked, was_open, Misuse::ChannelNotOpen);
    }};
}

fn nothing(_: &Scene, _: &Channel) {}

fn act(scene: &Scene, channel: &Channel) {
    scene.act(&channel.connection(), Some(channel));
}

impl Scene {
    /// Notes a request that was taken, as it is if the channel or connection was open.
    fn asked<T>(&self, result: Result<T>, was_open: bool, otherwise: Misuse) {
        match result {
            Ok(_) => {
                assert!(was_open);
                self.0.asked.set(self.0.asked.get() + 1);
            }
            Err(error) => {
                assert_eq!((error, was_open), (otherwise.into(), false));
            }
        }
    }

    fn complete(&self) {
        self.0.completed.set(self.0.completed.get() + 1);
    }

    fn is(&self, kind: &str) -> bool {
        self.0.kind == kind
    }

    fn callbacks(&self) -> ConnectionCallbacks {
        let (opened, refused, closed) = (self.clone(), self.clone(), self.clone());
        ConnectionCallbacks::new()
            .on_open(move |connection| {
                opened.0.connections.borrow_mut().push(connection.clone());
                if opened.is("on_open") {
                    return opened.act(connection, None);
                }
                opened.open_channel(connection, |scene, channel| {
                    scene.0.channels.borrow_mut().push(channel.clone());
                    match scene.is("channel on_open") {
                        true => act(scene, channel),
                        false => scene.prepare(channel),
                    }
                });
            })
            .on_open_error(move |connection, error| refused.end(connection, error))
            .on_close(move |connection, error| closed.end(connection, error))
    }

    fn end(&self, connection: &Connection, error: Error) {
        assert!(connection.is_closed());
        assert_eq!(self.0.completed.get(), self.0.asked.get(), "the end is told last");
        self.0.ended.borrow_mut().push(error);
        if self.is("on_close") || self.is("on_open_error") {
            let channel = self.0.channels.borrow().last().cloned();
            self.act(connection, channel.as_ref());
        }
        (self.0.stop)();
    }

    fn open_channel(&self, connection: &Connection, then: impl FnOnce(&Scene, &Channel) + 'static) {
        let (scene, was_open) = (self.clone(), connection.is_open());
        let asked = connection.channel(None, move |channel, _| {
            scene.complete();
            then(&scene, channel);
        });
        self.asked(asked, was_open, Misuse::ConnectionNotOpen);
    }

    /// Has messages on their way, then goes for the callback.
    fn prepare(&self, channel: &Channel) {
        let scene = self.clone();
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        let declared = move |channel: &Channel, ok: Result<queue::DeclareOk<'static>>| {
            scene.complete();
            let queue = ok.expect("declared").queue.to_string();
            scene.consume(channel, &queue);
            for _ in 0..5 {
                publish(channel, "", &queue);
            }
            scene.go_for_it(channel, &queue);
        };
        self.asked(channel.queue_declare(declare, declared), true, Misuse::ChannelNotOpen);
    }

    fn consume(&self, channel: &Channel, queue: &str) {
        let (scene, consuming) = (self.clone(), self.clone());
        let consume = basic::Consume { queue: queue.into(), no_ack: true, ..Default::default() };
        let on_message = move |channel: &Channel, _: &Delivery<'_>| {
            assert!(!scene.0.silenced.get(), "a message after close");
            scene.0.messages.set(scene.0.messages.get() + 1);
            if scene.is("on_message") && scene.0.messages.get() == 1 {
                act(&scene, channel);
            }
        };
        let (was_open, ok) = (channel.is_open(), move |_: &Channel, _| consuming.complete());
        let asked = channel.basic_consume(consume, on_message, ok);
        self.asked(asked, was_open, Misuse::ChannelNotOpen);
    }

    /// Has the callback called that it is about.
    fn go_for_it(&self, channel: &Channel, queue: &str) {
        let unknown = format!("haypile-unknown-{}", std::process::id());
        let (unknown, fanout, direct) = (unknown.as_str(), "amq.fanout", "amq.direct");
        let services = channel.connection().services().expect("the loop runs");
        let scene = self.clone();
        let later = move || {
            let channel = scene.0.channels.borrow().last().cloned();
            act(&scene, &channel.expect("it is kept"));
        };
        let scene = self.clone();
        let on_close = move |channel: &Channel, _: Error| act(&scene, channel);
        match self.0.kind {
            "on_message" => {}
            "on_close" => support::close(&channel.connection()),
            "on_return" => {
                let scene = self.clone();
                channel.add_on_return_callback(move |channel, _| act(&scene, channel)).unwrap();
                let routing_key = unknown.into();
                let to = basic::Publish { routing_key, mandatory: true, ..Default::default() };
                channel.basic_publish(to, &BasicProperties::default(), "x").unwrap();
            }
            "on_cancel" => {
                let scene = self.clone();
                channel.add_on_cancel_callback(move |channel, _| act(&scene, channel)).unwrap();
                let delete = queue::Delete { queue: queue.into(), ..Default::default() };
                ask!(self, channel, queue_delete(delete), nothing);
            }
            "on_confirm" | "on_confirm of a loss" | "on_writable" => {
                let scene = self.clone();
                let on_confirm = move |channel: &Channel, confirm: Confirm<'_>| {
                    let first = confirm.sequence_number == 1;
                    if first && !scene.is("on_writable") {
                        act(&scene, channel);
                    }
                };
                channel.confirm_delivery(on_confirm, |_, _| ()).unwrap();
                let scene = self.clone();
                channel.add_on_writable_callback(move |channel| act(&scene, channel)).unwrap();
                channel.set_max_unconfirmed(3).unwrap();
                let exchange = if self.is("on_confirm of a loss") { unknown } else { fanout };
                (0..3).for_each(|_| publish(channel, exchange, ""));
                if self.is("on_writable") {
                    let to = basic::Publish::default();
                    let refused = channel.basic_publish(to, &BasicProperties::default(), "x");
                    assert_eq!(refused, Err(PublishError::TooManyUnconfirmed { limit: 3 }));
                }
            }
            "channel closed by us" => {
                channel.add_on_close_callback(on_close).unwrap();
                channel.close(200, "over").unwrap();
                self.0.silenced.set(true);
            }
            "channel closed by the broker" => {
                channel.add_on_close_callback(on_close).unwrap();
                publish(channel, unknown, "");
            }
            "queue_declare" => ask!(self, channel, queue_declare(own_queue()), act),
            "queue_bind" => {
                let (queue, exchange) = (queue.into(), fanout.into());
                let bind = queue::Bind { queue, exchange, ..Default::default() };
                ask!(self, channel, queue_bind(bind), act);
            }
            "queue_unbind" => {
                let (queue, exchange) = (queue.into(), fanout.into());
                let unbind = queue::Unbind { queue, exchange, ..Default::default() };
                ask!(self, channel, queue_unbind(unbind), act);
            }
            "queue_purge" => {
                ask!(self, channel, queue_purge(queue::Purge { queue: queue.into() }), act);
            }
            "queue_delete" => {
                let delete = queue::Delete { queue: queue.into(), ..Default::default() };
                ask!(self, channel, queue_delete(delete), act);
            }
            "exchange_declare" => {
                let exchange = fanout.into();
                let check = exchange::Declare { exchange, passive: true, ..Default::default() };
                ask!(self, channel, exchange_declare(check), act);
            }
            "exchange_bind" | "exchange_unbind" => {
                let routing_key = unknown.into();
                let (destination, source) = (fanout.into(), direct.into());
                if self.is("exchange_bind") {
                    let bind =
                        exchange::Bind { destination, source, routing_key, ..Default::default() };
                    ask!(self, channel, exchange_bind(bind), act);
                } else {
                    let unbind =
                        exchange::Unbind { destination, source, routing_key, ..Default::default() };
                    ask!(self, channel, exchange_unbind(unbind), act);
                }
            }
            "exchange_delete" => {
                let delete = exchange::Delete { exchange: unknown.into(), if_unused: false };
                ask!(self, channel, exchange_delete(delete), act);
            }
            "basic_qos" => ask!(self, channel, basic_qos(basic::Qos::default()), act),
            "basic_recover" => {
                ask!(self, channel, basic_recover(basic::Recover { requeue: true }), act);
            }
            "basic_consume" => {
                let scene = self.clone();
                let started = move |channel: &Channel, _: Result<basic::ConsumeOk<'static>>| {
                    scene.complete();
                    act(&scene, channel);
                };
                let consume = basic::Consume { queue: queue.into(), ..Default::default() };
                let asked = channel.basic_consume(consume, |_, _| (), started);
                self.asked(asked, true, Misuse::ChannelNotOpen);
            }
            "basic_cancel" => {
                let consumer_tag = "second".into();
                let queue = queue.into();
                let consume = basic::Consume { queue, consumer_tag, ..Default::default() };
                channel.basic_consume(consume, |_, _| (), |_, _| ()).unwrap();
                let cancel = basic::Cancel { consumer_tag: "second".into() };
                ask!(self, channel, basic_cancel(cancel), act);
            }
            "basic_get of nothing" => {
                ask!(self, channel, queue_declare(own_queue()), nothing);
                // The queue without a name is the one that was declared last.
                ask!(self, channel, basic_get(basic::Get::default()), act);
            }
            "basic_get of a message" => {
                let scene = self.clone();
                let declared = move |channel: &Channel, ok: Result<queue::DeclareOk<'static>>| {
                    publish(channel, "", ok.expect("declared").queue.to_str().expect("text"));
                    ask!(scene, channel, basic_get(basic::Get::default()), act);
                };
                channel.queue_declare(own_queue(), declared).unwrap();
            }
            "flow" => {
                let flow = haypile::protocol::channel::Flow { active: true };
                ask!(self, channel, flow(flow), act);
            }
            "tx_select" => ask!(self, channel, tx_select(tx::Select {}), act),
            "tx_commit" => {
                ask!(self, channel, tx_select(tx::Select {}), nothing);
                ask!(self, channel, tx_commit(tx::Commit {}), act);
            }
            "tx_rollback" => {
                ask!(self, channel, tx_select(tx::Select {}), nothing);
                ask!(self, channel, tx_rollback(tx::Rollback {}), act);
            }
            "confirm_delivery" => {
                let scene = self.clone();
                let selected = move |channel: &Channel, _: Result<()>| {
                    scene.complete();
                    act(&scene, channel);
                };
                let asked = channel.confirm_delivery(|_, _| (), selected);
                self.asked(asked, true, Misuse::ChannelNotOpen);
            }
            "when_confirmed" => {
                channel.confirm_delivery(|_, _| (), |_, _| ()).unwrap();
                publish(channel, fanout, "");
                let scene = self.clone();
                let confirmed = move |channel: &Channel, _: Result<ConfirmSummary>| {
                    scene.complete();
                    act(&scene, channel);
                };
                let asked = channel.when_confirmed(confirmed);
                self.asked(asked, true, Misuse::ChannelNotOpen);
            }
            "a refused request" => {
                let queue = unknown.into();
                let check = queue::Declare { queue, passive: true, ..Default::default() };
                ask!(self, channel, queue_declare(check), act);
            }
            "a timer" => drop(services.call_later(Duration::from_millis(1), later)),
            "a post" => services.add_callback(later),
            "a remote post" => {
                LATER.replace(Some(Box::new(later)));
                let remote = services.remote();
                let posted = std::thread::spawn(move || {
                    remote.add_callback(|| LATER.take().expect("it is there")())
                });
                posted.join().unwrap().unwrap();
            }
            other => unreachable!("{other}"),
        }
    }

    /// What is done in the callback.
    fn act(&self, connection: &Connection, channel: Option<&Channel>) {
        self.0.acted.set(self.0.acted.get() + 1);
        for action in self.0.actions {
            match (action, channel) {
                (CloseChannel, Some(channel)) => {
                    let was_open = channel.is_open();
                    let closed = channel.close(200, "in a callback");
                    assert_eq!(closed.is_ok(), was_open);
                    self.0.silenced.set(true);
                }
                (CloseConnection, _) => {
                    let was_open = connection.is_open();
                    let closed = connection.close(200, "in a callback");
                    assert_eq!(closed.is_ok(), was_open);
                    self.0.silenced.set(true);
                }
                (DropHandles, _) => {
                    drop(self.0.connections.take());
                    drop(self.0.hosts.take());
                    drop(self.0.channels.take());
                }
                (AskMore, Some(channel)) => self.ask_more(channel),
                (CloseChannel, None) => {}
                (AskMore, None) => self.open_channel(connection, |scene, channel| {
                    scene.ask_more(channel);
                }),
            }
        }
        // The end comes by a handle that nobody keeps.
        self.open_channel(connection, |_, channel| drop(channel.connection().close(200, "over")));
    }

    fn ask_more(&self, channel: &Channel) {
        let to = basic::Publish { routing_key: "nowhere".into(), ..Default::default() };
        let published = channel.basic_publish(to, &BasicProperties::default(), "x");
        assert_eq!(published.is_ok(), channel.is_open());
        ask!(self, channel, queue_declare(own_queue()), nothing);
        let scene = self.clone();
        let consume = basic::Consume { consumer_tag: "more".into(), ..Default::default() };
        let was_open = channel.is_open();
        let started = move |_: &Channel, _| scene.complete();
        let asked = channel.basic_consume(consume, |_, _| (), started);
        self.asked(asked, was_open, Misuse::ChannelNotOpen);
        ask!(self, channel, basic_get(basic::Get::default()), nothing);
        ask!(self, channel, basic_cancel(basic::Cancel { consumer_tag: "more".into() }), nothing);
        self.open_channel(&channel.connection(), |scene, channel| {
            ask!(scene, channel, queue_declare(own_queue()), nothing);
        });
    }
}

thread_local! {
    /// What a post from another thread runs: only a closure without handles can cross.
    static LATER: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

fn own_queue() -> queue::Declare<'static> {
    queue::Declare { exclusive: true, ..Default::default() }
}

fn publish(channel: &Channel, exchange: &str, routing_key: &str) {
    let (exchange, routing_key) = (exchange.into(), routing_key.into());
    let to = basic::Publish { exchange, routing_key, ..Default::default() };
    channel.basic_publish(to, &BasicProperties::default(), "x").expect("it is open");
}

//! How each kind of callback comes to be called.

use std::cell::RefCell;
use std::time::Duration;

use haypile::{
    BasicProperties, Channel, Confirm, ConfirmSummary, Connection, Error, Misuse, PublishError,
    Result, basic, exchange, queue, tx,
};

use crate::scene::{Scene, act, ask, nothing, own_queue, publish};
use crate::support;

impl Scene {
    /// Has the callback called that it is about.
    pub fn go_for_it(&self, channel: &Channel, queue: &str) {
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
            "connection on_writable" => {
                let (scene, of) = (self.clone(), channel.clone());
                let on_writable = move |connection: &Connection| scene.act(connection, Some(&of));
                channel.connection().add_on_writable_callback(on_writable).unwrap();
                let to = basic::Publish { exchange: fanout.into(), ..Default::default() };
                let none = BasicProperties::default();
                let body = bytes::Bytes::from(vec![0; 4 << 20]);
                let published = || channel.basic_publish(to.clone(), &none, body.clone());
                let refused = std::iter::repeat_with(published).find_map(Result::err);
                assert_eq!(refused, Some(PublishError::Full));
            }
            "update_secret" => {
                let (scene, of) = (self.clone(), channel.clone());
                let updated = move |connection: &Connection, _: Result<()>| {
                    scene.complete();
                    scene.act(connection, Some(&of));
                };
                let asked = channel.connection().update_secret("guest", "a test", updated);
                self.asked(asked, true, Misuse::ConnectionNotOpen);
            }
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
}

thread_local! {
    /// What a post from another thread runs: only a closure without handles can cross.
    static LATER: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

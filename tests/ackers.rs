//! Ackers: deliveries that are answered from other threads, against a real broker, on every loop.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};

use haypile::{
    Acker, BasicProperties, Channel, Delivery, Error, GetMessage, Misuse, Result, basic, queue,
};
use support::forward::{End, Forward};
use support::{Host, Log, broker, close, every_host, logs, on_channel};

every_host!(
    answers_of_many_threads_all_arrive,
    each_answer_does_what_it_says,
    one_that_is_dropped_unused_is_logged_while_it_matters,
    a_fetched_message_is_answered_too,
    a_later_channel_of_the_number_gets_no_stale_answer,
    what_workers_have_when_the_connection_dies_is_delivered_again,
);

type Work = Delivery<'static>;

/// Threads that call `work` with each message that comes; they end when nobody sends any more.
fn workers(
    count: usize,
    work: impl Fn(Work) + Send + Sync + 'static,
) -> (mpsc::Sender<Work>, Vec<JoinHandle<()>>) {
    let (sender, receiver) = mpsc::channel();
    let (receiver, work) = (Arc::new(Mutex::new(receiver)), Arc::new(work));
    let threads = (0..count).map(|_| {
        let (receiver, work) = (Arc::clone(&receiver), Arc::clone(&work));
        thread::spawn(move || {
            loop {
                let next = receiver.lock().unwrap().recv();
                let Ok(message) = next else { break };
                work(message);
            }
        })
    });
    (sender, threads.collect())
}

fn join(threads: Vec<JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Declares a queue, of the connection's own if it has no name, puts these in it, and consumes.
fn consume(
    channel: &Channel,
    queue: &str,
    bodies: Vec<String>,
    prefetch_count: u16,
    on_message: impl FnMut(&Channel, &Delivery<'_>) + 'static,
) {
    let exclusive = queue.is_empty();
    let declare = queue::Declare { queue: queue.into(), exclusive, ..Default::default() };
    let declared = move |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        let queue = declared.expect("the queue is declared").queue;
        for body in bodies {
            let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
            channel.basic_publish(to, &BasicProperties::default(), body).unwrap();
        }
        let qos = basic::Qos { prefetch_count, ..Default::default() };
        channel.basic_qos(qos, |_, set| assert!(set.is_ok())).unwrap();
        let consume = basic::Consume { queue, ..Default::default() };
        channel.basic_consume(consume, on_message, |_, ok| drop(ok.expect("consuming"))).unwrap();
    };
    channel.queue_declare(declare, declared).unwrap();
}

fn recover(channel: &Channel, then: impl FnOnce(&Channel) + 'static) {
    let recovered = |channel: &Channel, recovered: Result<_>| {
        recovered.expect("what was unanswered comes again");
        then(channel);
    };
    channel.basic_recover(basic::Recover { requeue: true }, recovered).unwrap();
}

fn answers_of_many_threads_all_arrive<H: Host>() {
    const MESSAGES: usize = 2000;
    let host = H::new();
    let again = Rc::new(Cell::new(0));
    let redelivered = Rc::clone(&again);
    let threads = Rc::new(RefCell::new(Vec::new()));
    let started = Rc::clone(&threads);
    on_channel(&host, broker(), move |channel| {
        let (remote, answered) = (channel.remote(), AtomicUsize::new(0));
        let (sender, threads) = workers(4, move |message| {
            message.acker().ack().expect("the connection is open");
            if answered.fetch_add(1, Ordering::SeqCst) + 1 == MESSAGES {
                // Behind all answers: what one of them had missed would come again before this.
                let recover = |channel: &Channel| recover(channel, |c| close(&c.connection()));
                remote.add_callback(recover).expect("the connection is open");
            }
        });
        started.replace(threads);
        let bodies = (0..MESSAGES).map(|number| number.to_string()).collect();
        consume(channel, "", bodies, 100, move |_, delivery| {
            redelivered.set(redelivered.get() + usize::from(delivery.redelivered()));
            sender.send(delivery.clone().into_owned()).unwrap();
        });
    });
    join(threads.take());
    assert_eq!(again.get(), 0);
}

fn each_answer_does_what_it_says<H: Host>() {
    const LEFT_ALONE: &str = "dropped";
    fn answer(acker: Acker, how: &[u8]) {
        let answered = match how {
            b"ack" => acker.ack(),
            b"nack, requeued" => acker.nack(true),
            b"nack" => acker.nack(false),
            b"reject, requeued" => acker.reject(true),
            b"reject" => acker.reject(false),
            b"dropped, requeued" => {
                drop(acker.requeue_if_dropped());
                Ok(())
            }
            _ => {
                drop(acker);
                Ok(())
            }
        };
        answered.expect("the connection is open");
    }

    let host = H::new();
    let again = Log::default();
    let log = again.clone();
    let all = ["ack", "nack, requeued", "nack", "reject, requeued", "reject", "dropped, requeued"];
    let bodies = all.iter().chain(&[LEFT_ALONE]).map(|body| (*body).to_owned()).collect();
    on_channel(&host, broker(), move |channel| {
        consume(channel, "", bodies, 0, move |channel, delivery| {
            if !delivery.redelivered() {
                let (acker, body) = (delivery.acker(), delivery.to_bytes());
                assert_eq!(acker.delivery_tag(), delivery.delivery_tag());
                thread::spawn(move || answer(acker, &body)).join().unwrap();
                return;
            }
            log.add(String::from_utf8_lossy(delivery.body()));
            let ack = basic::Ack { delivery_tag: delivery.delivery_tag(), multiple: false };
            channel.basic_ack(ack).unwrap();
            match log.lines().len() {
                3 => recover(channel, |_| ()),
                4 => close(&channel.connection()),
                _ => {}
            }
        });
    });
    let mut lines = again.lines();
    assert_eq!(lines.pop().as_deref(), Some(LEFT_ALONE));
    lines.sort();
    assert_eq!(lines, ["dropped, requeued", "nack, requeued", "reject, requeued"]);
}

fn one_that_is_dropped_unused_is_logged_while_it_matters<H: Host>() {
    logs::keep();
    let host = H::new();
    let kept = Rc::default();
    let keep: Rc<RefCell<Option<Acker>>> = Rc::clone(&kept);
    on_channel(&host, broker(), move |channel| {
        consume(channel, "", vec!["message".into()], 0, move |channel, delivery| {
            keep.replace(Some(delivery.acker()));
            drop(delivery.acker());
            close(&channel.connection());
        });
    });
    drop(kept.take());
    let complaints = logs::take().into_iter().filter(|line| line.starts_with("WARN"));
    let dropped = "WARN: delivery 1 on channel 1 was dropped without an answer";
    assert_eq!(complaints.collect::<Vec<_>>(), [dropped], "once, before the end");
}

fn a_fetched_message_is_answered_too<H: Host>() {
    let host = H::new();
    let got = Log::default();
    let log = got.clone();
    on_channel(&host, broker(), move |channel| {
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        let declared = move |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
            let queue = declared.unwrap().queue;
            let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
            channel.basic_publish(to, &BasicProperties::default(), "message").unwrap();
            fetch(channel, queue, log);
        };
        channel.queue_declare(declare, declared).unwrap();
    });
    fn fetch(channel: &Channel, queue: haypile::ShortStr<'static>, log: Log) {
        let get = basic::Get { queue: queue.clone(), ..Default::default() };
        let fetched = move |channel: &Channel, got: Result<Option<GetMessage<'_>>>| {
            let Some(message) = got.expect("an answer") else {
                log.add("nothing");
                return close(&channel.connection());
            };
            log.add(message.method().redelivered);
            let (acker, redelivered) = (message.acker(), message.method().redelivered);
            let answer = move || if redelivered { acker.ack() } else { acker.nack(true) };
            thread::spawn(answer).join().unwrap().expect("the connection is open");
            // Behind the answer.
            let again = channel.clone();
            let services = channel.connection().services().unwrap();
            services.add_callback(move || {
                let services = again.connection().services().unwrap();
                services.add_callback(move || fetch(&again, queue, log));
            });
        };
        channel.basic_get(get, fetched).unwrap();
    }
    assert_eq!(got.lines(), ["false", "true", "nothing"]);
}

fn a_later_channel_of_the_number_gets_no_stale_answer<H: Host>() {
    let host = H::new();
    let seen = Log::default();
    let log = seen.clone();
    on_channel(&host, broker(), move |channel| {
        let queue = format!("stale-{}-{}", std::process::id(), H::NAME);
        let again = queue.clone();
        let stale: Rc<RefCell<Option<Acker>>> = Rc::default();
        let kept = Rc::clone(&stale);
        assert_eq!(channel.channel_number(), 1);
        channel
            .add_on_close_callback(move |channel, _| {
                let opened = move |channel: &Channel, opened: Result<()>| {
                    opened.unwrap();
                    consume(channel, &again, Vec::new(), 0, move |channel, delivery| {
                        log.add(format!(
                            "{} {}",
                            channel.channel_number(),
                            delivery.delivery_tag()
                        ));
                        if let Some(stale) = stale.take() {
                            assert_eq!(stale.delivery_tag(), delivery.delivery_tag());
                            assert_eq!(stale.channel_number(), channel.channel_number());
                            stale.ack().expect("the connection is open");
                            // Behind it: were the message acknowledged, it would not come again.
                            let behind = |channel: &Channel| recover(channel, |_| ());
                            channel.remote().add_callback(behind).unwrap();
                        } else {
                            delivery.acker().ack().unwrap();
                            delete(channel, &delivery.routing_key().to_string());
                        }
                    });
                };
                channel.connection().channel(1, opened).unwrap();
            })
            .unwrap();
        consume(channel, &queue, vec!["message".into()], 0, move |channel, delivery| {
            kept.replace(Some(delivery.acker()));
            channel.close(200, "the next one has its number").unwrap();
        });
    });
    assert_eq!(seen.lines(), ["1 1", "1 2"]);
}

fn what_workers_have_when_the_connection_dies_is_delivered_again<H: Host>() {
    const MESSAGES: usize = 500;
    const ANSWERED: usize = 200;
    type Bodies = BTreeSet<String>;
    fn text(body: &[u8]) -> String {
        String::from_utf8_lossy(body).into_owned()
    }

    let queue = format!("dying-{}-{}", std::process::id(), H::NAME);
    let all: Bodies = (0..MESSAGES).map(|number| format!("{number:03}")).collect();
    let forward = Arc::new(Forward::to(&broker()));
    let through = forward.parameters(broker());
    let answered = Arc::<Mutex<Bodies>>::default();
    let held = Arc::<Mutex<Vec<Work>>>::default();

    // One of ten is still worked on when the network goes.
    let (on_time, kept) = (Arc::clone(&answered), Arc::clone(&held));
    let (sender, threads) = workers(4, move |message| {
        if message.body().ends_with(b"9") {
            return kept.lock().unwrap().push(message);
        }
        if message.acker().ack().is_ok() {
            let mut answered = on_time.lock().unwrap();
            answered.insert(text(message.body()));
            if answered.len() == ANSWERED {
                forward.end(End::Cut);
            }
        }
    });
    let (name, bodies) = (queue.clone(), all.iter().cloned().collect());
    let ended = on_channel(&H::new(), through, move |channel| {
        consume(channel, &name, bodies, 50, move |_, delivery| {
            sender.send(delivery.clone().into_owned()).unwrap();
        });
    });
    assert!(matches!(ended, Error::StreamLost(_)), "{ended}");
    join(threads);
    let held = std::mem::take(&mut *held.lock().unwrap());
    let refused = held.into_iter().map(|message| {
        let answer = move || (message.acker().ack(), text(message.body()));
        let (answered, body) = thread::spawn(answer).join().unwrap();
        assert_eq!(answered, Err(Error::Misuse(Misuse::ConnectionNotOpen)));
        body
    });
    let refused: Bodies = refused.collect();
    assert!(refused.len() >= ANSWERED / 10);

    // Until all that was not answered has come, and what was answered in vain.
    let missing = &(&all - &*answered.lock().unwrap()) | &refused;
    let missing = Rc::new(RefCell::new(missing));
    let left = Rc::clone(&missing);
    on_channel(&H::new(), broker(), move |channel| {
        let name = queue.clone();
        consume(channel, &queue, Vec::new(), 0, move |channel, delivery| {
            delivery.acker().ack().unwrap();
            left.borrow_mut().remove(&text(delivery.body()));
            if left.borrow().is_empty() && channel.is_open() {
                delete(channel, &name);
            }
        });
    });
    assert!(missing.take().is_empty());
}

/// Deletes a queue, and ends.
fn delete(channel: &Channel, queue: &str) {
    let deleted = |channel: &Channel, deleted: Result<queue::DeleteOk>| {
        deleted.expect("the queue is deleted");
        close(&channel.connection());
    };
    let delete = queue::Delete { queue: queue.into(), ..Default::default() };
    channel.queue_delete(delete, deleted).expect("the channel is open");
}

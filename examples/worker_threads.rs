//! A consumer that hands its messages to worker threads, which acknowledge them from there: long
//! work keeps neither the connection's heartbeats nor other messages waiting.
//!
//! ```text
//! scripts/with-broker cargo run --example worker_threads
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use haypile::{
    BasicProperties, Channel, ConnectionCallbacks, ConnectionParameters, Delivery, IOLoop,
    RemoteChannel, Result, SelectConnection, basic, queue,
};

const JOBS: usize = 20;
const WORKERS: usize = 4;

/// A message that is free of the read buffer, so that it may leave the callback and the thread.
type Job = Delivery<'static>;

fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let (sender, receiver) = mpsc::channel();

    let ioloop = IOLoop::new()?;
    let stop = ioloop.handle();
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            let opened = |channel: &Channel, opened: Result<()>| {
                opened.expect("the broker opens a channel");
                start_workers(channel.remote(), receiver);
                publish_and_consume(channel, sender);
            };
            connection.channel(None, opened).expect("the connection is open");
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            stop.stop();
        });
    let _connection = SelectConnection::with_ioloop(parameters, callbacks, &ioloop)?;
    ioloop.start()
}

/// The threads end when the consumer has gone, and with it the sender of jobs.
fn start_workers(channel: RemoteChannel, jobs: Receiver<Job>) {
    let (jobs, done) = (Arc::new(Mutex::new(jobs)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..WORKERS {
        let (channel, jobs, done) = (channel.clone(), Arc::clone(&jobs), Arc::clone(&done));
        thread::spawn(move || {
            loop {
                let job = jobs.lock().expect("no worker panics while it waits").recv();
                let Ok(job) = job else { break };
                work(&job);
                if let Err(error) = job.acker().ack() {
                    // The broker has put it back to the queue, and so all others that are out.
                    eprintln!("not acknowledged: {error}");
                    break;
                }
                if done.fetch_add(1, Ordering::SeqCst) + 1 == JOBS {
                    finish(&channel);
                }
            }
        });
    }
}

fn work(job: &Job) {
    thread::sleep(Duration::from_millis(20));
    println!("done: {}", String::from_utf8_lossy(job.body()));
}

/// Called on a worker's thread. The closure runs on the loop's, behind the acknowledgements.
fn finish(channel: &RemoteChannel) {
    let posted = channel.add_callback(|channel| {
        channel.connection().close(200, "all is done").expect("the connection is open");
    });
    posted.expect("the connection is open");
}

fn publish_and_consume(channel: &Channel, jobs: Sender<Job>) {
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        let queue = declared.expect("the broker declares a queue").queue;
        for number in 1..=JOBS {
            let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
            let job = format!("job {number}");
            channel.basic_publish(to, &BasicProperties::default(), job).expect("it is open");
        }
        // What the workers have, and one more each that waits for them.
        let ahead = basic::Qos { prefetch_count: 2 * WORKERS as u16, ..Default::default() };
        let is_set = |_: &Channel, set: Result<basic::QosOk>| assert!(set.is_ok());
        channel.basic_qos(ahead, is_set).expect("the channel is open");
        let consume = basic::Consume { queue, ..Default::default() };
        let on_message = move |_: &Channel, delivery: &Delivery<'_>| {
            jobs.send(delivery.clone().into_owned()).expect("the workers wait for it");
        };
        let started = |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
            started.expect("the consumer starts");
        };
        channel.basic_consume(consume, on_message, started).expect("the channel is open");
    };
    channel.queue_declare(declare, declared).expect("the channel is open");
}

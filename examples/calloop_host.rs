//! A calloop program of its own kind, with a connection beside its other sources: a thread sends
//! readings into the loop by a channel of calloop's, the program publishes each, and a timer of its own
//! tells how far it is.
//!
//! ```text
//! scripts/with-broker cargo run --features calloop --example calloop_host
//! ```
//!
//! The broker is the one that `AMQP_URL` names; without it, the one on this host.

use std::error::Error;
use std::thread;
use std::time::Duration;

use calloop::channel::{Event, Sender, channel};
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, LoopSignal};
use haypile::{
    BasicProperties, CalloopConnection, Channel, Connection, ConnectionCallbacks,
    ConnectionParameters, Delivery, Result, basic, queue,
};

const READINGS: u32 = 20;

/// The data of the loop, which every source gets.
struct Program {
    /// Where to publish to, once it is there.
    queue: Option<(Channel, String)>,
    /// What was read before.
    early: Vec<u32>,
    consumed: u32,
    signal: LoopSignal,
}

/// What the connection's callbacks tell the program: they do not get its data.
enum Told {
    Declared(Channel, String),
    Consumed(Channel),
    Closed(haypile::Error),
}

impl Program {
    fn publish(&mut self, reading: u32) {
        let Some((channel, queue)) = &self.queue else { return self.early.push(reading) };
        let to = basic::Publish { routing_key: queue.as_str().into(), ..Default::default() };
        let body = reading.to_string();
        channel.basic_publish(to, &BasicProperties::default(), body).expect("the channel is open");
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Declared(channel, queue) => {
                self.queue = Some((channel, queue));
                std::mem::take(&mut self.early).into_iter().for_each(|early| self.publish(early));
            }
            Told::Consumed(channel) => {
                self.consumed += 1;
                if self.consumed == READINGS {
                    channel.connection().close(200, "bye").expect("the connection is open");
                }
            }
            Told::Closed(reason) => {
                println!("{} of {READINGS} consumed", self.consumed);
                println!("{reason}");
                self.signal.stop();
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://localhost".into());
    let parameters: ConnectionParameters = url.parse()?;
    let mut event_loop: EventLoop<'static, Program> = EventLoop::try_new()?;
    let handle = event_loop.handle();

    let (tell, told) = channel();
    let on_told = |event, (): &mut (), program: &mut Program| match event {
        Event::Msg(told) => program.told(told),
        Event::Closed => {}
    };
    handle.insert_source(told, on_told).expect("a source");
    let _connection = CalloopConnection::new(parameters, callbacks(tell), &handle)?;

    let (sensor, readings) = channel();
    let on_reading = |event, (): &mut (), program: &mut Program| match event {
        Event::Msg(reading) => program.publish(reading),
        Event::Closed => println!("all is read"),
    };
    handle.insert_source(readings, on_reading).expect("a source");
    thread::spawn(move || {
        for reading in 1..=READINGS {
            thread::sleep(Duration::from_millis(5));
            if sensor.send(reading).is_err() {
                break; // the loop is gone
            }
        }
    });

    let every = Duration::from_millis(50);
    let tick = move |_, (): &mut (), program: &mut Program| {
        println!("{} of {READINGS} consumed", program.consumed);
        TimeoutAction::ToDuration(every)
    };
    handle.insert_source(Timer::from_duration(every), tick).expect("a source");

    let signal = event_loop.get_signal();
    let mut program = Program { queue: None, early: Vec::new(), consumed: 0, signal };
    event_loop.run(None, &mut program, |_| {})?;
    Ok(())
}

fn callbacks(tell: Sender<Told>) -> ConnectionCallbacks {
    let (failed, closed) = (tell.clone(), tell.clone());
    ConnectionCallbacks::new()
        .on_open(|connection| open(connection, tell))
        .on_open_error(move |_, error| drop(failed.send(Told::Closed(error))))
        .on_close(move |_, reason| drop(closed.send(Told::Closed(reason))))
}

fn open(connection: &Connection, tell: Sender<Told>) {
    let opened = |channel: &Channel, opened: Result<()>| {
        opened.expect("the broker opens a channel");
        let declare = queue::Declare { exclusive: true, ..Default::default() };
        let declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
            consume(
                channel,
                declared.expect("the broker declares a queue").queue.to_string(),
                tell,
            );
        };
        channel.queue_declare(declare, declared).expect("the channel is open");
    };
    connection.channel(None, opened).expect("the connection is open");
}

fn consume(channel: &Channel, queue: String, tell: Sender<Told>) {
    let name = queue.clone();
    let consume = basic::Consume { queue: name.as_str().into(), ..Default::default() };
    let consumed = tell.clone();
    let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
        let ack = basic::Ack { delivery_tag: delivery.delivery_tag(), multiple: false };
        channel.basic_ack(ack).expect("the channel is open");
        drop(consumed.send(Told::Consumed(channel.clone())));
    };
    let started = move |channel: &Channel, started: Result<_>| {
        started.expect("the broker starts the consumer");
        drop(tell.send(Told::Declared(channel.clone(), queue)));
    };
    channel.basic_consume(consume, on_message, started).expect("the channel is open");
}

//! A consumer that comes back: when its connection is lost, or the broker closes it, it connects
//! again and consumes on, until it is killed.
//!
//! ```text
//! cargo run --example reconnect amqp://one.example amqp://two.example
//! ```
//!
//! Everything of a connection ends with it: channels, consumers, what was not acknowledged, which the
//! broker delivers again. So a program that comes back starts over, in `on_open`.

use std::time::Duration;

use haypile::{
    Channel, ConnectionCallbacks, ConnectionParameters, ConnectionWorkflow, Delivery, Error,
    IOLoop, LoopHandle, Party, Result, ServicesConnection, basic, queue,
};

/// For a broker that lets everybody in, and then throws everybody out.
const PAUSE: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let urls = std::env::args().skip(1);
    let parameters: Vec<ConnectionParameters> =
        urls.map(|url| url.parse()).collect::<Result<_>>()?;
    let mut workflow = ConnectionWorkflow::from(parameters);
    // To find a host that lets it in is the workflow's work, with pauses that grow from one second to
    // a minute. It is given up at once only if that cannot help, as with a wrong password.
    workflow
        .set_connection_attempts(u32::MAX)?
        .set_retry_delay(Duration::from_secs(1))
        .set_max_retry_delay(Duration::from_secs(60));

    let ioloop = IOLoop::new()?;
    connect(workflow, ioloop.handle());
    ioloop.start()
}

fn connect(workflow: ConnectionWorkflow, ioloop: LoopHandle) {
    let Some(services) = ioloop.services() else { return };
    let (again, failed) = (workflow.clone(), ioloop.clone());
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            connection.channel(None, consume).expect("the connection is open");
        })
        .on_open_error(move |_, error| {
            println!("{error}");
            failed.stop();
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            match reason {
                Error::ConnectionClosed(closed) if closed.by == Party::Client => ioloop.stop(),
                _ => {
                    let handle = ioloop.clone();
                    ioloop.call_later(PAUSE, move || connect(again, handle));
                }
            }
        });
    // The loop owns it until it has ended.
    ServicesConnection::with_services(workflow, callbacks, &services);
}

fn consume(channel: &Channel, opened: Result<()>) {
    // If the connection is lost amid all this, `on_close` sees to it: here is nothing to do.
    if opened.is_err() {
        return;
    }
    // What must outlive the connection is durable instead.
    let name = "haypile.reconnect";
    let declare = queue::Declare { queue: name.into(), auto_delete: true, ..Default::default() };
    channel.queue_declare(declare, on_declared).expect("the channel is open");
}

fn on_declared(channel: &Channel, declared: Result<queue::DeclareOk<'static>>) {
    let Ok(declared) = declared else { return };
    let on_message = |channel: &Channel, delivery: &Delivery<'_>| {
        println!("received {}", String::from_utf8_lossy(delivery.body()));
        let delivery_tag = delivery.delivery_tag();
        channel.basic_ack(basic::Ack { delivery_tag, multiple: false }).expect("it is open");
    };
    let started = |_: &Channel, started: Result<basic::ConsumeOk<'static>>| {
        if started.is_ok() {
            println!("consuming");
        }
    };
    let consume = basic::Consume { queue: declared.queue, ..Default::default() };
    channel.basic_consume(consume, on_message, started).expect("the channel is open");
}

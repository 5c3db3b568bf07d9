//! Connects to the first of several brokers that lets it in, and tells what was the matter with the
//! others.
//!
//! ```text
//! cargo run --example several_hosts amqp://one.example amqp://two.example
//! ```
//!
//! All of them are tried three times, with pauses that grow, for half a minute at most.

use std::time::Duration;

use haypile::{
    ConnectError, ConnectionCallbacks, ConnectionParameters, ConnectionWorkflow, Error, IOLoop,
    Result, SelectConnection,
};

fn main() -> Result<()> {
    let urls = std::env::args().skip(1);
    let parameters: Vec<ConnectionParameters> =
        urls.map(|url| url.parse()).collect::<Result<_>>()?;
    let mut workflow = ConnectionWorkflow::from(parameters);
    workflow
        .set_connection_attempts(3)?
        .set_retry_delay(Duration::from_secs(1))
        .set_max_retry_delay(Duration::from_secs(10))
        .set_timeout(Some(Duration::from_secs(30)))?;

    let ioloop = IOLoop::new()?;
    let (failed, closed) = (ioloop.handle(), ioloop.handle());
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            connection.close(200, "bye").expect("it is open");
        })
        .on_open_error(move |_, error| {
            report(&error);
            failed.stop();
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            closed.stop();
        });
    let _connection = SelectConnection::with_ioloop(workflow, callbacks, &ioloop)?;
    ioloop.start()
}

/// Printed, the error tells it all; matched on, it tells each cause.
fn report(error: &Error) {
    match error {
        Error::Connect(
            ConnectError::Failed { failures } | ConnectError::TimedOut { failures, .. },
        ) => {
            println!("none of them took the connection:");
            for failure in failures {
                println!("- {failure}");
            }
        }
        // There was but one thing to try.
        error => println!("{error}"),
    }
}

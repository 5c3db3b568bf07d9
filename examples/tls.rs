//! Connects by TLS, to a broker whose certificate an authority of one's own has signed.
//!
//! ```text
//! scripts/with-broker sh -c 'cargo run --example tls -- "$AMQPS_URL" "$AMQP_TLS_DIR/ca.pem"'
//! ```
//!
//! The arguments: the URL; a PEM file of the authorities that are trusted instead of the
//! platform's; PEM files of a client certificate and its key. With those, the certificate is who
//! the client is (EXTERNAL): there is no password.

use haypile::{
    Channel, ConnectionCallbacks, ConnectionParameters, ExternalCredentials, IOLoop, Result,
    SelectConnection, TlsOptions, basic, queue,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ioloop = IOLoop::new()?;
    let handle = ioloop.handle();
    let callbacks = ConnectionCallbacks::new()
        .on_open(|connection| {
            println!("connected");
            connection.channel(None, on_channel_open).expect("the connection is open");
        })
        .on_close(move |_, reason| {
            println!("{reason}");
            handle.stop();
        });
    // Errors of TLS too: without `on_open_error`, `start` returns them.
    let _connection = SelectConnection::with_ioloop(parameters(&arguments)?, callbacks, &ioloop)?;
    ioloop.start()
}

fn parameters(arguments: &[String]) -> Result<ConnectionParameters> {
    let url = arguments.first().map_or("amqps://localhost", String::as_str);
    let mut parameters: ConnectionParameters = url.parse()?;
    if let Some(authorities) = arguments.get(1) {
        let mut options = TlsOptions::with_ca_file(authorities)?;
        if let [_, _, certificate, key] = arguments {
            options.set_client_certificate_files(certificate, key)?;
            parameters.set_credentials(ExternalCredentials);
        }
        parameters.set_tls(Some(options));
    }
    Ok(parameters)
}

fn on_channel_open(channel: &Channel, opened: Result<()>) {
    opened.expect("the broker opens a channel");
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let on_declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        let queue = declared.expect("the broker declares a queue").queue;
        let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
        channel.basic_publish(to, &Default::default(), "sealed").expect("the channel is open");
        let get = basic::Get { queue, no_ack: true };
        let got = |channel: &Channel, got: Result<Option<haypile::GetMessage<'_>>>| {
            let message = got.expect("an answer").expect("the message");
            println!("received {}", String::from_utf8_lossy(message.body()));
            channel.connection().close(200, "bye").expect("the connection is open");
        };
        channel.basic_get(get, got).expect("the channel is open");
    };
    channel.queue_declare(declare, on_declared).expect("the channel is open");
}

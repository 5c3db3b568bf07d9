//! Against the TLS listener of the real broker.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use haypile::{
    BasicProperties, CertificateError, Channel, Closed, ConnectionParameters, Delivery, Error,
    ExternalCredentials, HandshakeError, Party, Phase, Result, StreamLost, TlsError, TlsOptions,
    basic, queue,
};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS12;
use rustls::{ClientConfig, RootCertStore};

use super::not_secured;
use super::support::{self, BrokerControl, Host, every_host, on_channel, refused, tls};

every_host!(
    a_hundred_thousand_messages_come_back_in_order,
    large_bodies_come_back_whole,
    a_thousand_publishes_fill_records,
    an_authority_that_is_not_trusted,
    a_server_name_that_is_not_in_the_certificate,
    a_configuration_of_rustls_is_taken,
    a_client_certificate_is_taken,
    a_url_says_it_all,
    a_client_certificate_of_another_authority_is_refused,
    a_client_certificate_logs_in,
    a_listener_that_wants_a_client_certificate,
    tls_to_the_port_without,
    the_port_of_tls_without,
);

const BYE: &str = "the test is done";

fn assert_clean(ended: &Error) {
    let Error::ConnectionClosed(Closed { by: Party::Client, reply_text, .. }) = ended else {
        panic!("{ended}")
    };
    assert_eq!(reply_text, BYE);
}

fn done(channel: &Channel) {
    channel.connection().close(200, BYE).unwrap();
}

/// Declares a queue, consumes from it without acknowledgement, and goes on with its name.
fn consuming(
    channel: &Channel,
    on_message: impl FnMut(&Channel, &Delivery<'_>) + 'static,
    then: impl FnOnce(&Channel, Rc<str>) + 'static,
) {
    let declare = queue::Declare { exclusive: true, ..Default::default() };
    let declared = |channel: &Channel, declared: Result<queue::DeclareOk<'static>>| {
        let name: Rc<str> = declared.unwrap().queue.to_string().into();
        let from = haypile::ShortStr::from(&*name).into_owned();
        let consume = basic::Consume { queue: from, no_ack: true, ..Default::default() };
        let consuming = |channel: &Channel, ok: Result<_>| {
            drop(ok.unwrap());
            then(channel, name);
        };
        channel.basic_consume(consume, on_message, consuming).unwrap();
    };
    channel.queue_declare(declare, declared).unwrap();
}

fn publish(channel: &Channel, queue: &str, body: impl Into<haypile::Body<'static>>) {
    let to = basic::Publish { routing_key: queue.into(), ..Default::default() };
    channel.basic_publish(to, &BasicProperties::default(), body).unwrap();
}

fn a_url_says_it_all<H: Host>() {
    let url = std::env::var("AMQPS_URL").unwrap();
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(tls::file);
    let url = format!(
        "{url}?cacertfile={}&certfile={}&keyfile={}",
        ca.display(),
        certificate.display(),
        key.display()
    );
    assert_clean(&on_channel(&H::new(), url.parse().unwrap(), done));
}

fn a_hundred_thousand_messages_come_back_in_order<H: Host>() {
    const MESSAGES: u64 = 100_000;
    const BATCH: u64 = 1_000;
    fn body(number: u64) -> String {
        format!("{number:>100}")
    }
    fn publish_batch(channel: &Channel, queue: &str, first: u64) {
        for number in first..first + BATCH {
            publish(channel, queue, body(number));
        }
    }
    let received = Rc::new(Cell::new(0));
    let (count, mut queue) = (Rc::clone(&received), None);
    let name = Rc::new(Cell::new(None));
    let told = Rc::clone(&name);
    let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
        let number = count.get();
        assert_eq!(delivery.body(), body(number).as_bytes());
        count.set(number + 1);
        if number + 1 == MESSAGES {
            done(channel);
        } else if (number + 1).is_multiple_of(BATCH) && number + BATCH < MESSAGES {
            let queue: &Rc<str> = queue.get_or_insert_with(|| told.take().expect("declared"));
            publish_batch(channel, queue, number + 1 + BATCH);
        }
    };
    let ended = on_channel(&H::new(), tls::broker(), |channel| {
        consuming(channel, on_message, move |channel, queue| {
            name.set(Some(Rc::clone(&queue)));
            // Two batches are on their way at any time: records are cut anywhere.
            publish_batch(channel, &queue, 0);
            publish_batch(channel, &queue, BATCH);
        });
    });
    assert_clean(&ended);
    assert_eq!(received.get(), MESSAGES);
}

fn large_bodies_come_back_whole<H: Host>() {
    // Around a record, around a frame, and far above both.
    const SIZES: [usize; 8] = [0, 16_383, 16_384, 16_385, 131_063, 131_064, 131_065, 16 << 20];
    fn body(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at * 31 + size) as u8).collect()
    }
    let mut expected = SIZES.into_iter();
    let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
        let size = expected.next().expect("no more than were sent");
        assert!(delivery.body() == body(size), "the body of {size} bytes");
        if expected.len() == 0 {
            done(channel);
        }
    };
    let ended = on_channel(&H::new(), tls::broker(), |channel| {
        consuming(channel, on_message, |channel, queue| {
            SIZES.into_iter().for_each(|size| publish(channel, &queue, body(size)));
        });
    });
    assert_clean(&ended);
}

/// What the client sends through it, as TLS: the types and lengths of its records.
type Records = Arc<Mutex<Vec<(u8, usize)>>>;

/// A server that passes one client's bytes on to the broker, and notes the records.
fn watched(broker: SocketAddr) -> (SocketAddr, Records) {
    fn pump(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
        let mut bytes = [0; 65536];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            look(&bytes[..count]);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let records = Records::default();
    let note = Arc::clone(&records);
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(broker).unwrap();
        let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || pump(from, to, |_| ()));
        let mut rest = Vec::new();
        pump(client, server, |bytes| {
            rest.extend_from_slice(bytes);
            while let [kind, _, _, high, low, ..] = rest[..] {
                let length = usize::from(u16::from_be_bytes([high, low]));
                if rest.len() < 5 + length {
                    break;
                }
                note.lock().unwrap().push((kind, length));
                rest.drain(..5 + length);
            }
        });
    });
    (address, records)
}

fn a_thousand_publishes_fill_records<H: Host>() {
    const MESSAGES: u64 = 1_000;
    const APPLICATION_DATA: u8 = 23;
    let mut parameters = tls::broker();
    let (address, records) = watched(SocketAddr::from((Ipv4Addr::LOCALHOST, parameters.port())));
    parameters.set_port(address.port()).set_host("127.0.0.1");

    let before = Rc::new(Cell::new((0, 0, 0)));
    let (at_start, noted) = (Rc::clone(&before), Arc::clone(&records));
    let mut received = 0;
    let after = Rc::new(Cell::new((0, 0, 0)));
    let (at_end, noted_at_end) = (Rc::clone(&after), Arc::clone(&records));
    let on_message = move |channel: &Channel, _: &Delivery<'_>| {
        received += 1;
        if received == MESSAGES {
            let counters = channel.connection().counters();
            let records = noted_at_end.lock().unwrap().len();
            at_end.set((records, counters.writes, counters.bytes_sent));
            done(channel);
        }
    };
    let ended = on_channel(&H::new(), parameters, |channel| {
        consuming(channel, on_message, move |channel, queue| {
            let counters = channel.connection().counters();
            let records = noted.lock().unwrap().len();
            at_start.set((records, counters.writes, counters.bytes_sent));
            for _ in 0..MESSAGES {
                publish(channel, &queue, &[7; 100]);
            }
        });
    });
    assert_clean(&ended);
    let ((records_before, writes_before, bytes_before), (records_after, writes_after, bytes_after)) =
        (before.get(), after.get());
    let lengths = records.lock().unwrap()[records_before..records_after].to_vec();
    let (writes, bytes) = (writes_after - writes_before, bytes_after - bytes_before);
    println!("{MESSAGES} publishes of 100 bytes: {bytes} bytes in {writes} writes: {lengths:?}");
    assert!(lengths.iter().all(|(kind, _)| *kind == APPLICATION_DATA));
    // A write for each 60 KiB and one for the rest; in each, but for its last, full records.
    assert!((1..=4).contains(&writes), "{writes} writes");
    let least = (bytes as usize).div_ceil(16 * 1024 + 22);
    assert!(lengths.len() <= least + writes as usize, "{} for {bytes} bytes", lengths.len());
}

fn an_authority_that_is_not_trusted<H: Host>() {
    let mut parameters = tls::broker();
    parameters.set_tls(Some(tls::trusting("other-ca.pem")));
    let cause = not_secured::<H>(parameters);
    assert_eq!(cause, TlsError::Certificate(CertificateError::UnknownIssuer));
}

fn a_server_name_that_is_not_in_the_certificate<H: Host>() {
    let mut options = tls::trusting("ca.pem");
    options.set_server_name("elsewhere.example").unwrap();
    let mut parameters = tls::broker();
    parameters.set_tls(Some(options));
    let cause = not_secured::<H>(parameters);
    let TlsError::Certificate(CertificateError::WrongName { expected, presented }) = &cause else {
        panic!("{cause}")
    };
    assert_eq!(expected, "elsewhere.example");
    assert!(presented.iter().any(|name| name.contains("localhost")), "{presented:?}");

    // And the other way round: the name counts, not where it was connected to.
    let mut options = tls::trusting("ca.pem");
    options.set_server_name("localhost").unwrap();
    let mut parameters = tls::broker();
    parameters.set_host("127.0.0.1").set_tls(Some(options));
    assert_clean(&on_channel(&H::new(), parameters, done));
}

fn a_configuration_of_rustls_is_taken<H: Host>() {
    // The older version alone, which RabbitMQ speaks as well.
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(tls::file("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut parameters = tls::broker();
    parameters.set_tls(Some(TlsOptions::with_config(config)));
    let body: Vec<u8> = (0..1_000_000_u32).map(|at| (at * 7) as u8).collect();
    let expected = body.clone();
    let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
        assert!(delivery.body() == expected);
        done(channel);
    };
    let ended = on_channel(&H::new(), parameters, |channel| {
        consuming(channel, on_message, move |channel, queue| publish(channel, &queue, body));
    });
    assert_clean(&ended);
}

fn a_client_certificate_is_taken<H: Host>() {
    assert_clean(&on_channel(&H::new(), certified(), done));
}

/// Connects to what must refuse the client, and gives how it says so. By TLS 1.3 the client has
/// finished before the server judges it.
fn late_alert<H: Host>(parameters: ConnectionParameters) -> (u8, String) {
    match refused::<H>(parameters) {
        Error::Handshake(HandshakeError::Lost {
            phase: Phase::Protocol,
            cause: StreamLost::Tls(TlsError::Alert { code, name }),
        }) => (code, name),
        other => panic!("{other}"),
    }
}

fn a_client_certificate_of_another_authority_is_refused<H: Host>() {
    let mut options = tls::trusting("ca.pem");
    options
        .set_client_certificate_files(tls::file("stranger.pem"), tls::file("stranger.key"))
        .unwrap();
    let mut parameters = tls::broker();
    parameters.set_tls(Some(options));
    assert_eq!(late_alert::<H>(parameters), (48, "UnknownCA".to_owned()));
}

fn certified() -> ConnectionParameters {
    let mut options = tls::trusting("ca.pem");
    options.set_client_certificate_files(tls::file("client.pem"), tls::file("client.key")).unwrap();
    let mut parameters = tls::broker();
    parameters.set_tls(Some(options));
    parameters
}

fn a_client_certificate_logs_in<H: Host>() {
    // The broker takes the user's name from the certificate: nothing else says it.
    let mut parameters = certified();
    parameters.set_credentials(ExternalCredentials);
    assert_clean(&on_channel(&H::new(), parameters, done));

    let mut parameters = tls::broker();
    parameters.set_credentials(ExternalCredentials);
    let error = refused::<H>(parameters);
    let bad = matches!(error, Error::Handshake(HandshakeError::BadCredentials { .. }));
    assert!(bad, "{error}");
}

/// Has the broker listen on one port more, where it insists on a certificate.
fn strict_port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        // Below those that the system gives to others meanwhile.
        let mut ports = (0..).map(|step| 20_000 + ((std::process::id() + step) % 12_000) as u16);
        let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        let port = ports.find(is_free).unwrap();
        let listen = format!(
            "{{ok, Options}} = application:get_env(rabbit, ssl_options), \
             Strict = lists:keystore(fail_if_no_peer_cert, 1, Options, \
                                     {{fail_if_no_peer_cert, true}}), \
             rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}}}, Strict, 1)."
        );
        BrokerControl::take().ctl(&["eval", &listen]);
        port
    })
}

fn a_listener_that_wants_a_client_certificate<H: Host>() {
    let mut parameters = certified();
    parameters.set_port(strict_port());
    assert_clean(&on_channel(&H::new(), parameters, done));

    let mut parameters = tls::broker();
    parameters.set_port(strict_port());
    assert_eq!(late_alert::<H>(parameters), (116, "CertificateRequired".to_owned()));
}

fn tls_to_the_port_without<H: Host>() {
    let mut parameters = tls::broker();
    parameters.set_port(support::broker().port());
    let cause = not_secured::<H>(parameters);
    let header = "AMQP\\x00\\x00\\t\\x01";
    assert_eq!(cause, TlsError::NotTls { received: header.into() });
}

fn the_port_of_tls_without<H: Host>() {
    let mut parameters = tls::broker();
    parameters.set_tls(None);
    let error = refused::<H>(parameters);
    // An alert.
    let Error::Handshake(HandshakeError::NotAmqp { received }) = &error else { panic!("{error}") };
    assert!(received.starts_with("\\x15\\x03"), "{received}");
}

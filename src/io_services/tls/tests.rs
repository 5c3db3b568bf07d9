//! TLS sessions without sockets, against rustls' own server.

use std::io::{Read, Write};

use bytes::Bytes;
use rustls::{ProtocolVersion, ServerConfig, ServerConnection, SupportedProtocolVersion, version};

use super::*;
use crate::connection::TlsOptions;
use crate::error::CertificateError;

/// What the loop's read buffer has room for.
const SPACE: usize = 128 * 1024;

struct Pair {
    client: Tls,
    server: ServerConnection,
    /// How many bytes at most cross at once.
    step: usize,
    sealing: Vec<u8>,
    /// What the client got, in plain.
    received: Vec<u8>,
}

impl Pair {
    fn new(step: usize, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = own.signing_key.serialize_der().try_into().expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions that ring knows")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("a certificate and its key");
        let options = TlsOptions::with_ca_pem(own.cert.pem()).expect("a root");
        let (config_of_client, name) = options.for_host("localhost").expect("a name");
        Self {
            client: Tls::start(config_of_client, name).expect("it starts"),
            server: ServerConnection::new(Arc::new(config)).expect("it starts"),
            step,
            sealing: vec![0; SEALING_SPACE],
            received: Vec::new(),
        }
    }

    fn open(step: usize) -> Self {
        let mut pair = Self::new(step, rustls::ALL_VERSIONS);
        pair.negotiate();
        pair
    }

    fn negotiate(&mut self) {
        while self.client.is_handshaking() || self.server.is_handshaking() {
            self.feed_server();
            self.feed_client().expect("it goes well");
        }
        self.feed_server();
    }

    /// Has the server take what the client has not sent.
    fn feed_server(&mut self) {
        let unsent = mem::take(&mut self.client.unsent);
        self.give_server(&unsent);
    }

    fn give_server(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (mut first, _) = bytes.split_at(self.step.min(bytes.len()));
            let taken = self.server.read_tls(&mut first).expect("there is room");
            self.server.process_new_packets().expect("the client speaks TLS");
            bytes = &bytes[taken..];
        }
    }

    /// Gives the client what the server has to send, as reads would.
    fn feed_client(&mut self) -> Result<(), TlsError> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).expect("to memory");
        }
        self.give_client(&bytes)
    }

    fn give_client(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        for piece in bytes.chunks(self.step) {
            let (mut plain, mut sealed) = (vec![0; SPACE + RECORD], vec![0; SPACE]);
            let kept = self.client.put_incoming(&mut sealed).expect("there is room");
            sealed[kept..][..piece.len()].copy_from_slice(piece);
            let opened = self.client.open(&mut sealed[..kept + piece.len()], &mut plain);
            self.received.extend_from_slice(&plain[..opened.count]);
            opened.result?;
        }
        Ok(())
    }

    /// Seals all of the output and has the server open it; gives that, and the records' lengths.
    fn send(&mut self, mut output: Output) -> (Vec<u8>, Vec<usize>) {
        let (mut sealed, mut plain) = (Vec::new(), Vec::new());
        while !output.is_empty() {
            let count = self.client.seal(&mut output, &mut self.sealing).expect("it is open");
            sealed.extend_from_slice(&self.sealing[..count]);
        }
        let records = record_lengths(&sealed);
        for piece in sealed.chunks(16 * 1024) {
            self.give_server(piece);
            let mut some = [0; 64 * 1024];
            while let Ok(count @ 1..) = self.server.reader().read(&mut some) {
                plain.extend_from_slice(&some[..count]);
            }
        }
        (plain, records)
    }

    fn server_says(&mut self, bytes: &[u8]) {
        self.server.writer().write_all(bytes).expect("there is room");
    }
}

fn record_lengths(mut sealed: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = sealed {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(length);
        sealed = &rest[length..];
    }
    assert!(sealed.is_empty(), "whole records");
    lengths
}

fn output_of(bytes: &[u8]) -> Output {
    let mut output = Output::default();
    output.encoded().extend_from_slice(bytes);
    output
}

#[test]
fn what_is_said_comes_over_however_it_is_cut() {
    let said: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    for (step, versions) in [1, 2, 7, 1000, SPACE / 2]
        .into_iter()
        .flat_map(|step| [(step, [&version::TLS12]), (step, [&version::TLS13])])
    {
        let mut pair = Pair::new(step, &versions);
        pair.negotiate();
        assert_eq!(pair.server.protocol_version(), Some(versions[0].version));
        for part in said.chunks(40_000) {
            pair.server_says(part);
            pair.feed_client().expect("it is open");
        }
        assert!(pair.received == said, "in steps of {step}");
        assert!(pair.send(output_of(&said)).0 == said, "in steps of {step}");
    }
}

#[test]
fn a_session_at_rest_keeps_no_buffer() {
    let mut pair = Pair::open(1000);
    pair.server_says(&[7; 30_000]);
    pair.feed_client().expect("it is open");
    pair.send(output_of(&[7; 30_000]));
    assert_eq!(pair.received.len(), 30_000);
    assert_eq!((pair.client.incoming.capacity(), pair.client.unsent.capacity()), (0, 0));
}

#[test]
fn small_frames_and_large_bodies_fill_records() {
    let mut pair = Pair::open(SPACE);
    let (mut output, mut all) = (Output::default(), Vec::new());
    for number in 0..200_usize {
        let frame = vec![number as u8; 1 + number % 90];
        output.encoded().extend_from_slice(&frame);
        all.extend_from_slice(&frame);
        if number % 3 == 0 {
            let body = vec![!(number as u8); 8_193 + 97 * number];
            all.extend_from_slice(&body);
            output.push_body(Bytes::from(body));
        }
    }
    let (plain, records) = pair.send(output);
    assert!(plain == all);
    // Each is full, but for those in front of a slice that fills records itself.
    let full = records.iter().filter(|length| **length >= RECORD).count();
    assert!(records.len() < all.len() / RECORD + 70, "{} for {}", records.len(), all.len());
    assert!(full > 0, "{records:?}");
}

#[test]
fn small_frames_alone_leave_in_full_records() {
    let mut pair = Pair::open(SPACE);
    let said = vec![1; 165_000];
    let (plain, records) = pair.send(output_of(&said));
    assert!(plain == said);
    assert_eq!(records.len(), said.len().div_ceil(RECORD));
}

#[test]
fn output_may_follow_the_handshake_at_once() {
    for version in [&version::TLS12, &version::TLS13] {
        let mut pair = Pair::new(SPACE, &[version]);
        while pair.client.is_handshaking() {
            pair.feed_server();
            pair.feed_client().expect("it goes well");
        }
        let unsent = mem::take(&mut pair.client.unsent);
        let mut output = output_of(b"AMQP");
        let count = pair.client.seal(&mut output, &mut pair.sealing).expect("it is open");
        pair.give_server(&unsent);
        let sealed = pair.sealing[..count].to_vec();
        pair.give_server(&sealed);
        let mut plain = [0; 4];
        pair.server.reader().read_exact(&mut plain).expect("it has come");
        assert_eq!(&plain, b"AMQP");
    }
}

#[test]
fn what_follows_the_handshake_at_once_waits_to_be_opened() {
    let mut pair = Pair::new(SPACE, &[&version::TLS12]);
    pair.feed_server();
    pair.feed_client().expect("the server's part");
    pair.feed_server();
    // It says something in the same breath as its Finished.
    pair.server_says(b"early");
    pair.feed_client().expect("the rest");
    assert!(!pair.client.is_handshaking());
    assert_eq!((pair.received.as_slice(), pair.client.has_early()), (&b""[..], true));
    // And goes on with as much as one read takes, in as small records as there are.
    let more = vec![7; RECORD];
    let mut sealed = Vec::new();
    while sealed.len() < SPACE {
        pair.server_says(&more);
        pair.server.write_tls(&mut sealed).expect("to memory");
    }
    let mut plain = vec![0; SPACE + RECORD];
    let opened = pair.client.open(&mut sealed[..SPACE], &mut plain);
    assert_eq!(opened.result, Ok(()));
    assert!(plain[..opened.count].starts_with(b"early\x07"));
    assert_eq!(opened.count - b"early".len(), SPACE / (RECORD + 29) * RECORD);
    assert!(!pair.client.has_early());
}

#[test]
fn keys_are_renewed_on_the_way() {
    let mut pair = Pair::open(5);
    for round in 0..3_u8 {
        pair.server.refresh_traffic_keys().expect("TLS 1.3");
        pair.server_says(&[round; 100]);
        pair.feed_client().expect("it is open");
        assert_eq!(pair.send(output_of(&[round; 100])).0, [round; 100]);
    }
    assert_eq!(pair.received.len(), 300);
}

#[test]
fn a_server_that_says_goodbye_has_finished() {
    let mut pair = Pair::open(SPACE);
    pair.server_says(b"the last");
    pair.server.send_close_notify();
    pair.feed_client().expect("it is in order");
    assert_eq!(pair.received, b"the last");
    assert!(pair.client.is_finished());
    // What this side has to say still goes out, its goodbye last.
    assert_eq!(pair.send(output_of(b"so long")).0, b"so long");
    pair.client.close();
    pair.feed_server();
    assert!(pair.server.process_new_packets().expect("in order").peer_has_closed());
}

#[test]
fn a_changed_record_ends_it_and_the_server_is_told() {
    let mut pair = Pair::open(SPACE);
    pair.server_says(b"right");
    let mut bytes = Vec::new();
    pair.server.write_tls(&mut bytes).expect("to memory");
    let whole = bytes.len();
    pair.server_says(b"wrong");
    pair.server.write_tls(&mut bytes).expect("to memory");
    bytes[whole + 10] ^= 1;
    let error = pair.give_client(&bytes).expect_err("it is changed");
    assert!(matches!(&error, TlsError::Protocol(_)), "{error}");
    assert_eq!(pair.received, b"right");
    assert_eq!(pair.give_client(&bytes), Err(error), "told again, for whoever missed it");
    let alert = mem::take(&mut pair.client.unsent);
    pair.server.read_tls(&mut &alert[..]).expect("there is room");
    let told = pair.server.process_new_packets().expect_err("an alert");
    assert_eq!(told, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
}

#[test]
fn whoever_does_not_speak_tls_is_told_apart() {
    for first in ["AMQP\0\0\x09\x01", "HTTP/1.1 400 Bad Request\r\n", "\x01\0\0\0\0\0\x08\0"] {
        let mut pair = Pair::new(SPACE, rustls::ALL_VERSIONS);
        let error = pair.give_client(first.as_bytes()).expect_err("that is no TLS");
        let TlsError::NotTls { received } = &error else { panic!("{first:?}: {error}") };
        let start = first.as_bytes()[..first.len().min(16)].escape_ascii().to_string();
        assert_eq!(received, &start);
    }
}

#[test]
fn errors_of_the_handshake_have_their_causes() {
    let mut pair = Pair::new(SPACE, rustls::ALL_VERSIONS);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let options = TlsOptions::with_ca_pem(other.cert.pem()).expect("a root");
    let (config, _) = options.for_host("localhost").expect("a name");
    let name = ServerName::try_from("localhost").expect("a name");
    pair.client = Tls::start(config, name).expect("it starts");
    pair.feed_server();
    let error = pair.feed_client().expect_err("another root");
    assert!(
        matches!(
            error,
            TlsError::Certificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
        ),
        "{error}"
    );
    let alert = mem::take(&mut pair.client.unsent);
    pair.server.read_tls(&mut &alert[..]).expect("there is room");
    assert!(pair.server.process_new_packets().is_err(), "the server is told");
}

#[test]
fn a_handshake_message_without_end_is_not_waited_for() {
    let mut pair = Pair::new(SPACE, rustls::ALL_VERSIONS);
    // A ServerHello of 60,000 bytes, as it says, each in a record of its own.
    let begin = [22, 3, 3, 0, 4, 2, 0, 0xEA, 0x60];
    pair.give_client(&begin).expect("it is believed");
    let mut sealed = vec![0; SPACE];
    let error = loop {
        let kept = match pair.client.put_incoming(&mut sealed) {
            Ok(kept) => kept,
            Err(error) => break error,
        };
        let more = [22, 3, 3, 0, 1, 0].into_iter().cycle();
        sealed[kept..].iter_mut().zip(more).for_each(|(byte, next)| *byte = next);
        let whole = kept + (SPACE - kept) / 6 * 6;
        let whole = if whole == kept { SPACE } else { whole };
        if let Err(error) = pair.client.open(&mut sealed[..whole], &mut []).result {
            break error;
        }
    };
    assert!(matches!(error, TlsError::Protocol(_)), "{error}");
    pair.client.close();
    assert!(pair.client.open(&mut [], &mut []).result.is_err());
}

#[test]
fn random_bytes_end_in_an_error_or_in_waiting() {
    // A fixed sequence: what fails here fails again.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..300_u32 {
        let open = round % 2 == 0;
        let mut pair =
            if open { Pair::open(SPACE) } else { Pair::new(SPACE, rustls::ALL_VERSIONS) };
        let mut bytes: Vec<u8> = (0..next() % 200).map(|_| next() as u8).collect();
        if round % 3 != 0 {
            // A header that is believed: a type and version that there are.
            let kind = 20 + (next() % 4) as u8;
            let length = bytes.len() as u8;
            bytes.splice(0..0, [kind, 3, 3, 0, length]);
        }
        let _ = pair.give_client(&bytes);
        let _ = pair.give_client(&bytes);
    }
}

#[test]
fn the_newest_version_is_taken_and_no_alpn() {
    let pair = Pair::open(SPACE);
    assert_eq!(pair.server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(pair.server.alpn_protocol(), None);
}

//! Each a transport that the host owns, with RabbitMQ at its end.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use haypile::{ConnectionParameters, ProtocolConnection, StreamLost};

use crate::job::Job;
use crate::support;

/// A stream that blocks, for a while if it is told to.
trait Transport: Read + Write {
    fn set_wait(&self, wait: Option<Duration>) -> io::Result<()>;
}

impl Transport for TcpStream {
    fn set_wait(&self, wait: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(wait)
    }
}

impl Transport for UnixStream {
    fn set_wait(&self, wait: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(wait)
    }
}

#[cfg(feature = "tls")]
impl Transport for rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    fn set_wait(&self, wait: Option<Duration>) -> io::Result<()> {
        self.sock.set_read_timeout(wait)
    }
}

/// Carries one byte at a time, either way.
struct ByteByByte<T>(T);

impl<T: Read> Read for ByteByByte<T> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut space[..1])
    }
}

impl<T: Write> Write for ByteByByte<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..1])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<T: Transport> Transport for ByteByByte<T> {
    fn set_wait(&self, wait: Option<Duration>) -> io::Result<()> {
        self.0.set_wait(wait)
    }
}

/// Drives the connection until it has ended, and all is sent.
fn drive(protocol: &ProtocolConnection, mut transport: impl Transport) {
    let limit = Instant::now() + Duration::from_secs(60);
    let mut space = [0; 16 * 1024];
    while !protocol.is_closed() {
        assert!(Instant::now() < limit, "it does not end");
        protocol
            .write_output(|slices: &[IoSlice<'_>]| transport.write_vectored(slices))
            .expect("the transport takes it");
        assert_eq!(protocol.output_len(), 0, "the transport blocks until it has taken all");
        transport.flush().expect("it goes out");
        let wait = protocol.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let wait = wait.map_or(Duration::from_secs(1), |wait| wait.max(Duration::from_micros(1)));
        transport.set_wait(Some(wait)).expect("not zero");
        match transport.read(&mut space) {
            Ok(0) => protocol.connection_lost(StreamLost::EndOfStream).expect("not nested"),
            Ok(count) => protocol.data_received(&space[..count]).expect("not nested"),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                protocol.process_due().expect("not nested");
            }
            Err(error) => protocol.connection_lost(error).expect("not nested"),
        }
    }
    protocol
        .write_output(|slices| transport.write_vectored(slices))
        .expect("the transport takes it");
}

/// Small ones, and one that is longer than a read, goes by reference, and takes two frames.
fn bodies() -> Vec<Vec<u8>> {
    vec![b"small".to_vec(), Vec::new(), vec![7; 200_000], b"last".to_vec()]
}

fn carries(parameters: ConnectionParameters, bodies: &[Vec<u8>], transport: impl Transport) {
    let job = Rc::<Job>::default();
    let protocol = ProtocolConnection::new(parameters, job.callbacks(bodies), || ());
    drive(&protocol, transport);
    job.assert_done(bodies);
}

fn connect(parameters: &ConnectionParameters) -> TcpStream {
    TcpStream::connect((parameters.host(), parameters.port())).expect("the broker")
}

#[test]
fn over_tcp() {
    let parameters = support::broker();
    let stream = connect(&parameters);
    carries(parameters, &bodies(), stream);
}

#[test]
fn over_tcp_byte_by_byte() {
    let parameters = support::broker();
    let stream = connect(&parameters);
    stream.set_nodelay(true).expect("an option");
    carries(parameters, &[b"one".to_vec(), vec![8; 9000]], ByteByByte(stream));
}

/// Somebody carries what is said to the broker.
#[test]
fn over_a_unix_socket_pair() {
    let parameters = support::broker();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let stream = connect(&parameters);
    let (mut to, mut from) = (stream.try_clone().expect("a clone"), stream);
    let (mut there, mut back) = (theirs.try_clone().expect("a clone"), theirs);
    let outward = thread::spawn(move || {
        drop(io::copy(&mut there, &mut to));
        drop(to.shutdown(Shutdown::Both));
    });
    let inward = thread::spawn(move || drop(io::copy(&mut from, &mut back)));
    carries(parameters, &bodies(), ours);
    outward.join().expect("no panic");
    inward.join().expect("no panic");
}

/// Of which the connection knows nothing.
#[cfg(feature = "tls")]
#[test]
fn over_tls_of_the_hosts() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
    use std::sync::Arc;

    let mut parameters = support::tls::broker();
    let stream = connect(&parameters);
    parameters.set_tls(None);
    let authority = CertificateDer::from_pem_file(support::tls::file("ca.pem"));
    let mut roots = RootCertStore::empty();
    roots.add(authority.expect("a certificate")).expect("an authority's");
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows them")
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = ServerName::try_from(parameters.host().to_owned()).expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a configuration");
    carries(parameters, &bodies(), StreamOwned::new(session, stream));
}

//! TLS between a stream and its socket, without I/O: sealed bytes in, plain ones out, and back.
//!
//! rustls' unbuffered interface lets both work in buffers of the loop: a connection at rest has
//! none of its own. How they are used is [`traffic`]'s.

mod causes;
mod handshake;
#[cfg(test)]
mod tests;
mod traffic;

use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};

pub(super) use handshake::TlsHandshake;

use crate::connection::Output;
use crate::error::TlsError;

/// What one record carries at most (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;
/// More than what a record adds to it: header, nonce, type and tag.
const WRAPPING: usize = 64;
/// Room for that many full records, and for one to be put together in: what is sealed for one write.
pub(crate) const SEALING_SPACE: usize = 8 * (RECORD + WRAPPING) + RECORD;
/// Room for TLS's own: a key update before the records, a close_notify.
const OWN: usize = 512;
/// How many pieces of output make up one record at most.
const SLICES: usize = 16;

/// One TLS session, of a client.
pub(crate) struct Tls {
    connection: UnbufferedClientConnection,
    /// Sealed bytes that have come and are of no use yet: a record, or a message in records, of
    /// which the rest is missing. rustls remembers places in it: it is shown whole at each call.
    incoming: Vec<u8>,
    /// rustls has plain bytes that nobody has taken.
    early: bool,
    /// Sealed bytes that the socket has not taken.
    unsent: BytesMut,
    /// A record has come: whoever is there speaks TLS.
    heard: bool,
    /// The peer has said that nothing more comes.
    finished: bool,
    /// It has ended with this, and rustls must not be asked for anything any more.
    failed: Option<TlsError>,
}

impl Tls {
    /// Begins a session: the ClientHello is [unsent](Self::unsent).
    pub(crate) fn start(
        config: Arc<ClientConfig>,
        server_name: ServerName<'static>,
    ) -> Result<Self, TlsError> {
        let connection = UnbufferedClientConnection::new(config, server_name)
            .map_err(|error| causes::tls_error(error, &[]))?;
        let mut tls = Self {
            connection,
            incoming: Vec::new(),
            early: false,
            unsent: BytesMut::new(),
            heard: false,
            finished: false,
            failed: None,
        };
        tls.open(&mut [], &mut []).result?;
        Ok(tls)
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the peer has closed in order.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether plain bytes have come with the end of the handshake, for the next
    /// [`open`](Self::open).
    pub(crate) fn has_early(&self) -> bool {
        self.early
    }

    /// Moves what has come and is not opened to the front of a buffer; gives its length.
    ///
    /// # Errors
    /// If that leaves no room for more, which would never be opened then.
    fn put_incoming(&mut self, buffer: &mut [u8]) -> Result<usize, TlsError> {
        let incoming = mem::take(&mut self.incoming);
        let count = incoming.len();
        if count >= buffer.len() {
            let endless = TlsError::Protocol("a handshake message without end".into());
            return Err(self.failed.insert(endless).clone());
        }
        buffer[..count].copy_from_slice(&incoming);
        Ok(count)
    }

    /// Opens all that is whole in `sealed`, which begins with what was kept of the last time, into
    /// `plain`; keeps the rest. What is plain and comes with the end of the handshake, comes the next
    /// time: `plain` must have room for a record more than `sealed`.
    ///
    /// Records before one that is wrong are opened all the same. After an error the alert that
    /// tells the peer is unsent, and nothing else can be done.
    fn open(&mut self, mut sealed: &mut [u8], plain: &mut [u8]) -> Opened {
        if let Some(error) = &self.failed {
            return Opened { count: 0, result: Err(error.clone()) };
        }
        let handshaking = self.is_handshaking();
        self.early = false;
        let mut count = 0;
        let result = loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(sealed);
            let go_on = match state {
                Ok(ConnectionState::ReadTraffic(_)) if handshaking => {
                    self.early = true;
                    false
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    // Nothing but in-place decryption could fail here, which is yet to come.
                    while let Some(Ok(record)) = traffic.next_record() {
                        plain[count..][..record.payload.len()].copy_from_slice(record.payload);
                        count += record.payload.len();
                        discard += record.discard;
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.unsent);
                    true
                }
                // It is, as far as rustls is concerned.
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    true
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.finished = true;
                    false
                }
                Ok(_) => false,
                Err(error) => {
                    let cause = causes::tls_error(error, if self.heard { &[] } else { sealed });
                    self.take_alert(&mut sealed[discard..]);
                    self.failed = Some(cause.clone());
                    break Err(cause);
                }
            };
            self.heard |= discard > 0;
            sealed = &mut sealed[discard..];
            if !go_on {
                break Ok(());
            }
        };
        if result.is_ok() && !self.finished {
            self.incoming.extend_from_slice(sealed);
        }
        Opened { count, result }
    }

    /// Takes the alert that an error has left, and nothing more: rustls would look at the same
    /// bytes again.
    fn take_alert(&mut self, sealed: &mut [u8]) {
        let status = self.connection.process_tls_records(sealed);
        if let Ok(ConnectionState::EncodeTlsData(data)) = status.state {
            encode(data, &mut self.unsent);
        }
    }

    /// Seals the front of `output` into `space`, as few records as possible; gives how many bytes
    /// of that to send. What does not fit is left.
    ///
    /// # Errors
    /// If nothing may be sent any more: TLS has failed, or, of TLS 1.2, its keys have served for as
    /// much as they may.
    fn seal(&mut self, output: &mut Output, space: &mut [u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let (sealed, joined) = space.split_at_mut(SEALING_SPACE - RECORD);
        let status = self.connection.process_tls_records(&mut self.incoming);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
            // `open` has left nothing else to do, and output comes after the handshake.
            return Err(io::Error::other("TLS is not ready for output"));
        };
        let mut filled = 0;
        while !output.is_empty() {
            let room = (sealed.len() - filled) / (RECORD + WRAPPING) * RECORD;
            if room == 0 {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = output.slices(&mut slices);
            let plain = front(&slices[..used], joined, room);
            match traffic.encrypt(plain, &mut sealed[filled..]) {
                Ok(count) => filled += count,
                // Something of TLS's own has come before it.
                Err(EncryptError::InsufficientSize(_)) if filled > 0 => break,
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
            let taken = plain.len();
            output.advance(taken);
        }
        Ok(filled)
    }

    /// Says that nothing more will come from here. Nothing is asked of it after that.
    fn close(&mut self) {
        if self.failed.is_some() || self.is_handshaking() {
            return;
        }
        let status = self.connection.process_tls_records(&mut self.incoming);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
            let mut own = [0; OWN];
            if let Ok(count) = traffic.queue_close_notify(&mut own) {
                self.unsent.extend_from_slice(&own[..count]);
            }
        }
    }
}

/// What [`Tls::open`] came to.
struct Opened {
    /// How many bytes are plain now.
    count: usize,
    result: Result<(), TlsError>,
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, unsent: &mut BytesMut) {
    let at = unsent.len();
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        unsent.resize(at + size.required_size, 0);
        let encoded = data.encode(&mut unsent[at..]);
        debug_assert!(encoded.is_ok(), "it has the size that it asked for");
    }
}

/// What goes into the next records, at most `room` bytes: the first of the slices if it fills some
/// or is all there is, else one record's worth of them, joined.
fn front<'a>(slices: &'a [IoSlice<'_>], joined: &'a mut [u8], room: usize) -> &'a [u8] {
    match slices {
        [only] => &only[..only.len().min(room)],
        [first, ..] if first.len() >= RECORD => {
            let whole = first.len() - first.len() % RECORD;
            &first[..whole.min(room)]
        }
        several => {
            let mut filled = 0;
            for slice in several {
                let count = slice.len().min(joined.len() - filled);
                joined[filled..][..count].copy_from_slice(&slice[..count]);
                filled += count;
            }
            &joined[..filled]
        }
    }
}

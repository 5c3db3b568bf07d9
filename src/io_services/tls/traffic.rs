//! A stream's reads and writes through TLS.

use std::io::{self, IoSlice};

use bytes::Buf;

use super::{RECORD, Tls};
use crate::connection::Output;
use crate::error::{StreamLost, TlsError};
use crate::io_services::Stream;
use crate::io_services::stream::Received;

impl Stream {
    /// Reads once: sealed bytes into the back of `space`, which are plain in the front then. What is
    /// whole never waits for another read.
    pub(in crate::io_services) fn read_tls(&self, tls: &mut Tls, space: &mut [u8]) -> Received {
        if tls.is_finished() {
            return StreamLost::EndOfStream.into();
        }
        let (plain, sealed) = space.split_at_mut((space.len() / 2 + RECORD).min(space.len()));
        let kept = match tls.put_incoming(sealed) {
            Ok(kept) => kept,
            Err(error) => return StreamLost::Tls(error).into(),
        };
        let received = self.receive(&mut sealed[kept..]);
        let opened = tls.open(&mut sealed[..kept + received.count], plain);
        // Such as an alert, or what the handshake needs next.
        if !self.is_blocked() {
            self.note_written(self.send_unsent(tls));
        }
        let lost = match (opened.result, received.lost) {
            (Err(error), _) => Some(StreamLost::Tls(error)),
            (Ok(()), _) if tls.is_finished() => Some(StreamLost::EndOfStream),
            (Ok(()), Some(StreamLost::EndOfStream)) => Some(TlsError::Truncated.into()),
            (Ok(()), lost) => lost,
        };
        Received { count: opened.count, blocked: received.blocked, lost }
    }

    pub(in crate::io_services) fn write_tls(
        &self,
        tls: &mut Tls,
        output: &mut Output,
    ) -> io::Result<()> {
        self.send_unsent(tls)?;
        if output.is_empty() {
            return Ok(());
        }
        let Some(services) = self.services.upgrade() else { return Ok(()) };
        let mut space = services.core().take_sealing_space();
        let written = self.seal_and_send(tls, output, &mut space);
        services.core().put_sealing_space(space);
        written
    }

    fn seal_and_send(
        &self,
        tls: &mut Tls,
        output: &mut Output,
        space: &mut [u8],
    ) -> io::Result<()> {
        while !output.is_empty() {
            let count = tls.seal(output, space)?;
            let mut sealed = &space[..count];
            while !sealed.is_empty() {
                match self.send(&[IoSlice::new(sealed)]) {
                    Ok(sent) => sealed.advance(sent),
                    Err(error) => {
                        tls.unsent.extend_from_slice(sealed);
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    fn send_unsent(&self, tls: &mut Tls) -> io::Result<()> {
        while !tls.unsent.is_empty() {
            let sent = self.send(&[IoSlice::new(&tls.unsent)])?;
            tls.unsent.advance(sent);
        }
        // A connection at rest keeps no memory for what may leave.
        tls.unsent = bytes::BytesMut::new();
        Ok(())
    }

    /// Says goodbye, if the socket takes it at once.
    pub(in crate::io_services) fn close_tls(&self, tls: &mut Tls) {
        tls.close();
        drop(self.send_unsent(tls));
    }
}

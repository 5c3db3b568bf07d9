//! Buffers that the connections of a loop share: those that are idle have none.

use std::cell::Cell;
use std::sync::Arc;

use super::core::LoopCore;
#[cfg(feature = "tls")]
use crate::io_services::SEALING_SPACE;

/// One read buffer serves all connections of a loop.
const READ_BUFFER: usize = 256 * 1024;

/// The largest output buffer that is kept for later.
const WRITE_BUFFER_MAX: usize = 1024 * 1024;

#[derive(Default)]
pub(super) struct Buffers {
    read: Cell<Option<Arc<[u8]>>>,
    /// An empty output buffer, for the next connection that has something to send.
    write: Cell<Vec<u8>>,
    /// Where TLS seals what is about to be written.
    #[cfg(feature = "tls")]
    sealing_space: Cell<Box<[u8]>>,
}

impl Buffers {
    pub(super) fn clear(&self) {
        self.read.set(None);
        #[cfg(feature = "tls")]
        self.sealing_space.take();
    }
}

impl LoopCore {
    /// The loop's read buffer, whose length is what a read may take. Whoever takes it may write to
    /// it (by [`Arc::get_mut`]) and slice it, and gives it back after.
    pub(crate) fn take_read_buffer(&self) -> Arc<[u8]> {
        let kept = self.buffers.read.take();
        kept.unwrap_or_else(|| std::iter::repeat_n(0, READ_BUFFER).collect())
    }

    /// Gives the buffer back. One of which a slice was kept is left to the slice.
    pub(crate) fn put_read_buffer(&self, mut buffer: Arc<[u8]>) {
        if Arc::get_mut(&mut buffer).is_some() && !self.is_detached() {
            self.buffers.read.set(Some(buffer));
        }
    }

    /// An empty buffer, with the capacity that it last had if nobody has taken it since.
    pub(crate) fn take_write_buffer(&self) -> Vec<u8> {
        self.buffers.write.take()
    }

    /// Takes an empty buffer back. One that a burst has blown up is let go; of others the larger
    /// one is kept.
    pub(crate) fn put_write_buffer(&self, buffer: Vec<u8>) {
        let kept = self.buffers.write.take();
        let better = (kept.capacity()..=WRITE_BUFFER_MAX).contains(&buffer.capacity());
        self.buffers.write.set(if better { buffer } else { kept });
    }

    /// Room to seal output in, to be given back with nothing of worth in it.
    #[cfg(feature = "tls")]
    pub(crate) fn take_sealing_space(&self) -> Box<[u8]> {
        let space = self.buffers.sealing_space.take();
        if space.is_empty() { vec![0; SEALING_SPACE].into() } else { space }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn put_sealing_space(&self, space: Box<[u8]>) {
        self.buffers.sealing_space.set(space);
    }
}

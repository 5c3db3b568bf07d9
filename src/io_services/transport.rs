//! What a connection runs over, as the connection sees it.

use super::{Received, Stream, Traffic};
use crate::connection::Output;
use crate::error::IoError;

/// What a connection runs over: a [`Stream`], or what the program drives itself, which gives what has
/// come and takes what is to be sent when it likes.
pub(crate) trait Transport {
    /// Reads once.
    fn read(&self, space: &mut [u8]) -> Received {
        let _ = space;
        Received { blocked: true, ..Received::default() }
    }

    /// Writes what it can of the output, or sees that somebody comes for it.
    fn write(&self, output: &mut Output) -> Result<(), ()>;

    /// Whether it need not be asked to write: nothing more is taken for now, or somebody comes for
    /// what waits.
    fn is_blocked(&self) -> bool;

    /// Whether a write has failed, and nobody has taken its error yet.
    fn has_failed(&self) -> bool {
        false
    }

    /// The error that a write ended with, once.
    fn take_write_error(&self) -> Option<IoError> {
        None
    }

    fn counters(&self) -> Traffic;

    /// The connection has ended.
    fn close(&self);
}

impl Transport for Stream {
    fn read(&self, space: &mut [u8]) -> Received {
        self.read(space)
    }

    fn write(&self, output: &mut Output) -> Result<(), ()> {
        self.write(output)
    }

    fn is_blocked(&self) -> bool {
        self.is_blocked()
    }

    fn has_failed(&self) -> bool {
        self.has_failed()
    }

    fn take_write_error(&self) -> Option<IoError> {
        self.take_write_error()
    }

    fn counters(&self) -> Traffic {
        self.counters()
    }

    fn close(&self) {
        self.close();
    }
}

//! A connected byte stream on any loop: reads into the loop's buffer, writes what waits in one
//! vectored call, watches for writability only while the socket does not take more.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use socket2::Socket;

#[cfg(feature = "tls")]
use super::tls::Tls;
use super::{FdHandler, FdKey, Interest, Ready, Services, WeakServices};
use crate::connection::Output;
use crate::error::{IoError, StreamLost};

/// How many slices one vectored write takes. The kernel allows 1,024; past some dozens, one call
/// more costs nothing beside the bytes it moves.
const SLICES: usize = 64;

/// How many reads a socket is emptied by before it is closed, at most: of 4 MiB.
const DISCARDS: usize = 256;

/// What a read came to.
#[derive(Default)]
pub(crate) struct Received {
    /// So many bytes have come.
    pub(crate) count: usize,
    /// Nothing more is there for now.
    pub(crate) blocked: bool,
    /// Nothing will come behind them any more.
    pub(crate) lost: Option<StreamLost>,
}

impl From<StreamLost> for Received {
    fn from(cause: StreamLost) -> Self {
        Self { lost: Some(cause), ..Self::default() }
    }
}

/// What lies between a stream and its socket.
pub(super) enum Layer {
    Plain,
    #[cfg(feature = "tls")]
    Tls(Box<RefCell<Tls>>),
}

/// What a connection is to run over.
pub(crate) enum Connected {
    Plain(OwnedFd),
    /// TLS is negotiated.
    #[cfg(feature = "tls")]
    Secured(Rc<Stream>),
}

impl Connected {
    /// The stream, which serves that owner from now on.
    pub(crate) fn serve(
        self,
        services: &Services,
        owner: Weak<dyn StreamOwner>,
    ) -> io::Result<Rc<Stream>> {
        match self {
            Self::Plain(socket) => Stream::open(services, socket, Layer::Plain, owner),
            #[cfg(feature = "tls")]
            Self::Secured(stream) => {
                stream.owner.replace(owner);
                Ok(stream)
            }
        }
    }
}

/// Whoever a stream serves.
pub(crate) trait StreamOwner {
    /// There is something to [`read`](Stream::read). Returns whether reading was seen to block.
    fn readable(&self, stream: &Stream) -> bool;
    /// The socket takes more, after it did not.
    fn writable(&self);
}

/// What has gone through a stream so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traffic {
    /// Bytes read.
    pub(crate) bytes_received: u64,
    /// Bytes written.
    pub(crate) bytes_sent: u64,
    /// System calls that read.
    pub(crate) reads: u64,
    /// System calls that wrote.
    pub(crate) writes: u64,
}

pub(crate) struct Stream {
    socket: Socket,
    layer: Layer,
    pub(super) services: WeakServices,
    key: Cell<Option<FdKey>>,
    owner: RefCell<Weak<dyn StreamOwner>>,
    /// The socket takes nothing at the moment; write interest is on.
    blocked: Cell<bool>,
    /// Nothing can be written any more.
    broken: Cell<bool>,
    write_error: RefCell<Option<IoError>>,
    counters: Cell<Traffic>,
}

impl Stream {
    /// Takes a connected socket, and watches it until [`close`](Self::close).
    pub(super) fn open(
        services: &Services,
        socket: OwnedFd,
        layer: Layer,
        owner: Weak<dyn StreamOwner>,
    ) -> io::Result<Rc<Self>> {
        let stream = Rc::new(Self {
            socket: socket.into(),
            layer,
            services: services.downgrade(),
            key: Cell::new(None),
            owner: RefCell::new(owner),
            blocked: Cell::new(false),
            broken: Cell::new(false),
            write_error: RefCell::new(None),
            counters: Cell::default(),
        });
        #[cfg(target_vendor = "apple")]
        stream.socket.set_nosigpipe(true)?;
        stream.key.set(Some(services.add_own_fd(Interest::READ, stream.clone())?));
        Ok(stream)
    }

    /// Whether TLS is not negotiated yet, and nothing can be written.
    #[cfg(feature = "tls")]
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(&self.layer, Layer::Tls(tls) if tls.borrow().is_handshaking())
    }

    /// Whether there is something to read that the socket will not tell of.
    pub(crate) fn has_pending(&self) -> bool {
        match &self.layer {
            Layer::Plain => false,
            #[cfg(feature = "tls")]
            Layer::Tls(tls) => tls.borrow().has_early(),
        }
    }

    fn owner(&self) -> Option<Rc<dyn StreamOwner>> {
        self.owner.borrow().upgrade()
    }

    /// Whether the socket takes nothing more for now: `writable` will come.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    pub(crate) fn counters(&self) -> Traffic {
        self.counters.get()
    }

    /// Whether a write has failed, and nobody has taken its error yet.
    pub(crate) fn has_failed(&self) -> bool {
        self.write_error.borrow().is_some()
    }

    /// The error that a write ended with, once.
    pub(crate) fn take_write_error(&self) -> Option<IoError> {
        self.write_error.take()
    }

    /// Reads once.
    pub(crate) fn read(&self, space: &mut [u8]) -> Received {
        match &self.layer {
            Layer::Plain => self.receive(space),
            #[cfg(feature = "tls")]
            Layer::Tls(tls) => self.read_tls(&mut tls.borrow_mut(), space),
        }
    }

    /// Reads from the socket, once.
    pub(super) fn receive(&self, space: &mut [u8]) -> Received {
        if space.is_empty() {
            return Received::default();
        }
        let received = loop {
            match (&self.socket).read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received,
            }
        };
        let mut counters = self.counters.get();
        counters.reads += 1;
        counters.bytes_received += received.as_ref().map_or(0, |count| *count as u64);
        self.counters.set(counters);
        match received {
            Ok(0) => StreamLost::EndOfStream.into(),
            Ok(count) => Received { count, blocked: count < space.len(), lost: None },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Received { blocked: true, ..Received::default() }
            }
            Err(error) => StreamLost::Io(error.into()).into(),
        }
    }

    /// Writes until nothing waits or the socket takes no more; then the rest leaves when
    /// `writable` comes. After an error, which [`take_write_error`](Self::take_write_error) gives,
    /// output is thrown away.
    pub(crate) fn write(&self, output: &mut Output) -> Result<(), ()> {
        let written = match &self.layer {
            _ if self.broken.get() => Ok(()),
            Layer::Plain => self.write_plain(output),
            #[cfg(feature = "tls")]
            Layer::Tls(tls) => self.write_tls(&mut tls.borrow_mut(), output),
        };
        self.note_written(written);
        if self.broken.get() {
            return Err(());
        }
        Ok(())
    }

    fn write_plain(&self, output: &mut Output) -> io::Result<()> {
        while !output.is_empty() {
            let sent = match output.in_one() {
                Some(all) => self.send(&[IoSlice::new(all)])?,
                None => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let used = output.slices(&mut slices);
                    self.send(&slices[..used])?
                }
            };
            output.advance(sent);
        }
        Ok(())
    }

    /// Waits for the socket if it has refused a write; keeps the error if it has failed.
    pub(super) fn note_written(&self, written: io::Result<()>) {
        match written {
            Ok(()) => self.set_blocked(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.set_blocked(true),
            Err(error) => {
                self.broken.set(true);
                self.write_error.replace(Some(error.into()));
                self.set_blocked(false);
            }
        }
    }

    /// Writes to the socket, once.
    pub(super) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // A peer that is gone must be an error here, not a signal that ends the process.
        #[cfg(not(target_vendor = "apple"))]
        let flags = SendFlags::NOSIGNAL;
        #[cfg(target_vendor = "apple")]
        let flags = SendFlags::empty();
        let sent = loop {
            match sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), flags) {
                Err(rustix::io::Errno::INTR) => {}
                sent => break sent,
            }
        };
        let mut counters = self.counters.get();
        counters.writes += 1;
        counters.bytes_sent += sent.map_or(0, |count| count as u64);
        self.counters.set(counters);
        Ok(sent?)
    }

    fn set_blocked(&self, blocked: bool) {
        if self.blocked.replace(blocked) == blocked {
            return;
        }
        let (Some(services), Some(key)) = (self.services.upgrade(), self.key.get()) else { return };
        let interest = if blocked { Interest::READ | Interest::WRITE } else { Interest::READ };
        if let Err(error) = services.modify_fd(key, interest) {
            self.broken.set(true);
            self.write_error.replace(Some(error.into()));
        }
    }

    /// Says that no more will be sent, and throws away what has come meanwhile: the system resets a
    /// connection that is closed with something unread, and then what was sent last, CloseOk say,
    /// may never be read. It does not wait, and a peer that floods us is left all the same.
    fn hang_up(&self) {
        // Where it fails, the peer is gone.
        drop(self.socket.shutdown(Shutdown::Write));
        let mut space = [0; 16 * 1024];
        for _ in 0..DISCARDS {
            match (&self.socket).read(&mut space) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
    }

    /// Takes the socket off the loop. It closes when nobody uses it any more, at the latest when
    /// the loop has left this stream's handler.
    pub(crate) fn close(&self) {
        if !self.broken.get() {
            #[cfg(feature = "tls")]
            if let Layer::Tls(tls) = &self.layer {
                self.close_tls(&mut tls.borrow_mut());
            }
            self.hang_up();
        }
        self.broken.set(true);
        if let (Some(key), Some(services)) = (self.key.take(), self.services.upgrade()) {
            services.remove_fd(key);
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl FdHandler for Stream {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        let (Some(services), Some(owner)) = (self.services.upgrade(), self.owner()) else {
            self.close();
            return ready;
        };
        let _batch = services.core().batch();
        let mut blocked = Ready::NONE;
        if self.blocked.get() && ready.contains(Ready::WRITE) {
            owner.writable();
        }
        if !ready.contains(Ready::WRITE) || self.blocked.get() {
            // Asked for or not: nothing is to be written, or the socket has just refused it.
            blocked |= ready & Ready::WRITE;
        }
        if ready.contains(Ready::READ) && self.key.get().is_some() && owner.readable(&self) {
            blocked |= Ready::READ;
        }
        blocked
    }
}

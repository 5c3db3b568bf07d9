//! Negotiating TLS on a socket that has just connected.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::Tls;
use crate::connection::{Limit, Output, TlsOptions};
use crate::error::{StreamLost, TlsError};
use crate::io_services::stream::{Layer, Stream, StreamOwner};
use crate::io_services::{Services, WeakServices};
use crate::ioloop::TimerId;

type Done = Box<dyn FnOnce(Result<Rc<Stream>, TlsError>)>;

/// A handshake under way. Dropping it closes the socket, and drops `done` uncalled.
pub(in crate::io_services) struct TlsHandshake(Rc<Handshake>);

struct Handshake {
    services: WeakServices,
    /// It watches the socket, and is handed on when it is ready for plain bytes.
    stream: RefCell<Option<Rc<Stream>>>,
    timer: Cell<Option<TimerId>>,
    /// `None` once it has ended.
    done: RefCell<Option<Done>>,
}

impl TlsHandshake {
    /// Starts it with the server of that host. `done` is called once, from the loop, never from
    /// inside this call.
    pub(in crate::io_services) fn start(
        services: &Services,
        socket: OwnedFd,
        options: &TlsOptions,
        host: &str,
        limit: Option<Limit>,
        done: impl FnOnce(Result<Rc<Stream>, TlsError>) + 'static,
    ) -> Self {
        let handshake = Rc::new(Handshake {
            services: services.downgrade(),
            stream: RefCell::new(None),
            timer: Cell::new(None),
            done: RefCell::new(Some(Box::new(done))),
        });
        if let Err(error) = handshake.begin(services, socket, options, host) {
            let weak = Rc::downgrade(&handshake);
            services.add_callback(move || finish(&weak, Err(error)));
        } else if let Some(Limit { limit, at }) = limit {
            let weak = Rc::downgrade(&handshake);
            let too_late = move || finish(&weak, Err(TlsError::TimedOut { limit }));
            handshake.timer.set(Some(services.add_timeout(at, too_late)));
        }
        Self(handshake)
    }
}

impl Drop for TlsHandshake {
    fn drop(&mut self) {
        if let Some((_, Some(stream))) = self.0.end() {
            stream.close();
        }
    }
}

fn finish(handshake: &Weak<Handshake>, result: Result<(), TlsError>) {
    if let Some(handshake) = handshake.upgrade() {
        handshake.finish(result);
    }
}

impl Handshake {
    fn begin(
        self: &Rc<Self>,
        services: &Services,
        socket: OwnedFd,
        options: &TlsOptions,
        host: &str,
    ) -> Result<(), TlsError> {
        let (config, server_name) = options.for_host(host)?;
        let layer = Layer::Tls(Box::new(RefCell::new(Tls::start(config, server_name)?)));
        let owner: Weak<dyn StreamOwner> = Rc::<Self>::downgrade(self);
        let stream = Stream::open(services, socket, layer, owner)
            .map_err(|error| TlsError::Io(error.into()))?;
        write(&stream);
        self.stream.replace(Some(stream));
        Ok(())
    }

    /// Leaves nothing with the loop but the stream, and gives what is left.
    fn end(&self) -> Option<(Done, Option<Rc<Stream>>)> {
        let done = self.done.take()?;
        if let (Some(timer), Some(services)) = (self.timer.take(), self.services.upgrade()) {
            services.remove_timeout(timer);
        }
        Some((done, self.stream.take()))
    }

    fn finish(&self, result: Result<(), TlsError>) {
        let Some((done, stream)) = self.end() else { return };
        match (result, stream) {
            (Ok(()), Some(stream)) => done(Ok(stream)),
            (Ok(()), None) => {}
            (Err(error), stream) => {
                stream.inspect(|stream| stream.close());
                done(Err(error));
            }
        }
    }
}

impl StreamOwner for Handshake {
    fn readable(&self, stream: &Stream) -> bool {
        let Some(services) = self.services.upgrade() else { return true };
        let core = services.core();
        let mut buffer = core.take_read_buffer();
        let Some(space) = Arc::get_mut(&mut buffer) else {
            unreachable!("the read buffer is kept only while nobody shares it");
        };
        let received = stream.read(space);
        core.put_read_buffer(buffer);
        let result = match received.lost {
            None if stream.is_handshaking() => return received.blocked,
            None => Ok(()),
            Some(StreamLost::EndOfStream) => Err(TlsError::Truncated),
            Some(StreamLost::Io(error)) => Err(TlsError::Io(error)),
            Some(StreamLost::Tls(error)) => Err(error),
        };
        drop(core.call_user(|| self.finish(result)));
        false
    }

    fn writable(&self) {
        let stream = self.stream.borrow().clone();
        if let Some(stream) = stream {
            write(&stream);
        }
    }
}

/// Writes what TLS has to say. Of an error the read that follows it tells more: the peer may have
/// said why before it went.
fn write(stream: &Stream) {
    let _ = stream.write(&mut Output::default());
}

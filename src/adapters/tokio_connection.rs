//! A connection on tokio: a `LocalSet`, or a local runtime, of one thread.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::net::UnixDatagram;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, sleep_until};

use super::driver::{Driver, Reactor, Woken};
use super::foreign::{Foreign, Host, Watched};
use crate::connection::{ConnectionCallbacks, ConnectionWorkflow};
use crate::io_services::{Ready, Services};

foreign_connection! {
    /// A connection driven by tokio.
    ///
    /// ```no_run
    /// use haypile::{ConnectionCallbacks, ConnectionParameters, TokioConnection};
    /// use tokio::{runtime, sync::oneshot, task::LocalSet};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    /// LocalSet::new().block_on(&runtime, async {
    ///     let (done, closed) = oneshot::channel();
    ///     let callbacks = ConnectionCallbacks::new()
    ///         .on_open(|connection| connection.close(200, "bye").expect("it is open"))
    ///         .on_close(move |_, reason| drop(done.send(reason)));
    ///     let parameters: ConnectionParameters = "amqp://localhost".parse()?;
    ///     let _connection = TokioConnection::new(parameters, callbacks);
    ///     println!("{}", closed.await?);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// With the feature `futures`, `TokioConnection::new(parameters, callbacks).opened().await` gives
    /// one whose requests are futures: see `haypile::futures`.
    ///
    /// Dropping it closes nothing: the `LocalSet` owns the connection until it has ended.
    pub struct TokioConnection;
}

impl TokioConnection {
    /// Starts to connect, on services of its own. Whatever happens is told to the callbacks.
    ///
    /// # Panics
    /// As [`TokioServices::attach`].
    pub fn new(workflow: impl Into<ConnectionWorkflow>, callbacks: ConnectionCallbacks) -> Self {
        Self::with_services(workflow, callbacks, &TokioServices::attach())
    }

    /// The runtime that drives it. `None`: its services were detached, or are those of another loop.
    pub fn runtime(&self) -> Option<Handle> {
        Foreign::<TokioServices>::of(&self.services, |host| host.runtime.clone())
    }
}

/// [`IoServices`](crate::IoServices) over tokio: one task for all descriptors, timers and callbacks.
///
/// They live as long as somebody holds them or a connection runs on them, and no longer than the
/// `LocalSet`. An error that makes nothing readable, as a datagram socket may have, tokio does not tell
/// to who watches for reading alone. Their clock is the system's: while tokio's is paused and runs ahead
/// of it, they wait for a timer without a sleep.
pub struct TokioServices {
    woken: Arc<Woken>,
    runtime: Handle,
}

impl TokioServices {
    /// Services on the `LocalSet` or local runtime that is running.
    ///
    /// # Panics
    /// Outside of one, as tokio's `spawn_local` does, and on a runtime that was built without its time
    /// or I/O (`enable_all` gives both).
    #[must_use = "services that nobody holds, nor a connection, are gone at once"]
    pub fn attach() -> Services {
        // Now, in tokio's words, and not later in a callback: these panic without the one or the other.
        drop((sleep(Duration::ZERO), UnixDatagram::unbound()));
        let (services, mut driver) =
            Driver::new(|woken| Self { woken, runtime: Handle::current() });
        tokio::task::spawn_local(async move {
            while (&mut driver).await {
                // Also the program's main future, which a wake from elsewhere would not let run.
                tokio::task::yield_now().await;
            }
        });
        services
    }
}

impl Host for TokioServices {
    type Fd = Rc<Watch>;

    fn watch(&self, watched: &Rc<Watched<Self>>) -> io::Result<Rc<Watch>> {
        let _runtime = self.runtime.enter();
        // SAFETY: by its contract a handler owns its descriptor, and always gives the same one;
        // `Watched` keeps the handler.
        #[allow(unsafe_code)]
        let io = unsafe { AsyncFd::register(Rc::clone(watched)) }?;
        let watch = Watch { io, waker: self.woken.waker(watched.key) };
        watch.wait();
        Ok(Rc::new(watch))
    }

    fn change(&self, watch: &Rc<Watch>, _: &Watched<Self>) -> io::Result<()> {
        watch.wait();
        Ok(())
    }

    fn set_timer(&self, _: Option<Instant>) {
        self.defer(); // each turn asks the core for its deadline
    }

    fn defer(&self) {
        self.woken.turn();
    }
}

impl Drop for TokioServices {
    fn drop(&mut self) {
        self.woken.turn(); // for the driver to end
    }
}

impl Reactor for TokioServices {
    type Timer = Pin<Box<Sleep>>;

    fn timer(deadline: Instant) -> Self::Timer {
        Box::pin(sleep_until(deadline.into()))
    }

    fn reset(timer: &mut Self::Timer, deadline: Instant) {
        timer.as_mut().reset(deadline.into());
    }

    fn dispatch(services: &Foreign<Self>, key: usize) {
        if let Some(watch) = services.look(key, |watch, _| Rc::clone(watch)) {
            watch.dispatch();
        }
    }
}

/// A descriptor. The runtime tells of an edge, and takes it as ready until it is told otherwise.
pub(super) struct Watch {
    io: AsyncFd<Rc<Watched<TokioServices>>>,
    waker: Waker,
}

impl Watch {
    fn dispatch(&self) {
        let context = &mut Context::from_waker(&self.waker);
        let interest = self.io.get_ref().interest();
        let read = interest.contains(Ready::READ).then(|| self.io.poll_read_ready(context));
        let write = interest.contains(Ready::WRITE).then(|| self.io.poll_write_ready(context));
        // An error here means that the runtime is shutting down.
        let (mut read, mut write) = (read.and_then(at_once), write.and_then(at_once));
        let hung_up = write.as_ref().is_some_and(|write| write.ready().is_write_closed());
        let found = Ready::READ.when(read.is_some()) | Ready::WRITE.when(write.is_some());
        let ready = if hung_up { interest | Ready::ERROR } else { found };
        if ready.is_empty() {
            return;
        }
        let blocked = self.io.get_ref().on_ready(ready);
        if let Some(read) = read.as_mut().filter(|_| blocked.contains(Ready::READ)) {
            read.clear_ready_matching(tokio::io::Ready::READABLE);
        }
        if let Some(write) = write.as_mut().filter(|_| blocked.contains(Ready::WRITE)) {
            write.clear_ready_matching(tokio::io::Ready::WRITABLE);
        }
        self.wait();
    }

    /// Has the driver woken when it is ready.
    fn wait(&self) {
        let context = &mut Context::from_waker(&self.waker);
        let interest = self.io.get_ref().interest();
        let read = interest.contains(Ready::READ) && self.io.poll_read_ready(context).is_ready();
        let write = interest.contains(Ready::WRITE) && self.io.poll_write_ready(context).is_ready();
        if read || write {
            self.waker.wake_by_ref();
        }
    }
}

fn at_once<T>(polled: Poll<io::Result<T>>) -> Option<T> {
    match polled {
        Poll::Ready(result) => result.ok(),
        Poll::Pending => None,
    }
}

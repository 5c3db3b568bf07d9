//! A connection on async-io, the reactor of smol, and on whatever executor runs its driver.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use async_io::{Async, Timer};

use super::driver::{Driver, Reactor, Woken};
use super::foreign::{Foreign, Host, Watched};
use crate::connection::{ConnectionCallbacks, ConnectionWorkflow};
use crate::io_services::{Ready, Services};

foreign_connection! {
    /// A connection driven by async-io.
    ///
    /// ```no_run
    /// use haypile::{AsyncIoConnection, ConnectionCallbacks, ConnectionParameters};
    ///
    /// let callbacks = ConnectionCallbacks::new()
    ///     .on_open(|connection| connection.close(200, "bye").expect("it is open"))
    ///     .on_close(|_, reason| println!("{reason}"));
    /// let parameters: ConnectionParameters = "amqp://localhost".parse()?;
    /// let (connection, driver) = AsyncIoConnection::new(parameters, callbacks);
    /// // The driver ends with the last connection, once nobody holds the services.
    /// drop(connection);
    /// async_io::block_on(driver);
    /// # Ok::<(), haypile::Error>(())
    /// ```
    ///
    /// A program that has an executor has it run the driver, beside all else:
    ///
    /// ```no_run
    /// # let parameters = haypile::ConnectionParameters::new("broker.example");
    /// # let callbacks = haypile::ConnectionCallbacks::new();
    /// let executor = async_executor::LocalExecutor::new();
    /// let (connection, driver) = haypile::AsyncIoConnection::new(parameters, callbacks);
    /// executor.spawn(driver).detach();
    /// # drop(connection);
    /// ```
    ///
    /// Dropping it closes nothing: the driver owns the connection until it has ended.
    pub struct AsyncIoConnection;
}

impl AsyncIoConnection {
    /// Starts to connect, on services of its own: nothing happens before the driver is run.
    /// Whatever happens then is told to the callbacks.
    pub fn new(
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> (Self, AsyncIoDriver) {
        let (services, driver) = AsyncIoServices::attach();
        (Self::with_services(workflow, callbacks, &services), driver)
    }
}

/// [`IoServices`](crate::IoServices) over async-io: one future for all descriptors, timers and
/// callbacks.
///
/// They live as long as somebody holds them or a connection runs on them, and no longer than
/// their driver.
pub struct AsyncIoServices {
    woken: Arc<Woken>,
}

impl AsyncIoServices {
    /// Services, and the future that runs all that is on them.
    pub fn attach() -> (Services, AsyncIoDriver) {
        let (services, driver) = Driver::new(|woken| Self { woken });
        (services, AsyncIoDriver(driver))
    }
}

/// Runs what is on its [`AsyncIoServices`]: to be spawned on a local executor, or awaited.
///
/// It is ready when nobody holds the services and no connection runs on them any more. If it is
/// dropped before, everything on them goes with it, without a call.
#[must_use = "nothing happens before it is polled"]
pub struct AsyncIoDriver(Driver<AsyncIoServices>);

impl Future for AsyncIoDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..2 {
            match Pin::new(&mut self.0).poll(context) {
                Poll::Ready(true) => {} // it has more to do
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl std::fmt::Debug for AsyncIoDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncIoDriver").finish_non_exhaustive()
    }
}

impl Host for AsyncIoServices {
    type Fd = Watch;

    fn watch(&self, watched: &Rc<Watched<Self>>) -> io::Result<Watch> {
        let io = Async::new_nonblocking(Rc::clone(watched))?;
        let watch = Watch { io, seen: Cell::default(), waker: self.woken.waker(watched.key) };
        watch.wait()?;
        Ok(watch)
    }

    fn change(&self, watch: &Watch, _: &Watched<Self>) -> io::Result<()> {
        watch.wait()
    }

    fn set_timer(&self, _: Option<Instant>) {
        self.defer(); // each turn asks the core for its deadline
    }

    fn defer(&self) {
        self.woken.turn();
    }
}

impl Drop for AsyncIoServices {
    fn drop(&mut self) {
        self.woken.turn(); // for the driver to end
    }
}

impl Reactor for AsyncIoServices {
    type Timer = Timer;

    fn timer(deadline: Instant) -> Timer {
        Timer::at(deadline)
    }

    fn reset(timer: &mut Timer, deadline: Instant) {
        timer.set_at(deadline);
    }

    fn dispatch(services: &Foreign<Self>, key: usize) {
        let woken = services.look(key, |watch, watched| (Rc::clone(watched), watch.ready()));
        let Some((watched, ready)) = woken else { return };
        if !ready.is_empty() {
            watched.on_ready(ready);
            // What cannot be waited for any more has been told as an error.
            let _ = services.look(key, |watch, _| watch.wait());
        }
    }
}

/// A descriptor. The reactor tells once of what it was asked for, and then has to be asked again.
pub(super) struct Watch {
    io: Async<Rc<Watched<AsyncIoServices>>>,
    /// Told by the reactor, and not to the handler yet.
    seen: Cell<Ready>,
    waker: Waker,
}

impl Watch {
    fn poll(&self) -> io::Result<Ready> {
        let context = &mut Context::from_waker(&self.waker);
        let interest = self.io.get_ref().interest();
        let mut ready = self.seen.take() & interest;
        if interest.contains(Ready::READ)
            && let Poll::Ready(readable) = self.io.poll_readable(context)
        {
            readable?;
            ready |= Ready::READ;
        }
        if interest.contains(Ready::WRITE)
            && let Poll::Ready(writable) = self.io.poll_writable(context)
        {
            writable?;
            ready |= Ready::WRITE;
        }
        Ok(ready)
    }

    fn ready(&self) -> Ready {
        self.poll().unwrap_or(self.io.get_ref().interest() | Ready::ERROR)
    }

    /// Has the driver woken when it is ready.
    fn wait(&self) -> io::Result<()> {
        let ready = self.poll()?;
        if !ready.is_empty() {
            self.seen.set(ready);
            self.waker.wake_by_ref();
        }
        Ok(())
    }
}

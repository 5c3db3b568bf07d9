//! A connection on tokio: a `LocalSet`, or a local runtime, of one thread.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use slab::Slab;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::connection::{ConnectionCallbacks, ConnectionWorkflow};
use crate::io_services::{FdHandler, FdKey, Interest, IoServices, Ready, Services};
use crate::ioloop::LoopCore;

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
    /// Dropping it closes nothing: the `LocalSet` owns the connection until it has ended.
    pub struct TokioConnection;
}

impl TokioConnection {
    /// Starts to connect, on services of its own. Whatever happens is told to the callbacks.
    ///
    /// # Panics
    /// Outside of a `LocalSet` or local runtime, as tokio's `spawn_local` does.
    pub fn new(workflow: impl Into<ConnectionWorkflow>, callbacks: ConnectionCallbacks) -> Self {
        Self::with_services(workflow, callbacks, &TokioServices::attach())
    }
}

/// [`IoServices`] over tokio: a task for each descriptor, and one for timers and callbacks.
///
/// They live as long as somebody holds them or a connection runs on them, and no longer than the
/// `LocalSet`.
pub struct TokioServices {
    me: Weak<Self>,
    core: Rc<LoopCore>,
    turn: Arc<Turn>,
    fds: RefCell<Slab<Rc<Watch>>>,
    /// Those whose tasks are to be spawned, which only the `LocalSet` can.
    added: RefCell<Vec<Rc<Watch>>>,
    runtime: Handle,
    /// Itself, while a connection needs it.
    anchor: Cell<Option<Rc<Self>>>,
}

impl TokioServices {
    /// Services on the `LocalSet` or local runtime that is running.
    ///
    /// # Panics
    /// Outside of one, as tokio's `spawn_local` does.
    pub fn attach() -> Services {
        let turn = Arc::new(Turn(Notify::new()));
        let services = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            core: LoopCore::new(Waker::from(Arc::clone(&turn))),
            turn: Arc::clone(&turn),
            fds: RefCell::default(),
            added: RefCell::default(),
            runtime: Handle::current(),
            anchor: Cell::new(None),
        });
        let host = Host(Rc::downgrade(&services));
        tokio::task::spawn_local(async move {
            while let Some(services) = host.0.upgrade() {
                let deadline = services.core.turn();
                for watch in services.added.take() {
                    tokio::task::spawn_local(poll_fn(move |context| watch.poll(context)));
                }
                drop(services);
                // Also when there is more to do: the descriptors have their turn.
                tokio::task::yield_now().await;
                match deadline {
                    Some(at) => drop(timeout_at(at.into(), turn.0.notified()).await),
                    None => turn.0.notified().await,
                }
            }
        });
        Services::from(services as Rc<dyn IoServices>)
    }
}

impl IoServices for TokioServices {
    fn add_fd(&self, interest: Interest, handler: Rc<dyn FdHandler>) -> io::Result<FdKey> {
        // The loop may not be running.
        let _runtime = self.runtime.enter();
        // SAFETY: by its contract a handler owns its descriptor, and always gives the same one;
        // `Held` keeps the handler.
        #[allow(unsafe_code)]
        let fd = unsafe { AsyncFd::register(Held(handler)) }?;
        let fd = RefCell::new(Some(Rc::new(fd)));
        let watch = Rc::new(Watch { fd, interest: Cell::new(interest), task: Cell::default() });
        self.added.borrow_mut().push(Rc::clone(&watch));
        self.defer();
        Ok(FdKey(self.fds.borrow_mut().insert(watch)))
    }

    fn modify_fd(&self, key: FdKey, interest: Interest) -> io::Result<()> {
        let watch = self.fds.borrow().get(key.0).cloned().ok_or(io::ErrorKind::NotFound)?;
        watch.interest.set(interest);
        watch.wake();
        Ok(())
    }

    fn remove_fd(&self, key: FdKey) {
        let watch = self.fds.borrow_mut().try_remove(key.0);
        if let Some(watch) = watch {
            drop(watch.fd.take());
            watch.wake();
        }
    }

    fn set_timer(&self, _: Option<Instant>) {
        self.defer(); // each turn asks the core for its deadline
    }

    fn defer(&self) {
        self.turn.0.notify_one();
    }

    fn core(&self) -> &Rc<LoopCore> {
        &self.core
    }

    fn keep_alive(&self, needed: bool) {
        drop(self.anchor.replace(self.me.upgrade().filter(|_| needed)));
    }
}

impl Drop for TokioServices {
    fn drop(&mut self) {
        self.core.detach();
        self.turn.0.notify_one();
    }
}

/// What the task for timers and callbacks has of the services; it goes with the `LocalSet`.
struct Host(Weak<TokioServices>);

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(services) = self.0.upgrade() {
            services.core.detach();
            services.keep_alive(false);
            // Whoever holds the services still does not hold what was watched.
            drop((services.fds.take(), services.added.take()));
        }
    }
}

/// Wakes the task for timers and callbacks.
struct Turn(Notify);

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// A descriptor and its task.
struct Watch {
    /// `None` once it is removed.
    fd: RefCell<Option<Rc<AsyncFd<Held>>>>,
    interest: Cell<Interest>,
    task: Cell<Option<Waker>>,
}

impl Watch {
    fn wake(&self) {
        self.task.take().into_iter().for_each(Waker::wake);
    }

    /// Calls the handler at most once, then lets the other tasks run.
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(fd) = self.fd.borrow().clone() else { return Poll::Ready(()) };
        self.task.set(Some(context.waker().clone()));
        let interest = self.interest.get();
        let read = interest.contains(Ready::READ).then(|| fd.poll_read_ready(context));
        let write = interest.contains(Ready::WRITE).then(|| fd.poll_write_ready(context));
        // An error here means that the runtime is shutting down.
        let (mut read, mut write) = (read.and_then(at_once), write.and_then(at_once));
        let hung_up = write.as_ref().is_some_and(|write| write.ready().is_write_closed());
        let readable = read.as_ref().map_or(Ready::NONE, |_| Ready::READ);
        let writable = write.as_ref().map_or(Ready::NONE, |_| Ready::WRITE);
        let ready = if hung_up { interest | Ready::ERROR } else { readable | writable };
        if ready.is_empty() {
            return Poll::Pending;
        }
        let blocked = Rc::clone(&fd.get_ref().0).on_ready(ready);
        if let Some(read) = read.as_mut().filter(|_| blocked.contains(Ready::READ)) {
            read.clear_ready_matching(tokio::io::Ready::READABLE);
        }
        if let Some(write) = write.as_mut().filter(|_| blocked.contains(Ready::WRITE)) {
            write.clear_ready_matching(tokio::io::Ready::WRITABLE);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

fn at_once<T>(polled: Poll<io::Result<T>>) -> Option<T> {
    match polled {
        Poll::Ready(result) => result.ok(),
        Poll::Pending => None,
    }
}

/// A handler as tokio wants it.
struct Held(Rc<dyn FdHandler>);

impl AsRawFd for Held {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

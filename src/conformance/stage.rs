//! What a scenario has to work with: a loop with its adapter, and a broker.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::Host;
use super::watchdog::message;
use crate::{
    Channel, Closed, Connection, ConnectionCallbacks, ConnectionParameters, ConnectionWorkflow,
    Error, FdHandler, FdKey, Interest, Party, Ready, Result, Services,
};

/// How a connection ended, once it has.
type Ended = Rc<RefCell<Option<Error>>>;

thread_local! {
    /// What stops the loop of this thread: a post of another thread finds it here.
    static STOP: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// What a callback that is to panic says begins with.
pub(super) const ON_PURPOSE: &str = "on purpose";

/// So long that what is going to happen on a loop that has nothing else to do has happened, most
/// likely: a scenario that shows that nothing does waits for it.
const A_WHILE: Duration = Duration::from_millis(10);

/// A loop under test, and what is around it.
pub(super) struct Stage {
    /// `None` once it has ended.
    host: RefCell<Option<Rc<dyn Host>>>,
    /// Whether the loop was asked to stop since it last ran.
    stopped: Rc<Cell<bool>>,
    panics: Rc<Panics>,
}

/// What has become of the panics of callbacks.
#[derive(Default)]
struct Panics {
    messages: RefCell<Vec<String>>,
    /// They come out of the loop's run.
    unwind: Cell<bool>,
}

impl Stage {
    pub(super) fn new(host: Box<dyn Host>) -> Self {
        let host = RefCell::new(Some(Rc::from(host)));
        let stage = Self { host, stopped: Rc::default(), panics: Rc::default() };
        stage.services().core().set_on_panic(stage.on_panic());
        stage
    }

    fn on_panic(&self) -> impl Fn(&str) + Clone + 'static {
        let (panics, stop) = (Rc::clone(&self.panics), self.stopper());
        move |message| {
            panics.messages.borrow_mut().push(message.to_owned());
            if !message.starts_with(ON_PURPOSE) {
                stop();
            }
        }
    }

    fn host(&self) -> Rc<dyn Host> {
        self.host.borrow().clone().expect("the loop has not ended")
    }

    /// Ends the loop.
    pub(super) fn end_loop(&self) {
        STOP.take();
        drop(self.host.take().expect("the loop has not ended"));
    }

    /// A name that nobody else has on the broker.
    pub(super) fn unique(what: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        format!("haypile-conformance-{what}-{}-{number}", std::process::id())
    }

    /// How to connect to the broker.
    pub(super) fn broker(&self) -> ConnectionParameters {
        let url = std::env::var("AMQP_URL").expect("AMQP_URL must name a RabbitMQ to test against");
        url.parse().expect("AMQP_URL is a URL")
    }

    pub(super) fn services(&self) -> Services {
        self.host().services()
    }

    /// Starts to connect.
    pub(super) fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Connection {
        self.connector()(workflow.into(), callbacks)
    }

    /// What starts to connect, for callbacks.
    pub(super) fn connector(
        &self,
    ) -> impl Fn(ConnectionWorkflow, ConnectionCallbacks) -> Connection + 'static {
        let (host, on_panic) = (self.host(), self.on_panic());
        move |workflow, callbacks| {
            let connection = host.start_connection(workflow, callbacks);
            if let Ok(own) = connection.services()
                && !Rc::ptr_eq(own.core(), host.services().core())
            {
                own.core().set_on_panic(on_panic.clone());
            }
            connection
        }
    }

    /// What stops the loop, once in a run.
    pub(super) fn stopper(&self) -> Rc<dyn Fn()> {
        let (stop, stopped) = (self.host().stopper(), Rc::clone(&self.stopped));
        Rc::new(move || {
            if !stopped.replace(true) {
                stop();
            }
        })
    }

    /// What stops the loop when it is called for the last of so many times.
    pub(super) fn stop_after(&self, calls: usize) -> Rc<dyn Fn()> {
        let (left, stop) = (Cell::new(calls), self.stopper());
        Rc::new(move || {
            if left.replace(left.get().saturating_sub(1)) == 1 {
                stop();
            }
        })
    }

    /// What stops the loop, for what comes from other threads: it must be called on the loop's.
    pub(super) fn remote_stopper(&self) -> fn() {
        self.remote_stop_after(1)
    }

    /// The same, when it is called for the last of so many times.
    pub(super) fn remote_stop_after(&self, calls: usize) -> fn() {
        STOP.set(Some(self.stop_after(calls)));
        || {
            let stop = STOP.with_borrow(Option::clone);
            stop.expect("it is called on the thread of the loop")();
        }
    }

    /// Runs the loop until it is stopped. What failed in a callback fails here.
    pub(super) fn run(&self) {
        let ran = self.host().run_until_stopped();
        if let Some(message) = self.panics.messages.take().first() {
            panic!("a panic has come to the loop: {message}");
        }
        self.assert_ran(ran);
    }

    /// The same, for a scenario in which callbacks panic on purpose. Gives their messages: a loop
    /// has been told of them, or let them out of its run, and was run again.
    pub(super) fn run_through_panics(&self) -> Vec<String> {
        let host = self.host();
        let ran = loop {
            match catch_unwind(AssertUnwindSafe(|| host.run_until_stopped())) {
                Ok(ran) => break ran,
                Err(panic) => {
                    self.panics.unwind.set(true);
                    let message = message(&*panic);
                    assert!(message.starts_with(ON_PURPOSE), "{message}");
                    self.panics.messages.borrow_mut().push(message);
                }
            }
        };
        self.assert_ran(ran);
        let messages = self.panics.messages.take();
        for message in &messages {
            assert!(message.starts_with(ON_PURPOSE), "a panic has come to the loop: {message}");
        }
        messages
    }

    /// Runs the loop for as long as it is needed, or until `over` where it does not know that. Either
    /// way it is over then.
    pub(super) fn run_until_over(&self, over: impl Fn() -> bool + 'static) {
        let over = Rc::new(over);
        if self.host().run_while_needed() {
            assert_eq!(self.panics.messages.take(), [""; 0], "panics have come to the loop");
        } else {
            let (over, stop) = (Rc::clone(&over), self.stopper());
            when(&self.services(), move || over(), move || stop());
            self.run();
        }
        assert!(over(), "the loop has returned, and something was still to come");
    }

    fn assert_ran(&self, ran: Result<()>) {
        ran.expect("an error that no callback took");
        assert!(self.stopped.take(), "the loop has returned, and nobody had stopped it");
    }

    /// Tells whether a callback has panicked in this run.
    pub(super) fn has_panicked(&self) -> impl Fn() -> bool + 'static {
        let panics = Rc::clone(&self.panics);
        move || !panics.messages.borrow().is_empty()
    }

    /// Whether panics of callbacks were seen to come out of the loop's run, as they do of
    /// `IOLoop`'s: they end no connection there.
    pub(super) fn unwinds(&self) -> bool {
        self.panics.unwind.get()
    }

    /// Runs the loop for so long.
    pub(super) fn run_for(&self, time: Duration) {
        let stop = self.stopper();
        self.services().call_later(time, move || stop());
        self.run();
    }

    /// Lets happen what is going to: for a while, and then for some turns, since a busy machine may
    /// leave the loop none in that while. Between two turns it looks at its descriptors.
    pub(super) fn settle(&self) {
        const TURNS: usize = 8;
        fn stop_after(turns: usize, services: Services, stop: Rc<dyn Fn()>) {
            match turns {
                0 => stop(),
                _ => services.clone().add_callback(move || stop_after(turns - 1, services, stop)),
            }
        }
        let (services, stop) = (self.services(), self.stopper());
        self.services().call_later(A_WHILE, move || stop_after(TURNS, services, stop));
        self.run();
    }

    /// Runs the loop for a while, in which it must have next to nothing to do.
    pub(super) fn assert_idle(&self) {
        const TIME: Duration = Duration::from_millis(100);
        // A loop that spins may get no more than that on a busy machine; one that waits needs less.
        const MOST: Duration = TIME.checked_div(50).expect("not by zero");
        // What spins does so each time. But hosts may share a reactor, and one serve others' too.
        let waits = (0..5).any(|_| self.work_of_waiting(TIME) < MOST);
        assert!(waits, "it spins: more than {MOST:?} of work in each {TIME:?} of waiting");
    }

    /// The work of the loop's thread in a time that it has to wait. No timer ends that.
    fn work_of_waiting(&self, time: Duration) -> Duration {
        let (remote, stop) = (self.services().remote(), self.remote_stopper());
        let thread = thread::spawn(move || {
            thread::sleep(time);
            remote.add_callback(stop).expect("a loop");
        });
        let before = clock_gettime(ClockId::ThreadCPUTime);
        self.run();
        let work = clock_gettime(ClockId::ThreadCPUTime) - before;
        thread.join().expect("no panic");
        Duration::try_from(work).expect("time goes on")
    }

    /// Watches a descriptor. What `on_ready` gives is what was seen to block.
    pub(super) fn watch(
        &self,
        fd: impl AsFd + 'static,
        interest: Interest,
        on_ready: impl FnMut(Ready) -> Ready + 'static,
    ) -> FdKey {
        let watched = self.try_watch(fd, interest, on_ready);
        watched.unwrap_or_else(|error| panic!("it cannot be watched: {error}"))
    }

    pub(super) fn try_watch(
        &self,
        fd: impl AsFd + 'static,
        interest: Interest,
        on_ready: impl FnMut(Ready) -> Ready + 'static,
    ) -> io::Result<FdKey> {
        watch(&self.services(), fd, interest, on_ready)
    }

    /// Connects, and runs the loop until the connection has ended. Gives the reason.
    pub(super) fn session(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        on_open: impl FnOnce(&Connection) + 'static,
    ) -> Error {
        let (ended, on_close) = self.note();
        let callbacks = ConnectionCallbacks::new()
            .on_open(on_open)
            .on_open_error(|_, error| panic!("it does not open: {error}"))
            .on_close(on_close);
        self.connect(workflow, callbacks);
        self.run();
        ended.take().expect("on_close was called")
    }

    /// The same, with a channel.
    pub(super) fn on_channel(&self, scenario: impl FnOnce(&Channel) + 'static) -> Error {
        self.session(self.broker(), |connection| open_channel(connection, scenario))
    }

    /// Starts to connect, lets `begun` work on that, and runs the loop until the connection has
    /// failed. Gives the reason.
    pub(super) fn failure(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        begun: impl FnOnce(&Connection),
    ) -> Error {
        let (ended, on_open_error) = self.note();
        let callbacks = ConnectionCallbacks::new()
            .on_open(|_| panic!("it opens"))
            .on_open_error(on_open_error)
            .on_close(|_, reason| panic!("on_close, of what was not open: {reason}"));
        begun(&self.connect(workflow, callbacks));
        assert!(ended.borrow().is_none(), "told from inside the call");
        self.run();
        ended.take().expect("on_open_error was called")
    }

    /// A callback that notes how a connection ended, and stops the loop.
    fn note(&self) -> (Ended, impl FnOnce(&Connection, Error) + 'static) {
        let ended = Ended::default();
        let (note, stop) = (Rc::clone(&ended), self.stopper());
        let on_end = move |connection: &Connection, reason| {
            assert!(connection.is_closed());
            assert_eq!(note.replace(Some(reason)), None, "it ended before");
            stop();
        };
        (ended, on_end)
    }
}

/// Calls `then` from the loop, once `test` holds.
pub(super) fn when(
    services: &Services,
    test: impl Fn() -> bool + 'static,
    then: impl FnOnce() + 'static,
) {
    let weak = services.downgrade();
    services.call_later(Duration::from_millis(1), move || {
        if test() {
            then();
        } else if let Some(services) = weak.upgrade() {
            when(&services, test, then);
        }
    });
}

/// Watches a descriptor, as [`Stage::watch`] does, from inside a callback.
pub(super) fn watch(
    services: &Services,
    fd: impl AsFd + 'static,
    interest: Interest,
    on_ready: impl FnMut(Ready) -> Ready + 'static,
) -> io::Result<FdKey> {
    services.add_fd(interest, Rc::new(Watch { fd, on_ready: RefCell::new(on_ready) }))
}

/// A descriptor with a closure.
struct Watch<D, F> {
    fd: D,
    on_ready: RefCell<F>,
}

impl<D: AsFd, F> AsFd for Watch<D, F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<D: AsFd, F: FnMut(Ready) -> Ready> FdHandler for Watch<D, F> {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        let on_ready = self.on_ready.try_borrow_mut();
        (on_ready.expect("a handler is not called before it has returned"))(ready)
    }
}

pub(super) fn open_channel(connection: &Connection, scenario: impl FnOnce(&Channel) + 'static) {
    let opened = |channel: &Channel, opened: Result<()>| {
        opened.expect("the channel opens");
        assert!(channel.is_open());
        scenario(channel);
    };
    connection.channel(None, opened).expect("the connection is open");
}

/// Ends a scenario in order.
pub(super) fn close(connection: &Connection) {
    connection.close(200, "Normal shutdown").expect("it is open");
}

/// Checks that a connection was ended by [`close`].
pub(super) fn assert_closed(ended: Error) {
    let (by, reply_text) = (Party::Client, "Normal shutdown".to_owned());
    let closed = Closed { by, reply_code: 200, reply_text, cause: (0, 0) };
    assert_eq!(ended, Error::ConnectionClosed(closed));
}

/// Checks that the broker has closed a channel with that code, for a method of that id.
pub(super) fn assert_refused(error: &Error, reply_code: u16, method: (u16, u16)) {
    let Error::ChannelClosed(closed) = error else { panic!("the broker closes: {error}") };
    assert_eq!((closed.by, closed.reply_code, closed.cause), (Party::Broker, reply_code, method));
}

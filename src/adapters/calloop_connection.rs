//! A connection on calloop.

use std::cell::Cell;
use std::io;
use std::rc::{Rc, Weak};
use std::time::Instant;

use calloop::generic::{Generic, NoIoDrop};
use calloop::ping::make_ping;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{
    EventSource, LoopHandle, Mode, Poll, PostAction, Readiness, RegistrationToken, Token,
    TokenFactory,
};

use super::foreign::{self, Foreign, Host, OfLoop, Watched};
use crate::connection::{ConnectionCallbacks, ConnectionWorkflow};
use crate::error::Result;
use crate::io_services::{Ready, Services};

foreign_connection! {
    /// A connection driven by calloop.
    ///
    /// ```no_run
    /// use calloop::EventLoop;
    /// use haypile::{CalloopConnection, ConnectionCallbacks, ConnectionParameters};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut event_loop = EventLoop::try_new()?;
    /// let signal = event_loop.get_signal();
    /// let callbacks = ConnectionCallbacks::new()
    ///     .on_open(|connection| connection.close(200, "bye").expect("it is open"))
    ///     .on_close(move |_, reason| {
    ///         println!("{reason}");
    ///         signal.stop();
    ///     });
    /// let parameters: ConnectionParameters = "amqp://localhost".parse()?;
    /// let _connection = CalloopConnection::new(parameters, callbacks, &event_loop.handle())?;
    /// event_loop.run(None, &mut (), |()| {})?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Its callbacks do not get the data of the loop: share by `Rc` what they need of it.
    ///
    /// Dropping it closes nothing: the loop owns the connection until it has ended.
    pub struct CalloopConnection;
}

impl CalloopConnection {
    /// Starts to connect, on services of its own. Whatever happens is told to the callbacks.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the loop takes no more sources.
    pub fn new<Data: 'static>(
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
        handle: &LoopHandle<'static, Data>,
    ) -> Result<Self> {
        Ok(Self::with_services(workflow, callbacks, &CalloopServices::attach(handle)?))
    }

    /// The loop that drives it. `None`: its services were detached, or are those of another loop, or
    /// of one whose data are of another type; or it has gone.
    pub fn loop_handle<Data: 'static>(&self) -> Option<LoopHandle<'static, Data>> {
        Foreign::<CalloopServices<Data>>::of(&self.services, |host| (host.handle)()).flatten()
    }
}

/// [`IoServices`](crate::IoServices) over calloop: a source for each descriptor, one for the timer,
/// one for posts from other threads.
///
/// They live as long as somebody holds them or a connection runs on them, and no longer than the
/// loop. A callback that captures a [`LoopHandle`] keeps the loop; what its `downgrade` gives does
/// not.
///
/// A source of the host's that gives an error ends the dispatch, and calloop forgets all timers that
/// were due in it, the host's too. Should the host go on then, what of these services was due comes
/// with the next event of one of their descriptors, or the next post. So a source that lives on after
/// an error should keep it to itself.
pub struct CalloopServices<Data: 'static> {
    me: Weak<Foreign<Self>>,
    /// Held weakly, by a type that has no name.
    handle: Box<dyn Fn() -> Option<LoopHandle<'static, Data>>>,
    timer: Cell<Option<RegistrationToken>>,
    posts: RegistrationToken,
    /// What the timer is set to.
    due: Cell<Option<Instant>>,
}

impl<Data> CalloopServices<Data> {
    /// Services on that loop.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the loop takes no more sources.
    pub fn attach(handle: &LoopHandle<'static, Data>) -> Result<Services> {
        let (weak, (ping, posts)) = (handle.downgrade(), make_ping()?);
        let services = Foreign::new(foreign::waker(move || ping.ping()));
        let (me, of_loop) = (Rc::downgrade(&services), OfLoop(Rc::downgrade(&services)));
        let posts = handle.insert_source(posts, move |(), (), _| turn(&of_loop.0));
        let posts = posts.map_err(|refused| io::Error::from(refused.error))?;
        let handle = Box::new(move || weak.upgrade());
        let (timer, due) = (Cell::new(None), Cell::new(None));
        Ok(services.enter(Self { me, handle, timer, posts, due }))
    }

    /// A new source each time: calloop calls the old one once more if it has been due meanwhile,
    /// and then has it twice.
    fn set(&self, deadline: Option<Instant>) {
        self.due.set(deadline);
        let Some(handle) = (self.handle)() else { return };
        self.timer.take().into_iter().for_each(|old| handle.remove(old));
        let Some(deadline) = deadline else { return };
        let me = Weak::clone(&self.me);
        let timer = handle.insert_source(Timer::from_deadline(deadline), move |_, (), _| {
            turn(&me);
            TimeoutAction::Drop
        });
        let timer = timer.inspect_err(|refused| log::error!("calloop takes no timer: {refused}"));
        self.timer.set(timer.ok());
    }

    /// A turn is owed: the timer has not been called yet, or calloop has forgotten it.
    fn is_over(&self) -> bool {
        self.due.get().is_some_and(|due| due <= Instant::now())
    }

    /// Has that turn come when all of the batch has been called.
    fn catch_up(&self) {
        if let Some(handle) = (self.handle)().filter(|_| self.is_over()) {
            let me = Weak::clone(&self.me);
            handle.insert_idle(move |_| turn(&me));
        }
    }
}

fn turn<Data>(services: &Weak<Foreign<CalloopServices<Data>>>) {
    if let Some(services) = services.upgrade() {
        services.host(|host| host.due.set(None));
        services.turn();
    }
}

impl<Data> Host for CalloopServices<Data> {
    type Fd = RegistrationToken;

    fn watch(&self, watched: &Rc<Watched<Self>>) -> io::Result<RegistrationToken> {
        let handle = (self.handle)().ok_or(io::ErrorKind::NotConnected)?;
        let io = Generic::new(Rc::clone(watched), calloop::Interest::EMPTY, Mode::Level);
        let source = handle.insert_source(Watch(io), |readiness, watched, _| {
            let (readable, writable) = (readiness.readable, readiness.writable);
            let ready = Ready::READ.when(readable) | Ready::WRITE.when(writable);
            // An earlier callback of the batch may have changed what is wanted.
            let ready = ready & watched.interest();
            if !ready.is_empty() {
                watched.on_ready(ready);
            }
            if let Some(services) = watched.services.upgrade() {
                services.host(Self::catch_up);
            }
            Ok(PostAction::Continue)
        });
        Ok(source.map_err(|refused| refused.error)?)
    }

    fn change(&self, source: &RegistrationToken, _: &Watched<Self>) -> io::Result<()> {
        (self.handle)().map_or(Ok(()), |handle| Ok(handle.update(source)?))
    }

    fn unwatch(&self, source: RegistrationToken) {
        (self.handle)().into_iter().for_each(|handle| handle.remove(source));
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        self.set(self.due.get().filter(|_| self.is_over()).or(deadline));
    }

    fn defer(&self) {
        self.set(Some(Instant::now()));
    }
}

impl<Data> Drop for CalloopServices<Data> {
    fn drop(&mut self) {
        self.set(None);
        (self.handle)().into_iter().for_each(|handle| handle.remove(self.posts));
    }
}

/// calloop's `Generic`, whose interest is out of reach of its own callback: it is set when the
/// source is registered again, which happens after that.
struct Watch<Data: 'static>(Generic<Rc<Watched<CalloopServices<Data>>>>);

impl<Data> Watch<Data> {
    fn set(&mut self) {
        let interest = self.0.get_ref().interest();
        self.0.interest.readable = interest.contains(Ready::READ);
        self.0.interest.writable = interest.contains(Ready::WRITE);
        // A hang-up is told also to those who want nothing: once, then.
        self.0.mode = if interest.is_empty() { Mode::OneShot } else { Mode::Level };
    }
}

impl<Data> EventSource for Watch<Data> {
    type Event = Readiness;
    type Metadata = NoIoDrop<Rc<Watched<CalloopServices<Data>>>>;
    type Ret = io::Result<PostAction>;
    type Error = io::Error;

    fn process_events<C>(&mut self, on: Readiness, token: Token, call: C) -> Self::Ret
    where
        C: FnMut(Readiness, &mut Self::Metadata) -> Self::Ret,
    {
        self.0.process_events(on, token, call)
    }

    fn register(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.set();
        self.0.register(poll, tokens)
    }

    /// Never an error, which would end the batch under way, and lose its timers.
    fn reregister(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.set();
        let done = self.0.reregister(poll, tokens);
        done.inspect_err(|error| log::error!("calloop does not watch a descriptor: {error}"))
            .or(Ok(()))
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.0.unregister(poll)
    }
}

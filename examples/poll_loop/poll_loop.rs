//! A small event loop over poll(2), which knows nothing of AMQP: descriptors, one alarm, and what is
//! to be called soon. It stands for the loop that you have.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

pub type Callback = Rc<dyn Fn()>;
pub type OnEvents = Rc<dyn Fn(PollFlags)>;

const HANG_UP: PollFlags = PollFlags::HUP.union(PollFlags::ERR).union(PollFlags::NVAL);

#[derive(Default)]
pub struct PollLoop {
    watches: RefCell<BTreeMap<usize, Watch>>,
    /// No key is used twice.
    next_key: Cell<usize>,
    alarm: RefCell<Option<(Instant, Callback)>>,
    soon: RefCell<Vec<Callback>>,
    stopped: Cell<bool>,
}

#[derive(Clone)]
struct Watch {
    fd: Rc<dyn AsFd>,
    events: PollFlags,
    callback: OnEvents,
}

impl PollLoop {
    /// Calls `callback` in each turn in which some of `events` are there.
    pub fn watch(&self, fd: Rc<dyn AsFd>, events: PollFlags, callback: OnEvents) -> usize {
        let key = self.next_key.replace(self.next_key.get() + 1);
        self.watches.borrow_mut().insert(key, Watch { fd, events, callback });
        key
    }

    /// False if nothing has that key.
    pub fn change(&self, key: usize, events: PollFlags) -> bool {
        let mut watches = self.watches.borrow_mut();
        watches.get_mut(&key).map(|watch| watch.events = events).is_some()
    }

    pub fn unwatch(&self, key: usize) {
        let watch = self.watches.borrow_mut().remove(&key);
        drop(watch); // with nothing borrowed
    }

    /// Calls the callback at that time. There is one alarm; the last one set counts.
    pub fn set_alarm(&self, alarm: Option<(Instant, Callback)>) {
        drop(self.alarm.replace(alarm));
    }

    /// Calls `callback` before the loop next waits.
    pub fn call_soon(&self, callback: Callback) {
        self.soon.borrow_mut().push(callback);
    }

    pub fn stop(&self) {
        self.stopped.set(true);
    }

    pub fn run(&self) -> io::Result<()> {
        while !self.stopped.get() {
            self.soon.take().iter().for_each(|callback| callback());
            for (key, events) in self.wait()? {
                // What was called before it in this turn may have changed it.
                let watch = self.watches.borrow().get(&key).cloned();
                if let Some(watch) = watch.filter(|watch| events.intersects(watch.events)) {
                    (watch.callback)(events & (watch.events | HANG_UP));
                }
            }
            let due = self.alarm.borrow_mut().take_if(|(at, _)| *at <= Instant::now());
            due.into_iter().for_each(|(_, callback)| callback());
        }
        self.stopped.set(false);
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<(usize, PollFlags)>> {
        let watches = self.watches.borrow();
        // poll(2) tells of hang-ups whatever it is asked for: ask only for what matters.
        let watched: Vec<_> =
            watches.iter().filter(|(_, watch)| !watch.events.is_empty()).collect();
        let mut fds: Vec<_> =
            watched.iter().map(|(_, watch)| PollFd::new(&watch.fd, watch.events)).collect();
        let at_once = self.stopped.get() || !self.soon.borrow().is_empty();
        let alarm = self.alarm.borrow().as_ref().map(|(at, _)| *at - Instant::now());
        let timeout = if at_once { Some(Duration::ZERO) } else { alarm };
        // One too far away to be told is none.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let told = watched.iter().zip(&fds).map(|((key, watch), fd)| match fd.revents() {
            // Whoever waits to write must learn of it too.
            told if told.intersects(HANG_UP) => (**key, told | watch.events),
            told => (**key, told),
        });
        Ok(told.filter(|(_, told)| !told.is_empty()).collect())
    }
}

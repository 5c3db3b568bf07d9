//! The adapter: haypile's `IoServices` over that loop's own primitives.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use haypile::{FdHandler, FdKey, Interest, IoServices, LoopCore, Ready, Services};
use rustix::event::PollFlags;

use crate::poll_loop::{Callback, PollLoop};

pub struct PollServices {
    me: Weak<Self>,
    poll_loop: Rc<PollLoop>,
    core: Rc<LoopCore>,
    /// What is watched, to let go of it in the end.
    keys: RefCell<BTreeSet<usize>>,
}

impl PollServices {
    /// Services on that loop. [`detach`](LoopCore::detach) them before it goes.
    pub fn attach(poll_loop: &Rc<PollLoop>) -> io::Result<Rc<Self>> {
        // What wakes the loop from other threads: it watches one end, they write to the other.
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let services = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            poll_loop: Rc::clone(poll_loop),
            core: LoopCore::new(Waker::from(Arc::new(Wakes(waker)))),
            keys: RefCell::default(),
        });
        let (woken, turn) = (Rc::new(woken), services.turn());
        let reader = Rc::clone(&woken);
        let on_wake = move |_| {
            // Before the turn: a wake that comes during it counts.
            while (&*reader).read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
            turn();
        };
        let key = poll_loop.watch(woken, PollFlags::IN, Rc::new(on_wake));
        services.keys.borrow_mut().insert(key);
        let me = Rc::downgrade(&services);
        services.core.add_on_detach(move || me.upgrade().iter().for_each(|me| me.leave()));
        Ok(services)
    }

    pub fn services(self: &Rc<Self>) -> Services {
        Services::from(Rc::clone(self) as Rc<dyn IoServices>)
    }

    /// Leaves nothing with the loop.
    fn leave(&self) {
        self.poll_loop.set_alarm(None);
        let keys = self.keys.take();
        keys.into_iter().for_each(|key| self.poll_loop.unwatch(key));
    }

    /// What the loop is to call: a turn of the core, and its next deadline becomes the alarm.
    fn turn(&self) -> Callback {
        let me = Weak::clone(&self.me);
        Rc::new(move || {
            if let Some(services) = me.upgrade() {
                services.set_timer(services.core.turn());
            }
        })
    }
}

impl IoServices for PollServices {
    fn add_fd(&self, interest: Interest, handler: Rc<dyn FdHandler>) -> io::Result<FdKey> {
        let fd = Rc::clone(&handler);
        let on_events = move |events| {
            Rc::clone(&handler).on_ready(ready(events));
        };
        let key = self.poll_loop.watch(fd, events(interest), Rc::new(on_events));
        self.keys.borrow_mut().insert(key);
        Ok(FdKey(key))
    }

    fn modify_fd(&self, key: FdKey, interest: Interest) -> io::Result<()> {
        match self.poll_loop.change(key.0, events(interest)) {
            true => Ok(()),
            false => Err(ErrorKind::NotFound.into()),
        }
    }

    fn remove_fd(&self, key: FdKey) {
        self.keys.borrow_mut().remove(&key.0);
        self.poll_loop.unwatch(key.0);
    }

    fn set_timer(&self, deadline: Option<Instant>) {
        self.poll_loop.set_alarm(deadline.map(|deadline| (deadline, self.turn())));
    }

    fn defer(&self) {
        self.poll_loop.call_soon(self.turn());
    }

    fn core(&self) -> &Rc<LoopCore> {
        &self.core
    }
}

impl Drop for PollServices {
    fn drop(&mut self) {
        self.core.detach();
        self.leave();
    }
}

fn events(interest: Interest) -> PollFlags {
    let mut events = PollFlags::empty();
    events.set(PollFlags::IN, interest.contains(Ready::READ));
    events.set(PollFlags::OUT, interest.contains(Ready::WRITE));
    events
}

fn ready(events: PollFlags) -> Ready {
    Ready::READ.when(events.contains(PollFlags::IN))
        | Ready::WRITE.when(events.contains(PollFlags::OUT))
        | Ready::ERROR.when(events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL))
}

/// Writes a byte for each wake. One that finds no room is not the first.
struct Wakes(UnixStream);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        let _ = (&self.0).write(&[1]);
    }
}

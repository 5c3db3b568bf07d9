//! Name lookups off the loop.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::thread;

use crate::ioloop::{LookupKey, LoopCore, Remote};

/// What takes the result of a lookup.
pub type ResolveCallback = Box<dyn FnOnce(io::Result<Vec<SocketAddr>>)>;

/// A name lookup under way. Dropping it cancels nothing.
pub struct Lookup(Cell<Option<Box<dyn FnOnce()>>>);

impl Lookup {
    /// For an adapter with a resolver of its own: `cancel` is called at most once, perhaps after
    /// the lookup has ended. It must see to it that the callback is dropped and never called.
    pub fn new(cancel: impl FnOnce() + 'static) -> Self {
        Self(Cell::new(Some(Box::new(cancel))))
    }

    /// Drops the callback, which is never called. Does nothing if it has been called, or the lookup
    /// was cancelled.
    pub fn cancel(&self) {
        if let Some(cancel) = self.0.take() {
            cancel();
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

/// Runs the system's resolver on a thread of its own. `done` stays with the core: only its key and
/// the result cross threads.
pub(super) fn on_thread(
    core: &Rc<LoopCore>,
    host: &str,
    port: u16,
    done: ResolveCallback,
) -> Lookup {
    let Some(key) = core.begin_lookup(done) else { return Lookup::new(|| ()) };
    let remote = core.remote();
    if let Ok(ip) = host.parse::<IpAddr>() {
        finish(&remote, key, Ok(vec![SocketAddr::new(ip, port)]));
    } else {
        let host = host.to_owned();
        let there = remote.clone();
        let lookup = move || {
            finish(&there, key, (host.as_str(), port).to_socket_addrs().map(Iterator::collect));
        };
        if let Err(error) = thread::Builder::new().name("haypile-resolve".into()).spawn(lookup) {
            finish(&remote, key, Err(error));
        }
    }
    let core = Rc::downgrade(core);
    Lookup::new(move || drop(core.upgrade().and_then(|core| core.finish_lookup(key))))
}

/// Has the loop call `done`. A loop that is gone has dropped it.
fn finish(remote: &Remote, key: LookupKey, result: io::Result<Vec<SocketAddr>>) {
    let _ = remote.post(Box::new(move |core| {
        if let Some(done) = core.finish_lookup(key) {
            drop(core.call_user(|| done(result)));
        }
    }));
}

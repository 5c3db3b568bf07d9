//! What the adapters of C loops have in common: the way back from their callbacks. Nothing unwinds
//! into C, and what is called holds what it needs, so that it may drop everything.
#![allow(unsafe_code, reason = "C calls with raw pointers")]
#![allow(dead_code, reason = "each loop uses a part of it")]

use std::ffi::c_void;
use std::ops::{BitAnd, BitOr};
use std::rc::Rc;
use std::task::Waker;

use super::foreign::{self, Foreign, Host, Watched};
use crate::error::Misuse;
use crate::io_services::{Interest, Ready};

/// An error for a loop that is null.
pub(super) fn not_null<T>(native: *mut T) -> Result<(), Misuse> {
    if native.is_null() { Err(Misuse::NullLoop) } else { Ok(()) }
}

/// What a callback of C is given: the address of what is in an `Rc`.
pub(super) fn data<T>(of: &Rc<T>) -> *mut c_void {
    Rc::as_ptr(of).cast_mut().cast()
}

/// Calls the handler of a descriptor, unless it has been removed, for what `ready` gives.
///
/// # Safety
/// `watched` is there at the beginning of the call.
pub(super) unsafe fn ready<H: Host>(
    watched: *const Watched<H>,
    ready: impl FnOnce(&H::Fd, &Watched<H>) -> Ready,
) {
    // SAFETY: the caller's promise.
    let (services, key) = unsafe { ((*watched).services.upgrade(), (*watched).key) };
    let call = move |services: &Foreign<H>| {
        let found = services.look(key, |fd, watched| (Rc::clone(watched), ready(fd, watched)));
        if let Some((watched, ready)) = found {
            watched.on_ready(ready);
        }
    };
    call_in(services, |services| services.serve(call));
}

/// Runs a turn.
///
/// # Safety
/// As of [`enter`].
pub(super) unsafe fn turn<H: Host>(services: *const Foreign<H>) {
    // SAFETY: the caller's promise.
    unsafe { enter(services, |services| services.serve(Foreign::turn)) }
}

/// Ends the services: the loop is going, and says so.
///
/// # Safety
/// As of [`enter`].
pub(super) unsafe fn end<H: Host>(services: *const Foreign<H>) {
    // SAFETY: the caller's promise.
    unsafe { enter(services, Foreign::end) }
}

/// Calls `call` with the services, unless they are ending.
///
/// # Safety
/// `services` are there at the beginning of the call.
pub(super) unsafe fn enter<H: Host>(services: *const Foreign<H>, call: impl FnOnce(&Foreign<H>)) {
    // SAFETY: the caller's promise.
    call_in(unsafe { (*services).hold() }, call);
}

fn call_in<H: Host>(services: Option<Rc<Foreign<H>>>, call: impl FnOnce(&Foreign<H>)) {
    if let Some(services) = services {
        let core = Rc::clone(&services.core);
        drop(core.call_user(move || call(&services)));
    }
}

/// A waker that calls a function of C which is for any thread.
///
/// # Safety
/// `wake` may be called, and dropped, on any thread; not any more once the core of that waker is
/// detached.
pub(super) unsafe fn waker<R>(wake: impl Fn() -> R + 'static) -> Waker {
    struct AnyThread<F>(F);
    // SAFETY: the caller's promise. The core wakes under a lock, which it takes when it is detached.
    unsafe impl<F> Send for AnyThread<F> {}
    // SAFETY: see above.
    unsafe impl<F> Sync for AnyThread<F> {}

    let wake = AnyThread(wake);
    foreign::waker(move || {
        let AnyThread(wake) = &wake;
        wake();
    })
}

/// What a loop is told of an interest, given its names for both.
pub(super) fn flags<T: Default + BitOr<Output = T>>(interest: Interest, read: T, write: T) -> T {
    let flag = |of, flag| if interest.contains(of) { flag } else { T::default() };
    flag(Ready::READ, read) | flag(Ready::WRITE, write)
}

/// What a loop tells, given its names for both.
pub(super) fn conditions<T>(found: T, read: T, write: T) -> Ready
where
    T: Copy + Default + PartialEq + BitAnd<Output = T>,
{
    let told = |flag| found & flag != T::default();
    Ready::READ.when(told(read)) | Ready::WRITE.when(told(write))
}

/// Gives a connection type what it has of a raw loop.
macro_rules! connection_on_raw_loop {
    ($Connection:ident, $Services:ident, $native:ident: $Loop:ident) => {
        impl $Connection {
            #[doc = concat!("Starts to connect, on services of its own. Whatever happens is told to the callbacks.

# Safety
As of [`", stringify!($Services), "::attach`].

# Errors
As of [`", stringify!($Services), "::attach`].")]
            pub unsafe fn new(
                workflow: impl Into<crate::ConnectionWorkflow>,
                callbacks: crate::ConnectionCallbacks,
                $native: *mut $Loop,
            ) -> crate::Result<Self> {
                // SAFETY: the caller's promise.
                let services = unsafe { $Services::attach($native) }?;
                Ok(Self::with_services(workflow, callbacks, &services))
            }

            /// The loop that drives it. `None`: its services were detached, or are those of another
            /// loop.
            pub fn $native(&self) -> Option<*mut $Loop> {
                super::foreign::Foreign::<$Services>::of(&self.services, |host| host.$native)
            }
        }
    };
}
pub(super) use connection_on_raw_loop;

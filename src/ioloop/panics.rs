//! What becomes of a panic in a user's callback.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

#[derive(Clone, Copy)]
pub(super) enum Panics {
    /// It goes on, out of the loop's `start`.
    Unwind,
    /// It ends here: the host may be C, or async code that must not unwind.
    Catch,
}

type OnPanic = Rc<dyn Fn(&str)>;

pub(super) struct PanicGuard {
    panics: Panics,
    on_panic: RefCell<OnPanic>,
}

impl PanicGuard {
    pub(super) fn new(panics: Panics) -> Self {
        Self { panics, on_panic: RefCell::new(Rc::new(log_panic)) }
    }

    /// Has `on_panic` told, instead of what is given back for the caller to drop.
    pub(super) fn replace(&self, on_panic: impl Fn(&str) + 'static) -> OnPanic {
        self.on_panic.replace(Rc::new(on_panic))
    }

    /// The error is the message of a panic that was caught, and told.
    pub(super) fn call<R>(&self, user: impl FnOnce() -> R) -> Result<R, String> {
        if let Panics::Unwind = self.panics {
            return Ok(user());
        }
        catch_unwind(AssertUnwindSafe(user)).map_err(|payload| {
            let message = panic_message(payload.as_ref());
            let on_panic = Rc::clone(&self.on_panic.borrow());
            let tell = || {
                on_panic(&message);
                drop((on_panic, payload));
            };
            if let Err(another) = catch_unwind(AssertUnwindSafe(tell)) {
                log::error!("what was told of a panic, or was thrown by it, panicked itself");
                // It may do so again.
                std::mem::forget(another);
            }
            message
        })
    }
}

/// Makes all of the calls. Where a panic unwinds, it goes on when all have been made: those behind the
/// one that panicked would not be made again. Of several panics, the first.
pub(crate) fn call_each(calls: impl IntoIterator<Item = impl FnOnce()>) {
    let mut first = None;
    for call in calls {
        let called = catch_unwind(AssertUnwindSafe(call));
        first = first.or(called.err());
    }
    if let Some(panic) = first {
        resume_unwind(panic);
    }
}

pub(super) fn log_panic(message: &str) {
    log::error!("a callback panicked: {message}");
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a message")
        .to_owned()
}

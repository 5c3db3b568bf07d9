//! What a timer calls.

use super::core::LoopCore;
use super::timers::TimerId;

/// A closure of either kind, in one pointer pair: a timer has no room to spare.
pub(crate) struct TimerCallback(Box<dyn Call>);

trait Call {
    /// The only call, of a timer that has no period.
    fn call_once(self: Box<Self>);
    /// One of many calls, of a timer that has one.
    fn call(&mut self);
}

struct Once<F>(F);

impl<F: FnOnce()> Call for Once<F> {
    fn call_once(self: Box<Self>) {
        self.0();
    }

    fn call(&mut self) {
        debug_assert!(false, "a timer of one call has no period");
    }
}

struct Every<F>(F);

impl<F: FnMut()> Call for Every<F> {
    fn call_once(mut self: Box<Self>) {
        self.0();
    }

    fn call(&mut self) {
        self.0();
    }
}

impl TimerCallback {
    #[inline]
    pub(crate) fn once(callback: impl FnOnce() + 'static) -> Self {
        Self(Box::new(Once(callback)))
    }

    pub(crate) fn every(callback: impl FnMut() + 'static) -> Self {
        Self(Box::new(Every(callback)))
    }

    #[inline]
    pub(super) fn call_once(self) {
        self.0.call_once();
    }
}

/// The callback of a periodic timer while it is called: it goes back, also when it panics.
pub(super) struct Lent<'a> {
    core: &'a LoopCore,
    id: TimerId,
    callback: Option<TimerCallback>,
}

impl<'a> Lent<'a> {
    pub(super) fn new(core: &'a LoopCore, id: TimerId, callback: TimerCallback) -> Self {
        Self { core, id, callback: Some(callback) }
    }

    pub(super) fn call(&mut self) {
        if let Some(TimerCallback(callback)) = &mut self.callback {
            callback.call();
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(callback) = self.callback.take() {
            let unused = self.core.timers.borrow_mut().put_back(self.id, callback);
            drop(unused);
        }
    }
}

//! What a timer calls.

use smallbox::{SmallBox, smallbox};

use super::core::LoopCore;
use super::timers::TimerId;

/// A closure of either kind. One that captures a word or less, such as a handle or an `Rc`, needs no
/// memory of its own: to allocate that, and to find it, costs more than all else that a timer does.
pub(crate) struct TimerCallback(SmallBox<dyn Call, usize>);

trait Call {
    fn call(&mut self);
}

/// Empty once it has been called.
struct Once<F>(Option<F>);

impl<F: FnOnce()> Call for Once<F> {
    #[inline]
    fn call(&mut self) {
        if let Some(callback) = self.0.take() {
            callback();
        }
    }
}

struct Every<F>(F);

impl<F: FnMut()> Call for Every<F> {
    fn call(&mut self) {
        self.0();
    }
}

impl TimerCallback {
    #[inline]
    pub(crate) fn once(callback: impl FnOnce() + 'static) -> Self {
        Self(smallbox!(Once(Some(callback))))
    }

    pub(crate) fn every(callback: impl FnMut() + 'static) -> Self {
        Self(smallbox!(Every(callback)))
    }

    #[inline]
    pub(super) fn call(&mut self) {
        self.0.call();
    }
}

/// The callback of a periodic timer while it is called: it goes back, also when it panics.
pub(super) struct Lent<'a> {
    core: &'a LoopCore,
    id: TimerId,
    callback: Option<TimerCallback>,
}

impl<'a> Lent<'a> {
    #[inline]
    pub(super) fn new(core: &'a LoopCore, id: TimerId, callback: Option<TimerCallback>) -> Self {
        Self { core, id, callback }
    }

    #[inline]
    pub(super) fn call(&mut self) {
        if let Some(callback) = &mut self.callback {
            callback.call();
        }
    }
}

impl Drop for Lent<'_> {
    #[inline]
    fn drop(&mut self) {
        self.core.timers.borrow_mut().put_back(self.id, &mut self.callback);
    }
}

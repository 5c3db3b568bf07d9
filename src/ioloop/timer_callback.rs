//! What a timer calls.

use super::core::LoopCore;
use super::timers::TimerId;

pub(crate) enum TimerCallback {
    Once(Box<dyn FnOnce()>),
    Every(Box<dyn FnMut()>),
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
        if let Some(TimerCallback::Every(callback)) = &mut self.callback {
            callback();
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

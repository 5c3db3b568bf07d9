//! What keeps a host running that has nothing else to wait for.

use std::fmt;
use std::rc::Rc;

use super::{LoopSession, Services};
use crate::ioloop::SessionKey;

/// Something is still to come, from another thread or from a task: until this is dropped, a host whose
/// run returns when nothing is watched ([`keep_alive`](crate::IoServices::keep_alive)) runs on. On other
/// hosts it changes nothing, nor when the services have been detached. From [`Services::work_guard`]; it
/// keeps the services alive. For the loop's thread; it may be dropped in every callback.
#[must_use = "the host is kept running until it is dropped"]
pub struct WorkGuard {
    services: Services,
    key: SessionKey,
}

impl WorkGuard {
    pub(super) fn new(services: &Services) -> Self {
        Self { services: services.clone(), key: services.adopt(Rc::new(Work)) }
    }
}

impl Drop for WorkGuard {
    fn drop(&mut self) {
        drop(self.services.release(self.key));
    }
}

impl fmt::Debug for WorkGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkGuard").field(&self.services).finish()
    }
}

/// To the loop, work is as a connection that never has anything to write.
struct Work;

impl LoopSession for Work {
    fn flush(&self) {}

    fn abandon(&self) {}
}

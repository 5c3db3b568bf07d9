//! The way in from other threads.

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::core::LoopCore;
use crate::error::LoopError;

/// What crosses: a closure that finds on the loop's thread what could not cross.
pub(crate) type RemotePost = Box<dyn FnOnce(&Rc<LoopCore>) + Send>;

/// Posts closures to a loop's thread, from any thread.
///
/// It holds nothing of the loop but its queue: it keeps no loop alive, and may outlive it.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// `None` once the loop is gone. Woken under this lock, which `close` takes too: no wake reaches a
    /// loop that has gone. It is not the queue's, for which the loop that wakes up would wait.
    waker: Mutex<Option<Waker>>,
    /// Whether there are posts, for the loop to look without the lock. One that it misses has woken
    /// it: it looks again in the next turn. In one order with the flag of a waker that is set
    /// already, and so wakes nobody: whoever finds that set is seen here by who clears it.
    has_posts: AtomicBool,
}

#[derive(Default)]
struct Queue {
    posts: Vec<RemotePost>,
    is_closed: bool,
}

impl Remote {
    pub(crate) fn new(waker: Waker) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::default(),
            waker: Mutex::new(Some(waker)),
            has_posts: AtomicBool::new(false),
        }))
    }

    /// Runs `callback` on the loop's thread, in its next turn (pika's `add_callback_threadsafe`).
    /// Those of one thread run in the order posted. A loop that sleeps is woken, once for all that
    /// are posted before it is awake. It keeps no host running that has nothing else to wait for: see
    /// [`WorkGuard`](crate::WorkGuard).
    ///
    /// # Errors
    /// [`LoopError::Gone`]: `callback` has been dropped, on this thread, with nothing locked. One
    /// that was taken is dropped without a call if the loop goes before its turn.
    pub fn add_callback(&self, callback: impl FnOnce() + Send + 'static) -> Result<(), LoopError> {
        let post = Box::new(move |core: &Rc<LoopCore>| drop(core.call_user(callback)));
        self.post(post).map_err(|_| LoopError::Gone)
    }

    /// `post` comes back if the loop has gone, to be dropped with nothing locked.
    pub(crate) fn post(&self, post: RemotePost) -> Result<(), RemotePost> {
        let mut queue = lock(&self.0.queue);
        if queue.is_closed {
            return Err(post);
        }
        let is_first = queue.posts.is_empty();
        queue.posts.push(post);
        if is_first {
            self.0.has_posts.store(true, Ordering::SeqCst);
        }
        drop(queue);
        if is_first {
            self.wake();
        }
        Ok(())
    }

    /// Has the host call `turn`.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*lock(&self.0.waker) {
            waker.wake_by_ref();
        }
    }

    /// Whether nothing waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        !self.0.has_posts.load(Ordering::SeqCst)
    }

    /// Exchanges what was posted for the empty `posts`.
    pub(crate) fn swap(&self, posts: &mut Vec<RemotePost>) {
        let mut queue = lock(&self.0.queue);
        self.0.has_posts.store(false, Ordering::SeqCst);
        std::mem::swap(&mut queue.posts, posts);
    }

    /// Refuses all that comes from now on, and gives back what came so far.
    pub(crate) fn close(&self) -> Vec<RemotePost> {
        let mut queue = lock(&self.0.queue);
        queue.is_closed = true;
        let posts = std::mem::take(&mut queue.posts);
        drop(queue);
        let waker = lock(&self.0.waker).take();
        drop(waker);
        posts
    }
}

/// No panic leaves what is locked half-changed, so a poisoned lock means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

//! The way to a connection from other threads.

use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::vec::IntoIter;

use super::handle::Connection;
use super::session::Session;
use crate::channel::{Answer, Channel, ChannelId};
use crate::error::{Error, LoopError, Misuse, Result};
use crate::ioloop::{LoopCore, Remote, SessionKey};

/// A handle on a connection for other threads: `Clone + Send + Sync`, free to drop. See
/// [`Connection::remote`].
///
/// It posts closures to the loop's thread, where they get the [`Connection`]. What one thread posts
/// by this handle, by a [`RemoteChannel`](crate::RemoteChannel) of the same connection or by an
/// [`Acker`](crate::Acker) comes in the order posted. A loop that sleeps is woken once for all that
/// is posted before it is awake.
///
/// ```no_run
/// # fn f(connection: &haypile::Connection) -> haypile::Result<()> {
/// let remote = connection.remote();
/// std::thread::spawn(move || {
///     let posted = remote.add_callback(|connection| {
///         connection.close(200, "the work is done").expect("it is open");
///     });
///     posted.expect("the connection has not ended");
/// });
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RemoteConnection {
    inbox: Arc<Inbox>,
}

impl RemoteConnection {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox }
    }

    /// Runs `callback` on the loop's thread, in its next turn (pika's `add_callback_threadsafe`).
    /// It may come when the connection has just ended: calls on the handle then give errors. If the
    /// loop goes before that, it is dropped without a call.
    ///
    /// # Errors
    /// [`Misuse::ConnectionNotOpen`] once the connection has ended, [`LoopError::Gone`] if its loop
    /// went before: `callback` has been dropped, on this thread, with nothing locked. A connection
    /// that is not open yet takes posts.
    pub fn add_callback(&self, callback: impl FnOnce(&Connection) + Send + 'static) -> Result<()> {
        self.inbox.put(Post::Connection(Box::new(callback)))
    }
}

impl fmt::Debug for RemoteConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteConnection").field("ended", &self.inbox.has_ended()).finish()
    }
}

/// What crosses to the loop's thread.
pub(crate) enum Post {
    Connection(Box<dyn FnOnce(&Connection) + Send>),
    Channel(ChannelId, Box<dyn FnOnce(&Channel) + Send>),
    Answer(ChannelId, Answer),
}

impl Post {
    fn run(self, session: Weak<Session>) {
        match self {
            Self::Connection(callback) => callback(&Connection::new(session)),
            Self::Channel(id, callback) => callback(&Channel::new(session, id)),
            Self::Answer(id, answer) => answer.give(&Channel::new(session, id)),
        }
    }
}

/// What other threads have for a connection: one queue, so that all of it keeps its order.
pub(crate) struct Inbox {
    remote: Remote,
    session: SessionKey,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    posts: Vec<Post>,
    /// The loop has been asked to take them.
    asked: bool,
    /// Why nothing is taken any more.
    ended: Option<Error>,
}

impl Inbox {
    pub(super) fn new(remote: Remote, session: SessionKey) -> Arc<Self> {
        Arc::new(Self { remote, session, queue: Mutex::default() })
    }

    /// The inbox of connections that have ended.
    pub(crate) fn ended() -> &'static Arc<Self> {
        static ENDED: LazyLock<Arc<Inbox>> = LazyLock::new(|| {
            let inbox = Inbox::new(Remote::new(Waker::noop().clone()), SessionKey::NONE);
            inbox.end(Misuse::ConnectionNotOpen);
            inbox
        });
        &ENDED
    }

    /// Has the loop take `post` in its next turn.
    pub(crate) fn put(self: &Arc<Self>, post: Post) -> Result<()> {
        let mut queue = self.lock();
        if let Some(error) = queue.ended.clone() {
            drop(queue);
            drop(post);
            return Err(error);
        }
        queue.posts.push(post);
        self.ask(queue)
    }

    /// Asks the loop to take what is in the queue, unless it has been asked.
    fn ask(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) -> Result<()> {
        if !queue.asked {
            let taking = Taking(Some(Arc::clone(self)));
            let asked = self.remote.post(Box::new(move |core| taking.take(core)));
            queue.asked = asked.is_ok();
            // What is refused ends this inbox, when it is dropped with nothing locked.
            drop(queue);
            asked.map_err(|_| LoopError::Gone)?;
        }
        Ok(())
    }

    /// Takes nothing any more. What was taken is still the loop's to run.
    pub(super) fn end(&self, reason: impl Into<Error>) {
        self.lock().ended.get_or_insert(reason.into());
    }

    /// The loop has gone: gives back what it has not run, to be dropped with nothing locked.
    pub(super) fn abandon(&self) -> impl Drop + use<> {
        let mut queue = self.lock();
        queue.ended.get_or_insert(LoopError::Gone.into());
        std::mem::take(&mut queue.posts)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// No panic leaves the queue half-changed, so a poisoned lock means nothing.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's errand to take what is in an inbox. If it never does so, it has gone.
struct Taking(Option<Arc<Inbox>>);

impl Taking {
    fn take(mut self, core: &Rc<LoopCore>) {
        let Some(inbox) = self.0.take() else { return };
        let posts = {
            let mut queue = inbox.lock();
            queue.asked = false;
            std::mem::take(&mut queue.posts)
        };
        let session = Session::find(core, inbox.session);
        let mut batch = Batch { inbox: &inbox, posts: posts.into_iter() };
        for post in batch.posts.by_ref() {
            match &session {
                Some(session) => session.run_post(core, |session| post.run(session)),
                None => drop(core.call_user(|| post.run(Weak::new()))),
            }
        }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        if let Some(inbox) = self.0.take() {
            drop(inbox.abandon());
        }
    }
}

/// What is being run. A panic that unwinds leaves the rest for the next turn, before what has come
/// meanwhile.
struct Batch<'i> {
    inbox: &'i Arc<Inbox>,
    posts: IntoIter<Post>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.posts.len() > 0 {
            let mut queue = self.inbox.lock();
            let newer = std::mem::take(&mut queue.posts);
            queue.posts = self.posts.by_ref().chain(newer).collect();
            // A loop that has gone drops it.
            drop(self.inbox.ask(queue));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::ioloop::wakes::Wakes;

    /// A loop, how often it was woken since the last time, and the inbox of what has no session.
    fn sleeping() -> (Rc<LoopCore>, impl Fn() -> usize, Arc<Inbox>) {
        let (waker, wakes) = Wakes::new();
        let core = LoopCore::new(waker);
        let inbox = Inbox::new(core.remote(), SessionKey::NONE);
        (core, move || wakes.take(), inbox)
    }

    fn note(log: &Arc<Mutex<Vec<usize>>>, number: usize) -> Post {
        let log = Arc::clone(log);
        Post::Connection(Box::new(move |_| log.lock().unwrap().push(number)))
    }

    #[test]
    fn a_loop_that_sleeps_is_woken_once_for_all_threads() {
        const THREADS: usize = 4;
        const POSTS: usize = 1000;
        let (core, wakes, inbox) = sleeping();
        let log = Arc::default();
        for round in 0..3 {
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| (0..POSTS).for_each(|n| inbox.put(note(&log, n)).unwrap()));
                }
            });
            assert_eq!(wakes(), 1, "round {round}");
            core.turn();
            assert_eq!(std::mem::take(&mut *log.lock().unwrap()).len(), THREADS * POSTS);
        }
    }

    #[test]
    fn what_a_post_posts_waits_for_the_next_turn() {
        let (core, wakes, inbox) = sleeping();
        let log = Arc::default();
        let (again, second) = (Arc::clone(&inbox), note(&log, 2));
        let post = move |_: &Connection| again.put(second).unwrap();
        inbox.put(Post::Connection(Box::new(post))).unwrap();
        inbox.put(note(&log, 1)).unwrap();
        wakes();
        core.turn();
        assert_eq!((&*log.lock().unwrap(), wakes()), (&vec![1], 1));
        core.turn();
        assert_eq!(*log.lock().unwrap(), [1, 2]);
    }

    #[test]
    fn what_the_loop_has_not_taken_goes_with_it() {
        let (core, _, inbox) = sleeping();
        let log = Arc::default();
        inbox.put(note(&log, 1)).unwrap();
        inbox.put(note(&log, 2)).unwrap();
        core.detach();
        assert_eq!(Arc::strong_count(&log), 1, "the closures are dropped");
        assert_eq!(inbox.put(note(&log, 3)), Err(LoopError::Gone.into()));
        assert_eq!(Arc::strong_count(&log), 1);
        assert!(log.lock().unwrap().is_empty());
        // One that nothing was ever put in learns of it when something is.
        let inbox = Inbox::new(core.remote(), SessionKey::NONE);
        assert_eq!(inbox.put(note(&log, 3)), Err(LoopError::Gone.into()));
        assert_eq!(Arc::strong_count(&log), 1);
    }
}

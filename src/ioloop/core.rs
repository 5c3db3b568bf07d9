//! What every loop shares: timers, posted callbacks, name lookups under way, and the connections
//! with their output. It knows no descriptor and never waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::batch::Batches;
use super::buffers::Buffers;
use super::keyed::{Key, Keyed};
use super::panics::{PanicGuard, Panics, call_each, log_panic};
use super::remote::{Remote, RemotePost};
use super::timer_callback::{Lent, TimerCallback};
use super::timers::{Due, Period, TimerId, Timers, nanos, overwrite};
use crate::io_services::{LoopSession, ResolveCallback};

/// No host waits for a deadline 584 years away.
const NOT_TOLD: u64 = u64::MAX;

/// Room for so many posts is kept. What a burst took beyond that is given back after it.
const POSTS_KEPT: usize = 4096;

type Post = Box<dyn FnOnce(&Rc<LoopCore>)>;
type OnDetach = Box<dyn FnOnce()>;

/// The part of an event loop that is the same over every host: the host's adapter makes one, keeps
/// it, and calls [`turn`](Self::turn) when it is told to. See [`IoServices`](crate::IoServices).
///
/// All of it is for the loop's thread; [`Remote`] is the way in from others.
pub struct LoopCore {
    this: Weak<LoopCore>,
    /// Time zero of the timers.
    epoch: Instant,
    pub(super) timers: RefCell<Timers<TimerCallback>>,
    /// The deadline that the host was last told, in nanoseconds, or [`NOT_TOLD`].
    told: Cell<u64>,
    posted: RefCell<VecDeque<Post>>,
    remote: Remote,
    /// Empty but for its capacity, which it trades with the remote queue.
    spare: Cell<Vec<RemotePost>>,
    lookups: RefCell<Keyed<ResolveCallback>>,
    sessions: RefCell<Keyed<Rc<dyn LoopSession>>>,
    pub(super) batches: Batches,
    in_turn: Cell<bool>,
    /// Whether the turn under way is to wait no more: there may be more to do, or at another time, than
    /// at the last [`set_unchanged`](Self::set_unchanged). A timer less is no change: a wait may end
    /// early.
    changed: Cell<bool>,
    detached: Cell<bool>,
    pub(super) buffers: Buffers,
    panics: PanicGuard,
    on_detach: RefCell<Vec<OnDetach>>,
}

/// Names a session that a core owns, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionKey(Key);

impl SessionKey {
    /// Names none.
    pub(crate) const NONE: Self = Self(Key::NONE);
}

/// Names a name lookup under way, for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookupKey(Key);

impl LoopCore {
    /// A core for a host loop. Waking `waker`, from any thread, must have the host call
    /// [`turn`](Self::turn) soon, once for any number of wakes. It is woken with a lock held that
    /// posting takes: it must not call back into this crate.
    ///
    /// A panic in a callback is caught, and told to [`set_on_panic`](Self::set_on_panic).
    pub fn new(waker: Waker) -> Rc<Self> {
        Self::with_panics(waker, Panics::Catch)
    }

    pub(super) fn with_panics(waker: Waker, panics: Panics) -> Rc<Self> {
        Self::with_epoch(waker, panics, Instant::now())
    }

    /// One whose turns are by another clock, which must not go behind `epoch`: see
    /// [`turn_at`](Self::turn_at).
    pub(crate) fn by_clock(waker: Waker, epoch: Instant) -> Rc<Self> {
        Self::with_epoch(waker, Panics::Catch, epoch)
    }

    fn with_epoch(waker: Waker, panics: Panics, epoch: Instant) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: this.clone(),
            epoch,
            timers: RefCell::default(),
            told: Cell::new(NOT_TOLD),
            posted: RefCell::default(),
            remote: Remote::new(waker),
            spare: Cell::default(),
            lookups: RefCell::default(),
            sessions: RefCell::default(),
            batches: Batches::default(),
            in_turn: Cell::new(false),
            changed: Cell::new(false),
            detached: Cell::new(false),
            buffers: Buffers::default(),
            panics: PanicGuard::new(panics),
            on_detach: RefCell::default(),
        })
    }

    /// Runs the callbacks posted so far, then the timers that are due, then writes what the
    /// connections have to send. Gives the deadline to set the host's timer to; one that has
    /// passed if there is more to do already: the host then calls again after it has looked at its
    /// descriptors.
    ///
    /// The host calls it from the loop's thread when its timer fires, after
    /// [`defer`](crate::IoServices::defer) and after a wake; to call it once more does no harm. A
    /// call from inside a callback does nothing but log an error; the turn comes later, by a wake.
    pub fn turn(&self) -> Option<Instant> {
        self.turn_at(Instant::now)
    }

    /// The same, by another clock.
    pub(crate) fn turn_at(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        if self.is_busy() {
            log::error!("a turn of the event loop was started from inside one of its callbacks");
            self.told.set(NOT_TOLD);
            self.changed.set(true);
            self.batches.wake_after();
            return None;
        }
        {
            let _in_turn = InTurn::enter(&self.in_turn);
            let _batch = self.batch();
            self.run_posted();
            self.run_due_at(now);
        }
        let next = if self.is_pending() { Some(self.epoch) } else { self.next_deadline() };
        self.told.set(next.map_or(NOT_TOLD, |next| self.nanos(next)));
        next
    }

    /// Ends all that this core has: callbacks, timers and lookups are dropped without a call, and
    /// connections are abandoned as they are. [`Remote`]s give
    /// [`LoopError::Gone`](crate::LoopError::Gone) from now on, and no wake comes any more. To call
    /// it again does nothing.
    ///
    /// The host calls it on the loop's thread before it goes. What is dropped may call anything.
    pub fn detach(&self) {
        self.detach_after(|| ());
    }

    /// The same. `leave` is called when no wake comes any more, before anything is dropped; not at all
    /// if it was called before.
    pub(crate) fn detach_after(&self, leave: impl FnOnce()) {
        if self.detached.replace(true) {
            return;
        }
        self.changed.set(true);
        self.told.set(NOT_TOLD);
        self.buffers.clear();
        // Each is taken out first and dropped after, so that nothing is borrowed meanwhile.
        let remote = self.remote.close();
        let posted = self.posted.take();
        let timers = self.timers.borrow_mut().take();
        let lookups = self.lookups.borrow_mut().take();
        let sessions = self.sessions.borrow_mut().take();
        let dirty = self.batches.take_dirty();
        leave();
        let panics = &self.panics;
        let abandon = move || {
            let on_panic = panics.replace(log_panic);
            sessions.iter().for_each(|session| session.abandon());
            drop((remote, posted, timers, lookups, sessions, dirty, on_panic));
        };
        let on_detach = self.on_detach.take().into_iter();
        let calls = on_detach.map(|call| call as Box<dyn FnOnce() + '_>);
        let calls = calls.chain([Box::new(abandon) as Box<dyn FnOnce() + '_>]);
        call_each(calls.map(|call| || drop(self.call_user(call))));
    }

    /// Has `on_detach` called by [`detach`](Self::detach), in the order added, when no wake comes any
    /// more and before anything is dropped: for an adapter to take out of its host what it has there,
    /// because the host may go then. A core that is detached already drops it without a call.
    pub fn add_on_detach(&self, on_detach: impl FnOnce() + 'static) {
        if !self.is_detached() {
            self.on_detach.borrow_mut().push(Box::new(on_detach));
        }
    }

    /// Has `on_panic` called with the message of each panic that a user's callback has ended with.
    /// The default writes it to the log as an error.
    pub fn set_on_panic(&self, on_panic: impl Fn(&str) + 'static) {
        if !self.is_detached() {
            drop(self.panics.replace(on_panic));
        }
    }

    /// The way in from other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.detached.get()
    }

    /// Whether a turn or a callback is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.batches.depth() > 0
    }

    /// Whether there is something to do without waiting. Of remote posts the waker tells.
    pub(super) fn is_pending(&self) -> bool {
        !self.posted.borrow().is_empty() || self.batches.has_dirty()
    }

    /// The same, once the connections' output so far has been written.
    #[inline(never)]
    pub(super) fn is_pending_after_flush(&self) -> bool {
        self.flush_dirty();
        self.is_pending()
    }

    /// From here on, [`is_changed`](Self::is_changed) tells what comes. What a panic has left of the
    /// timers that were due has not come to its deadline again, but is to be run.
    pub(super) fn set_unchanged(&self) {
        self.changed.set(self.timers.borrow().has_due());
    }

    /// Ends the waits of the turn under way.
    pub(super) fn set_changed(&self) {
        self.changed.set(true);
    }

    /// Whether a wait would have to be another one than before. Of remote posts the waker tells.
    #[inline]
    pub(super) fn is_changed(&self) -> bool {
        self.changed.get()
    }

    /// Whether there is something to do, for whoever is not told by the waker.
    pub(crate) fn has_work(&self) -> bool {
        self.is_pending() || self.timers.borrow().has_due() || !self.remote.is_empty()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let first = self.timers.borrow_mut().first()?;
        // One too far to be an Instant never comes.
        self.epoch.checked_add(Duration::from_nanos(first))
    }

    /// Runs a user's closure, with nothing borrowed. The error is the message of its panic, which
    /// `on_panic` has been told. [`IOLoop`](crate::IOLoop)'s core lets the panic unwind instead.
    pub(crate) fn call_user<R>(&self, user: impl FnOnce() -> R) -> Result<R, String> {
        self.panics.call(user)
    }

    /// Posts a callback for the next turn. True: the host must be asked for that turn.
    pub(crate) fn add_callback(&self, callback: impl FnOnce() + 'static) -> bool {
        if self.is_detached() {
            return false;
        }
        self.changed.set(true);
        let post: Post = Box::new(move |core| drop(core.call_user(callback)));
        let mut posted = self.posted.borrow_mut();
        posted.push_back(post);
        posted.len() == 1 && !self.in_turn.get()
    }

    /// Adds a timer for `deadline`, and then every `period` if there is one. True: the host's timer
    /// must be set to `deadline`.
    #[inline]
    pub(crate) fn add_timer(
        &self,
        deadline: Instant,
        period: Option<Period>,
        callback: impl FnOnce() -> TimerCallback,
    ) -> (TimerId, bool) {
        if self.is_detached() {
            return (TimerId::NONE, false);
        }
        self.changed.set(true);
        let at = self.nanos(deadline);
        let mut timers = self.timers.borrow_mut();
        let (id, place) = timers.insert(at, period);
        overwrite(place, Some(callback()));
        (id, self.must_tell(at))
    }

    /// Moves a timer to another deadline. The first of the two: whether it was pending. The second:
    /// the host's timer must be set to `deadline`.
    #[inline]
    pub(crate) fn reset_timer(&self, id: TimerId, deadline: Instant) -> (bool, bool) {
        self.changed.set(true);
        let at = self.nanos(deadline);
        let pending = self.timers.borrow_mut().reset(id, at);
        (pending, pending && self.must_tell(at))
    }

    /// Whether the host has not been told of a deadline that early, and will not be by itself.
    #[inline]
    fn must_tell(&self, at: u64) -> bool {
        let tell = at < self.told.get() && !self.in_turn.get();
        if tell {
            self.told.set(at);
        }
        tell
    }

    /// Whether the timer was pending, and its callback, for the caller to drop. The last: no timer
    /// is left nor anything else to do, and the host's must be unset. While some are left, the
    /// host's may come too early, which costs a turn, where to set it each time could cost a system
    /// call.
    #[inline]
    pub(crate) fn remove_timer(&self, id: TimerId) -> (bool, Option<TimerCallback>, bool) {
        let mut timers = self.timers.borrow_mut();
        let (pending, callback) = timers.remove(id);
        let last = pending && timers.is_empty() && !self.in_turn.get();
        // While something is posted, the host's timer may stand for the turn that is owed to it.
        let unset = last && !self.is_pending() && self.told.replace(NOT_TOLD) != NOT_TOLD;
        (pending, callback, unset)
    }

    /// Keeps `done` for [`finish_lookup`](Self::finish_lookup). `None`: the core is detached.
    pub(crate) fn begin_lookup(&self, done: ResolveCallback) -> Option<LookupKey> {
        if self.is_detached() {
            return None;
        }
        Some(LookupKey(self.lookups.borrow_mut().insert(done)))
    }

    /// Takes the `done` of a lookup that is neither finished nor cancelled.
    pub(crate) fn finish_lookup(&self, key: LookupKey) -> Option<ResolveCallback> {
        self.lookups.borrow_mut().remove(key.0)
    }

    /// Runs those posted so far. What a panic leaves is run by the next call.
    #[inline]
    pub(super) fn run_posted(&self) {
        self.take_remote();
        if !self.posted.borrow().is_empty() {
            self.run_all_posted();
        }
    }

    fn run_all_posted(&self) {
        let count = self.posted.borrow().len();
        let Some(this) = self.this.upgrade() else { return };
        for _ in 0..count {
            let post = self.posted.borrow_mut().pop_front();
            match post {
                Some(post) => post(&this),
                None => break,
            }
        }
        self.posted.borrow_mut().shrink_to(POSTS_KEPT);
    }

    /// Puts what other threads have posted behind what this one has.
    #[inline]
    fn take_remote(&self) {
        if !self.remote.is_empty() {
            self.take_all_remote();
        }
    }

    fn take_all_remote(&self) {
        let mut remote = self.spare.take();
        self.remote.swap(&mut remote);
        self.posted.borrow_mut().extend(remote.drain(..).map(|post| post as Post));
        remote.shrink_to(POSTS_KEPT);
        self.spare.set(remote);
    }

    /// Runs the timers that are due now. What a panic leaves is run by the next call.
    #[inline]
    pub(super) fn run_due(&self) {
        self.run_due_at(Instant::now);
    }

    #[inline]
    fn run_due_at(&self, now: impl FnOnce() -> Instant) {
        let mut timers = self.timers.borrow_mut();
        timers.trim();
        if !timers.is_empty() {
            drop(timers);
            self.run_all_due(self.nanos(now()));
        }
    }

    fn run_all_due(&self, now: u64) {
        self.timers.borrow_mut().collect_due(now);
        loop {
            let mut callback = None;
            let due = self.timers.borrow_mut().next_due(now, &mut callback);
            match (due, &mut callback) {
                (Some(Due::Once), Some(callback)) => drop(self.call_user(|| callback.call())),
                // One that has removed itself is dropped there too.
                (Some(Due::Every(id)), _) => {
                    drop(self.call_user(|| Lent::new(self, id, callback).call()));
                }
                _ => break,
            }
        }
    }

    #[inline]
    fn nanos(&self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.epoch))
    }
}

/// For connections.
impl LoopCore {
    /// Owns `session` until [`release`](Self::release). A detached core does not take it.
    pub(crate) fn adopt(&self, session: Rc<dyn LoopSession>) -> SessionKey {
        if self.is_detached() {
            return SessionKey::NONE;
        }
        SessionKey(self.sessions.borrow_mut().insert(session))
    }

    /// Gives the session back, for the caller to drop with nothing borrowed.
    pub(crate) fn release(&self, key: SessionKey) -> Option<Rc<dyn LoopSession>> {
        self.sessions.borrow_mut().remove(key.0)
    }

    /// That session, if the loop still owns it.
    pub(crate) fn session(&self, key: SessionKey) -> Option<Rc<dyn LoopSession>> {
        self.sessions.borrow().get(key.0).cloned()
    }

    pub(crate) fn has_sessions(&self) -> bool {
        !self.sessions.borrow().is_empty()
    }

    /// Has the session flushed at the end of the batch. A session calls it once, until it is
    /// flushed. True: no batch is under way, and the host must be asked for a turn.
    pub(crate) fn mark_dirty(&self, session: Rc<dyn LoopSession>) -> bool {
        if self.is_detached() {
            return false;
        }
        self.changed.set(true);
        self.batches.mark_dirty(session)
    }
}

impl Drop for LoopCore {
    fn drop(&mut self) {
        self.detach();
    }
}

impl fmt::Debug for LoopCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopCore").field("detached", &self.is_detached()).finish_non_exhaustive()
    }
}

/// Set for the time of a turn, however it ends.
struct InTurn<'a>(&'a Cell<bool>);

impl<'a> InTurn<'a> {
    fn enter(flag: &'a Cell<bool>) -> Self {
        flag.set(true);
        Self(flag)
    }
}

impl Drop for InTurn<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

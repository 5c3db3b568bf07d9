//! Batches: the time in which callbacks run, at whose end the sessions with output write once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::core::LoopCore;
use crate::io_services::LoopSession;

#[derive(Default)]
pub(super) struct Batches {
    depth: Cell<usize>,
    /// Those with output, each once, in the order marked.
    dirty: RefCell<VecDeque<Rc<dyn LoopSession>>>,
    /// A turn was refused, or something is left to flush: the host owes a turn.
    wake: Cell<bool>,
}

impl Batches {
    #[inline]
    pub(super) fn depth(&self) -> usize {
        self.depth.get()
    }

    #[inline]
    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.borrow().is_empty()
    }

    /// True: no batch is under way, and none has been asked for.
    pub(super) fn mark_dirty(&self, session: Rc<dyn LoopSession>) -> bool {
        let mut dirty = self.dirty.borrow_mut();
        dirty.push_back(session);
        dirty.len() == 1 && self.depth() == 0
    }

    pub(super) fn take_dirty(&self) -> VecDeque<Rc<dyn LoopSession>> {
        self.dirty.take()
    }

    /// Wakes the host at the end of the outermost batch.
    pub(super) fn wake_after(&self) {
        self.wake.set(true);
    }
}

impl LoopCore {
    /// Begins a batch, or one inside of it: what descriptors, timers and posts call runs in one.
    /// The end of the outermost flushes the sessions with output.
    #[inline]
    pub(crate) fn batch(&self) -> BatchGuard<'_> {
        self.batches.depth.set(self.batches.depth() + 1);
        BatchGuard { core: self, in_unwind: std::thread::panicking() }
    }

    /// Flushes those that are dirty now. What a panic leaves is flushed by the next call.
    #[inline]
    pub(super) fn flush_dirty(&self) {
        if self.batches.has_dirty() {
            self.flush_all_dirty();
        }
    }

    /// The end of the outermost batch, if it has something to do.
    fn end_batch(&self, unwinds: bool) {
        let _depth = Leave(&self.batches.depth);
        if unwinds {
            // No user code in an unwind: the next turn flushes, and runs the timers of this batch
            // and remote posts, whose wake has been taken.
            self.batches.wake_after();
        } else {
            self.flush_dirty();
        }
        if self.batches.wake.take() || self.batches.has_dirty() {
            self.remote().wake();
        }
    }

    #[inline(never)]
    fn flush_all_dirty(&self) {
        let count = self.batches.dirty.borrow().len();
        for _ in 0..count {
            let session = self.batches.dirty.borrow_mut().pop_front();
            match session {
                Some(session) => session.flush(),
                None => break,
            }
        }
    }
}

/// A batch under way.
#[must_use = "a batch ends where its guard is dropped"]
pub(crate) struct BatchGuard<'a> {
    core: &'a LoopCore,
    /// It began in an unwind: the loop is run by what that drops.
    in_unwind: bool,
}

impl Drop for BatchGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let batches = &self.core.batches;
        let outermost = batches.depth() == 1;
        let unwinds = std::thread::panicking() && !self.in_unwind;
        if outermost && (batches.has_dirty() || batches.wake.get() || unwinds) {
            self.core.end_batch(unwinds);
        } else {
            drop(Leave(&batches.depth));
        }
    }
}

/// Counts a batch out, after its flush, however that ends.
struct Leave<'a>(&'a Cell<usize>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::ioloop::panics::Panics;
    use crate::ioloop::wakes::Wakes;
    use crate::ioloop::{IOLoop, LoopHandle};

    /// Notes its flushes, and marks itself again as often as told.
    struct Output {
        core: Rc<LoopCore>,
        flushes: Cell<usize>,
        again: Cell<usize>,
        abandoned: Cell<bool>,
    }

    impl Output {
        fn new(core: &Rc<LoopCore>, again: usize) -> Rc<Self> {
            Rc::new(Self {
                core: Rc::clone(core),
                flushes: Cell::new(0),
                again: Cell::new(again),
                abandoned: Cell::new(false),
            })
        }

        fn mark(self: &Rc<Self>) -> bool {
            self.core.mark_dirty(Rc::clone(self) as Rc<dyn LoopSession>)
        }
    }

    impl LoopSession for Output {
        fn flush(&self) {
            self.flushes.set(self.flushes.get() + 1);
            if let Some(left) = self.again.get().checked_sub(1) {
                self.again.set(left);
                let again = Output::new(&self.core, left);
                assert!(!again.mark(), "a batch is under way");
            }
        }

        fn abandon(&self) {
            self.abandoned.set(true);
            assert!(!self.core.mark_dirty(Output::new(&self.core, 0)));
        }
    }

    fn core() -> (Rc<LoopCore>, Arc<Wakes>) {
        let (waker, wakes) = Wakes::new();
        (LoopCore::new(waker), wakes)
    }

    #[test]
    fn the_end_of_the_outermost_batch_flushes_each_session_once() {
        let (core, wakes) = core();
        let (one, other) = (Output::new(&core, 0), Output::new(&core, 0));
        {
            let _outer = core.batch();
            {
                let _inner = core.batch();
                assert!(!one.mark() && !other.mark());
            }
            assert_eq!(one.flushes.get(), 0);
        }
        assert_eq!((one.flushes.get(), other.flushes.get()), (1, 1));
        drop(core.batch());
        assert_eq!(one.flushes.get(), 1);
        assert_eq!(wakes.take(), 0);
    }

    #[test]
    fn outside_of_a_batch_a_turn_is_asked_for_once() {
        let (core, _) = core();
        let (one, other) = (Output::new(&core, 0), Output::new(&core, 0));
        assert!(one.mark());
        assert!(!other.mark());
        assert_eq!(core.turn(), None);
        assert_eq!((one.flushes.get(), other.flushes.get()), (1, 1));
    }

    #[test]
    fn what_a_flush_marks_waits_for_the_next_turn_and_wakes_the_host() {
        let (core, wakes) = core();
        let output = Output::new(&core, 2);
        {
            let _batch = core.batch();
            output.mark();
        }
        assert_eq!(wakes.take(), 1);
        assert!(core.turn().unwrap() <= Instant::now());
        assert_eq!(core.turn(), None);
    }

    /// In an unwind nothing is flushed, and nothing is lost.
    #[test]
    fn a_panic_leaves_the_flush_to_the_next_turn() {
        let core = LoopCore::with_panics(Wakes::new().0, Panics::Unwind);
        let output = Output::new(&core, 0);
        catch_unwind(AssertUnwindSafe(|| {
            let _batch = core.batch();
            output.mark();
            panic!("in a callback");
        }))
        .unwrap_err();
        assert_eq!(output.flushes.get(), 0);
        assert!(!core.is_busy());
        core.turn();
        assert_eq!(output.flushes.get(), 1);
    }

    /// Else each of its turns would ask for the next one.
    #[test]
    fn a_loop_that_is_run_in_an_unwind_flushes_and_sleeps() {
        struct RunsLoop(Rc<LoopCore>, Rc<Output>);

        impl Drop for RunsLoop {
            fn drop(&mut self) {
                let _batch = self.0.batch();
                self.1.mark();
            }
        }

        let (core, wakes) = core();
        let output = Output::new(&core, 0);
        let runs = RunsLoop(Rc::clone(&core), Rc::clone(&output));
        catch_unwind(AssertUnwindSafe(|| {
            let _runs = runs;
            panic!("outside of the loop");
        }))
        .unwrap_err();
        assert_eq!((output.flushes.get(), wakes.take()), (1, 0));
    }

    #[test]
    fn an_ioloop_writes_before_it_waits_and_after_callbacks() {
        let ioloop = IOLoop::new().unwrap();
        let core = ioloop.services().core();
        let (before, during) = (Output::new(core, 0), Output::new(core, 0));
        ioloop.services().mark_dirty(Rc::clone(&before) as Rc<dyn LoopSession>);
        let (b, d, handle) = (Rc::clone(&before), Rc::clone(&during), ioloop.handle());
        ioloop.call_later(Duration::from_micros(10), move || {
            assert_eq!(b.flushes.get(), 1);
            d.mark();
            handle.stop();
        });
        ioloop.start().unwrap();
        assert_eq!(during.flushes.get(), 1);
    }

    /// What a flush drops may be the user's, who calls everything.
    struct Calls<F: Fn() + 'static>(F);

    impl<F: Fn() + 'static> LoopSession for Calls<F> {
        fn flush(&self) {
            self.0();
        }

        fn abandon(&self) {}
    }

    /// Runs a turn in whose flush `ask` is called. Without that, it would wait for 20 seconds.
    fn is_awake_after(ask: impl Fn(&LoopHandle) + 'static) {
        let ioloop = IOLoop::new().unwrap();
        let handle = ioloop.handle();
        ioloop.services().mark_dirty(Rc::new(Calls(move || ask(&handle))));
        let begun = Instant::now();
        drop(ioloop.run_once(Some(Duration::from_secs(20))));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_the_flush_before_a_wait_asks_for_is_not_slept_over() {
        is_awake_after(LoopHandle::stop);
        is_awake_after(|ioloop| ioloop.services().unwrap().core().detach());
        let fired = Rc::new(Cell::new(false));
        let fires = Rc::clone(&fired);
        is_awake_after(move |ioloop| {
            let fires = Rc::clone(&fires);
            ioloop.call_later(Duration::from_millis(1), move || fires.set(true));
        });
        assert!(fired.get());
    }

    #[test]
    fn sessions_are_owned_until_released_and_abandoned_by_detach() {
        let (core, _) = core();
        let (released, abandoned) = (Output::new(&core, 0), Output::new(&core, 0));
        let key = core.adopt(Rc::clone(&released) as Rc<dyn LoopSession>);
        core.adopt(Rc::clone(&abandoned) as Rc<dyn LoopSession>);
        assert_eq!(Rc::strong_count(&released), 2);
        assert!(core.release(key).is_some());
        assert!(core.release(key).is_none());
        assert_eq!(Rc::strong_count(&released), 1);
        core.detach();
        assert!(abandoned.abandoned.get() && !released.abandoned.get());
        assert_eq!(Rc::strong_count(&abandoned), 1);
        core.adopt(Rc::clone(&released) as Rc<dyn LoopSession>);
        assert_eq!(Rc::strong_count(&released), 1);
    }

    #[test]
    fn the_read_buffer_is_one_unless_a_slice_was_kept() {
        let (core, _) = core();
        let buffer = core.take_read_buffer();
        let first = buffer.as_ptr();
        assert_eq!(buffer.len(), 256 * 1024);
        core.put_read_buffer(buffer);
        let buffer = core.take_read_buffer();
        assert_eq!(buffer.as_ptr(), first);
        let kept = Arc::clone(&buffer);
        core.put_read_buffer(buffer);
        let buffer = core.take_read_buffer();
        assert_ne!(buffer.as_ptr(), kept.as_ptr());
        // Taken twice: the second is another one.
        assert_ne!(core.take_read_buffer().as_ptr(), buffer.as_ptr());
    }
}

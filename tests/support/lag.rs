//! How late a loop is on a busy machine, so that limits of time can be asserted there too.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{Services, TimerId};

const PERIOD: Duration = Duration::from_millis(10);

/// What a test may be late by beside its loop.
const SLACK: Duration = Duration::from_millis(250);

/// The longest that a timer of a loop was late.
pub struct Lag {
    services: Services,
    timer: TimerId,
    longest: Rc<Cell<Duration>>,
}

impl Lag {
    /// Watches a loop from now on.
    pub fn watch(services: &Services) -> Self {
        let longest = Rc::new(Cell::new(Duration::ZERO));
        let (note, last) = (Rc::clone(&longest), Cell::new(Instant::now()));
        let timer = services.call_every(PERIOD, move || {
            let late = last.replace(Instant::now()).elapsed().saturating_sub(PERIOD);
            note.set(note.get().max(late));
        });
        Self { services: services.clone(), timer, longest }
    }

    /// Checks that no more than `limit` has gone by since `begun`, but for what the loop was late
    /// by. Gives how long it was.
    pub fn assert_within(&self, begun: Instant, limit: Duration) -> Duration {
        let (took, late) = (begun.elapsed(), self.longest.get());
        assert!(took <= limit + late + SLACK, "{took:?}, of a loop late by {late:?}");
        took
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.services.remove_timeout(self.timer);
    }
}

//! How late a loop is on a busy machine, so that limits of time can be asserted there too.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::{Services, TimerId};

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
    /// Watches a loop, from when it runs.
    pub fn watch(services: &Services) -> Self {
        let longest = Rc::new(Cell::new(Duration::ZERO));
        let (note, last) = (Rc::clone(&longest), Cell::new(None));
        let timer = services.call_every(PERIOD, move || {
            let last: Option<Instant> = last.replace(Some(Instant::now()));
            let late = last.map_or(Duration::ZERO, |last| last.elapsed().saturating_sub(PERIOD));
            note.set(note.get().max(late));
        });
        Self { services: services.clone(), timer, longest }
    }

    /// Checks that no more than `limit` has gone by from `begun` until `ended`, but for what the
    /// loop was late by.
    pub fn assert_within(&self, limit: Duration, begun: Instant, ended: Instant) {
        let (took, late) = (ended - begun, self.longest.get());
        assert!(took <= limit + late + SLACK, "{took:?}, of a loop late by {late:?}");
        println!("{took:?} of {limit:?}, of a loop late by {late:?}");
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.services.remove_timeout(self.timer);
    }
}

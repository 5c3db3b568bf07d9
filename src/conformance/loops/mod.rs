//! The loop itself, through its adapter: timers, callbacks, starting and stopping.

pub(super) mod posts;
pub(super) mod running;
pub(super) mod starvation;
pub(super) mod timers;

use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

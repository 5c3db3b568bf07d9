//! The event loop, through the public API only: each scenario over every poller. Nothing sleeps to
//! be in time: where time must pass, the loop waits for it.

#![allow(clippy::unwrap_used)]

mod batches;
mod callbacks;
mod connecting;
mod crank;
mod drops;
mod fds;
mod forks;
mod hang_ups;
mod host;
mod nesting;
mod panics;
mod periodic;
mod pollers;
mod remote;
mod resetting;
mod resolving;
mod signals;
mod start_stop;
mod starvation;
mod syscalls;
mod timers;
mod tools;
mod variable;

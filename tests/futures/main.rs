//! async and await over connections and channels, on every loop, by an executor of one task.
#![cfg(feature = "futures")]

mod connecting;
mod consuming;
mod dropped;
mod endings;
mod executors;
mod publishing;
mod requests;
#[path = "../support/mod.rs"]
mod support;
mod task;
mod wakers;

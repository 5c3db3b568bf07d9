//! The conformance suite: what every adapter must do, each scenario on a new loop. Whoever writes an
//! adapter runs it on theirs; all those of this crate are tested by it.
//!
//! The program is a test with a `main` of its own, `tests/conformance.rs`, with `harness = false`
//! in `Cargo.toml` and this crate as a development dependency with the feature `conformance`:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::rc::Rc;
//!
//! use haypile::conformance::{self, Host};
//! use haypile::{IOLoop, Services};
//!
//! struct MyLoop(IOLoop);
//!
//! impl Host for MyLoop {
//!     fn services(&self) -> Services {
//!         self.0.services().clone()
//!     }
//!
//!     fn run_until_stopped(&self) -> haypile::Result<()> {
//!         self.0.start()
//!     }
//!
//!     fn stopper(&self) -> Rc<dyn Fn()> {
//!         let handle = self.0.handle();
//!         Rc::new(move || handle.stop())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     conformance::main("my loop", || MyLoop(IOLoop::new().expect("a loop")))
//! }
//! ```
//!
//! The scenarios over connections need a RabbitMQ, which `AMQP_URL` names; without it they fail, and
//! say so. The others need nothing. The arguments are those of every Rust test: a part of a name
//! runs the scenarios that have it, `--list` names them, `--test-threads 1` runs one at a time.
//!
//! Each scenario runs in a thread of its own, some at the same time. One that takes too long has
//! failed, and is left alone.
//!
//! `docs/write-an-adapter.md` leads from the trait to here.

mod connections;
mod descriptors;
mod host;
mod lives;
mod loops;
mod scenarios;
mod sockets;
mod stage;
mod suite;
#[doc(hidden)]
pub mod tools;
mod watchdog;

pub use host::Host;
pub use suite::{Suite, main};

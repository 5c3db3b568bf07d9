//! What the fuzz targets run. Each takes any bytes, and panics if something is found.
//!
//! `fuzz/` runs them under libFuzzer; `tests.rs` here runs them over the seeds and what a fixed
//! generator makes of those, wherever the tests run. Nothing of this is in a build for users.

mod frames;
mod machine;
mod memory;
mod methods;
#[cfg(test)]
mod seeds;
mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::fmt::{self, Write};

pub use frames::run as frames;
pub use machine::run as machine;
pub use methods::run as methods;
pub use tables::run as tables;

/// Has `value` printed, and throws away what it prints.
fn print(value: &impl fmt::Debug) {
    struct Nowhere;
    impl Write for Nowhere {
        fn write_str(&mut self, _: &str) -> fmt::Result {
            Ok(())
        }
    }
    write!(Nowhere, "{value:?}").expect("nothing refuses to be printed");
}

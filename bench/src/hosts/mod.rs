//! The loops that haypile runs on, its own and others: a file each, with no more than its adapter
//! and how a program runs such a loop.

mod async_io;
mod calloop;
#[cfg(feature = "glib")]
mod glib;
#[cfg(feature = "libev")]
mod libev;
#[cfg(feature = "libevent")]
mod libevent;
#[cfg(feature = "libuv")]
mod libuv;
mod select;
mod tokio;

use std::rc::Rc;

use haypile::{BaseConnection, ConnectionCallbacks, ConnectionParameters, Services};

pub use self::async_io::AsyncIo;
pub use self::calloop::Calloop;
#[cfg(feature = "glib")]
pub use self::glib::Glib;
#[cfg(feature = "libev")]
pub use self::libev::Libev;
#[cfg(feature = "libevent")]
pub use self::libevent::Libevent;
#[cfg(feature = "libuv")]
pub use self::libuv::Libuv;
pub use self::select::Select;
pub use self::tokio::Tokio;
use crate::Result;

/// A loop with haypile's services on it.
pub trait Host: Sized {
    fn new() -> Result<Self>;

    fn services(&self) -> &Services;

    /// The adapter's own connection.
    fn connect(
        &self,
        parameters: ConnectionParameters,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection>;

    /// Stops the run under way, on the loop's thread.
    fn stopper(&self) -> Rc<dyn Fn()>;

    /// Runs the loop until it is stopped, again and again, as long as `round`, which is called before
    /// each time, gives true.
    fn run_rounds(&self, round: impl FnMut() -> bool);

    /// Does what is measured, once the loop is as it is in a program that has run for a while.
    fn settled<T>(&self, measured: impl FnOnce() -> T) -> T {
        measured()
    }

    fn run(&self) {
        let mut rounds = [true, false].into_iter();
        self.run_rounds(|| rounds.next() == Some(true));
    }
}

/// What every adapter's host has in the same way, given its connection type.
macro_rules! on_services {
    ($Connection:ident) => {
        fn services(&self) -> &haypile::Services {
            &self.services
        }

        fn connect(
            &self,
            parameters: haypile::ConnectionParameters,
            callbacks: haypile::ConnectionCallbacks,
        ) -> Box<dyn haypile::BaseConnection> {
            Box::new(haypile::$Connection::with_services(parameters, callbacks, &self.services))
        }
    };
}
use on_services;

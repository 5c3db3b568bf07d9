//! Every loop that a scenario runs on, a file each. The conformance suite runs on the same.

#[cfg(feature = "async-io")]
mod async_io;
#[cfg(feature = "calloop")]
mod calloop;
#[cfg(feature = "glib")]
pub mod glib;
#[cfg(feature = "glib")]
mod glib_tasks;
#[cfg(feature = "libev")]
pub mod libev;
#[cfg(feature = "libevent")]
pub mod libevent;
#[cfg(feature = "libuv")]
pub mod libuv;
mod protocol;
mod select;
#[cfg(feature = "tokio")]
mod tokio;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use async_task::Runnable;
use haypile::{BaseConnection, ConnectionCallbacks, ConnectionWorkflow};

#[cfg(feature = "async-io")]
pub use async_io::AsyncIo;
#[cfg(feature = "calloop")]
pub use calloop::Calloop;
#[cfg(feature = "glib")]
pub use glib::Glib;
pub use haypile::conformance::Host as ConformanceHost;
#[cfg(feature = "libev")]
pub use libev::Libev;
#[cfg(feature = "libevent")]
pub use libevent::Libevent;
#[cfg(feature = "libuv")]
pub use libuv::Libuv;
pub use protocol::Protocol;
pub use select::Select;
#[cfg(feature = "tokio")]
pub use tokio::Tokio;

/// No scenario takes longer, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(60);

/// What an executor runs.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

/// A loop to run scenarios on. One that nobody stops panics in the end.
pub trait Host: ConformanceHost + Sized {
    /// For names on the broker that no other loop's test has.
    const NAME: &'static str;

    fn new() -> Self;

    /// Starts to connect.
    fn connect(
        &self,
        workflow: impl Into<ConnectionWorkflow>,
        callbacks: ConnectionCallbacks,
    ) -> Box<dyn BaseConnection>;

    /// Runs the loop until it is stopped.
    fn run(&self) {
        self.run_until_stopped().expect("an error that no callback took");
    }

    /// What has the loop run a task, by the loop's own executor. On one that has none, a task is polled
    /// by callbacks: a wake posts one.
    fn spawner(&self) -> Rc<dyn Fn(Task)> {
        let weak = self.services().downgrade();
        Rc::new(move |task| {
            let services = weak.upgrade().expect("the loop is there");
            let (remote, work) = (services.remote(), services.work_guard());
            let task = async move {
                task.await;
                drop(work);
            };
            let post = move |woken: Runnable| {
                // Refused by a loop that has gone, it is dropped, and the task with it.
                let _ = remote.add_callback(|| _ = woken.run());
            };
            let (first, task) = async_task::spawn_local(task, post);
            first.schedule();
            task.detach();
        })
    }

    /// Whether a panic of a callback comes out of `run`.
    const UNWINDS: bool;

    /// How often the loop itself allocates for each time that it tells of a descriptor, at most.
    const ALLOCATES: u64 = 0;

    /// The system calls of the loop itself.
    const CALLS: Calls = Calls::EPOLL;

    /// Whether the loop has a thread of its own that may free what this one has allocated.
    const FREES_ELSEWHERE: bool = false;
}

/// How many system calls a loop makes by itself.
#[derive(Clone, Copy)]
pub struct Calls {
    /// To wait until a descriptor is ready.
    pub wait: f64,
    /// To call a timer that is due.
    pub timer: f64,
    /// To be woken by another thread, whose own are among them.
    pub wake: f64,
}

impl Calls {
    /// One that waits; and a byte that is written and read.
    const EPOLL: Self = Self { wait: 1.0, timer: 1.0, wake: 3.0 };
}

/// A loop of C.
pub trait CLoop: Host {
    /// More services, in the same loop.
    fn attach(&self) -> haypile::Services;
}

/// Makes a test of each scenario on one loop.
macro_rules! on_host {
    ($module:ident: $Host:ident, $($scenario:ident)*) => {
        mod $module {
            $(#[test] fn $scenario() { super::$scenario::<crate::support::hosts::$Host>(); })*
        }
    };
}
pub(crate) use on_host;

/// Makes a test of each scenario on each loop.
macro_rules! every_host {
    ($($scenario:ident),* $(,)?) => {
        crate::support::hosts::on_host!(on_select: Select, $($scenario)*);
        crate::support::hosts::every_foreign_host!($($scenario),*);
    };
}
pub(crate) use every_host;

/// Makes a test of each scenario on each loop that is not the crate's own.
macro_rules! every_foreign_host {
    ($($scenario:ident),* $(,)?) => {
        #[cfg(feature = "async-io")]
        crate::support::hosts::on_host!(on_async_io: AsyncIo, $($scenario)*);
        #[cfg(feature = "calloop")]
        crate::support::hosts::on_host!(on_calloop: Calloop, $($scenario)*);
        #[cfg(feature = "tokio")]
        crate::support::hosts::on_host!(on_tokio: Tokio, $($scenario)*);
        crate::support::hosts::every_c_loop!($($scenario),*);
    };
}
pub(crate) use every_foreign_host;

/// Makes a test of each scenario on each loop of C.
macro_rules! every_c_loop {
    ($($scenario:ident),* $(,)?) => {
        #[cfg(feature = "glib")]
        crate::support::hosts::on_host!(on_glib: Glib, $($scenario)*);
        #[cfg(feature = "libev")]
        crate::support::hosts::on_host!(on_libev: Libev, $($scenario)*);
        #[cfg(feature = "libevent")]
        crate::support::hosts::on_host!(on_libevent: Libevent, $($scenario)*);
        #[cfg(feature = "libuv")]
        crate::support::hosts::on_host!(on_libuv: Libuv, $($scenario)*);
    };
}
pub(crate) use every_c_loop;

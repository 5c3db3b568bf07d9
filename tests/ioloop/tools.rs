//! What scenarios share.

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub use haypile::conformance::tools::{Trace, readable_pair};
use haypile::{IOLoop, LoopHandle, PollerKind, Ready};

pub const MS: Duration = Duration::from_millis(1);

/// Runs the loop until something stops it. A loop that hangs fails the test.
pub fn run(ioloop: &IOLoop) {
    let watchdog = ioloop.call_later(Duration::from_secs(20), || panic!("the loop hangs"));
    ioloop.start().unwrap();
    assert!(ioloop.remove_timeout(watchdog));
}

/// Runs the loop until something stops it, with no timer of the tests' own: for ever, if nothing wakes
/// it. A loop that hangs fails the test, by an event.
pub fn run_without_timer(ioloop: &IOLoop) {
    let (there, here) = UnixStream::pair().unwrap();
    let key = ioloop.add_handler(here, Ready::READ, |_, _| panic!("the loop hangs")).unwrap();
    let (done, is_done) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        // Then `there` is closed.
        let _ = (is_done.recv_timeout(Duration::from_secs(20)), there);
    });
    ioloop.start().unwrap();
    ioloop.remove_handler(key);
    drop(done);
    watchdog.join().unwrap();
}

/// Runs what can be run without waiting for anything but the clock, for some turns.
pub fn run_turns(ioloop: &IOLoop, turns: usize) {
    fn next(ioloop: LoopHandle, turns: usize) {
        match turns {
            0 => ioloop.stop(),
            _ => ioloop.clone().add_callback(move || next(ioloop, turns - 1)),
        }
    }
    let ioloop_handle = ioloop.handle();
    ioloop.add_callback(move || next(ioloop_handle, turns));
    run(ioloop);
}

/// The message of the panic that comes out of `start`.
pub fn start_panics(ioloop: &IOLoop) -> String {
    panics(|| drop(ioloop.start()))
}

/// The message of the panic that comes out of `run`.
pub fn panics(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    (*payload.downcast_ref::<&str>().unwrap()).to_owned()
}

/// Counts its drops.
#[derive(Clone, Default)]
pub struct Drops(pub Rc<Cell<usize>>);

impl Drops {
    pub fn probe(&self) -> Probe {
        Probe(Rc::clone(&self.0))
    }

    pub fn count(&self) -> usize {
        self.0.get()
    }
}

pub struct Probe(Rc<Cell<usize>>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Calls a closure when it is dropped.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Has a closure capture what it does not use.
pub fn keep<T>(_: &T) {}

/// Has a new process run one ignored test of this binary, alone, and gives what it wrote.
pub fn in_own_process(test: &str, env: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", "--test-threads=1", test]);
    command.env_remove(PollerKind::VARIABLE).envs(env.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
    text
}

/// Lets this process have as many descriptors as it may, and gives their number.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[allow(unsafe_code)]
    // SAFETY: the structure is one that the C library takes.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
    limit.rlim_cur
}

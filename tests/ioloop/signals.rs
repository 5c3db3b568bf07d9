//! Signals that are delivered while the loop waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use crate::pollers::{Poller, every_poller};
use crate::tools::{MS, run};

every_poller!(a_wait_that_signals_interrupt_goes_on_to_the_same_deadline);

/// More signals than come in the waits of a test that passes.
const ENOUGH: usize = 10_000;

static DELIVERED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    DELIVERED.fetch_add(1, Ordering::Relaxed);
}

/// Has SIGUSR1 interrupt what the thread waits in, and do nothing else.
fn take_signals() {
    #[allow(unsafe_code)]
    // SAFETY: the handler only counts, and the structure is one that the C library takes.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut())
    };
    assert_eq!(done, 0);
}

/// Signals come all the time, so that a wait that began anew with each would never end; and one
/// that ended with each would fire nothing early all the same.
fn a_wait_that_signals_interrupt_goes_on_to_the_same_deadline(poller: Poller) {
    take_signals();
    let ioloop = poller.new_loop();
    #[allow(unsafe_code)]
    // SAFETY: nothing can go wrong.
    let this = unsafe { libc::pthread_self() };
    let (done, until_done) = mpsc::channel::<()>();
    let sent = Arc::new(AtomicUsize::new(0));
    let s = Arc::clone(&sent);
    let thread = thread::spawn(move || {
        for _ in 0..ENOUGH {
            if until_done.recv_timeout(MS / 2) != Err(RecvTimeoutError::Timeout) {
                return true;
            }
            #[allow(unsafe_code)]
            // SAFETY: the thread waits for this one before it ends.
            let killed = unsafe { libc::pthread_kill(this, libc::SIGUSR1) };
            assert_eq!(killed, 0);
            s.fetch_add(1, Ordering::Relaxed);
        }
        false
    });
    let before = DELIVERED.load(Ordering::Relaxed);
    // Until some have come within one wait.
    loop {
        let (handle, start) = (ioloop.handle(), Instant::now());
        let sent_before = sent.load(Ordering::Relaxed);
        let due = start + 20 * MS;
        ioloop.add_timeout(due, move || {
            assert!(Instant::now() >= due);
            handle.stop();
        });
        run(&ioloop);
        // A wait of its own, which may end early for no other reason.
        assert_eq!(ioloop.run_once(Some(2 * MS)), Ok(true));
        if sent.load(Ordering::Relaxed) > sent_before + 2 {
            break;
        }
    }
    drop(done);
    assert!(thread.join().unwrap(), "the wait went on for as long as signals came");
    assert!(DELIVERED.load(Ordering::Relaxed) > before);
}

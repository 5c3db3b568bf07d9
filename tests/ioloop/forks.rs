//! A process that forks.

use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use haypile::{IOLoop, PollerKind, Ready};

use crate::pollers::{Poller, every_poller};
use crate::tools::{MS, in_own_process, run};

every_poller!(a_loop_is_refused_in_a_forked_process_which_may_drop_it);

fn a_loop_is_refused_in_a_forked_process_which_may_drop_it(poller: Poller) {
    let kind = poller.kind().to_string();
    in_own_process("forks::parent_and_child", &[(PollerKind::VARIABLE, &kind)]);
}

#[test]
#[ignore = "run by the tests above in processes of their own: one with threads cannot fork"]
fn parent_and_child() {
    let ioloop = IOLoop::new().unwrap();
    let (mut there, here) = UnixStream::pair().unwrap();
    let told = Rc::new(Cell::new(0));
    let t = Rc::clone(&told);
    let handler = move |_: &haypile::LoopHandle, _| t.set(t.get() + 1);
    ioloop.add_handler(here, Ready::READ, handler).unwrap();
    ioloop.call_later(MS, || ());
    assert_eq!(ioloop.run_once(None), Ok(true));
    for detaches in [false, true] {
        #[allow(unsafe_code)]
        // SAFETY: no other thread runs.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let turn = || drop(ioloop.run_once(Some(Duration::ZERO)));
            let refused = catch_unwind(AssertUnwindSafe(turn)).is_err();
            let end = move || {
                if detaches {
                    ioloop.services().core().detach();
                }
                drop(ioloop);
            };
            let ended = catch_unwind(AssertUnwindSafe(end)).is_ok();
            let good = ended && refused == cfg!(debug_assertions);
            #[allow(unsafe_code)]
            // SAFETY: nothing of the parent's is written or freed on the way out.
            unsafe {
                libc::_exit(i32::from(!good))
            }
        }
        let mut status = 0;
        #[allow(unsafe_code)]
        // SAFETY: the status has a place.
        let waited = unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!((waited, status), (child, 0), "the child found otherwise");
    }

    // The children took nothing along: this loop sees its descriptor, its clock and its posts.
    there.write_all(b"x").unwrap();
    assert_eq!(ioloop.run_once(Some(20_000 * MS)), Ok(true));
    assert_eq!(told.replace(0), 1);
    drop(there);
    let handle = ioloop.handle();
    ioloop.call_later(MS, move || handle.stop());
    run(&ioloop);
    let stopper = ioloop.stopper();
    let thread = thread::spawn(move || stopper.stop().unwrap());
    run(&ioloop);
    thread.join().unwrap();
}

//! Several descriptors that are ready at once, whose handlers change what is watched.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::conformance::stage::{Stage, watch};
use crate::conformance::tools::readable_pair;
use crate::{FdKey, Interest, Ready, Services};

/// As many as may be ready at once.
const CROWD: usize = 200;

/// Keys of descriptors, for their handlers.
type Keys = Rc<RefCell<Vec<FdKey>>>;

/// Watches so many that can be read, and calls `on_ready` with the index of each that is told.
fn crowd(
    stage: &Stage,
    size: usize,
    on_ready: impl Fn(usize, &Keys) + 'static,
) -> (Vec<UnixStream>, Keys) {
    let (on_ready, keys) = (Rc::new(on_ready), Keys::default());
    let mut theres = Vec::new();
    for index in 0..size {
        let (there, here) = readable_pair();
        theres.push(there);
        let (on_ready, own) = (Rc::clone(&on_ready), Rc::clone(&keys));
        let key = stage.watch(here, Ready::READ, move |_| {
            on_ready(index, &own);
            Ready::NONE
        });
        keys.borrow_mut().push(key);
    }
    (theres, keys)
}

pub(in crate::conformance) fn hundreds_are_all_told(stage: &Stage) {
    let (services, stop) = (stage.services(), stage.stop_after(CROWD));
    let told = Rc::new(RefCell::new(vec![0; CROWD]));
    let note = Rc::clone(&told);
    let _open = crowd(stage, CROWD, move |index, keys| {
        note.borrow_mut()[index] += 1;
        let key = keys.borrow()[index];
        services.remove_fd(key);
        stop();
    });
    stage.run();
    stage.settle();
    assert_eq!(told.take(), [1; CROWD]);
}

/// Has the first that is called do something to all others. Gives how many were called.
fn first_called(stage: &Stage, act: impl Fn(&Services, FdKey) + 'static) -> usize {
    let (services, stop) = (stage.services(), stage.stopper());
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let (_theres, keys) = crowd(stage, 20, move |index, keys| {
        count.set(count.get() + 1);
        if count.get() > 1 {
            return;
        }
        let keys = keys.borrow().clone();
        services.remove_fd(keys[index]);
        keys.iter().filter(|key| **key != keys[index]).for_each(|key| act(&services, *key));
        stop();
    });
    stage.run();
    // What is left of the batch, if the loop has stopped before that.
    stage.settle();
    keys.take().into_iter().for_each(|key| stage.services().remove_fd(key));
    calls.get()
}

pub(in crate::conformance) fn one_removed_in_the_batch_is_silent(stage: &Stage) {
    let calls = first_called(stage, |services, key| services.remove_fd(key));
    assert_eq!(calls, 1, "a stale event has come");
}

pub(in crate::conformance) fn one_silenced_in_the_batch_is_silent(stage: &Stage) {
    let calls = first_called(stage, |services, key| {
        services.modify_fd(key, Ready::NONE).expect("it is watched");
    });
    assert_eq!(calls, 1, "a stale event has come");
}

/// What can be read is watched for writing by the one that is called first.
pub(in crate::conformance) fn an_interest_changed_in_the_batch_holds(stage: &Stage) {
    let (services, stop) = (stage.services(), stage.stopper());
    let interests: Rc<RefCell<Vec<(FdKey, Interest)>>> = Rc::default();
    let mut theres = Vec::new();
    let changed = Rc::new(Cell::new(false));
    for index in 0..2 {
        let (there, here) = readable_pair();
        theres.push(there);
        let (services, stop) = (services.clone(), Rc::clone(&stop));
        let (interests, changed) = (Rc::clone(&interests), Rc::clone(&changed));
        let all = Rc::clone(&interests);
        let key = stage.watch(here, Ready::READ, move |ready| {
            let (_, interest) = all.borrow()[index];
            assert_eq!(ready, interest, "a stale event has come");
            if changed.replace(true) {
                if interest == Ready::WRITE {
                    stop();
                }
                return Ready::NONE;
            }
            let (other, interest) = &mut all.borrow_mut()[1 - index];
            *interest = Ready::WRITE;
            services.modify_fd(*other, *interest).expect("it is watched");
            Ready::NONE
        });
        interests.borrow_mut().push((key, Ready::READ));
    }
    stage.run();
}

pub(in crate::conformance) fn a_handler_removes_itself(stage: &Stage) {
    let (services, stop) = (stage.services(), stage.stop_after(CROWD));
    let (theres, _) = crowd(stage, CROWD, move |index, keys| {
        let key = keys.borrow()[index];
        services.remove_fd(key);
        services.remove_fd(key);
        stop();
    });
    stage.run();
    stage.settle();
    for mut there in theres {
        // Its own byte was never read.
        let ended = there.read(&mut [0]);
        assert!(matches!(&ended, Ok(0)) || ended.is_err(), "the descriptor is closed");
    }
}

/// A stream that is handed on, from one handler to the next, with a byte still unread.
pub(in crate::conformance) fn a_handler_gives_its_descriptor_to_another(stage: &Stage) {
    const HANDS: usize = 20;
    fn hand_on(
        services: Services,
        here: Rc<UnixStream>,
        left: usize,
        done: Rc<dyn Fn()>,
    ) -> io::Result<()> {
        let own = Rc::new(Cell::new(None));
        let (key, stream, again) = (Rc::clone(&own), Rc::clone(&here), services.clone());
        own.set(Some(watch(&services, here, Ready::READ, move |_| {
            again.remove_fd(key.take().expect("called once"));
            if left == 0 {
                done();
                return Ready::NONE;
            }
            let (services, stream, done) = (again.clone(), Rc::clone(&stream), Rc::clone(&done));
            let next = move || hand_on(services, stream, left - 1, done);
            if let Err(error) = next.clone()() {
                // Not while the handler is being called.
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                again.add_callback(move || next().expect("it can be watched"));
            }
            Ready::NONE
        })?));
        Ok(())
    }
    let (_there, here) = readable_pair();
    let begun = hand_on(stage.services(), Rc::new(here), HANDS, stage.stopper());
    begun.expect("it can be watched");
    stage.run();
    stage.settle();
}

/// Of two that are ready the one called first replaces the other: by a descriptor of the same
/// number, of which there is nothing to tell.
pub(in crate::conformance) fn a_number_used_again_in_the_batch_gets_no_stale_event(stage: &Stage) {
    let reused = Rc::new(Cell::new(0));
    for _ in 0..50 {
        let mut theres = Vec::new();
        let others: Rc<RefCell<Vec<(FdKey, i32)>>> = Rc::default();
        let replaced = Rc::new(Cell::new(false));
        let stop = stage.stopper();
        for index in 0..2 {
            let (there, here) = readable_pair();
            theres.push(there);
            let stop = Rc::clone(&stop);
            let number = here.as_fd().as_raw_fd();
            let (services, all) = (stage.services(), Rc::clone(&others));
            let (reused, replaced) = (Rc::clone(&reused), Rc::clone(&replaced));
            let key = stage.watch(here, Ready::READ, move |_| {
                if replaced.replace(true) {
                    return Ready::NONE;
                }
                let (other, number) = all.borrow()[1 - index];
                let (there, idle) = UnixStream::pair().expect("a pair");
                services.remove_fd(other);
                let again = rustix::io::fcntl_dupfd_cloexec(&idle, number).expect("a number");
                // Another scenario may have been quicker.
                if again.as_raw_fd() == number {
                    reused.set(reused.get() + 1);
                }
                let added = watch(&services, again, Ready::READ, move |_| {
                    let _open = (&there, &idle);
                    panic!("a stale event has come");
                });
                all.borrow_mut()[1 - index].0 = added.expect("it can be watched");
                stop();
                Ready::NONE
            });
            others.borrow_mut().push((key, number));
        }
        stage.run();
        stage.run_for(Duration::from_millis(1));
        others.take().into_iter().for_each(|(key, _)| stage.services().remove_fd(key));
    }
    assert!(reused.get() > 0, "no number was used again: removed descriptors are not closed");
}

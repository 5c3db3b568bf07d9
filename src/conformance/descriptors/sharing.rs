//! Several descriptors of one open file.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;

use super::watching::is_refusal;
use crate::Ready;
use crate::conformance::stage::Stage;
use crate::conformance::tools::{Trace, readable_pair};

pub(in crate::conformance) fn duplicates_are_each_told(stage: &Stage) {
    let (_there, here) = readable_pair();
    let (told, stop) = (Trace::new(), stage.stop_after(2));
    let keys = [here.try_clone().expect("a clone"), here].map(|here| {
        let (told, stop, services) = (told.clone(), Rc::clone(&stop), stage.services());
        let own = Rc::new(Cell::new(None));
        let key = Rc::clone(&own);
        own.set(Some(stage.watch(here, Ready::READ, move |ready| {
            told.add(ready);
            let key = key.get().expect("it is set");
            services.modify_fd(key, Ready::NONE).expect("it is watched");
            stop();
            Ready::NONE
        })));
        own.get().expect("it is set")
    });
    stage.run();
    assert_eq!(told.take(), [Ready::READ; 2]);
    keys.into_iter().for_each(|key| stage.services().remove_fd(key));
}

/// Both may be told of the bytes, of which one takes all.
pub(in crate::conformance) fn bytes_that_another_has_taken_harm_nobody(stage: &Stage) {
    const BYTES: usize = 100;
    let (there, here) = readable_pair();
    let (read, stop) = (Rc::new(Cell::new(0)), stage.stop_after(BYTES));
    for here in [here.try_clone().expect("a clone"), here] {
        let (here, read, stop) = (Rc::new(here), Rc::clone(&read), Rc::clone(&stop));
        let (reader, mut there) = (Rc::clone(&here), there.try_clone().expect("a clone"));
        stage.watch(here, Ready::READ, move |_| {
            match (&*reader).read(&mut [0; 8]) {
                Ok(count) => {
                    assert_eq!(count, 1);
                    read.set(read.get() + 1);
                    if read.get() < BYTES {
                        there.write_all(b"x").expect("there is room");
                    }
                    stop();
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            Ready::READ
        });
    }
    stage.run();
    assert_eq!(read.get(), BYTES);
}

/// epoll watches what a descriptor stands for, which lives on with the duplicate.
pub(in crate::conformance) fn a_removed_one_is_silent_though_its_duplicate_lives(stage: &Stage) {
    let (_there, here) = readable_pair();
    let duplicate = here.try_clone().expect("a clone");
    let key = stage.watch(here, Ready::READ, |_| panic!("removed"));
    stage.services().remove_fd(key);
    stage.assert_idle();
    let stop = stage.stopper();
    let key = stage.watch(duplicate, Ready::READ, move |_| {
        stop();
        Ready::NONE
    });
    stage.run();
    stage.services().remove_fd(key);
}

/// A host has one watch for each, or any number; but none that is silent.
pub(in crate::conformance) fn one_added_twice_is_refused_or_told_twice(stage: &Stage) {
    let (_there, here) = readable_pair();
    let here = Rc::new(here);
    let told: Rc<RefCell<HashSet<usize>>> = Rc::default();
    let add = |number: usize| {
        let told = Rc::clone(&told);
        stage.try_watch(Rc::clone(&here), Ready::READ, move |_| {
            told.borrow_mut().insert(number);
            Ready::NONE
        })
    };
    // However many turns a host takes for that. The watchdog ends what never comes.
    let run_until_told = |expected: &[usize]| {
        let expected = HashSet::from_iter(expected.iter().copied());
        told.borrow_mut().clear();
        while *told.borrow() != expected {
            assert!(told.borrow().is_subset(&expected), "{told:?}");
            stage.settle();
        }
    };
    let first = add(1).expect("it can be watched");
    match add(2) {
        Ok(second) => {
            run_until_told(&[1, 2]);
            stage.services().remove_fd(second);
        }
        Err(error) => assert!(is_refusal(&error), "{error}"),
    }
    run_until_told(&[1]);
    stage.services().remove_fd(first);
    stage.settle();
}

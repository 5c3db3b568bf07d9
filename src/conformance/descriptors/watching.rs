//! One descriptor at a time: what is told of it, and when.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::conformance::stage::{Stage, watch};
use crate::conformance::tools::{Probes, Trace, readable_pair};
use crate::{FdKey, Ready};

/// Level-triggered, whatever the host is.
pub(in crate::conformance) fn what_is_left_unread_is_told_again(stage: &Stage) {
    let (mut there, here) = UnixStream::pair().expect("a pair");
    here.set_nonblocking(true).expect("a socket");
    let here = Rc::new(here);
    for round in 1..=3 {
        let (read, stop) = (Trace::new(), stage.stopper());
        let (reader, note) = (Rc::clone(&here), read.clone());
        let key = stage.watch(Rc::clone(&here), Ready::READ, move |_| {
            let mut byte = [0];
            // An edge-triggered host cannot know that the last byte was the last.
            if let Err(error) = (&*reader).read(&mut byte) {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return Ready::READ;
            }
            note.add(byte[0]);
            if byte[0] == b'c' {
                stop();
            }
            Ready::NONE
        });
        // Before it is run, and while it waits.
        let services = stage.services();
        match round {
            1 => there.write_all(b"abc").expect("there is room"),
            _ => {
                let mut there = there.try_clone().expect("a clone");
                services.call_later(round * std::time::Duration::from_millis(1), move || {
                    there.write_all(b"abc").expect("there is room");
                });
            }
        }
        stage.run();
        assert_eq!(read.take(), b"abc");
        // Nothing is left, and so nothing is told: not again and again, at least.
        stage.assert_idle();
        services.remove_fd(key);
    }
}

/// A handler that has seen that it would block is told of what comes next.
pub(in crate::conformance) fn what_comes_after_a_block_is_told(stage: &Stage) {
    const HOPS: usize = 1_000;
    let (one, other) = readable_pair();
    one.set_nonblocking(true).expect("a socket");
    let (hops, stop) = (Rc::new(Cell::new(0)), stage.stopper());
    let keys = [one, other].map(|end| {
        let (end, hops, stop) = (Rc::new(end), Rc::clone(&hops), Rc::clone(&stop));
        let stream = Rc::clone(&end);
        stage.watch(end, Ready::READ, move |_| {
            let mut bytes = [0; 8];
            match (&*stream).read(&mut bytes) {
                Ok(count) => {
                    assert_eq!(count, 1);
                    (&*stream).write_all(&bytes[..1]).expect("there is room");
                    hops.set(hops.get() + 1);
                    if hops.get() == HOPS {
                        stop();
                    }
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            Ready::READ
        })
    });
    stage.run();
    keys.into_iter().for_each(|key| stage.services().remove_fd(key));
}

/// Again and again, while it can be read all the time.
pub(in crate::conformance) fn a_full_socket_tells_when_it_takes_more(stage: &Stage) {
    const ROUNDS: usize = 20;
    let (there, here) = readable_pair();
    (&there).write_all(b"y").expect("there is room");
    there.set_nonblocking(true).expect("a socket");
    let here = Rc::new(here);
    let (writer, stop) = (Rc::clone(&here), stage.stop_after(ROUNDS));
    let reads = Rc::new(Cell::new(0));
    let (count, services) = (Rc::clone(&reads), stage.services());
    let there = Rc::new(there);
    let both = Ready::READ | Ready::WRITE;
    stage.watch(here, both, move |ready| {
        if ready.contains(Ready::READ) {
            count.set(count.get() + 1);
        }
        if ready.contains(Ready::WRITE) {
            fill(&writer);
            stop();
            // Once the loop waits for room.
            let there = Rc::clone(&there);
            services.call_later(std::time::Duration::from_millis(1), move || empty(&there));
        }
        ready & Ready::WRITE
    });
    stage.run();
    assert!(reads.get() >= ROUNDS, "what was not seen to block was told {} times", reads.get());
}

fn fill(mut stream: &UnixStream) {
    let error = loop {
        if let Err(error) = stream.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

fn empty(mut stream: &UnixStream) {
    let error = loop {
        match stream.read(&mut [0; 4096]) {
            Ok(count) => assert!(count > 0),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

pub(in crate::conformance) fn an_interest_is_all_that_is_told(stage: &Stage) {
    let (_there, here) = readable_pair();
    let told = Rc::new(Cell::new(Ready::NONE));
    let awaited = Rc::new(Cell::new(None::<(Ready, Rc<dyn Fn()>)>));
    let (note, end) = (Rc::clone(&told), Rc::clone(&awaited));
    let key = stage.watch(here, Ready::NONE, move |ready| {
        note.set(note.get() | ready);
        // A host may tell one after the other.
        match end.take() {
            Some((all, stop)) if note.get().contains(all) => stop(),
            unmet => end.set(unmet),
        }
        Ready::NONE
    });
    let (none, read, write) = (Ready::NONE, Ready::READ, Ready::WRITE);
    for interest in [none, read, read | write, write, none, write, read, none, read | write] {
        stage.services().modify_fd(key, interest).expect("it is watched");
        if !interest.is_empty() {
            awaited.set(Some((interest, stage.stopper())));
            stage.run();
        }
        stage.settle();
        assert_eq!(told.take(), interest, "watched for {interest:?}");
    }
}

pub(in crate::conformance) fn a_hang_up_without_interest_does_not_spin(stage: &Stage) {
    let (there, here) = UnixStream::pair().expect("a pair");
    let key = stage.watch(here, Ready::READ, |_| panic!("it is watched for nothing"));
    stage.services().modify_fd(key, Ready::NONE).expect("it is watched");
    let (other, here) = UnixStream::pair().expect("a pair");
    stage.watch(here, Ready::NONE, |_| panic!("it is watched for nothing"));
    drop((there, other));
    stage.assert_idle();
}

/// A handler may hang up without being told to: what hangs up while it is watched for nothing is
/// told once that changes.
pub(in crate::conformance) fn a_hang_up_is_told_once_there_is_interest(stage: &Stage) {
    for interest in [Ready::READ, Ready::WRITE] {
        let (there, here) = UnixStream::pair().expect("a pair");
        let (told, stop) = (Rc::new(Cell::new(Ready::NONE)), stage.stopper());
        let note = Rc::clone(&told);
        let key = stage.watch(here, Ready::NONE, move |ready| {
            note.set(ready);
            stop();
            Ready::NONE
        });
        stage.settle();
        drop(there);
        stage.settle();
        stage.services().modify_fd(key, interest).expect("it is watched");
        stage.run();
        assert!(told.get().contains(interest), "{:?}", told.get());
        stage.services().remove_fd(key);
    }
}

/// The system tells of no more than that of these: neither can it be read, nor is there room.
pub(in crate::conformance) fn a_mere_hang_up_is_told_with_the_interest(stage: &Stage) {
    let told = |fd: OwnedFd, interest| {
        let (told, stop) = (Rc::new(Cell::new(Ready::NONE)), stage.stopper());
        let note = Rc::clone(&told);
        let key = stage.watch(fd, interest, move |ready| {
            note.set(ready);
            stop();
            Ready::NONE
        });
        stage.run();
        stage.services().remove_fd(key);
        told.get()
    };
    let (reader, _) = io::pipe().expect("a pipe");
    assert!(told(reader.into(), Ready::READ).contains(Ready::READ));
    let (reader, mut writer) = io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("a pipe");
    while writer.write(&[0; 4096]).is_ok_and(|count| count > 0) {}
    drop(reader);
    assert!(told(writer.into(), Ready::WRITE).contains(Ready::WRITE));
}

pub(in crate::conformance) fn removal_drops_the_handler_at_once(stage: &Stage) {
    let (mut there, here) = UnixStream::pair().expect("a pair");
    let probes = Probes::default();
    let probe = probes.probe();
    let key = stage.watch(here, Ready::READ, move |_| {
        probe.touch();
        Ready::NONE
    });
    stage.settle();
    assert_eq!(probes.live(), 1);
    stage.services().remove_fd(key);
    assert_eq!(probes.live(), 0);
    assert_eq!(there.read(&mut [0]).expect("an end"), 0, "the descriptor is closed");
    stage.settle();
}

pub(in crate::conformance) fn an_unknown_key_is_refused(stage: &Stage) {
    let services = stage.services();
    let refused = |key| {
        services.remove_fd(key);
        let error = services.modify_fd(key, Ready::READ).expect_err("nothing has that key");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    };
    refused(FdKey(usize::MAX));
    let key = stage.watch(readable_pair().1, Ready::NONE, |_| Ready::NONE);
    services.remove_fd(key);
    refused(key);
}

/// What can be read at once is told later.
pub(in crate::conformance) fn no_handler_is_called_from_inside_a_call(stage: &Stage) {
    let inside = Rc::new(Cell::new(false));
    let (services, stop) = (stage.services(), stage.stop_after(2));
    let (_there, here) = readable_pair();
    let (i, s) = (Rc::clone(&inside), Rc::clone(&stop));
    let key = stage.watch(here, Ready::NONE, move |_| {
        assert!(!i.get(), "called from inside of a call");
        s();
        Ready::NONE
    });
    let (there, here) = readable_pair();
    let i = Rc::clone(&inside);
    services.clone().add_callback(move || {
        inside.set(true);
        services.modify_fd(key, Ready::READ).expect("it is watched");
        let added = watch(&services, here, Ready::READ, move |_| {
            let _open = &there;
            assert!(!i.get(), "called from inside of a call");
            stop();
            Ready::NONE
        });
        added.expect("it can be watched");
        services.call_later(std::time::Duration::ZERO, || ());
        services.defer();
        inside.set(false);
    });
    stage.run();
}

/// Regular files are not for waiting: a host says so, or takes them as ready.
pub(in crate::conformance) fn a_file_is_refused_or_always_ready(stage: &Stage) {
    let path = std::env::current_exe().expect("a program");
    let file = File::open(path).expect("its file");
    let probes = Probes::default();
    let (probe, stop) = (probes.probe(), stage.stopper());
    let watched = stage.try_watch(file, Ready::READ, move |_| {
        probe.touch();
        stop();
        Ready::NONE
    });
    match watched {
        Ok(key) => {
            stage.run();
            stage.services().remove_fd(key);
        }
        Err(error) => assert!(is_refusal(&error), "{error}"),
    }
    assert_eq!(probes.live(), 0);
    // The loop is none the worse.
    what_comes_after_a_block_is_told(stage);
}

pub(super) fn is_refusal(error: &io::Error) -> bool {
    use ErrorKind::{AlreadyExists, InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported | AlreadyExists)
}

//! Handles on connections and channels for other threads, on every loop.

mod support;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use haypile::{
    Acker, Channel, ConnectError, Connection, ConnectionCallbacks, ConnectionParameters, Delivery,
    Error, LoopError, Misuse, RemoteChannel, RemoteConnection,
};
use support::{Host, broker, close, every_host, on_channel};

every_host!(
    posts_of_many_threads_run_in_the_order_of_each,
    posts_are_taken_before_the_connection_is_open,
    posts_after_the_end_are_refused,
    a_post_that_runs_after_the_end_finds_it_ended,
    posts_die_with_their_loop,
    a_panic_in_a_post_loses_only_that,
);

const _: () = {
    const fn crosses<T: Clone + Send + Sync + 'static>() {}
    const fn is_handed_over<T: Send + Sync + 'static>() {}
    crosses::<RemoteConnection>();
    crosses::<RemoteChannel>();
    is_handed_over::<Acker>();
    crosses::<Delivery<'static>>();
};

const NOT_OPEN: Error = Error::Misuse(Misuse::ConnectionNotOpen);

/// Counts its drops, wherever those are.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn posts_of_many_threads_run_in_the_order_of_each<H: Host>() {
    const THREADS: usize = 4;
    const POSTS: usize = 1000;
    let host = H::new();
    let seen = Arc::new(Mutex::new(vec![0; THREADS]));
    let counts = Arc::clone(&seen);
    let here = thread::current().id();
    on_channel(&host, broker(), move |channel| {
        let (by_connection, by_channel) = (channel.connection().remote(), channel.remote());
        for thread in 0..THREADS {
            let counts = Arc::clone(&counts);
            let (by_connection, by_channel) = (by_connection.clone(), by_channel.clone());
            thread::spawn(move || {
                let note = move |counts: &Mutex<Vec<usize>>, number, connection: &Connection| {
                    let mut counts = counts.lock().unwrap();
                    assert_eq!(thread::current().id(), here);
                    assert_eq!(counts[thread], number);
                    counts[thread] += 1;
                    if counts.iter().all(|&count| count == POSTS) {
                        close(connection);
                    }
                };
                for number in 0..POSTS {
                    let counts = Arc::clone(&counts);
                    // Now by the one, now by the other.
                    let posted = if number % 3 == 0 {
                        by_connection
                            .add_callback(move |connection| note(&counts, number, connection))
                    } else {
                        by_channel.add_callback(move |channel| {
                            assert!(channel.is_open() && channel.channel_number() == 1);
                            note(&counts, number, &channel.connection());
                        })
                    };
                    posted.expect("the connection is open");
                }
            });
        }
    });
    assert_eq!(*seen.lock().unwrap(), [POSTS; THREADS]);
}

fn posts_are_taken_before_the_connection_is_open<H: Host>() {
    let host = H::new();
    let (stop, seen) = (host.stopper(), Arc::new(AtomicUsize::new(0)));
    let callbacks = ConnectionCallbacks::new().on_open(close).on_close(move |_, _| stop());
    let connection = host.connect(broker(), callbacks);
    let (remote, count) = (connection.remote(), Arc::clone(&seen));
    let post = move |connection: &Connection| {
        assert!(!connection.is_open() && !connection.is_closed());
        count.fetch_add(1, Ordering::SeqCst);
    };
    thread::spawn(move || remote.add_callback(post)).join().unwrap().expect("it will be open");
    host.run();
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

fn posts_after_the_end_are_refused<H: Host>() {
    let host = H::new();
    let remotes: Rc<RefCell<Option<(RemoteConnection, RemoteChannel)>>> = Rc::default();
    let kept = Rc::clone(&remotes);
    on_channel(&host, broker(), move |channel| {
        kept.replace(Some((channel.connection().remote(), channel.remote())));
        close(&channel.connection());
    });
    let (connection, channel) = remotes.take().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    for number in 1..=4 {
        let (probe, by_channel) = (Dropped(Arc::clone(&dropped)), number % 2 == 0);
        let (connection, channel) = (connection.clone(), channel.clone());
        let refused = thread::spawn(move || {
            let post = move || drop(probe);
            if by_channel {
                channel.add_callback(move |_| post())
            } else {
                connection.add_callback(move |_| post())
            }
        });
        assert_eq!(refused.join().unwrap(), Err(NOT_OPEN));
        assert_eq!(dropped.load(Ordering::SeqCst), number);
    }
    assert_eq!(channel.connection().add_callback(|_| ()), Err(NOT_OPEN));
}

fn a_post_that_runs_after_the_end_finds_it_ended<H: Host>() {
    let host = H::new();
    let (log, stop) = (Arc::<Mutex<Vec<_>>>::default(), host.stopper());
    let (told, found) = (Arc::clone(&log), Arc::clone(&log));
    let callbacks = ConnectionCallbacks::new().on_open_error(move |_, error| {
        told.lock().unwrap().push(error);
        stop();
    });
    let connection = host.connect(broker(), callbacks);
    let post = move |connection: &Connection| {
        assert!(connection.is_closed());
        let refused = connection.channel(None, |_, _| ()).expect_err("it has ended");
        found.lock().unwrap().push(refused);
    };
    connection.remote().add_callback(post).unwrap();
    connection.close(200, "before it was open").unwrap();
    host.run();
    assert_eq!(*log.lock().unwrap(), [Error::Connect(ConnectError::Aborted), NOT_OPEN]);
}

fn posts_die_with_their_loop<H: Host>() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let probe = Dropped(Arc::clone(&dropped));
    let host = H::new();
    let connection = host.connect(ConnectionParameters::default(), ConnectionCallbacks::new());
    let remote = connection.remote();
    let late = remote.clone();
    remote.add_callback(move |_| panic!("{}", probe.0.load(Ordering::SeqCst))).unwrap();
    drop(host);
    assert_eq!(dropped.load(Ordering::SeqCst), 1, "dropped, not called");
    let probe = Dropped(Arc::clone(&dropped));
    let refused = thread::spawn(move || late.add_callback(move |_| drop(probe)));
    assert_eq!(refused.join().unwrap(), Err(Error::Loop(LoopError::Gone)));
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
    assert_eq!(connection.remote().add_callback(|_| ()), Err(NOT_OPEN), "nobody knows of a loop");
}

fn a_panic_in_a_post_loses_only_that<H: Host>() {
    let host = H::new();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let (log, in_post) = (Arc::clone(&ran), |ran: &Mutex<Vec<&'static str>>, what| {
        ran.lock().unwrap().push(what);
    });
    let scenario = move |channel: &Channel| {
        let remote = channel.remote();
        let (one, two) = (Arc::clone(&log), Arc::clone(&log));
        remote.add_callback(move |_| in_post(&one, "before")).unwrap();
        remote.add_callback(|_| panic!("in a post")).unwrap();
        remote
            .add_callback(move |channel| {
                in_post(&two, "behind");
                close(&channel.connection());
            })
            .unwrap();
    };
    if !H::UNWINDS {
        let ended = on_channel(&host, broker(), scenario);
        assert_eq!(ended, Error::CallbackPanicked("in a post".into()));
        assert_eq!(*ran.lock().unwrap(), ["before", "behind"]);
        return;
    }
    let panic = catch_unwind(AssertUnwindSafe(|| on_channel(&host, broker(), scenario)));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"in a post"));
    assert_eq!(*ran.lock().unwrap(), ["before"]);
    host.run();
    assert_eq!(*ran.lock().unwrap(), ["before", "behind"]);
}

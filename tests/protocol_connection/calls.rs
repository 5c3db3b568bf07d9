//! Who may call what, and who is called when.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use haypile::conformance::tools::Probes;
use haypile::protocol::connection;
use haypile::{
    BaseConnection, ConnectionCallbacks, ConnectionParameters, Error, FdHandler, Interest,
    LoopError, Misuse, ProtocolConnection, Ready, StreamLost,
};

use crate::scene::{Scene, publish};
use crate::support::peers::{start, tune};

/// One that the connection's own callbacks can reach.
type Held = Rc<RefCell<Option<Rc<ProtocolConnection>>>>;

/// A scene on which `on_open` is called, with what it needs to reach the connection.
fn when_open(on_open: impl Fn(&ProtocolConnection) + 'static) -> (Scene, Held) {
    let held = Held::default();
    let open = Rc::clone(&held);
    let callbacks = ConnectionCallbacks::new().on_open(move |_| {
        let protocol = open.borrow().clone().expect("it is held");
        on_open(&protocol);
    });
    let scene = Scene::with(ConnectionParameters::default(), callbacks);
    held.replace(Some(Rc::clone(&scene.protocol)));
    (scene, held)
}

/// Nothing happens by the refused calls: what is fed there would end the connection.
#[test]
fn no_call_in_a_callback() {
    let called = Rc::new(Cell::new(false));
    let call = Rc::clone(&called);
    let (scene, held) = when_open(move |protocol| {
        assert_eq!(protocol.data_received(b"garbage"), Err(LoopError::Nested));
        assert_eq!(protocol.process_due(), Err(LoopError::Nested));
        assert_eq!(protocol.connection_lost(StreamLost::EndOfStream), Err(LoopError::Nested));
        call.set(true);
    });
    scene.handshake(&tune());
    assert!(called.get() && scene.protocol.is_open() && scene.ended().is_none());
    // Nor in a timer, or what is posted.
    let (post, timer) = (Rc::clone(&scene.protocol), Rc::clone(&scene.protocol));
    let calls = Rc::new(Cell::new(0));
    let (first, second) = (Rc::clone(&calls), Rc::clone(&calls));
    let services = scene.protocol.services();
    services.add_callback(move || {
        assert_eq!(post.process_due(), Err(LoopError::Nested));
        first.set(first.get() + 1);
    });
    services.call_later(Duration::ZERO, move || {
        assert_eq!(timer.process_due(), Err(LoopError::Nested));
        second.set(second.get() + 1);
    });
    scene.process();
    assert_eq!(calls.get(), 2);
    held.take();
}

/// Once for all that happens outside of a call, and for nothing inside of one.
#[test]
fn the_host_is_woken_for_what_happens_elsewhere() {
    let scene = Scene::open();
    let channel = scene.channel();
    assert_eq!((scene.wakes(), scene.protocol.next_deadline()), (0, None));
    (0..10).for_each(|_| publish(&channel, "a message"));
    assert_eq!(scene.wakes(), 1);
    assert_eq!(scene.protocol.next_deadline(), Some(scene.now()));
    scene.process();
    assert_eq!((scene.wakes(), scene.protocol.next_deadline()), (0, None));
    // It knows that there is output: more of it is no news, until it has come for it.
    (0..10).for_each(|_| publish(&channel, "a message"));
    assert_eq!(scene.wakes(), 0);
    assert_eq!(scene.methods().len(), 20);
    publish(&channel, "a message");
    assert_eq!(scene.wakes(), 1);
    scene.process();
    scene.sent();
    // So much that a stream would write at once.
    publish(&channel, vec![7; 100_000]);
    publish(&channel, vec![7; 100_000]);
    assert_eq!(scene.wakes(), 1);
    scene.process();
    scene.sent();
    // A nearer deadline.
    let services = scene.protocol.services();
    services.call_later(Duration::from_secs(9), || ());
    assert_eq!(scene.wakes(), 1);
    scene.process();
    services.call_later(Duration::from_secs(10), || ());
    assert_eq!(scene.wakes(), 0);
    assert_eq!(scene.protocol.next_deadline(), Some(scene.now() + Duration::from_secs(9)));
    // In a callback nobody needs to be woken: the host looks when the call has returned.
    scene.process();
    services.add_callback(move || publish(&channel, "a message"));
    assert_eq!(scene.wakes(), 1);
    scene.process();
    assert_eq!((scene.wakes(), scene.methods().len()), (0, 1));
    scene.protocol.flush();
    assert_eq!(scene.wakes(), 0, "there is nothing to send");
}

#[test]
fn other_threads_wake_the_host() {
    let scene = Scene::open();
    let remote = scene.protocol.remote();
    let thread = thread::spawn(move || {
        remote.add_callback(|connection| connection.close(200, "from a thread").expect("open"))
    });
    thread.join().expect("no panic").expect("it is open");
    assert_eq!(scene.wakes(), 1);
    assert_eq!(scene.protocol.next_deadline(), Some(scene.now()));
    assert!(scene.protocol.is_open());
    scene.process();
    assert_eq!(scene.methods(), ["connection.close"]);
}

/// It ends the connection, and goes no further.
#[test]
fn a_panic_in_a_callback_does_not_come_out() {
    let panics = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&panics);
    let (scene, held) = when_open(|_| panic!("on purpose"));
    let on_panic = move |message: &str| note.borrow_mut().push(message.to_owned());
    scene.protocol.services().core().set_on_panic(on_panic);
    scene.say(0, &start());
    scene.say(0, &tune());
    scene.say(0, &connection::OpenOk {});
    assert_eq!(scene.reason(), Error::CallbackPanicked("on purpose".into()));
    assert_eq!(panics.take(), ["on purpose"]);
    let last = "connection.close";
    assert_eq!(scene.methods().last(), Some(&last), "the broker is told");
    held.take();
}

/// The drop of it drops all that is in it, and calls nothing.
#[test]
fn with_it_goes_all_that_it_has() {
    let probes = Probes::default();
    let scene = Scene::open();
    let channel = scene.channel();
    let (timer, post, closed, reply) =
        (probes.probe(), probes.probe(), probes.probe(), probes.probe());
    let services = scene.protocol.services().clone();
    services.call_later(Duration::from_secs(1), move || timer.touch());
    services.add_callback(move || post.touch());
    channel.add_on_close_callback(move |_, _| closed.touch()).expect("it is open");
    channel.queue_declare(Default::default(), move |_, _| reply.touch()).expect("it is open");
    let (connection, remote) = ((**scene.protocol).clone(), scene.protocol.remote());
    let waker = scene.protocol.services().core().remote();
    assert_eq!(probes.live(), 4);
    scene.wakes();
    let (wakes, ended) = scene.drop_protocol();
    assert_eq!((probes.live(), ended), (0, false));
    assert!(connection.is_closed() && !channel.is_open());
    assert_eq!(connection.close(200, "late"), Err(Misuse::ConnectionNotOpen.into()));
    assert_eq!(remote.add_callback(|_| ()), Err(LoopError::Gone.into()));
    assert_eq!(waker.add_callback(|| ()), Err(LoopError::Gone));
    services.add_callback(|| panic!("it has gone"));
    services.call_later(Duration::ZERO, || panic!("it has gone"));
    assert_eq!(wakes(), 0, "nobody is woken for what has gone");
}

/// A host's loop is not known: nothing can be watched there.
#[test]
fn descriptors_are_refused() {
    struct Nothing(UnixStream);

    impl std::os::fd::AsFd for Nothing {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl FdHandler for Nothing {
        fn on_ready(self: Rc<Self>, _: Ready) -> Ready {
            unreachable!("it is not watched")
        }
    }

    let scene = Scene::new();
    let (here, _there) = UnixStream::pair().expect("a pair");
    let watched = scene.protocol.services().add_fd(Interest::READ, Rc::new(Nothing(here)));
    assert_eq!(watched.expect_err("it cannot be").kind(), ErrorKind::Unsupported);
}

//! Credentials of all kinds, those that take their time too, over every loop.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use haypile::{
    AmqPlainCredentials, ConnectError, Connection, ConnectionCallbacks, ConnectionWorkflow,
    Credentials, Error, HandshakeError, Phase, SaslAnswer,
};
use support::control::BrokerControl;
use support::peers::{self, Peer, SECRET, Wire};
use support::{Host, broker, close, every_host, logs};

every_host!(
    amqplain_is_taken_by_the_broker,
    several_steps_are_taken_by_the_broker,
    a_token_from_another_thread,
    a_token_for_each_attempt,
    no_token_is_told,
    an_answer_that_never_comes_ends_by_the_stack_timeout,
    a_broker_that_asks_for_more,
    an_answer_that_comes_too_late_is_of_no_consequence,
    a_panic_of_the_credentials_is_the_end_of_the_attempt,
    credentials_that_panic_when_they_are_dropped_harm_nobody,
);

/// Connects, closes what opens, and gives how it ended.
fn outcome<H: Host>(host: &H, workflow: impl Into<ConnectionWorkflow>) -> Result<(), Error> {
    logs::keep();
    let told = Rc::new(RefCell::new(None));
    let (failed, closed) = (Rc::clone(&told), Rc::clone(&told));
    let (stop, stop_too) = (host.stopper(), host.stopper());
    let callbacks = ConnectionCallbacks::new()
        .on_open(close)
        .on_open_error(move |_, error| {
            failed.replace(Some(Err(error)));
            stop();
        })
        .on_close(move |_, _| {
            closed.replace(Some(Ok(())));
            stop_too();
        });
    drop(host.connect(workflow, callbacks));
    host.run();
    let told = told.take().expect("it has ended");
    let texts = format!("{told:?} {:?}", logs::take());
    assert!(!texts.contains(SECRET), "{texts}");
    told
}

/// The user and password that a private broker has.
fn guest() -> (&'static str, &'static str) {
    ("guest", "guest")
}

fn amqplain_is_taken_by_the_broker<H: Host>() {
    let (user, password) = guest();
    let mut parameters = broker();
    parameters.set_credentials(AmqPlainCredentials::new(user, password));
    assert_eq!(outcome(&H::new(), parameters.clone()), Ok(()));
    parameters.set_credentials(AmqPlainCredentials::new(user, SECRET));
    let error = outcome(&H::new(), parameters).unwrap_err();
    assert!(matches!(error, Error::Handshake(HandshakeError::BadCredentials { .. })), "{error}");
}

/// RabbitMQ's RABBIT-CR-DEMO.
struct TwoSteps;

impl Credentials for TwoSteps {
    fn mechanism(&self) -> &str {
        "RABBIT-CR-DEMO"
    }

    fn start(&self, answer: SaslAnswer) {
        let (user, password) = guest();
        std::thread::spawn(move || {
            answer.respond_and_then(user, move |challenge, answer| {
                assert_eq!(challenge, b"Please tell me your password");
                answer.respond(format!("My password is {password}"));
            });
        });
    }
}

fn several_steps_are_taken_by_the_broker<H: Host>() {
    let control = BrokerControl::take();
    // Beside those that it has.
    let add = "{ok, Known} = application:get_env(rabbit, auth_mechanisms), \
               All = lists:usort(['RABBIT-CR-DEMO' | Known]), \
               application:set_env(rabbit, auth_mechanisms, All).";
    control.ctl(&["eval", add]);
    let mut parameters = broker();
    parameters.set_credentials(TwoSteps);
    assert_eq!(outcome(&H::new(), parameters), Ok(()));
}

/// Asks the test for its token, by a channel, for every attempt.
struct Asking(Mutex<mpsc::Sender<SaslAnswer>>);

impl Asking {
    fn new() -> (Self, mpsc::Receiver<SaslAnswer>) {
        let (sender, receiver) = mpsc::channel();
        (Self(Mutex::new(sender)), receiver)
    }
}

impl Credentials for Asking {
    fn mechanism(&self) -> &str {
        "PLAIN"
    }

    fn start(&self, answer: SaslAnswer) {
        self.0.lock().expect("no panic").send(answer).expect("the test lives");
    }
}

fn a_token_from_another_thread<H: Host>() {
    let (asking, asked) = Asking::new();
    let mut parameters = broker();
    parameters.set_credentials(asking);
    let (user, password) = guest();
    let thread = std::thread::spawn(move || {
        let answer = asked.recv().expect("it asks");
        answer.respond(format!("\0{user}\0{password}"));
        assert!(asked.recv().is_err(), "it asks once");
    });
    assert_eq!(outcome(&H::new(), parameters), Ok(()));
    thread.join().expect("no panic");
}

fn a_token_for_each_attempt<H: Host>() {
    let (asking, asked) = Asking::new();
    let asking = Arc::new(asking);
    let mut parameters = broker();
    parameters.set_credentials(Arc::clone(&asking));
    let (user, password) = guest();
    let thread = std::thread::spawn(move || {
        asked.recv().expect("it asks").respond(format!("\0{user}\0{SECRET}"));
        asked.recv().expect("it asks again").fail("the service is down");
        asked.recv().expect("and again").respond(format!("\0{user}\0{password}"));
    });
    assert_eq!(outcome(&H::new(), vec![parameters; 3]), Ok(()));
    thread.join().expect("no panic");
}

fn no_token_is_told<H: Host>() {
    for (fails, reason) in [(true, "the service is down"), (false, "they gave no answer")] {
        let (asking, asked) = Asking::new();
        let mut parameters = broker();
        parameters.set_credentials(asking);
        let thread = std::thread::spawn(move || {
            let answer = asked.recv().expect("it asks");
            if fails {
                answer.fail(reason);
            }
        });
        let reason = reason.to_owned();
        let error = outcome(&H::new(), parameters).unwrap_err();
        assert_eq!(error, HandshakeError::NoCredentials { reason }.into());
        thread.join().expect("no panic");
    }
}

/// A broker that waits for StartOk, and is left.
fn waiting() -> Peer {
    Peer::new(|wire: &mut Wire| {
        wire.header();
        wire.method(0, &peers::start());
        assert_eq!(wire.read_to_end(), 0);
    })
}

fn an_answer_that_never_comes_ends_by_the_stack_timeout<H: Host>() {
    let (asking, _asked) = Asking::new();
    let peer = waiting();
    let limit = Duration::from_secs(1);
    let mut parameters = peer.parameters();
    parameters.set_credentials(asking).set_stack_timeout(Some(limit)).expect("not zero");
    let error = outcome(&H::new(), parameters).unwrap_err();
    assert_eq!(error, HandshakeError::TimedOut { phase: Phase::Authentication, limit }.into());
    peer.join();
}

fn a_broker_that_asks_for_more<H: Host>() {
    let peer = Peer::new(|wire: &mut Wire| {
        wire.header();
        wire.method(0, &peers::start());
        wire.expect("connection.start-ok");
        let challenge = "And your shoe size?".into();
        wire.method(0, &haypile::protocol::connection::Secure { challenge });
        assert_eq!(wire.read_to_end(), 0);
    });
    let error = outcome(&H::new(), peer.parameters()).unwrap_err();
    let reason = "the broker asks for more than they have to say".to_owned();
    assert_eq!(error, HandshakeError::NoCredentials { reason }.into());
    peer.join();
}

/// When the connection is closed, when its loop has gone, when the next attempt waits for its own.
fn an_answer_that_comes_too_late_is_of_no_consequence<H: Host>() {
    // Closed, then the loop goes.
    for answers_before_the_loop_goes in [true, false] {
        let (asking, asked) = Asking::new();
        let peer = waiting();
        let mut parameters = peer.parameters();
        parameters.set_credentials(asking);
        let host = H::new();
        let (told, stop) = (Rc::new(RefCell::new(Vec::new())), host.stopper());
        let note = Rc::clone(&told);
        let callbacks = ConnectionCallbacks::new().on_open_error(move |_, error| {
            note.borrow_mut().push(error);
            stop();
        });
        let connection = host.connect(parameters, callbacks);
        let late = Rc::new(RefCell::new(None));
        close_once_asked(&connection, asked, Rc::clone(&late));
        host.run();
        assert_eq!(told.take(), [ConnectError::Aborted.into()]);
        let late = late.take().expect("it was asked");
        if answers_before_the_loop_goes {
            late.respond_and_then("late", |_, _| unreachable!("nobody asks"));
            let stop = host.stopper();
            host.services().add_callback(move || stop());
            host.run();
            drop(host);
        } else {
            drop(host);
            late.respond("late");
        }
        assert_eq!(told.take(), []);
        peer.join();
    }

    // The answer to the first attempt comes when the second waits for its own.
    let (asking, asked) = Asking::new();
    let peer = Peer::several(2, {
        let mut is_first = true;
        move |wire| {
            wire.header();
            wire.method(0, &peers::start());
            if std::mem::take(&mut is_first) {
                // Gone.
                return;
            }
            let start_ok = wire.expect("connection.start-ok");
            assert!(start_ok.payload().windows(6).any(|window| window == b"second"));
        }
    });
    let mut parameters = peer.parameters();
    parameters.set_credentials(asking);
    let thread = std::thread::spawn(move || {
        let first = asked.recv().expect("it asks");
        let second = asked.recv().expect("it asks again");
        first.respond("first");
        second.respond("second");
    });
    outcome(&H::new(), vec![parameters; 2]).unwrap_err();
    thread.join().expect("no panic");
    peer.join();
}

fn close_once_asked(
    connection: &Connection,
    asked: mpsc::Receiver<SaslAnswer>,
    late: Rc<RefCell<Option<SaslAnswer>>>,
) {
    if let Ok(answer) = asked.try_recv() {
        late.replace(Some(answer));
        return close(connection);
    }
    let again = connection.clone();
    let services = connection.services().expect("the loop runs");
    services.add_callback(move || close_once_asked(&again, asked, late));
}

struct Panicking;

impl Credentials for Panicking {
    fn mechanism(&self) -> &str {
        "PLAIN"
    }

    fn start(&self, _: SaslAnswer) {
        panic!("no token today");
    }
}

/// Out of a loop that unwinds comes the panic, and the loop goes on.
fn a_panic_of_the_credentials_is_the_end_of_the_attempt<H: Host>() {
    let mut parameters = broker();
    parameters.set_credentials(Panicking);
    let told = Rc::new(RefCell::new(None));
    let host = H::new();
    let (note, stop) = (Rc::clone(&told), host.stopper());
    let callbacks = ConnectionCallbacks::new().on_open_error(move |_, error| {
        note.replace(Some(error));
        stop();
    });
    drop(host.connect(parameters, callbacks));
    if H::UNWINDS {
        let run = std::panic::AssertUnwindSafe(|| host.run());
        assert!(std::panic::catch_unwind(run).is_err());
        host.run();
        let reason = "they gave no answer".to_owned();
        assert_eq!(told.take(), Some(HandshakeError::NoCredentials { reason }.into()));
    } else {
        host.run();
        assert_eq!(told.take(), Some(Error::CallbackPanicked("no token today".into())));
    }
}

/// Nothing to say, and a last word.
struct Clinging;

impl Credentials for Clinging {
    fn mechanism(&self) -> &str {
        "PLAIN"
    }

    fn start(&self, answer: SaslAnswer) {
        answer.fail("they keep it");
    }
}

impl Drop for Clinging {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("not without them");
        }
    }
}

/// Told once as every panic of a user's is, and the loop goes on.
fn credentials_that_panic_when_they_are_dropped_harm_nobody<H: Host>() {
    let host = H::new();
    let (told, note) = (Rc::new(RefCell::new(Vec::new())), Rc::default());
    let notes: Rc<RefCell<Vec<String>>> = Rc::clone(&note);
    host.services().core().set_on_panic(move |message| notes.borrow_mut().push(message.into()));
    let mut parameters = broker();
    parameters.set_credentials(Clinging);
    let (tell, stop) = (Rc::clone(&told), host.stopper());
    let callbacks = ConnectionCallbacks::new().on_open_error(move |connection, error| {
        tell.borrow_mut().push(error);
        let stop = Rc::clone(&stop);
        let services = connection.services().expect("the loop runs");
        services.call_later(std::time::Duration::from_millis(1), move || stop());
    });
    drop(host.connect(parameters, callbacks));
    if H::UNWINDS {
        let run = std::panic::AssertUnwindSafe(|| host.run());
        assert!(std::panic::catch_unwind(run).is_err());
        host.run();
    } else {
        host.run();
        assert_eq!(*note.borrow(), ["not without them"]);
    }
    let reason = "they keep it".to_owned();
    assert_eq!(told.take(), [HandshakeError::NoCredentials { reason }.into()]);
    // A connection on the same services opens.
    let ended = support::on_channel(&host, broker(), |channel| {
        channel.connection().close(200, "bye").expect("it is open");
    });
    assert!(matches!(ended, Error::ConnectionClosed(_)), "{ended}");
}

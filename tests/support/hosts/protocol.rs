//! A host of `ProtocolConnection`s: sockets that it owns, on a loop that has no connection.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, Ordering};

use haypile::{
    Connection, ConnectionCallbacks, ConnectionWorkflow, FdHandler, FdKey, Interest,
    ProtocolConnection, Ready, Result, Services, StreamLost, TimerId, WeakServices,
};

use super::Host;
use super::select::Select;

pub struct Protocol(Select);

impl Protocol {
    pub fn new() -> Self {
        Self(Select::new())
    }
}

impl super::ConformanceHost for Protocol {
    fn services(&self) -> Services {
        self.0.services()
    }

    fn run_until_stopped(&self) -> Result<()> {
        self.0.run_until_stopped()
    }

    fn stopper(&self) -> Rc<dyn Fn()> {
        self.0.stopper()
    }

    /// Connects at once: those who listen are on this machine.
    fn start_connection(
        &self,
        workflow: ConnectionWorkflow,
        callbacks: ConnectionCallbacks,
    ) -> Connection {
        let [parameters] = workflow.parameters() else { panic!("one host is all that it knows") };
        let stream = TcpStream::connect((parameters.host(), parameters.port()));
        let stream = stream.expect("somebody listens");
        stream.set_nonblocking(true).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let services = self.services();
        let (id, remote) = (Pump::next_id(), services.remote());
        let wake = move || {
            // A loop that has gone has no connections.
            let _ = remote.add_callback(move || Pump::woken(id));
        };
        let protocol = ProtocolConnection::new(parameters.clone(), callbacks, wake);
        let connection = protocol.clone();
        Pump::start(id, protocol, stream, &services);
        connection
    }
}

thread_local! {
    /// For those who wake them from elsewhere.
    static PUMPS: RefCell<HashMap<u64, Weak<Pump>>> = RefCell::default();
}

/// A connection and its socket. It lives while the loop watches the socket, or has its timer.
struct Pump {
    id: u64,
    protocol: ProtocolConnection,
    stream: TcpStream,
    services: WeakServices,
    key: Cell<Option<FdKey>>,
    timer: Cell<Option<TimerId>>,
}

impl Pump {
    fn next_id() -> u64 {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        COUNT.fetch_add(1, Ordering::Relaxed)
    }

    fn start(id: u64, protocol: ProtocolConnection, stream: TcpStream, services: &Services) {
        let (key, timer) = (Cell::default(), Cell::default());
        let pump = Self { id, protocol, stream, services: services.downgrade(), key, timer };
        let pump = Rc::new(pump);
        let handler = Rc::clone(&pump);
        pump.key.set(Some(services.add_fd(Interest::READ, handler).expect("it is watched")));
        PUMPS.with_borrow_mut(|pumps| pumps.insert(id, Rc::downgrade(&pump)));
    }

    fn woken(id: u64) {
        let pump = PUMPS.with_borrow(|pumps| pumps.get(&id).and_then(Weak::upgrade));
        pump.iter().for_each(Self::process);
    }

    fn process(self: &Rc<Self>) {
        self.protocol.process_due().expect("not nested");
        self.settle();
    }

    fn read(&self) {
        let mut space = [0; 64 * 1024];
        let told = match (&self.stream).read(&mut space) {
            Ok(0) => self.protocol.connection_lost(StreamLost::EndOfStream),
            Ok(count) => self.protocol.data_received(&space[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => self.protocol.connection_lost(error),
        };
        told.expect("not nested");
    }

    /// What is due after each call of the connection's.
    fn settle(self: &Rc<Self>) {
        let Some(services) = self.services.upgrade() else { return };
        let written = self.protocol.write_output(|slices| (&self.stream).write_vectored(slices));
        if let Err(error) = written {
            self.protocol.connection_lost(error).expect("not nested");
        }
        if let Some(key) = self.key.get() {
            let waits = self.protocol.output_len() > 0;
            let write = if waits { Ready::WRITE } else { Ready::NONE };
            services.modify_fd(key, Ready::READ | write).expect("it is watched");
            if self.protocol.is_closed() && !waits {
                self.key.set(None);
                services.remove_fd(key);
                drop(self.stream.shutdown(Shutdown::Write));
            }
        }
        let timer = self.protocol.next_deadline().map(|deadline| {
            let pump = Rc::clone(self);
            services.add_timeout(deadline, move || {
                pump.timer.set(None);
                pump.process();
            })
        });
        if let Some(old) = self.timer.replace(timer) {
            services.remove_timeout(old);
        }
    }
}

impl AsFd for Pump {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl FdHandler for Pump {
    fn on_ready(self: Rc<Self>, ready: Ready) -> Ready {
        if ready.contains(Ready::READ) {
            self.read();
        }
        self.settle();
        Ready::NONE
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let _ = PUMPS.try_with(|pumps| pumps.borrow_mut().remove(&self.id));
    }
}

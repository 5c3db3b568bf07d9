//! The event loop with no AMQP at all: a line-based chat server. What a client sends goes to all the
//! others; one that is silent for too long is sent away.
//!
//! ```text
//! cargo run --example chat_server -- 127.0.0.1:7000 60
//! nc 127.0.0.1 7000
//! ```
//!
//! The arguments are the address to listen on, and how many seconds a client may be silent. Ctrl-C,
//! or SIGTERM, says goodbye to everybody and ends the program.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{FdKey, IOLoop, LoopHandle, Ready, TimerId};
use signal_hook::consts::{SIGINT, SIGTERM};

/// What a client may have waiting: one that does not read its messages is sent away.
const OUTPUT_MAX: usize = 1024 * 1024;
/// The longest line.
const LINE_MAX: usize = 4096;

struct Client {
    stream: Rc<TcpStream>,
    key: FdKey,
    idle: TimerId,
    /// The line that is coming.
    line: Vec<u8>,
    /// What the socket has not taken yet.
    output: Vec<u8>,
}

struct Chat {
    ioloop: LoopHandle,
    patience: Duration,
    clients: RefCell<HashMap<SocketAddr, Client>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7000".into());
    let patience = arguments.next().unwrap_or_else(|| "60".into()).parse()?;

    let ioloop = IOLoop::new()?;
    let chat = Rc::new(Chat {
        ioloop: ioloop.handle(),
        patience: Duration::from_secs_f64(patience),
        clients: RefCell::default(),
    });
    let listener = Rc::new(TcpListener::bind(address)?);
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    let (accepting, room) = (Rc::clone(&listener), Rc::clone(&chat));
    ioloop.add_handler(listener, Ready::READ, move |_, _| room.accept(&accepting))?;
    stop_by_signal(&ioloop, &chat)?;
    ioloop.start()?;
    Ok(())
}

/// A signal becomes a byte on a socket, and that a callback of the loop.
fn stop_by_signal(ioloop: &IOLoop, chat: &Rc<Chat>) -> Result<(), Box<dyn Error>> {
    let (here, there) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, there.try_clone()?)?;
    }
    let chat = Rc::clone(chat);
    ioloop.add_handler(here, Ready::READ, move |ioloop, _| {
        println!("stopping");
        chat.broadcast(None, b"* the server stops\n");
        ioloop.stop();
    })?;
    Ok(())
}

impl Chat {
    fn accept(self: &Rc<Self>, listener: &TcpListener) {
        loop {
            match listener.accept() {
                Ok((stream, address)) => {
                    if let Err(error) = self.join(stream, address) {
                        eprintln!("{address}: {error}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return eprintln!("cannot accept: {error}"),
            }
        }
    }

    fn join(self: &Rc<Self>, stream: TcpStream, address: SocketAddr) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let stream = Rc::new(stream);
        let chat = Rc::clone(self);
        let handler = move |_: &LoopHandle, ready| chat.on_ready(address, ready);
        let key = self.ioloop.add_handler(Rc::clone(&stream), Ready::READ, handler)?;
        let chat = Rc::clone(self);
        let idle = self.ioloop.call_later(self.patience, move || chat.leave(address, "too silent"));
        let client = Client { stream, key, idle, line: Vec::new(), output: Vec::new() };
        self.clients.borrow_mut().insert(address, client);
        println!("{address} has joined");
        self.broadcast(Some(address), format!("* {address} has joined\n").as_bytes());
        Ok(())
    }

    fn leave(&self, address: SocketAddr, reason: &str) {
        let client = self.clients.borrow_mut().remove(&address);
        let Some(client) = client else { return };
        self.ioloop.remove_timeout(client.idle);
        self.ioloop.remove_handler(client.key);
        println!("{address} has left: {reason}");
        self.broadcast(None, format!("* {address} has left: {reason}\n").as_bytes());
    }

    fn on_ready(&self, address: SocketAddr, ready: Ready) {
        if ready.contains(Ready::WRITE) {
            self.send(address, b"");
        }
        if ready.contains(Ready::READ) {
            self.receive(address);
        }
    }

    fn receive(&self, address: SocketAddr) {
        let Some(stream) = self.clients.borrow().get(&address).map(|c| Rc::clone(&c.stream)) else {
            return;
        };
        let mut bytes = [0; 4096];
        // Once: the loop calls again if there is more, after the others had their turn.
        match (&*stream).read(&mut bytes) {
            Ok(0) => self.leave(address, "goodbye"),
            Ok(count) => self.heard(address, &bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.leave(address, &error.to_string()),
        }
    }

    fn heard(&self, address: SocketAddr, bytes: &[u8]) {
        let mut lines = Vec::new();
        {
            let mut clients = self.clients.borrow_mut();
            let Some(client) = clients.get_mut(&address) else { return };
            self.ioloop.reset_timeout(client.idle, Instant::now() + self.patience);
            client.line.extend_from_slice(bytes);
            while let Some(end) = client.line.iter().position(|&byte| byte == b'\n') {
                lines.push(client.line.drain(..=end).collect::<Vec<u8>>());
            }
            if client.line.len() > LINE_MAX {
                drop(clients);
                return self.leave(address, "too long a line");
            }
        }
        for line in lines {
            let said = [format!("{address}: ").as_bytes(), &line].concat();
            self.broadcast(Some(address), &said);
        }
    }

    fn broadcast(&self, from: Option<SocketAddr>, message: &[u8]) {
        let all: Vec<_> = self.clients.borrow().keys().copied().collect();
        for address in all.into_iter().filter(|&address| Some(address) != from) {
            self.send(address, message);
        }
    }

    /// Sends what the socket takes; the rest when it takes more.
    fn send(&self, address: SocketAddr, message: &[u8]) {
        let mut clients = self.clients.borrow_mut();
        let Some(client) = clients.get_mut(&address) else { return };
        client.output.extend_from_slice(message);
        let failure = loop {
            match (&*client.stream).write(&client.output) {
                Ok(sent) => drop(client.output.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => break Some(error.to_string()),
            }
            if client.output.is_empty() {
                break None;
            }
        };
        let failure = failure.or_else(|| {
            (client.output.len() > OUTPUT_MAX).then(|| "does not read what it is sent".into())
        });
        let waits = if client.output.is_empty() { Ready::NONE } else { Ready::WRITE };
        let watched = self.ioloop.update_handler(client.key, Ready::READ | waits);
        let failure = failure.or_else(|| watched.err().map(|error| error.to_string()));
        drop(clients);
        if let Some(failure) = failure {
            self.leave(address, &failure);
        }
    }
}

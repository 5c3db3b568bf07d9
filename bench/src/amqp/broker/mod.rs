//! A stand-in broker, written for speed: what is measured beside it is the client.
//!
//! It knows three kinds of queue by their names. What is published to `echo` comes back to the
//! consumer of the same connection. A consumer of `flood.N.SIZE` gets N messages of that size, as
//! fast as its prefetch and the socket let it; of `flood.N.SIZE.CONSUMERS`, once its connection has
//! that many consumers. Those of one connection are served in turn. All else that is published is
//! counted, confirmed where that was asked for, and forgotten.

mod client;
mod flood;
mod process;

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::fd::AsFd;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::time::Timespec;

use crate::Result;
use client::Client;
pub use process::Broker;

/// Read at once, by all clients in turn.
const READ: usize = 1024 * 1024;

/// Thousands of clients may come at once.
const BACKLOG: i32 = 4096;

const LISTENER: u64 = u64::MAX;

/// Serves until the process is killed, or its starter ends in whatever way. Tells the port by a line on standard output.
pub fn serve() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    rustix::net::listen(&listener, BACKLOG)?;
    println!("{}", listener.local_addr()?.port());
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut clients: HashMap<u64, Client> = HashMap::new();
    let mut busy: Vec<u64> = Vec::new();
    let mut last_key = 0;
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; READ];
    loop {
        events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = (!busy.is_empty()).then_some(&at_once);
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut touched = std::mem::take(&mut busy);
        for event in &events {
            let key = event.data.u64();
            if key != LISTENER {
                if let Some(client) = clients.get_mut(&key) {
                    client.read(&mut buffer);
                }
                if !touched.contains(&key) {
                    touched.push(key);
                }
                continue;
            }
            while let Ok((socket, _)) = listener.accept() {
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                last_key += 1;
                epoll::add(&epoll, &socket, EventData::new_u64(last_key), EventFlags::IN)?;
                clients.insert(last_key, Client::new(socket));
            }
        }
        for key in touched {
            let Some(client) = clients.get_mut(&key) else { continue };
            client.write();
            if client.is_gone() {
                clients.remove(&key);
                continue;
            }
            if let Some(interest) = client.new_interest() {
                epoll::modify(&epoll, client.as_fd(), EventData::new_u64(key), interest)?;
            }
            if client.has_more() {
                busy.push(key);
            }
        }
    }
}

//! The examples, run as a user runs them.

#[cfg(feature = "libuv")]
use std::io::Write;
#[cfg(feature = "libuv")]
use std::net::TcpStream;

use crate::support::examples::*;

#[cfg(feature = "glib")]
#[test]
fn glib() {
    publishes_by_the_timer_of_its_loop("glib");
}

#[cfg(feature = "libev")]
#[test]
fn libev() {
    publishes_by_the_timer_of_its_loop("libev");
}

#[cfg(feature = "libevent")]
#[test]
fn libevent() {
    publishes_by_the_timer_of_its_loop("libevent");
}

#[cfg(feature = "libuv")]
#[test]
fn libuv() {
    publishes_by_the_timer_of_its_loop("libuv");
}

#[cfg(feature = "libuv")]
#[test]
fn libuv_host_serves_clients_beside_the_connection() {
    crate::support::broker_url();
    let mut host = Running::start("libuv_host", &[]);
    let listening = host.line();
    let address = listening.strip_prefix("listening on ").expect("the address");
    let mut anna = TcpStream::connect(address).expect("it listens");
    let mut bela = TcpStream::connect(address).expect("it listens");
    let mut next = |what: &str| while host.line() != what {};
    anna.write_all(b"from Anna\n").unwrap();
    next("from the broker: from Anna");
    next("published so far: 1");
    bela.write_all(b"from Bela\n").unwrap();
    next("from the broker: from Bela");
    bela.write_all(b"stop\n").unwrap();
    next("from the broker: stop");
    next("connection closed by this client: (200) bye");
    drop((anna, bela));
    // Nothing is left in its loop.
    host.ends_well();
}

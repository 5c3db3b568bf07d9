//! The transport that a host owns: what has come is given, what is to be sent is fetched.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::mem;
use std::rc::{Rc, Weak};

use super::services::HostServices;
use crate::connection::{Output, Session};
use crate::error::StreamLost;
use crate::io_services::{IoServices, Received, Traffic, Transport};

/// How many slices one write is given.
const SLICES: usize = 64;

pub(super) struct HostTransport {
    session: Weak<Session>,
    services: Rc<HostServices>,
    /// The host knows that there is output.
    told: Cell<bool>,
    /// The host has said that the stream has ended: nothing can be sent any more.
    lost: Cell<bool>,
    /// What the connection had to send yet when it ended. Until then, its own output is sent.
    last: RefCell<Option<Output>>,
    traffic: Cell<Traffic>,
}

impl HostTransport {
    pub(super) fn new(session: Weak<Session>, services: Rc<HostServices>) -> Self {
        Self {
            session,
            services,
            told: Cell::new(false),
            lost: Cell::new(false),
            last: RefCell::new(None),
            traffic: Cell::default(),
        }
    }

    /// The session, unless the connection has ended.
    fn session(&self) -> Option<Rc<Session>> {
        self.session.upgrade().filter(|_| self.last.borrow().is_none())
    }

    fn count(&self, count: impl FnOnce(&mut Traffic)) {
        let mut traffic = self.traffic.get();
        count(&mut traffic);
        self.traffic.set(traffic);
    }

    /// Takes what has come, in pieces that the read buffer has room for.
    pub(super) fn receive(&self, mut data: &[u8]) {
        self.count(|traffic| {
            traffic.reads += 1;
            traffic.bytes_received += data.len() as u64;
        });
        while !data.is_empty()
            && let Some(session) = self.session()
        {
            session.take_in(self.services.core(), |space| {
                debug_assert!(!space.is_empty(), "what stays unparsed leaves room for more");
                let (taken, rest) = data.split_at(data.len().min(space.len()));
                space[..taken.len()].copy_from_slice(taken);
                data = rest;
                Received { count: taken.len(), ..Received::default() }
            });
        }
    }

    pub(super) fn lose(&self, cause: StreamLost) {
        self.lost.set(true);
        match self.session() {
            Some(session) => {
                session.take_in(self.services.core(), |_| cause.into());
            }
            None => self.keep(Output::default()),
        }
    }

    pub(super) fn output_len(&self) -> usize {
        match &*self.last.borrow() {
            Some(last) => last.len(),
            None => self.session.upgrade().map_or(0, |session| session.output_len()),
        }
    }

    pub(super) fn write_output(
        &self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let _writing = self.services.begin_writing().map_err(io::Error::other)?;
        let before = self.traffic.get().bytes_sent;
        // What the writer itself makes is written too.
        let written = loop {
            self.told.set(true);
            let written = self.lend(|output| self.write_some(output, &mut write));
            if !matches!(written, Ok(true)) || self.output_len() == 0 {
                break written;
            }
        };
        self.told.set(self.output_len() > 0);
        written.map(|_| (self.traffic.get().bytes_sent - before) as usize)
    }

    fn lend<R>(&self, send: impl FnOnce(&mut Output) -> R) -> R {
        if let Some(session) = self.session() {
            return session.lend_output(send);
        }
        let mut last = self.last.take().unwrap_or_default();
        let sent = send(&mut last);
        self.keep(last);
        sent
    }

    /// Keeps that to be sent after the connection, if it can be.
    fn keep(&self, mut last: Output) {
        let spent = last.take_spent();
        let lost = self.lost.get().then(|| mem::take(&mut last));
        let old = self.last.replace(Some(last));
        // The drop of bodies may be the user's code.
        drop(self.services.core().call_user(|| drop((spent, lost, old))));
    }

    /// Writes until nothing waits, and gives true, or no more is taken.
    fn write_some(
        &self,
        output: &mut Output,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = output.slices(&mut slices);
            let slices = &slices[..used];
            let offered = slices.iter().map(|slice| slice.len()).sum();
            self.count(|traffic| traffic.writes += 1);
            match write(slices) {
                Ok(0) => return Ok(false),
                Ok(taken) if taken <= offered => {
                    output.advance(taken);
                    self.count(|traffic| traffic.bytes_sent += taken as u64);
                }
                Ok(_) => return Err(io::Error::other("more was written than there was")),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl Transport for HostTransport {
    /// The host comes for it.
    fn write(&self, output: &mut Output) -> Result<(), ()> {
        if !output.is_empty() && !self.told.replace(true) {
            self.services.attend();
        }
        Ok(())
    }

    fn is_blocked(&self) -> bool {
        self.told.get()
    }

    fn counters(&self) -> Traffic {
        self.traffic.get()
    }

    fn close(&self) {
        let last = self.session.upgrade().map(|session| session.take_output());
        self.keep(last.unwrap_or_default());
    }
}

//! A broker in memory, with a pipe to it that carries as much at a time as the test likes.

use std::rc::Rc;

use haypile::protocol::{
    Frame, FrameKind, Method, PROTOCOL_HEADER, basic, channel, connection, queue,
};
use haypile::{ConnectionParameters, ProtocolConnection};

use crate::job::Job;
use crate::support::peers::{delivery, method_bytes, start, tune};

/// Answers what the [`Job`] asks, at once.
#[derive(Default)]
struct Broker {
    greeted: bool,
    received: Vec<u8>,
    /// What was published and has no consumer yet.
    bodies: Vec<Vec<u8>>,
}

impl Broker {
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.received.extend_from_slice(bytes);
        let mut said = Vec::new();
        if !self.greeted && self.received.starts_with(&PROTOCOL_HEADER) {
            self.received.drain(..PROTOCOL_HEADER.len());
            self.greeted = true;
            said.extend(method_bytes(0, &start()));
        }
        while self.greeted
            && let Some((frame, size)) = Frame::parse(&self.received, 0).expect("a frame")
        {
            match frame.kind {
                FrameKind::Method => {
                    let method = Method::decode(frame.payload).expect("a method");
                    said.extend(answer(frame.channel, &method, &mut self.bodies));
                }
                FrameKind::Body => self.bodies.push(frame.payload.to_vec()),
                _ => {}
            }
            self.received.drain(..size);
        }
        said
    }
}

fn answer(number: u16, method: &Method<'_>, bodies: &mut Vec<Vec<u8>>) -> Vec<u8> {
    match method {
        Method::Connection(connection::Method::StartOk(_)) => method_bytes(0, &tune()),
        Method::Connection(connection::Method::Open(_)) => method_bytes(0, &connection::OpenOk {}),
        Method::Connection(connection::Method::Close(_)) => {
            method_bytes(0, &connection::CloseOk {})
        }
        Method::Channel(channel::Method::Open(_)) => method_bytes(number, &channel::OpenOk {}),
        Method::Queue(queue::Method::Declare(_)) => {
            let queue = "a queue".into();
            method_bytes(number, &queue::DeclareOk { queue, message_count: 0, consumer_count: 0 })
        }
        Method::Basic(basic::Method::Consume(consume)) => {
            let tag = &consume.consumer_tag;
            let started = basic::ConsumeOk { consumer_tag: tag.clone() };
            let mut said = method_bytes(number, &started);
            for (index, body) in bodies.drain(..).enumerate() {
                said.extend(delivery(number, &tag.to_string(), index as u64 + 1, &body));
            }
            said
        }
        _ => Vec::new(),
    }
}

fn bodies() -> Vec<Vec<u8>> {
    vec![b"first".to_vec(), vec![7; 10_000], b"last".to_vec()]
}

fn begin(bodies: &[Vec<u8>]) -> (Rc<Job>, ProtocolConnection) {
    let job = Rc::<Job>::default();
    let parameters = ConnectionParameters::default();
    let protocol = ProtocolConnection::new(parameters, job.callbacks(bodies), || ());
    (job, protocol)
}

/// Runs the job over a pipe that carries at most `step` bytes at a time. Gives all that the broker
/// has said.
fn carries(step: usize) -> Vec<u8> {
    let (bodies, mut broker, mut all) = (bodies(), Broker::default(), Vec::new());
    let (job, protocol) = begin(&bodies);
    while !protocol.is_closed() {
        assert!(protocol.output_len() > 0, "it waits for nothing");
        let mut said = Vec::new();
        let write = |slices: &[std::io::IoSlice<'_>]| {
            let count = slices[0].len().min(step);
            said.extend(broker.take(&slices[0][..count]));
            Ok(count)
        };
        protocol.write_output(write).expect("the pipe takes all");
        said.chunks(step).for_each(|some| protocol.data_received(some).expect("not nested"));
        all.extend(said);
    }
    assert_eq!(protocol.output_len(), 0);
    job.assert_done(&bodies);
    all
}

#[test]
fn over_a_pipe_in_memory_of_any_width() {
    let whole = carries(usize::MAX);
    for step in [1, 2, 3, 7, 64, 4096] {
        assert!(carries(step) == whole, "with {step} bytes at a time, another story");
    }
}

/// Also all at once: what a callback asks for, is answered by what comes behind. Only in the handshake
/// each side waits for the other.
#[test]
fn what_comes_may_be_cut_at_every_byte() {
    let (all, bodies) = (carries(usize::MAX), bodies());
    let first = [method_bytes(0, &start()), method_bytes(0, &tune())];
    let said = all.strip_prefix(&*first.concat()).expect("so it begins");
    // The large body is cut now and then.
    let is_cut = |at: &usize| *at < 1000 || at.is_multiple_of(97) || said.len() - at < 200;
    for cut in (0..=said.len()).filter(is_cut) {
        let (job, protocol) = begin(&bodies);
        first.iter().for_each(|said| protocol.data_received(said).expect("not nested"));
        protocol.data_received(&said[..cut]).expect("not nested");
        assert_eq!(protocol.is_closed(), cut == said.len());
        protocol.data_received(&said[cut..]).expect("not nested");
        job.assert_done(&bodies);
    }
}

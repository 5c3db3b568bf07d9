//! Messages a second, published and consumed.

use std::cell::Cell;
use std::rc::Rc;

use haypile::{Channel, Delivery, basic};

use super::load::{Load, Tags};
use super::stage::{End, SIZE, Stage};
use crate::Result;
use crate::outcome::{Outcome, Timing};

/// Deliveries that are not acknowledged, on all channels together.
const WINDOW: usize = 1000;

pub fn run(port: u16, load: Load, messages: u64) -> Result<Outcome> {
    let stage = Stage::new(port)?;
    let connection = stage.connect()?;
    match load {
        Load::Publish { channels, used } => {
            let mut channels = stage.channels(&connection, channels)?;
            channels.truncate(used);
            stage.publish(channels, messages)
        }
        Load::Consume { consumers, channels, tags, ack } => {
            let channels = stage.channels(&connection, channels)?;
            consume(&stage, &channels, consumers, tags, ack, messages)
        }
    }
}

fn consume(
    stage: &Stage,
    channels: &[Channel],
    consumers: usize,
    tags: Tags,
    ack: bool,
    messages: u64,
) -> Result<Outcome> {
    if ack {
        for channel in channels {
            let prefetch_count = (WINDOW / channels.len()).try_into()?;
            let qos = basic::Qos { prefetch_count, ..Default::default() };
            channel.basic_qos(qos, |_, set| assert!(set.is_ok(), "{set:?}"))?;
        }
    }
    let each = messages / consumers as u64;
    let messages = each * consumers as u64;
    let queue = format!("flood.{each}.{SIZE}.{consumers}");
    let options = basic::Consume { queue: queue.into(), no_ack: !ack, ..Default::default() };
    let tag = |number| match tags {
        Tags::Own => String::new(),
        Tags::Chosen => format!("consumer {number}"),
    };
    let (left, end) = (Rc::new(Cell::new(messages)), End::new(&stage.ioloop));
    let on_message = move |channel: &Channel, delivery: &Delivery<'_>| {
        if ack {
            let ack = basic::Ack { delivery_tag: delivery.delivery_tag(), multiple: false };
            channel.basic_ack(ack).expect("it is open");
        }
        left.set(left.get() - 1);
        if left.get() == 0 {
            end.ask(channel);
        }
    };
    // The broker begins when the last one is there.
    let timing = Rc::new(Cell::new(None));
    let begin = Rc::clone(&timing);
    let on = channels.iter().cycle().take(consumers).cloned();
    stage.consume(on, &options, tag, on_message, move || begin.set(Some(Timing::begin())))?;
    stage.ioloop.start()?;
    let timing = timing.take().ok_or("it did not begin")?;
    Ok(timing.end(messages))
}

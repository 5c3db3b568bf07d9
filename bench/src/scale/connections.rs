//! Many connections in one loop: opened, kept by heartbeats, and one of them at work.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use haypile::{Channel, Connection, basic};

use super::memory::Memory;
use super::stage::{SIZE, Stage, publish};
use crate::Result;
use crate::child::file_limit;
use crate::outcome::{Outcome, Timing};

/// So many are under way at any time while they are opened.
pub const AT_ONCE: usize = 64;

/// Seconds. Each side says something each half of it.
const HEARTBEAT: u16 = 2;

/// Descriptors that are not connections.
const OTHERS: usize = 64;

/// Opens so many, watches them idle for so many seconds, then works on one of them.
pub fn run(port: u16, count: usize, seconds: f64, messages: u64) -> Result<Outcome> {
    let most = file_limit();
    if count + OTHERS > most {
        return Err(format!(
            "{count} connections take as many descriptors, and a process here may have {most}: \
             see ulimit -Hn"
        )
        .into());
    }
    let mut stage = Stage::new(port)?;
    // What the loop shares is there. The broker does no more than answer heartbeats, and who floods
    // it, as this one does at last, sends none: it has the broker's long interval.
    let first = stage.connect()?;
    stage.set_heartbeat(HEARTBEAT);
    let before = Memory::now()?;
    let timing = Timing::begin();
    let connections = stage.connect_all(count, AT_ONCE)?;
    let outcome = timing.end(count as u64);
    let (heap, resident) = Memory::now()?.each_since(before, count);
    let outcome = outcome.with("heap", heap).with("resident", resident);

    let outcome = idle(&stage, &connections, seconds, outcome)?;
    let channel = stage.channels(&first, 1)?.remove(0);
    let outcome = work(&stage, &channel, seconds, outcome)?;
    let published = stage.publish(vec![channel], messages)?;
    let publish_rate = published.ops / published.wall * 1e9;
    if connections.iter().any(|connection| !connection.is_open()) {
        return Err("a connection was lost".into());
    }
    Ok(outcome.with("publish_rate", publish_rate))
}

/// What heartbeats cost, and whether any is missing.
fn idle(
    stage: &Stage,
    connections: &[Connection],
    seconds: f64,
    outcome: Outcome,
) -> Result<Outcome> {
    // What opened the connections counts as a sign of life, once.
    wait(stage, f64::from(HEARTBEAT))?;
    let frames = |of: &Connection| (of.counters().frames_sent, of.counters().frames_received);
    let before: Vec<_> = connections.iter().map(frames).collect();
    let timing = Timing::begin();
    wait(stage, seconds)?;
    let idle = timing.end(connections.len() as u64);
    let after = connections.iter().map(frames);
    let beats = after.zip(before).map(|(now, then)| (now.0 - then.0, now.1 - then.1));
    let beats: Vec<_> = beats.collect();
    let sent: u64 = beats.iter().map(|beat| beat.0).sum();
    let fewest = beats.iter().map(|beat| beat.0.min(beat.1)).min().unwrap_or(0);
    // One comes each half interval.
    let due = (seconds * 2.0 / f64::from(HEARTBEAT)) as u64 - 1;
    if fewest < due {
        return Err(format!("{due} heartbeats were due, and one connection had {fewest}").into());
    }
    Ok(outcome
        .with("beats_per_second", sent as f64 / idle.wall * 1e9)
        .with("beat_cpu", idle.cpu / sent as f64)
        .with("idle_cpu_ppm", idle.cpu / idle.wall * 1e6))
}

/// How long a message takes to the broker and back, one each millisecond, while the others are idle.
fn work(stage: &Stage, channel: &Channel, seconds: f64, outcome: Outcome) -> Result<Outcome> {
    let begun = Rc::new(Cell::new(None::<Instant>));
    let times = Rc::new(RefCell::new(Vec::with_capacity((seconds * 1000.0) as usize)));
    let (sent, all) = (Rc::clone(&begun), Rc::clone(&times));
    let on_message = move |_: &Channel, _: &haypile::Delivery<'_>| {
        let took = sent.take().map(|sent: Instant| sent.elapsed());
        all.borrow_mut().extend(took);
    };
    let options = basic::Consume { queue: "echo".into(), no_ack: true, ..Default::default() };
    let ioloop = stage.ioloop.handle();
    let tag = |_| String::new();
    stage.consume([channel.clone()].into_iter(), &options, tag, on_message, move || {
        ioloop.stop();
    })?;
    stage.ioloop.start()?;
    let on = channel.clone();
    let every = stage.ioloop.call_every(Duration::from_millis(1), move || {
        if begun.get().is_none() {
            begun.set(Some(Instant::now()));
            publish(&on, "echo", &[b'x'; SIZE]).expect("there is room");
        }
    });
    wait(stage, seconds)?;
    stage.ioloop.remove_timeout(every);
    let mut times = times.take();
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_nanos() as f64;
    if times.is_empty() {
        return Err("no message came back".into());
    }
    Ok(outcome.with("p50", at(0.5)).with("p99", at(0.99)))
}

fn wait(stage: &Stage, seconds: f64) -> Result<()> {
    let ioloop = stage.ioloop.handle();
    stage.ioloop.call_later(Duration::from_secs_f64(seconds), move || ioloop.stop());
    Ok(stage.ioloop.start()?)
}

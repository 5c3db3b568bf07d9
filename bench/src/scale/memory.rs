//! What a connection's channels and consumers take of memory.

use haypile::basic;

use super::load::{CHANNELS, CONSUMERS};
use super::stage::Stage;
use crate::Result;
use crate::outcome::{Outcome, Timing};

/// Memory of this process.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Bytes that are allocated, with what the allocator adds to them.
    heap: f64,
    resident: f64,
}

impl Memory {
    pub fn now() -> Result<Self> {
        Ok(Self { heap: heap(), resident: resident()? })
    }

    /// How much each of so many has taken since, of the heap and as the system counts.
    pub fn each_since(self, before: Self, count: usize) -> (f64, f64) {
        let count = count as f64;
        ((self.heap - before.heap) / count, (self.resident - before.resident) / count)
    }
}

#[cfg(target_env = "gnu")]
fn heap() -> f64 {
    #[allow(unsafe_code)]
    // SAFETY: it only reads the allocator's own state, under its locks.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as f64
}

/// Only the GNU C library tells.
#[cfg(not(target_env = "gnu"))]
fn heap() -> f64 {
    f64::NAN
}

fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
    Ok(kilobytes.parse::<f64>()? * 1024.0)
}

pub fn run(port: u16) -> Result<Outcome> {
    let stage = Stage::new(port)?;
    let connection = stage.connect()?;
    // What the loop shares is there.
    let first = stage.channels(&connection, 1)?;
    let (before, timing) = (Memory::now()?, Timing::begin());
    let channels = stage.channels(&connection, CHANNELS)?;
    let outcome = timing.end(CHANNELS as u64);
    let (heap, _) = Memory::now()?.each_since(before, CHANNELS);
    let outcome = outcome.with("channel", heap);

    let ioloop = stage.ioloop.handle();
    let one = first.iter().cycle().take(CONSUMERS).cloned();
    let options = basic::Consume { queue: "idle".into(), ..Default::default() };
    let before = Memory::now()?;
    stage.consume(one, &options, |_| String::new(), |_, _| (), move || ioloop.stop())?;
    stage.ioloop.start()?;
    let (heap, _) = Memory::now()?.each_since(before, CONSUMERS);
    drop(channels);
    Ok(outcome.with("consumer", heap))
}

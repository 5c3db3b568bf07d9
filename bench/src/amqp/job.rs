//! What is measured.

use std::time::Duration;

use crate::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Messages as fast as they go, until the broker has answered what was asked behind them.
    Publish,
    /// Messages that the broker confirms, with a window of so many under way.
    Confirm,
    /// Messages that need no acknowledgement.
    Consume,
    /// Messages that are acknowledged one by one, with a prefetch of the window.
    ConsumeAck,
    /// One message out, and back before the next.
    Rpc,
    /// The same, for how long each takes.
    LatencyRpc,
    /// The same, but of a client that sleeps before each, in its loop if it has one.
    LatencyPublishDeliver,
}

use Job::*;

impl Job {
    const ALL: [Self; 7] =
        [Publish, Confirm, Consume, ConsumeAck, Rpc, LatencyRpc, LatencyPublishDeliver];

    pub const fn name(self) -> &'static str {
        match self {
            Publish => "publish",
            Confirm => "confirm",
            Consume => "consume",
            ConsumeAck => "consume_ack",
            Rpc => "rpc",
            LatencyRpc => "latency_rpc",
            LatencyPublishDeliver => "latency_publish_deliver",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|job| job.name() == name)
    }

    /// What is told are percentiles of delays.
    pub fn is_latency(self) -> bool {
        matches!(self, LatencyRpc | LatencyPublishDeliver)
    }

    /// What it needs is in the queue before.
    pub fn drains(self) -> bool {
        matches!(self, Consume | ConsumeAck)
    }
}

/// A bench: a job with messages of one size.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub job: Job,
    /// Bytes of each body.
    pub size: usize,
}

impl Spec {
    pub fn sized(job: Job, size: usize) -> Self {
        let name = match size {
            SMALL => job.name().to_owned(),
            _ if size >= 1 << 20 => format!("{}_{}m", job.name(), size >> 20),
            _ if size >= 1 << 10 => format!("{}_{}k", job.name(), size >> 10),
            _ => format!("{}_{size}", job.name()),
        };
        Self { name, job, size }
    }

    /// Every job with small messages, and large ones both ways.
    pub fn all() -> Vec<Self> {
        let small = Job::ALL.map(|job| Self::sized(job, SMALL));
        let large = [Publish, Consume].map(|job| Self::sized(job, LARGE));
        small.into_iter().chain(large).collect()
    }

    /// Both ways with messages of any size.
    pub fn sizes() -> Vec<Self> {
        let sizes = [0, SMALL, 1 << 10, 16 << 10, LARGE, 1 << 20, 16 << 20];
        [Publish, Consume]
            .iter()
            .flat_map(|&job| sizes.map(|size| Self::sized(job, size)))
            .collect()
    }

    /// Messages under way at most: a thousand, and 16 MiB.
    pub fn window(&self) -> u64 {
        ((16 << 20) / self.size.max(1) as u64).clamp(1, 1000)
    }
}

pub const SMALL: usize = 100;
pub const LARGE: usize = 64 << 10;

/// What a client fails with whose messages stop coming.
pub const ENDED: &str = "the consumer has ended";

/// One measurement to make.
#[derive(Clone, Debug)]
pub struct Work {
    pub job: Job,
    pub messages: u64,
    pub size: usize,
    pub window: u64,
    /// Where messages go to, or come from.
    pub queue: String,
    pub url: String,
}

impl Work {
    /// By the words that a child is given: `JOB MESSAGES SIZE WINDOW QUEUE URL`.
    pub fn parse(words: &[&str]) -> Result<Self> {
        let [job, messages, size, window, queue, url] = words[..] else {
            return Err("the work is JOB MESSAGES SIZE WINDOW QUEUE URL".into());
        };
        Ok(Self {
            job: Job::from_name(job).ok_or("no such job")?,
            messages: messages.parse()?,
            size: size.parse()?,
            window: window.parse()?,
            queue: queue.to_owned(),
            url: url.to_owned(),
        })
    }

    pub fn body(&self) -> Vec<u8> {
        vec![b'x'; self.size]
    }

    pub fn prefetch(&self) -> u16 {
        u16::try_from(self.window).unwrap_or(u16::MAX)
    }

    /// How long to sleep before each request.
    pub fn pause(&self) -> Option<Duration> {
        (self.job == LatencyPublishDeliver).then_some(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_size_that_is_not_the_usual_one() {
        let names = |specs: Vec<Spec>| specs.into_iter().map(|spec| spec.name).collect::<Vec<_>>();
        assert_eq!(names(Spec::all())[7..], ["publish_64k", "consume_64k"]);
        let sizes = ["publish_0", "publish", "publish_1k", "publish_16k"];
        assert_eq!(names(Spec::sizes())[..4], sizes);
        assert_eq!(names(Spec::sizes())[6], "publish_16m");
    }

    #[test]
    fn the_window_is_bounded_in_bytes() {
        let window = |size| Spec::sized(Publish, size).window();
        assert_eq!([0, SMALL, LARGE, 16 << 20].map(window), [1000, 1000, 256, 1]);
    }
}

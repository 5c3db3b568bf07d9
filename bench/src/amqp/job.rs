//! What is measured.

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
}

impl Job {
    pub const ALL: [Self; 5] =
        [Self::Publish, Self::Confirm, Self::Consume, Self::ConsumeAck, Self::Rpc];

    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Confirm => "confirm",
            Self::Consume => "consume",
            Self::ConsumeAck => "consume_ack",
            Self::Rpc => "rpc",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|job| job.name() == name)
    }
}

/// One measurement to make.
#[derive(Clone, Debug)]
pub struct Work {
    pub job: Job,
    pub messages: u64,
    /// Bytes of each body.
    pub size: usize,
    /// Messages under way at most.
    pub window: u64,
    pub host: String,
    pub port: u16,
}

impl Work {
    /// The queue of the stand-in broker that has these messages.
    pub fn flood(&self) -> String {
        format!("flood.{}.{}", self.messages, self.size)
    }
}

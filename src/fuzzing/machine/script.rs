//! The bytes that a fuzzer makes, read as what is to be done. Where they end, all is zero.

pub(super) struct Script<'d>(&'d [u8]);

impl<'d> Script<'d> {
    pub(super) fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn octet(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub(super) fn number(&mut self) -> u16 {
        u16::from(self.octet()) << 8 | u16::from(self.octet())
    }

    pub(super) fn flag(&mut self) -> bool {
        self.octet() & 1 == 1
    }

    /// So many bytes, or what is left.
    pub(super) fn bytes(&mut self, count: usize) -> &'d [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.octet()) % from.len()]
    }
}

/// What can be done. An octet of a script, of which two bits are left out, is the number of one;
/// those that are none do nothing, so that a corpus outlives the next one that is added at the end.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(in crate::fuzzing) enum Op {
    // The peer's.
    Bytes,
    Frame,
    Method,
    Greet,
    Answer,
    Deliver,
    ContentHeader,
    Body,
    Return,
    Ack,
    CancelConsumer,
    CloseChannel,
    CloseConnection,
    // The user's.
    AskChannel,
    AskRequest,
    AskConsumer,
    AskCancel,
    AskGet,
    Publish,
    Settle,
    Observe,
    AskChannelClose,
    AskClose,
    Panic,
    // The loop's.
    Write,
    Wait,
    Oversleep,
    Lose,
    /// So many of the events that follow have the user do one more thing from inside.
    Inside,
    // Of confirms.
    AskConfirms,
    AwaitConfirms,
    LimitUnconfirmed,
    ReturnPublished,
    /// The user waits for answers no longer than this.
    LimitTime,
    AskSecret,
}

impl Op {
    const ALL: [Self; 35] = [
        Self::Bytes,
        Self::Frame,
        Self::Method,
        Self::Greet,
        Self::Answer,
        Self::Deliver,
        Self::ContentHeader,
        Self::Body,
        Self::Return,
        Self::Ack,
        Self::CancelConsumer,
        Self::CloseChannel,
        Self::CloseConnection,
        Self::AskChannel,
        Self::AskRequest,
        Self::AskConsumer,
        Self::AskCancel,
        Self::AskGet,
        Self::Publish,
        Self::Settle,
        Self::Observe,
        Self::AskChannelClose,
        Self::AskClose,
        Self::Panic,
        Self::Write,
        Self::Wait,
        Self::Oversleep,
        Self::Lose,
        Self::Inside,
        Self::AskConfirms,
        Self::AwaitConfirms,
        Self::LimitUnconfirmed,
        Self::ReturnPublished,
        Self::LimitTime,
        Self::AskSecret,
    ];

    pub(super) fn read(script: &mut Script<'_>) -> Option<Self> {
        Self::ALL.get(usize::from(script.octet() & 63)).copied()
    }
}

//! One channel: the FIFO of pending requests, consumers, content being assembled. And its handle.

mod acker;
mod callbacks;
mod closing;
mod confirms;
mod consumers;
mod consuming;
mod content;
mod deadlines;
mod handle;
mod message;
mod publish;
mod remote;
mod request_table;
mod requests;
mod state;
mod unacked;
#[cfg(feature = "futures")]
mod watching;

pub use acker::Acker;
pub(crate) use acker::{Answer, Origin};
pub(crate) use callbacks::{Completion, OnClose, OnGet, OnMessage, OnReply};
pub(crate) use closing::broker_closed_channel;
pub use confirms::{Confirm, ConfirmSummary, PublishOutcome};
pub(crate) use confirms::{OnConfirmed, Unconfirmed};
pub(crate) use content::{Lookahead, WholeContent, look_ahead};
pub use handle::Channel;
pub(crate) use message::Part;
pub use message::{Body, Delivery, GetMessage, Message, ReturnedMessage};
pub use remote::RemoteChannel;
#[cfg(feature = "futures")]
pub(crate) use request_table::for_each_request;
pub(crate) use state::{ChannelId, ChannelState, Observers, Outcome, Taken};

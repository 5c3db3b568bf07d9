//! What the broker says of what was published, as futures.

use std::cell::RefCell;
use std::collections::HashMap;

use super::reply::Teller;
use crate::channel::{Confirm, PublishOutcome};

/// Room for so many who wait is kept while none does.
const KEPT: usize = 512;

/// What the broker has said of a published message. See
/// [`AsyncChannel::publish`](super::AsyncChannel::publish).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a message that is not acknowledged is not in its queue"]
pub enum Confirmation {
    /// The broker has taken care of it: see [`PublishOutcome::Acked`].
    Acked,
    /// The broker could not take care of it: publish it again.
    Nacked,
    /// It was `mandatory`, and no queue takes it. What came back was told to the
    /// [return callbacks](crate::Channel::add_on_return_callback) before.
    Returned,
}

impl Confirmation {
    /// Whether the broker has taken care of it.
    pub fn is_acked(self) -> bool {
        self == Self::Acked
    }
}

/// Those who wait for what becomes of a publish, by its number. The channel's closure owns them.
#[derive(Default)]
pub(super) struct Confirms(RefCell<HashMap<u64, Teller<Confirmation>>>);

impl Confirms {
    pub(super) fn wait(&self, number: u64, teller: Teller<Confirmation>) {
        let replaced = self.0.borrow_mut().insert(number, teller);
        debug_assert!(replaced.is_none(), "each publish has its own number");
    }

    pub(super) fn resolve(&self, confirm: Confirm<'_>) {
        let Some(teller) = self.take(confirm.sequence_number) else { return };
        teller.tell(match confirm.outcome {
            PublishOutcome::Acked => Ok(Confirmation::Acked),
            PublishOutcome::Nacked => Ok(Confirmation::Nacked),
            PublishOutcome::Returned => Ok(Confirmation::Returned),
            PublishOutcome::Lost(cause) => Err(cause.clone()),
        });
    }

    fn take(&self, number: u64) -> Option<Teller<Confirmation>> {
        let mut waiting = self.0.borrow_mut();
        let teller = waiting.remove(&number);
        if waiting.is_empty() {
            waiting.shrink_to(KEPT);
        }
        teller
    }
}

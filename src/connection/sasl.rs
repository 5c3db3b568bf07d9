//! The answers that credentials give, whenever and wherever they have them.

use std::fmt;

/// What comes after a response, if the broker has another challenge.
pub(crate) type OnChallenge = Box<dyn FnOnce(&[u8], SaslAnswer) + Send>;

/// What credentials have answered: a response, or the reason why there is none.
pub(crate) type Answered = Result<Response, String>;

pub(crate) struct Response {
    pub(crate) octets: Vec<u8>,
    pub(crate) on_challenge: Option<OnChallenge>,
}

/// Takes the answer of [`Credentials`](crate::Credentials), once, on any thread, at once or later:
/// the connection waits for it, as long as its time limits let it.
///
/// Dropped without an answer, the attempt to connect fails as with [`fail`](Self::fail). An answer
/// that comes when the attempt is over is of no consequence.
pub struct SaslAnswer(Option<Box<dyn FnOnce(Answered) + Send>>);

impl SaslAnswer {
    pub(crate) fn new(on_answered: impl FnOnce(Answered) + Send + 'static) -> Self {
        Self(Some(Box::new(on_answered)))
    }

    /// The response to the broker (AMQP connection.start-ok, connection.secure-ok), the last one. A
    /// broker that asks for more is refused.
    pub fn respond(self, response: impl Into<Vec<u8>>) {
        self.answer(Ok(Response { octets: response.into(), on_challenge: None }));
    }

    /// The response to the broker, and what takes its next challenge (AMQP connection.secure), if
    /// there is one: `on_challenge` is called from the loop.
    pub fn respond_and_then(
        self,
        response: impl Into<Vec<u8>>,
        on_challenge: impl FnOnce(&[u8], SaslAnswer) + Send + 'static,
    ) {
        let on_challenge = Some(Box::new(on_challenge) as OnChallenge);
        self.answer(Ok(Response { octets: response.into(), on_challenge }));
    }

    /// There are no credentials: a token could not be had, say. The attempt to connect fails with
    /// [`HandshakeError::NoCredentials`](crate::HandshakeError::NoCredentials), which has the
    /// reason: it should hold no secret.
    pub fn fail(self, reason: impl fmt::Display) {
        self.answer(Err(reason.to_string()));
    }

    fn answer(mut self, answered: Answered) {
        if let Some(on_answered) = self.0.take() {
            on_answered(answered);
        }
    }
}

impl Drop for SaslAnswer {
    fn drop(&mut self) {
        if let Some(on_answered) = self.0.take() {
            on_answered(Err("they gave no answer".to_owned()));
        }
    }
}

impl fmt::Debug for SaslAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslAnswer").finish_non_exhaustive()
    }
}

/// What is answered before `start` returns, where no loop runs.
#[cfg(test)]
pub(crate) fn answered_at_once(start: impl FnOnce(SaslAnswer)) -> Option<Answered> {
    use std::sync::{Arc, Mutex, PoisonError};

    let answered = Arc::new(Mutex::new(None));
    let answer = Arc::clone(&answered);
    start(SaslAnswer::new(move |answered| {
        answer.lock().unwrap_or_else(PoisonError::into_inner).replace(answered);
    }));
    answered.lock().unwrap_or_else(PoisonError::into_inner).take()
}

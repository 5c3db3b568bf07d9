//! Between the broker's challenges and the credentials, which may take their time to answer.

use std::rc::Rc;

use super::event::Challenge;
use super::machine::Machine;
use super::sasl::{Answered, OnChallenge, Response, SaslAnswer};
use super::session::Session;
use crate::error::HandshakeError;
use crate::ioloop::LoopCore;

/// What the session keeps of the authentication under way.
#[derive(Default)]
pub(super) struct Authentication {
    /// Which challenge is being answered, of all that the session has had: a late answer to another
    /// is of no interest.
    challenge: u64,
    on_challenge: Option<OnChallenge>,
}

impl Session {
    pub(super) fn challenged(&self, core: &Rc<LoopCore>, challenge: Challenge) {
        match challenge {
            Challenge::Start => self.start_to_authenticate(core),
            Challenge::Secure(challenge) => {
                let on_challenge = self.take_on_challenge();
                let answer = self.expect_answer(core);
                match on_challenge {
                    Some(on_challenge) => self.call(core, || on_challenge(&challenge, answer)),
                    None => answer.fail("the broker asks for more than they have to say"),
                }
            }
        }
    }

    fn start_to_authenticate(&self, core: &Rc<LoopCore>) {
        let credentials = self.look(Machine::credentials);
        let mut mechanism = String::new();
        self.call(core, || mechanism.push_str(credentials.mechanism()));
        let is_chosen = self.machine.borrow_mut().choose(&mechanism);
        if is_chosen {
            let answer = self.expect_answer(core);
            self.call(core, || credentials.start(answer));
        }
    }

    /// What was to take the next challenge, for the caller to drop with nothing borrowed.
    pub(super) fn take_on_challenge(&self) -> Option<OnChallenge> {
        self.authentication.borrow_mut().on_challenge.take()
    }

    fn expect_answer(&self, core: &LoopCore) -> SaslAnswer {
        let mut authentication = self.authentication.borrow_mut();
        authentication.challenge += 1;
        let (challenge, remote, key) = (authentication.challenge, core.remote(), self.key.get());
        SaslAnswer::new(move |answered| {
            let answer = move |core: &Rc<LoopCore>| match key.and_then(|key| Self::find(core, key))
            {
                Some(session) => session.answered(core, challenge, answered),
                None => drop(core.call_user(|| drop(answered))),
            };
            // A loop that has gone wants no answer.
            let _ = remote.post(Box::new(answer));
        })
    }

    /// The credentials have answered that challenge, perhaps too late.
    fn answered(&self, core: &LoopCore, challenge: u64, answered: Answered) {
        let is_current = self.authentication.borrow().challenge == challenge;
        if !is_current || !self.look(Machine::awaits_response) {
            return self.call(core, || drop(answered));
        }
        match answered {
            Ok(Response { octets, on_challenge }) => {
                self.authentication.borrow_mut().on_challenge = on_challenge;
                self.with(|machine| machine.respond(octets));
            }
            Err(reason) => {
                let error = HandshakeError::NoCredentials { reason };
                self.with(|machine| machine.finish(error.into()));
            }
        }
    }
}

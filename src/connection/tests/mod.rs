//! The state machine against a scripted broker, with no socket and a clock that moves when told.
//!
//! `pair` is the scaffold, the other files are scenarios by topic. "Hazard n" is what has gone
//! wrong in other clients, as a test of its own: 1 to 6 and 8 to 13 of the list are here, with the
//! part of 16 that needs no socket.

mod broker;
mod channels;
mod closing;
mod consumers;
mod content;
mod cuts;
mod deadlines;
mod handshake;
mod hostile;
mod pair;
mod publish;
mod replies;
mod requests;
mod tune;

//! The state machine against a scripted broker, with no socket and a clock that moves when told.
//!
//! `pair`, `asking` and `broker` are the scaffold, the other files are scenarios by topic.
//! "hazard n" in a test's name is what has gone wrong in other clients: 1 to 6, 8 to 14 and 20 of
//! the list, and those parts of 16, 17 and 18 that need no socket.

mod asking;
mod blocked;
mod bounds;
mod broker;
mod channels;
mod closing;
mod confirms;
mod confirms_model;
mod consumers;
mod content;
mod counters;
mod cut_bodies;
mod cuts;
mod deadlines;
mod handshake;
mod heartbeats;
mod hostile;
mod inbound;
mod pair;
mod publish;
mod replies;
mod request_deadlines;
mod requests;
mod sasl;
mod secrets;
mod tune;

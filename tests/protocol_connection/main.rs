//! `ProtocolConnection`: over transports that the test owns, to RabbitMQ (`transports`); to a broker
//! that is a function, cut at every byte (`pipe`); and by the test's own clock, what goes wrong
//! (`endings`), what is sent (`output`), and who may call what when (`calls`).

mod calls;
mod endings;
mod job;
mod output;
mod pipe;
mod scene;
#[path = "../support/mod.rs"]
mod support;
mod transports;

#[global_allocator]
static ALLOCATOR: support::allocations::Counting = support::allocations::Counting;

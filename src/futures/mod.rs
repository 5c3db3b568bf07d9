//! `async` and `await` over connections and channels: for tokio, smol, any other executor, or none
//! but the loop. With the feature `futures`.
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn run() -> haypile::Result<()> {
//! use haypile::{BasicProperties, ConnectionCallbacks, ConnectionParameters, TokioConnection};
//! use haypile::{basic, queue};
//!
//! let parameters: ConnectionParameters = "amqp://localhost".parse()?;
//! let connection = TokioConnection::new(parameters, ConnectionCallbacks::new()).opened().await?;
//! let channel = connection.open_channel().await?;
//! let declare = queue::Declare { queue: "hello".into(), ..Default::default() };
//! let queue = channel.queue_declare(declare).await?.queue;
//!
//! channel.confirm_delivery().await?;
//! let to = basic::Publish { routing_key: queue.clone(), ..Default::default() };
//! let confirmation = channel.publish(to, &BasicProperties::default(), "Hello!").await?;
//! assert!(confirmation.is_acked());
//!
//! channel.basic_qos(basic::Qos { prefetch_count: 100, ..Default::default() }).await?;
//! let mut consumer = channel.basic_consume(basic::Consume { queue, ..Default::default() }).await?;
//! while let Some(delivery) = consumer.next().await {
//!     println!("{}", String::from_utf8_lossy(delivery.body()));
//!     let delivery_tag = delivery.delivery_tag();
//!     channel.basic_ack(basic::Ack { delivery_tag, multiple: false })?;
//! }
//! println!("no more: {:?}", consumer.end());
//! # Ok(())
//! # }
//! ```
//!
//! [`Connection::opened`](crate::Connection::opened) is the way in, on a connection of any loop.
//!
//! - **Nothing here knows a runtime.** The connection runs on its loop as it always does, and its
//!   callbacks wake whoever polls these futures. They stay on the loop's thread (`!Send`): spawn them
//!   by tokio's `spawn_local`, on smol's `LocalExecutor`, calloop's executor, GLib's `spawn_local`.
//! - **A request is made by the call**, in its place among the others, as it is with a callback; the
//!   future waits for the reply. Those that are made in a row leave together.
//! - **Dropping a future harms nothing.** A request that was made stays made; its reply is taken off
//!   when it comes, and what it would bring is undone: a channel that opens for nobody is closed, a
//!   message fetched for nobody goes back to its queue, a consumer that starts for nobody is
//!   cancelled.
//! - **No future waits for ever** for what has ended: with its channel, its connection or its loop it
//!   is ready, with the cause.
//! - **Wakers** are called from the loop, with nothing borrowed, and may do anything. The panic of one
//!   is caught, and logged.
//!
//! # On a loop without an executor
//!
//! libuv, libev, libevent and [`IOLoop`](crate::IOLoop) have none. A task needs no more of them than
//! callbacks: a wake, from whichever thread, posts one that polls it. With the crate async-task:
//!
//! ```
//! use async_task::Runnable;
//! use haypile::{IOLoop, Services};
//!
//! fn spawn(services: &Services, task: impl Future<Output = ()> + 'static) {
//!     let (remote, work) = (services.remote(), services.work_guard());
//!     let task = async move {
//!         task.await;
//!         drop(work); // a run that returns when nothing is left to wait for goes on until here
//!     };
//!     let post = move |woken: Runnable| {
//!         // Refused by a loop that has gone, it is dropped, and the task with it.
//!         let _ = remote.add_callback(|| _ = woken.run());
//!     };
//!     let (first, task) = async_task::spawn_local(task, post);
//!     first.schedule();
//!     task.detach();
//! }
//!
//! let ioloop = IOLoop::new()?;
//! let handle = ioloop.handle();
//! spawn(ioloop.services(), async move { handle.stop() });
//! ioloop.start()?;
//! # Ok::<(), haypile::Error>(())
//! ```
//!
//! Such a task is dropped on its own thread or not at all: no other thread may wake it once its loop has
//! gone.
//!
//! `IOLoop` shares its thread, too, with any executor that can be run step by step: it runs what a turn
//! has woken. What another thread wakes waits for the next turn, unless that thread has one begin, by a
//! post to [`IOLoop::remote`](crate::IOLoop::remote).
//!
//! ```no_run
//! use async_executor::LocalExecutor;
//! use haypile::{ConnectionCallbacks, ConnectionParameters, IOLoop, SelectConnection};
//!
//! let ioloop = IOLoop::new()?;
//! let parameters: ConnectionParameters = "amqp://localhost".parse()?;
//! let connection =
//!     SelectConnection::with_ioloop(parameters, ConnectionCallbacks::new(), &ioloop)?;
//! let executor = LocalExecutor::new();
//! let task = executor.spawn(async move {
//!     let connection = connection.opened().await?;
//!     let channel = connection.open_channel().await?;
//!     channel.close(200, "bye").await?;
//!     connection.close(200, "bye").await
//! });
//! loop {
//!     while executor.try_tick() {}
//!     if task.is_finished() {
//!         break;
//!     }
//!     ioloop.run_once(None)?;
//! }
//! # Ok::<(), haypile::Error>(())
//! ```

mod channel;
mod confirmation;
mod connection;
mod consumer;
mod reply;
mod wake;
mod watch;

pub use channel::AsyncChannel;
pub use confirmation::Confirmation;
pub use connection::AsyncConnection;
pub use consumer::{Consumer, ConsumerEnd};
pub use reply::Reply;
pub(crate) use watch::{Ending, Watch};

//! Executors that people have, with several tasks on one connection.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_executor::LocalExecutor;
use haypile::futures::AsyncConnection;
use haypile::{BasicProperties, ConnectionCallbacks, Error, IOLoop, SelectConnection, basic};

use crate::support::broker;
use crate::task::{consume, own_queue, to};

const MESSAGES: usize = 100;

/// One task publishes, what is given here; the other consumes. Then the connection is closed.
async fn publish_and_consume<T: Future<Output = ()>>(
    connection: AsyncConnection,
    spawn: impl FnOnce(Pin<Box<dyn Future<Output = ()>>>) -> T,
) -> Result<usize, Error> {
    let channel = connection.open_channel().await?;
    let queue = own_queue(&channel).await;
    let mut consumer = channel.basic_consume(consume(&queue)).await?;
    let publishing = connection.open_channel().await?;
    let publisher = spawn(Box::pin(async move {
        publishing.confirm_delivery().await.expect("granted");
        for number in 0..MESSAGES {
            let body = format!("{number}");
            let published = publishing.publish(to(&queue), &BasicProperties::default(), body);
            assert!(published.await.expect("it is confirmed").is_acked());
        }
    }));
    let mut received = 0;
    while received < MESSAGES {
        let delivery = consumer.next().await.expect("one more");
        assert_eq!(delivery.body(), format!("{received}").as_bytes());
        let delivery_tag = delivery.delivery_tag();
        channel.basic_ack(basic::Ack { delivery_tag, multiple: false })?;
        received += 1;
    }
    publisher.await;
    connection.close(200, "bye").await?;
    Ok(received)
}

#[test]
fn on_tasks_between_the_turns_of_the_own_loop() {
    let ioloop = IOLoop::new().expect("a loop");
    let executor = Rc::new(LocalExecutor::new());
    let connection = SelectConnection::with_ioloop(broker(), ConnectionCallbacks::new(), &ioloop)
        .expect("a connection");
    let tasks = Rc::clone(&executor);
    let task = executor.spawn(async move {
        let connection = connection.opened().await?;
        publish_and_consume(connection, |future| tasks.spawn(future)).await
    });
    loop {
        while executor.try_tick() {}
        if task.is_finished() {
            break;
        }
        ioloop.run_once(None).expect("a turn");
    }
    let mut task = pin!(task);
    let mut context = Context::from_waker(Waker::noop());
    let done = task.as_mut().poll(&mut context);
    assert_eq!(done, Poll::Ready(Ok(MESSAGES)));
}

#[cfg(feature = "tokio")]
#[test]
fn on_local_tasks_of_tokio() {
    use haypile::TokioConnection;
    use tokio::task::{LocalSet, spawn_local};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let done = LocalSet::new().block_on(&runtime, async {
        let connection = TokioConnection::new(broker(), ConnectionCallbacks::new());
        let connection = connection.opened().await?;
        publish_and_consume(connection, |future| {
            let task = spawn_local(future);
            async { task.await.expect("no panic") }
        })
        .await
    });
    assert_eq!(done, Ok(MESSAGES));
}

#[cfg(feature = "async-io")]
#[test]
fn on_a_local_executor_of_smol() {
    use haypile::AsyncIoConnection;

    let executor = Rc::new(LocalExecutor::new());
    let tasks = Rc::clone(&executor);
    let (connection, driver) = AsyncIoConnection::new(broker(), ConnectionCallbacks::new());
    executor.spawn(driver).detach();
    let done = async_io::block_on(executor.run(async move {
        let connection = connection.opened().await?;
        publish_and_consume(connection, |future| tasks.spawn(future)).await
    }));
    assert_eq!(done, Ok(MESSAGES));
}

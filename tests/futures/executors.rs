//! Several tasks on the executor that each loop has, or on one made of its callbacks.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;

use async_executor::LocalExecutor;
use haypile::futures::AsyncConnection;
use haypile::{
    BasicProperties, Connection, ConnectionCallbacks, Error, IOLoop, Party, Result,
    SelectConnection, basic, queue,
};

use crate::support::hosts::Task;
use crate::support::{Host, Probes, broker, every_host};
use crate::task::{
    block_on, connect_with_channel, consume, own_queue, publish, to, until_queue_has,
};

every_host!(
    tasks_share_a_connection,
    tasks_have_a_channel_each,
    a_task_is_woken_by_another_thread,
    a_run_goes_on_for_its_tasks,
    a_loop_that_goes_drops_its_tasks,
);

const MESSAGES: usize = 100;

/// Spawns tasks, and stops the loop when the last of them has ended.
#[derive(Clone)]
struct Tasks {
    spawner: Rc<dyn Fn(Task)>,
    last: Rc<Last>,
}

struct Last(Rc<dyn Fn()>);

impl Drop for Last {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let last = Rc::clone(&self.last);
        (self.spawner)(Box::pin(async move {
            task.await;
            drop(last);
        }));
    }
}

/// Runs the loop until all tasks have ended.
fn run<H: Host>(host: &H, spawn: impl FnOnce(Tasks)) {
    spawn(Tasks { spawner: host.spawner(), last: Rc::new(Last(host.stopper())) });
    host.run();
}

/// One task publishes, another one consumes. Then the connection is closed.
async fn publish_and_consume(connection: AsyncConnection, tasks: Tasks) -> Result<usize> {
    let channel = connection.open_channel().await?;
    let queue = own_queue(&channel).await;
    let mut consumer = channel.basic_consume(consume(&queue)).await?;
    let publishing = connection.open_channel().await?;
    let published = publishing.closed();
    let confirmed = Rc::new(Cell::new(0));
    let confirm = Rc::clone(&confirmed);
    tasks.spawn(async move {
        publishing.confirm_delivery().await.expect("granted");
        for number in 0..MESSAGES {
            let body = format!("{number}");
            let published = publishing.publish(to(&queue), &BasicProperties::default(), body);
            assert!(published.await.expect("it is confirmed").is_acked());
            confirm.set(confirm.get() + 1);
        }
        publishing.close(200, "bye").await.expect("it closes");
    });
    for number in 0..MESSAGES {
        let delivery = consumer.next().await.expect("one more");
        assert_eq!(delivery.body(), format!("{number}").as_bytes());
        let delivery_tag = delivery.delivery_tag();
        channel.basic_ack(basic::Ack { delivery_tag, multiple: false })?;
    }
    // The last confirmation may come after its message.
    let reason = published.await;
    assert!(matches!(&reason, Error::ChannelClosed(it) if it.by == Party::Client), "{reason}");
    connection.close(200, "bye").await?;
    Ok(confirmed.get())
}

fn share_a_connection(
    tasks: Tasks,
    connection: &Connection,
    done: &Rc<Cell<Option<Result<usize>>>>,
) {
    let (opened, done, more) = (connection.opened(), Rc::clone(done), tasks.clone());
    tasks.spawn(async move {
        let connection = opened.await.expect("it opens");
        done.set(Some(publish_and_consume(connection, more).await));
    });
}

fn tasks_share_a_connection<H: Host>() {
    let host = H::new();
    let connection = host.connect(broker(), ConnectionCallbacks::new());
    let done = Rc::new(Cell::new(None));
    run(&host, |tasks| share_a_connection(tasks, &connection, &done));
    assert_eq!(done.take(), Some(Ok(MESSAGES)));
    assert!(connection.is_closed());
}

fn tasks_have_a_channel_each<H: Host>() {
    const TASKS: usize = 20;
    let host = H::new();
    let (connection, _channel) = connect_with_channel(&host, broker());
    let done = Rc::new(Cell::new(0));
    run(&host, |tasks| {
        for number in 0..TASKS {
            let (connection, done) = (connection.clone(), Rc::clone(&done));
            tasks.spawn(async move {
                let channel = connection.open_channel().await.expect("it opens");
                let queue = own_queue(&channel).await;
                publish(&channel, &queue, &format!("{number}"));
                until_queue_has(&channel, &queue, (1, 0)).await;
                let get = basic::Get { queue, no_ack: true };
                let got = channel.basic_get(get).await.expect("granted").expect("a message");
                assert_eq!(got.body(), format!("{number}").as_bytes());
                channel.close(200, "bye").await.expect("it closes");
                done.set(done.get() + 1);
            });
        }
    });
    assert_eq!(done.get(), TASKS);
}

/// Ready once another thread has woken whoever waits, which it does only when that sleeps or soon will.
async fn woken_elsewhere() {
    let is_woken = Arc::new(AtomicBool::new(false));
    let mut thread = None;
    poll_fn(|context| {
        if is_woken.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let (waker, is_woken) = (context.waker().clone(), Arc::clone(&is_woken));
        thread.get_or_insert_with(|| {
            thread::spawn(move || {
                is_woken.store(true, Ordering::Release);
                waker.wake();
            })
        });
        Poll::Pending
    })
    .await;
    thread.expect("it was polled before").join().expect("no panic");
}

fn a_task_is_woken_by_another_thread<H: Host>() {
    const TIMES: usize = 200;
    let host = H::new();
    let woken = Rc::new(Cell::new(0));
    run(&host, |tasks| {
        let woken = Rc::clone(&woken);
        tasks.spawn(async move {
            for _ in 0..TIMES {
                woken_elsewhere().await;
                woken.set(woken.get() + 1);
            }
        });
    });
    assert_eq!(woken.get(), TIMES);
}

/// Also where it returns when nothing is left to wait for: before their connection is there, and after
/// that has ended.
fn a_run_goes_on_for_its_tasks<H: Host>() {
    let host = H::new();
    let done = Rc::new(Cell::new(false));
    let (connection, is_done) = (host.connect(broker(), ConnectionCallbacks::new()), done.clone());
    let stop = host.stopper();
    host.spawner()(Box::pin(async move {
        woken_elsewhere().await;
        let connection = connection.opened().await.expect("it opens");
        connection.open_channel().await.expect("it opens");
        connection.close(200, "bye").await.expect("it closes");
        for _ in 0..3 {
            woken_elsewhere().await;
        }
        is_done.set(true);
        stop();
    }));
    if !host.run_while_needed() {
        host.run();
    }
    assert!(done.get(), "the loop has left its task");
}

/// With all that they hold, of which some calls the connection that goes too.
fn a_loop_that_goes_drops_its_tasks<H: Host>() {
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    let queue = block_on(&host, own_queue(&channel));
    let (probes, waiting) = (Probes::default(), Rc::new(Cell::new(0)));
    let spawner = host.spawner();
    let spawn = |what: Task| {
        let (channel, waiting) = (channel.clone(), Rc::clone(&waiting));
        let probe = probes.probe_that(move || {
            drop(channel.queue_declare(queue::Declare::default()));
            drop(channel.basic_consume(consume(&"q".into())));
        });
        spawner(Box::pin(async move {
            waiting.set(waiting.get() + 1);
            what.await;
            probe.touch();
        }));
    };
    let (consuming, from) = (channel.clone(), queue.clone());
    spawn(Box::pin(async move {
        let mut consumer = consuming.basic_consume(consume(&from)).await.expect("it starts");
        while consumer.next().await.is_some() {}
    }));
    let (channel_closed, connection_closed) = (channel.closed(), connection.closed());
    spawn(Box::pin(async move { drop(channel_closed.await) }));
    spawn(Box::pin(async move { drop(connection_closed.await) }));
    block_on(&host, until_queue_has(&channel, &queue, (0, 1)));
    assert_eq!((waiting.get(), probes.live()), (3, 3));
    drop(spawner);
    drop(host);
    assert_eq!(probes.live(), 0);
    assert!(connection.is_closed());
}

/// As the documentation shows it.
#[test]
fn on_tasks_between_the_turns_of_the_own_loop() {
    let ioloop = IOLoop::new().expect("a loop");
    let executor = Rc::new(LocalExecutor::new());
    let connection = SelectConnection::with_ioloop(broker(), ConnectionCallbacks::new(), &ioloop)
        .expect("a connection");
    let done = Rc::new(Cell::new(None));
    let spawning = Rc::downgrade(&executor);
    let spawner = move |task| spawning.upgrade().expect("it is there").spawn(task).detach();
    let tasks = Tasks { spawner: Rc::new(spawner), last: Rc::new(Last(Rc::new(|| ()))) };
    share_a_connection(tasks, &connection, &done);
    loop {
        while executor.try_tick() {}
        if executor.is_empty() {
            break;
        }
        ioloop.run_once(None).expect("a turn");
    }
    assert_eq!(done.take(), Some(Ok(MESSAGES)));
}

//! Bodies in memory whose drop is the user's own code, which calls everything.

use std::cell::{Cell, RefCell};

use haypile::{BasicProperties, Channel, Result, basic, queue};

use crate::support::peers::Peer;
use crate::support::{self, Host};
use crate::watch::{Calls, Scene};

thread_local! {
    /// What the drop of a body calls, which must be `Send` and thus has no handles of its own.
    static OF_BODIES: RefCell<Option<Channel>> = const { RefCell::new(None) };
    static BODIES: Cell<usize> = const { Cell::new(0) };
}

/// Memory of the user's own: a buffer of another language, for example.
struct Foreign(Vec<u8>);

impl AsRef<[u8]> for Foreign {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        BODIES.set(BODIES.get() - 1);
        let Some(channel) = OF_BODIES.with_borrow(Clone::clone) else { return };
        let to = basic::Publish::default();
        drop(channel.basic_publish(to, &BasicProperties::default(), "dropped"));
        drop(channel.queue_declare(queue::Declare::default(), |_, _| ()));
        channel.connection().flush();
        assert!(!(channel.is_closed() && channel.is_open()));
    }
}

fn publish_foreign(channel: &Channel, routing_key: &str, size: usize) {
    BODIES.set(BODIES.get() + 1);
    let body = bytes::Bytes::from_owner(Foreign(vec![0; size]));
    let to = basic::Publish { routing_key: routing_key.into(), ..Default::default() };
    drop(channel.basic_publish(to, &BasicProperties::default(), body));
}

pub fn bodies_of_the_users_own_memory<H: Host>() {
    for obeys in [true, false] {
        println!("the peer answers: {obeys}");
        let peer = Peer::new(move |wire| {
            wire.open();
            wire.grant("channel.open");
            wire.expect("queue.declare");
            // What waits behind the declare is sent, or never is.
            if obeys {
                wire.method(1, &haypile::protocol::queue::DeclareOk::default());
                assert!(wire.obey());
            }
        });
        let scene = Scene::<H>::new(Calls::Never, peer.parameters(), move |_, connection, _| {
            let opened = move |channel: &Channel, _: Result<()>| {
                OF_BODIES.replace(Some(channel.clone()));
                for size in [0, 100, 20_000, 300_000] {
                    publish_foreign(channel, "sent", size);
                }
                publish_foreign(channel, &"refused".repeat(100), 20_000);
                for _ in 0..2 {
                    channel.queue_declare(queue::Declare::default(), |_, _| ()).unwrap();
                }
                publish_foreign(channel, "behind the second declare", 20_000);
                let kept = channel.clone();
                let ended = move |_: &Channel, _| publish_foreign(&kept, "too late", 20_000);
                channel.add_on_close_callback(ended).unwrap();
                if obeys {
                    support::close(&channel.connection());
                }
            };
            connection.channel(None, opened).unwrap();
        });
        scene.run_and_go();
        OF_BODIES.take();
        assert_eq!(BODIES.get(), 0, "a body is kept");
        peer.join();
    }
}

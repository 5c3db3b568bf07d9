//! Confirms, and room to publish.

use haypile::futures::Confirmation;
use haypile::{BasicProperties, Error, Misuse, PublishError, basic};

use crate::support::{Host, Log, broker, every_host};
use crate::task::{block_on, connect_with_channel, own_queue, poll, to};

every_host!(
    what_is_published_is_confirmed,
    what_no_queue_takes_comes_back,
    without_confirm_mode_nothing_is_published,
    what_is_refused_waits_for_room,
    what_waits_for_confirms_waits_for_room,
    what_is_lost_tells_why,
);

fn what_is_published_is_confirmed<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        let selected = channel.confirm_delivery();
        // Behind the request, in its place.
        let early = channel.publish(to(&queue), &BasicProperties::default(), "early");
        selected.await?;
        assert_eq!(early.await?, Confirmation::Acked);
        let again = channel.confirm_delivery().await.unwrap_err();
        assert_eq!(again, Misuse::AlreadyConfirming.into());
        let mut replies = Vec::new();
        for number in 0..2_000 {
            // Some that nobody waits for lie between.
            channel.basic_publish(to(&queue), &BasicProperties::default(), "between")?;
            let body = format!("{number}");
            replies.push(channel.publish(to(&queue), &BasicProperties::default(), body));
        }
        for reply in replies.into_iter().rev() {
            assert_eq!(reply.await?, Confirmation::Acked);
        }
        let summary = channel.wait_for_confirms().await?;
        assert_eq!((summary.acked, summary.is_all_acked()), (4_001, true));
        Ok::<_, Error>(())
    })
    .expect("all goes well");
}

fn what_no_queue_takes_comes_back<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    let log = Log::default();
    let told = log.clone();
    channel
        .add_on_return_callback(move |_, message| told.add(message.method().reply_text.clone()))
        .expect("it is open");
    block_on(&host, async {
        channel.confirm_delivery().await?;
        let nowhere = basic::Publish {
            routing_key: "no-such-queue".into(),
            mandatory: true,
            ..Default::default()
        };
        let reply = channel.publish(nowhere, &BasicProperties::default(), "x");
        assert_eq!(reply.await?, Confirmation::Returned);
        assert_eq!(log.lines(), ["NO_ROUTE"]);
        Ok::<_, Error>(())
    })
    .expect("all goes well");
}

fn without_confirm_mode_nothing_is_published<H: Host>() {
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    let publish = || channel.publish(basic::Publish::default(), &BasicProperties::default(), "x");
    let refused = PublishError::Misuse(Misuse::NotConfirming);
    assert_eq!(block_on(&host, publish()), Err(refused.into()));
    assert_eq!(connection.counters().messages_published, 0);
    let waited = block_on(&host, channel.wait_for_confirms());
    assert_eq!(waited, Err(Misuse::NotConfirming.into()));
    block_on(&host, channel.confirm_delivery()).expect("granted");
    block_on(&host, channel.close(200, "bye")).expect("it closes");
    let refused = PublishError::Misuse(Misuse::ChannelNotOpen);
    assert_eq!(block_on(&host, publish()), Err(refused.into()));
}

fn what_is_refused_waits_for_room<H: Host>() {
    const MESSAGES: usize = 200;
    let host = H::new();
    let mut parameters = broker();
    parameters.set_water_marks(1_000, 10_000).expect("in order");
    let (_connection, channel) = connect_with_channel(&host, parameters);
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        let mut writable = channel.writable();
        assert!(poll(&mut writable).is_ready(), "nothing waits");
        let (mut refused, mut published) = (0, 0);
        while published < MESSAGES {
            match channel.basic_publish(to(&queue), &BasicProperties::default(), &[7; 1_000]) {
                Ok(_) => published += 1,
                Err(PublishError::Full) => {
                    refused += 1;
                    let mut writable = channel.writable();
                    assert!(poll(&mut writable).is_pending());
                    // Another one that waits, and one that has given up.
                    let other = channel.writable();
                    drop(channel.writable());
                    writable.await?;
                    other.await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        assert!(refused >= MESSAGES / 20, "{refused}");
        for _ in 0..MESSAGES {
            // So it is never refused.
            channel.writable().await?;
            channel.basic_publish(to(&queue), &BasicProperties::default(), &[7; 1_000])?;
        }
        Ok::<_, Error>(())
    })
    .expect("all goes well");
}

fn what_waits_for_confirms_waits_for_room<H: Host>() {
    let host = H::new();
    let (_connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        let queue = own_queue(&channel).await;
        channel.confirm_delivery().await?;
        channel.set_max_unconfirmed(4)?;
        let publish = || channel.publish(to(&queue), &BasicProperties::default(), "x");
        let mut replies: Vec<_> = (0..4).map(|_| publish()).collect();
        let refused = publish().await;
        assert_eq!(refused, Err(PublishError::TooManyUnconfirmed { limit: 4 }.into()));
        for _ in 0..20 {
            channel.writable().await?;
            replies.push(publish());
        }
        for reply in replies {
            assert!(reply.await?.is_acked());
        }
        Ok::<_, Error>(())
    })
    .expect("all goes well");
}

fn what_is_lost_tells_why<H: Host>() {
    let host = H::new();
    let (connection, channel) = connect_with_channel(&host, broker());
    block_on(&host, async {
        channel.confirm_delivery().await.expect("granted");
        let nowhere = basic::Publish { exchange: "no-such-exchange".into(), ..Default::default() };
        let lost = channel.publish(nowhere, &BasicProperties::default(), "x");
        let waited = channel.wait_for_confirms();
        let error = lost.await.unwrap_err();
        assert!(matches!(&error, Error::ChannelClosed(it) if it.reply_code == 404), "{error}");
        assert_eq!(waited.await.unwrap_err(), error);
    });
    assert!(connection.is_open());
}

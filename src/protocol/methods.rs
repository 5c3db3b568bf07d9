//! All methods of AMQP 0-9-1 with RabbitMQ's extensions: the one table that says what they are.
//!
//! How it reads is said in `method_table.rs`. Neither reserved arguments nor `no-wait` are anybody's
//! to set: they are `_` here.

use std::fmt;

use super::arguments::{ArgumentsLen, ArgumentsReader, ArgumentsWriter};
use super::method::{Redacted, encode_payload};
use super::wire::IntoOwned;
use super::{
    DecodeError, DecodeMethod, EncodeError, EncodeMethod, FieldTable, LongStr, Reader, ReplyMethod,
    Request, ShortStr, Writer,
};

method_table! {
    /// Opening, tuning and closing a connection.
    10 connection Connection<'a> {
        /// The server's first method: what it is, and how it can be logged in to.
        10 "start" Start<'a> {
            /// The protocol's major version: 0.
            version_major: u8,
            /// The protocol's minor version: 9.
            version_minor: u8,
            /// What the server says about itself, its capabilities among it.
            server_properties: FieldTable<'a>,
            /// The names of the authentication mechanisms it offers, separated by spaces.
            mechanisms: LongStr<'a>,
            /// The locales it offers for its texts, separated by spaces.
            locales: LongStr<'a>,
        }
        /// The client's answer to [`Start`], with its credentials.
        11 "start-ok" StartOk<'a> {
            /// What the client says about itself, its capabilities among it.
            client_properties: FieldTable<'a>,
            /// The authentication mechanism that it chose.
            mechanism: ShortStr<'a>,
            /// What that mechanism says first. Never printed: it holds the password.
            secret response: LongStr<'a>,
            /// The locale that it chose.
            locale: ShortStr<'a>,
        }
        /// A further question of the authentication mechanism.
        20 "secure" Secure<'a> {
            /// The question.
            challenge: LongStr<'a>,
        }
        /// The client's answer to [`Secure`].
        21 "secure-ok" SecureOk<'a> {
            /// The answer. Never printed.
            secret response: LongStr<'a>,
        }
        /// The server's limits.
        30 "tune" Tune {
            /// The highest channel number; 0 is no limit.
            channel_max: u16,
            /// The largest frame; 0 is no limit.
            frame_max: u32,
            /// The heartbeat timeout that it wishes, in seconds; 0 is none.
            heartbeat: u16,
        }
        /// The limits that the client chose within those of [`Tune`].
        31 "tune-ok" TuneOk {
            /// The highest channel number; 0 is no limit.
            channel_max: u16,
            /// The largest frame; 0 is no limit.
            frame_max: u32,
            /// The heartbeat timeout in seconds; 0 is none.
            heartbeat: u16,
        }
        /// Asks for a virtual host, the last step of opening a connection.
        40 "open" Open<'a> -> OpenOk {
            /// The name of the virtual host.
            virtual_host: ShortStr<'a>,
            _: ShortStr<'_>,
            _: bool,
        }
        /// The connection is open.
        41 "open-ok" OpenOk {
            _: ShortStr<'_>,
        }
        /// Ends the connection; either side may send it.
        50 "close" Close<'a> -> CloseOk {
            /// Why: see [`reply_code`](crate::protocol::reply_code).
            reply_code: u16,
            /// Why, in words.
            reply_text: ShortStr<'a>,
            /// The class of the method that caused it, or 0.
            class_id: u16,
            /// The method that caused it, or 0.
            method_id: u16,
        }
        /// The last method of a connection.
        51 "close-ok" CloseOk {}
        /// The server reads no more from connections that publish, being short of something.
        60 "blocked" Blocked<'a> {
            /// What it is short of.
            reason: ShortStr<'a>,
        }
        /// The server reads again.
        61 "unblocked" Unblocked {}
        /// Replaces the credentials before they expire.
        70 "update-secret" UpdateSecret<'a> -> UpdateSecretOk {
            /// The new secret. Never printed.
            secret new_secret: LongStr<'a>,
            /// Why it is replaced, for the server's log.
            reason: ShortStr<'a>,
        }
        /// The new secret is in use.
        71 "update-secret-ok" UpdateSecretOk {}
    }

    /// Opening and closing a channel.
    20 channel Channel<'a> {
        /// Opens the channel.
        10 "open" Open -> OpenOk {
            _: ShortStr<'_>,
        }
        /// The channel is open.
        11 "open-ok" OpenOk {
            _: LongStr<'_>,
        }
        /// Asks the peer to stop or to go on sending messages.
        20 "flow" Flow -> FlowOk {
            /// Whether it is to go on.
            active: bool,
        }
        /// The answer to [`Flow`].
        21 "flow-ok" FlowOk {
            /// Whether messages go on.
            active: bool,
        }
        /// Ends the channel; either side may send it.
        40 "close" Close<'a> -> CloseOk {
            /// Why: see [`reply_code`](crate::protocol::reply_code).
            reply_code: u16,
            /// Why, in words.
            reply_text: ShortStr<'a>,
            /// The class of the method that caused it, or 0.
            class_id: u16,
            /// The method that caused it, or 0.
            method_id: u16,
        }
        /// The last method of a channel.
        41 "close-ok" CloseOk {}
    }

    /// Exchanges: what messages are published to.
    40 exchange Exchange<'a> {
        /// Creates an exchange, or checks that it is as described.
        10 "declare" Declare<'a> -> DeclareOk {
            _: u16,
            /// The name of the exchange.
            exchange: ShortStr<'a>,
            /// How it routes (AMQP: `type`): "direct", "fanout", "topic", "headers" or a plugin's.
            exchange_type: ShortStr<'a> = "direct".into(),
            /// Only check that it exists; all else is ignored.
            passive: bool,
            /// Keep it when the broker restarts.
            durable: bool,
            /// Delete it with its last binding.
            auto_delete: bool,
            /// Let only other exchanges publish to it.
            internal: bool,
            _: bool,
            /// What the broker and its plugins understand further.
            arguments: FieldTable<'a>,
        }
        /// The exchange is there.
        11 "declare-ok" DeclareOk {}
        /// Deletes an exchange.
        20 "delete" Delete<'a> -> DeleteOk {
            _: u16,
            /// The name of the exchange.
            exchange: ShortStr<'a>,
            /// Only if nothing is bound to it.
            if_unused: bool,
            _: bool,
        }
        /// The exchange is gone.
        21 "delete-ok" DeleteOk {}
        /// Makes one exchange pass messages on to another.
        30 "bind" Bind<'a> -> BindOk {
            _: u16,
            /// The exchange that gets the messages.
            destination: ShortStr<'a>,
            /// The exchange that they are published to.
            source: ShortStr<'a>,
            /// The key that selects them.
            routing_key: ShortStr<'a>,
            _: bool,
            /// What a headers exchange selects them by.
            arguments: FieldTable<'a>,
        }
        /// The exchanges are bound.
        31 "bind-ok" BindOk {}
        /// Takes the binding of the same values away.
        40 "unbind" Unbind<'a> -> UnbindOk {
            _: u16,
            /// The exchange that gets the messages.
            destination: ShortStr<'a>,
            /// The exchange that they are published to.
            source: ShortStr<'a>,
            /// The key of the binding.
            routing_key: ShortStr<'a>,
            _: bool,
            /// The arguments of the binding.
            arguments: FieldTable<'a>,
        }
        /// The binding is gone.
        51 "unbind-ok" UnbindOk {}
    }

    /// Queues: where messages wait.
    50 queue Queue<'a> {
        /// Creates a queue, or checks that it is as described.
        ///
        /// ```
        /// use haypile::protocol::{EncodeMethod, FieldTable, queue};
        ///
        /// let declare = queue::Declare {
        ///     queue: "tasks".into(),
        ///     durable: true,
        ///     arguments: FieldTable::new().with("x-queue-type", "quorum")?,
        ///     ..Default::default()
        /// };
        /// assert_eq!(queue::Declare::NAME, "queue.declare");
        /// assert!(declare.encoded_len().is_ok());
        /// # Ok::<(), haypile::protocol::EncodeError>(())
        /// ```
        10 "declare" Declare<'a> -> DeclareOk<'static> {
            _: u16,
            /// The name of the queue; empty, and the broker makes one up.
            queue: ShortStr<'a>,
            /// Only check that it exists; all else is ignored.
            passive: bool,
            /// Keep it when the broker restarts.
            durable: bool,
            /// Let only this connection use it, and delete it with the connection.
            exclusive: bool,
            /// Delete it with its last consumer.
            auto_delete: bool,
            _: bool,
            /// What the broker understands further, such as `x-max-length`.
            arguments: FieldTable<'a>,
        }
        /// The queue is there.
        11 "declare-ok" DeclareOk<'a> {
            /// Its name, given or made up.
            queue: ShortStr<'a>,
            /// How many messages are ready in it.
            message_count: u32,
            /// How many consumers it has.
            consumer_count: u32,
        }
        /// Makes an exchange put messages into a queue.
        20 "bind" Bind<'a> -> BindOk {
            _: u16,
            /// The queue.
            queue: ShortStr<'a>,
            /// The exchange.
            exchange: ShortStr<'a>,
            /// The key that selects the messages.
            routing_key: ShortStr<'a>,
            _: bool,
            /// What a headers exchange selects them by.
            arguments: FieldTable<'a>,
        }
        /// The queue is bound.
        21 "bind-ok" BindOk {}
        /// Removes what is ready in a queue.
        30 "purge" Purge<'a> -> PurgeOk {
            _: u16,
            /// The queue.
            queue: ShortStr<'a>,
            _: bool,
        }
        /// The queue is empty.
        31 "purge-ok" PurgeOk {
            /// How many messages were removed.
            message_count: u32,
        }
        /// Deletes a queue.
        40 "delete" Delete<'a> -> DeleteOk {
            _: u16,
            /// The queue.
            queue: ShortStr<'a>,
            /// Only if it has no consumers.
            if_unused: bool,
            /// Only if it has no messages.
            if_empty: bool,
            _: bool,
        }
        /// The queue is gone.
        41 "delete-ok" DeleteOk {
            /// How many messages went with it.
            message_count: u32,
        }
        /// Takes the binding of the same values away.
        50 "unbind" Unbind<'a> -> UnbindOk {
            _: u16,
            /// The queue.
            queue: ShortStr<'a>,
            /// The exchange.
            exchange: ShortStr<'a>,
            /// The key of the binding.
            routing_key: ShortStr<'a>,
            /// The arguments of the binding.
            arguments: FieldTable<'a>,
        }
        /// The binding is gone.
        51 "unbind-ok" UnbindOk {}
    }

    /// Messages: sending, getting and acknowledging them.
    60 basic Basic<'a> {
        /// Limits how many messages are delivered before they are acknowledged.
        10 "qos" Qos -> QosOk {
            /// The limit in bytes; 0 is none. RabbitMQ takes nothing else.
            prefetch_size: u32,
            /// The limit in messages; 0 is none.
            prefetch_count: u16,
            /// For all consumers of the channel together, not for each new one (pika:
            /// `global_qos`).
            global: bool,
        }
        /// The limit holds.
        11 "qos-ok" QosOk {}
        /// Starts a consumer: the queue's messages are delivered to it.
        20 "consume" Consume<'a> -> ConsumeOk<'static> {
            _: u16,
            /// The queue.
            queue: ShortStr<'a>,
            /// The name of the consumer, unique on its channel; empty, and one is made up.
            consumer_tag: ShortStr<'a>,
            /// Not what this connection has published. RabbitMQ ignores it.
            no_local: bool,
            /// Deliveries need no acknowledgement (pika: `auto_ack`).
            no_ack: bool,
            /// Let nobody else consume from the queue.
            exclusive: bool,
            _: bool,
            /// What the broker understands further, such as `x-priority`.
            arguments: FieldTable<'a>,
        }
        /// The consumer is started.
        21 "consume-ok" ConsumeOk<'a> {
            /// The name of the consumer, given or made up.
            consumer_tag: ShortStr<'a>,
        }
        /// Ends a consumer. The broker sends it too, when a queue goes away.
        30 "cancel" Cancel<'a> -> CancelOk<'static> {
            /// The name of the consumer.
            consumer_tag: ShortStr<'a>,
            _: bool,
        }
        /// The consumer is ended.
        31 "cancel-ok" CancelOk<'a> {
            /// The name of the consumer.
            consumer_tag: ShortStr<'a>,
        }
        /// Sends the message that follows.
        40 "publish" Publish<'a> {
            _: u16,
            /// The exchange; empty is the default one, which routes to the queue named by the key.
            exchange: ShortStr<'a>,
            /// The key that it routes by.
            routing_key: ShortStr<'a>,
            /// Return the message if no queue takes it.
            mandatory: bool,
            /// Return the message if no consumer is ready. RabbitMQ closes the connection for it.
            immediate: bool,
        }
        /// Brings a message back that could not be routed.
        50 "return" Return<'a> {
            /// Why: see [`reply_code`](crate::protocol::reply_code).
            reply_code: u16,
            /// Why, in words.
            reply_text: ShortStr<'a>,
            /// The exchange that it was published to.
            exchange: ShortStr<'a>,
            /// The key that it was published with.
            routing_key: ShortStr<'a>,
        }
        /// Brings a message to a consumer.
        60 "deliver" Deliver<'a> {
            /// The name of the consumer.
            consumer_tag: ShortStr<'a>,
            /// What the message is acknowledged by; counts up from 1 on each channel.
            delivery_tag: u64,
            /// Whether it has been delivered before.
            redelivered: bool,
            /// The exchange that it was published to.
            exchange: ShortStr<'a>,
            /// The key that it was published with.
            routing_key: ShortStr<'a>,
        }
        /// Asks for one message. The answer is [`GetOk`] or [`GetEmpty`].
        70 "get" Get<'a> {
            _: u16,
            /// The queue.
            queue: ShortStr<'a>,
            /// The message needs no acknowledgement (pika: `auto_ack`).
            no_ack: bool,
        }
        /// Brings the message that was asked for.
        71 "get-ok" GetOk<'a> {
            /// What the message is acknowledged by; counts up from 1 on each channel.
            delivery_tag: u64,
            /// Whether it has been delivered before.
            redelivered: bool,
            /// The exchange that it was published to.
            exchange: ShortStr<'a>,
            /// The key that it was published with.
            routing_key: ShortStr<'a>,
            /// How many messages are left in the queue.
            message_count: u32,
        }
        /// There is no message.
        72 "get-empty" GetEmpty {
            _: ShortStr<'_>,
        }
        /// The messages have been taken care of. The broker confirms published ones by it.
        80 "ack" Ack {
            /// Which message; 0 with `multiple` is all there are.
            delivery_tag: u64,
            /// All messages up to this one, too.
            multiple: bool,
        }
        /// The message is not wanted.
        90 "reject" Reject {
            /// Which message.
            delivery_tag: u64,
            /// Put it back into the queue, which is the default here, as it is in pika.
            requeue: bool = true,
        }
        /// Asks for all unacknowledged messages again, without an answer. Deprecated by AMQP.
        100 "recover-async" RecoverAsync {
            /// Put them back into their queues; otherwise they come to the same consumers.
            requeue: bool,
        }
        /// Asks for all unacknowledged messages again.
        110 "recover" Recover -> RecoverOk {
            /// Put them back into their queues; otherwise they come to the same consumers.
            requeue: bool,
        }
        /// The messages come again.
        111 "recover-ok" RecoverOk {}
        /// The messages are not wanted. The broker says by it that it has lost published ones.
        120 "nack" Nack {
            /// Which message; 0 with `multiple` is all there are.
            delivery_tag: u64,
            /// All messages up to this one, too.
            multiple: bool,
            /// Put them back into the queue, which is the default here, as it is in pika.
            requeue: bool = true,
        }
    }

    /// Publisher confirms.
    85 confirm Confirm {
        /// Has the broker confirm what is published on the channel (pika: `confirm_delivery`).
        10 "select" Select -> SelectOk {
            _: bool,
        }
        /// It will.
        11 "select-ok" SelectOk {}
    }

    /// Transactions.
    90 tx Tx {
        /// Makes the channel transactional.
        10 "select" Select -> SelectOk {}
        /// The channel is transactional.
        11 "select-ok" SelectOk {}
        /// Makes what was published and acknowledged since the last time take effect.
        20 "commit" Commit -> CommitOk {}
        /// It has taken effect.
        21 "commit-ok" CommitOk {}
        /// Drops what was published and acknowledged since the last time.
        30 "rollback" Rollback -> RollbackOk {}
        /// It has been dropped.
        31 "rollback-ok" RollbackOk {}
    }
}

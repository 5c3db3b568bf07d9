//! The requests of a channel that are one method with one reply: a line each, from which their methods
//! on every kind of handle are made.

/// Hands the table to a macro: of each request what it does, its name, its struct, its reply.
macro_rules! for_each_request {
    ($make:ident) => {
        $make! {
            /// Limits what the broker sends ahead of acknowledgements (AMQP basic.qos).
            basic_qos(basic::Qos) -> basic::QosOk;
            /// Has unacknowledged messages delivered again (AMQP basic.recover). RabbitMQ takes
            /// `requeue: true` alone.
            basic_recover(basic::Recover) -> basic::RecoverOk;
            /// Asks the broker to pause or resume deliveries (AMQP channel.flow). RabbitMQ refuses to
            /// pause: use [`basic_qos`](Self::basic_qos).
            flow(channel::Flow) -> channel::FlowOk;
            /// Declares an exchange, or checks that it is as described (AMQP exchange.declare).
            exchange_declare(exchange::Declare<'_>) -> exchange::DeclareOk;
            /// Deletes an exchange (AMQP exchange.delete).
            exchange_delete(exchange::Delete<'_>) -> exchange::DeleteOk;
            /// Binds an exchange to another one (RabbitMQ's exchange.bind).
            exchange_bind(exchange::Bind<'_>) -> exchange::BindOk;
            /// Unbinds an exchange from another one (RabbitMQ's exchange.unbind).
            exchange_unbind(exchange::Unbind<'_>) -> exchange::UnbindOk;
            /// Declares a queue, or checks that it is as described (AMQP queue.declare). The broker
            /// names a queue that has no name: the reply tells.
            queue_declare(queue::Declare<'_>) -> queue::DeclareOk<'static>;
            /// Binds a queue to an exchange (AMQP queue.bind).
            queue_bind(queue::Bind<'_>) -> queue::BindOk;
            /// Unbinds a queue from an exchange (AMQP queue.unbind).
            queue_unbind(queue::Unbind<'_>) -> queue::UnbindOk;
            /// Throws away the messages of a queue that are not out for acknowledgement (AMQP
            /// queue.purge).
            queue_purge(queue::Purge<'_>) -> queue::PurgeOk;
            /// Deletes a queue (AMQP queue.delete).
            queue_delete(queue::Delete<'_>) -> queue::DeleteOk;
            /// Makes the channel transactional (AMQP tx.select).
            tx_select(tx::Select) -> tx::SelectOk;
            /// Commits what was published and acknowledged since the last commit (AMQP tx.commit). What
            /// is published while it is pending waits for it.
            tx_commit(tx::Commit) -> tx::CommitOk;
            /// Abandons what was published and acknowledged since the last commit (AMQP tx.rollback).
            tx_rollback(tx::Rollback) -> tx::RollbackOk;
        }
    };
}
pub(crate) use for_each_request;

//! The list of scenarios, which is also the table of pika's: those of its
//! `acceptance/async_adapter_tests`, in its order. Where one differs by design, its own
//! documentation says how.

use super::Host;
use super::connections::{
    blocked, channels, connecting, consuming, exchanges, loops, queues, transactions, workflows,
};
use super::stage::Stage;

/// What an adapter must do.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    run: fn(&Stage),
}

impl Scenario {
    /// Runs it on a new loop. Panics if the adapter does not conform.
    pub(super) fn run(&self, host: Box<dyn Host>) {
        (self.run)(&Stage::new(host));
    }
}

macro_rules! scenarios {
    ($($pika:literal => $module:ident::$scenario:ident,)*) => {
        &[$(Scenario { name: concat!(stringify!($module), "::", stringify!($scenario)), run: $module::$scenario },)*]
    };
}

pub(super) const SCENARIOS: &[Scenario] = scenarios! {
    "A_Connect" => connecting::opens_a_channel_and_closes,
    "ConstructAndImmediatelyCloseConnection" => connecting::close_at_once_aborts,
    "CloseConnectionDuringAMQPHandshake" => connecting::close_in_the_handshake_aborts,
    "SocketConnectTimeoutWithTinySocketTimeout" => connecting::the_socket_timeout_ends_a_connect,
    "StackConnectionTimeoutWithTinyStackTimeout" => connecting::the_stack_timeout_ends_a_handshake,
    "CreateConnectionViaDefaultConnectionWorkflow" => workflows::of_one_host,
    "CreateConnectionViaCustomConnectionWorkflow" => workflows::with_settings_of_its_own,
    "CreateConnectionMultipleConfigsDefaultConnectionWorkflow"
        => workflows::a_dead_host_leads_to_the_next,
    "CreateConnectionRetriesWithDefaultConnectionWorkflow"
        => workflows::a_cycle_that_failed_is_followed_by_another,
    "CreateConnectionConnectionWorkflowSocketConnectionFailure"
        => workflows::hosts_that_refuse_are_each_told,
    "CreateConnectionAMQPHandshakeTimesOutDefaultWorkflow"
        => workflows::a_handshake_that_times_out_is_told,
    "CreateConnectionAndImmediatelyAbortDefaultConnectionWorkflow"
        => workflows::close_at_once_aborts_a_workflow,
    "CreateConnectionAndAsynchronouslyAbortDefaultConnectionWorkflow"
        => workflows::close_from_the_loop_aborts_a_workflow,
    "UpdateSecret" => connecting::update_secret_is_answered,
    "ConfirmSelect" => channels::confirm_mode_confirms,
    "BlockingNonBlockingBlockingRPCWontStall" => channels::what_has_no_reply_stalls_no_request,
    "ConsumeCancel" => consuming::cancel_in_the_callback_ends_a_consumer,
    "ExchangeDeclareAndDelete" => exchanges::declare_and_delete_an_exchange,
    "ExchangeRedeclareWithDifferentValues" => exchanges::an_exchange_declared_differently_closes_the_channel,
    "NoDeadlockWhenClosingChannelWithPendingBlockedRequestsAndConcurrentChannelExceptions"
        => channels::close_behind_requests_that_fail_does_not_hang,
    "ClosingAChannelPermitsBlockedRequestToComplete" => channels::close_lets_requests_be_answered,
    "QueueUnnamedDeclareAndDelete" => queues::declare_and_delete_an_unnamed_queue,
    "QueueNamedDeclareAndDelete" => queues::declare_and_delete_a_named_queue,
    "QueueRedeclareWithDifferentValues" => queues::a_queue_declared_differently_closes_the_channel,
    "TX1_Select" => transactions::select_begins_a_transaction,
    "TX2_Commit" => transactions::commit_publishes,
    "TX2_CommitFailure" => transactions::commit_without_select_closes_the_channel,
    "TX3_Rollback" => transactions::rollback_publishes_nothing,
    "TX3_RollbackFailure" => transactions::rollback_without_select_closes_the_channel,
    "Z_PublishAndConsume" => consuming::publish_and_consume,
    "Z_PublishAndConsumeBig" => consuming::publish_and_consume_a_large_body,
    "Z_PublishAndGet" => consuming::publish_and_get,
    "Z_AccessDenied" => connecting::an_unknown_virtual_host_is_denied,
    "BlockedConnectionTimesOut" => blocked::a_blocked_connection_times_out,
    "BlockedConnectionUnblocks" => blocked::a_connection_unblocked_in_time_lives,
    "AddCallbackThreadsafeRequestBeforeIOLoopStarts" => loops::a_post_before_the_run_runs,
    "AddCallbackThreadsafeFromIOLoopThread" => loops::a_post_from_a_callback_runs,
    "AddCallbackThreadsafeFromAnotherThread" => loops::a_post_from_a_thread_wakes_the_loop,
    "IOLoopStopBeforeIOLoopStarts" => loops::a_stop_before_the_run_ends_that_run_alone,
    "ViabilityOfMultipleTimeoutsWithSameDeadlineAndCallback"
        => loops::of_two_equal_timers_one_is_removed,
};

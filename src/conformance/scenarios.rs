//! The list of scenarios. The first two parts of it are also the tables of pika's, in its order: where
//! one differs by design, its own documentation says how.

use super::Host;
use super::connections::{
    blocked, channels, connecting, consuming, exchanges, queues, transactions, workflows,
};
use super::descriptors::{batches, readiness, sharing, watching};
use super::lives::{endings, liveness, output, panics};
use super::loops::{posts, running, starvation, timers};
use super::sockets::{connects, resolving, streams};
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

/// Every scenario.
pub(super) fn all() -> impl Iterator<Item = &'static Scenario> {
    [IO_SERVICES, CONNECTIONS, FURTHER].into_iter().flatten()
}

/// Those that a connection has which does not watch its socket itself, nor connect it.
pub(super) fn of_one_connection() -> impl Iterator<Item = &'static Scenario> {
    ONE_CONNECTION.iter()
}

macro_rules! scenarios {
    ($($($pika:literal =>)? $(#[$when:meta])* $module:ident::$scenario:ident,)*) => {
        &[$($(#[$when])* Scenario {
            name: concat!(stringify!($module), "::", stringify!($scenario)),
            run: $module::$scenario,
        },)*]
    };
}

/// Those of pika's `acceptance/io_services_tests`. They need no broker.
const IO_SERVICES: &[Scenario] = scenarios! {
    "GetNativeIOLoop" => running::the_services_are_the_same_at_each_call,
    "RunWithStopFromThreadsafeCallback" => posts::posts_run_in_order,
    "CallLaterDoesNotCallAheadOfTime" => timers::a_timer_is_never_early,
    "CallLaterCancelReturnsNone" => timers::removing_one_tells_whether_it_was_pending,
    "CallLaterCancelTwiceFromOwnCallback" => timers::one_removes_itself_twice,
    "CallLaterCallInOrder" => timers::delays_come_in_order,
    "CallLaterCancelledDoesNotCallBack" => timers::a_removed_one_is_silent,
    "SocketWatchersUponConnectionAndNoIncomingData" => readiness::idle,
    "SocketWatchersUponConnectionAndIncomingData" => readiness::with_data,
    "SocketWatchersWhenFailsToConnect" => readiness::refused,
    "SocketWatchersAfterRemotePeerCloses" => readiness::peer_closed,
    "SocketWatchersAfterRemotePeerClosesWithIncomingData" => readiness::peer_closed_after_data,
    "SocketWatchersAfterRemotePeerShutsRead" => readiness::peer_reads_no_more,
    "SocketWatchersAfterRemotePeerShutsWrite" => readiness::peer_writes_no_more,
    "SocketWatchersAfterRemotePeerShutsWriteWithIncomingData"
        => readiness::peer_writes_no_more_after_data,
    "SocketWatchersAfterRemotePeerShutsReadWrite" => readiness::peer_shut_both,
    "SocketWatchersAfterLocalPeerShutsRead" => readiness::reads_no_more,
    "SocketWatchersAfterLocalPeerShutsWrite" => readiness::writes_no_more,
    "SocketWatchersAfterLocalPeerShutsReadWrite" => readiness::shut_both,
    "GetaddrinfoWWWGoogleDotComPort80" => resolving::a_name_has_addresses,
    "GetaddrinfoNonExistentHost" => resolving::an_unknown_name_is_an_error,
    "GetaddrinfoCancelBeforeLoopRun" => resolving::one_cancelled_at_once_is_silent,
    "GetaddrinfoCancelAfterLoopRun" => resolving::one_cancelled_from_the_loop_is_silent,
    "ConnectSocketIPv4Success" => connects::to_an_ipv4_address,
    "ConnectSocketIPv4Fail" => connects::to_an_ipv4_address_that_refuses,
    "ConnectSocketToDisconnectedPeer" => connects::to_a_socket_that_does_not_listen,
    "ConnectSocketIPv4Cancel" => connects::one_that_is_cancelled_is_silent,
    "ConnectSocketIPv6Success" => connects::to_an_ipv6_address,
    "ConnectSocketIPv6Fail" => connects::to_an_ipv6_address_that_refuses,
    "StreamConnectorTxRx" => streams::a_megabyte_goes_there_and_back,
    "StreamConnectorRaisesValueErrorFromUnconnectedSocket"
        => streams::a_socket_that_is_not_connected_is_an_error,
    "StreamConnectorBrokenPipe" => streams::a_broken_pipe_is_told,
    "StreamConnectorEOFReceived" => streams::the_end_of_the_stream_is_told,
    "StreamConnectorProtocolConstructorFails"
        => streams::a_panic_when_a_socket_has_connected_closes_it,
    "StreamConnectorConnectionMadeFails"
        => streams::a_panic_in_on_open_ends_that_connection_alone,
    "StreamConnectorEOFReceivedFails" => streams::a_panic_in_on_close_harms_nobody,
    "StreamConnectorDataReceivedFails"
        => streams::a_panic_in_on_message_ends_that_connection_alone,
    "StreamConnectorAbortTransport" => streams::what_is_aborted_is_closed,
    "StreamConnectorCancelLinkup" => streams::what_is_aborted_at_once_is_closed_and_says_nothing,
};

/// Those of pika's `acceptance/async_adapter_tests`. Most need a broker.
const CONNECTIONS: &[Scenario] = scenarios! {
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
    "AddCallbackThreadsafeRequestBeforeIOLoopStarts" => posts::a_post_before_the_run_runs,
    "AddCallbackThreadsafeFromIOLoopThread" => posts::a_post_from_a_callback_runs,
    "AddCallbackThreadsafeFromAnotherThread" => posts::a_post_from_a_thread_wakes_the_loop,
    "IOLoopStopBeforeIOLoopStarts" => running::a_stop_before_the_run_ends_that_run_alone,
    "ViabilityOfMultipleTimeoutsWithSameDeadlineAndCallback"
        => timers::of_two_equal_timers_one_is_removed,
};

/// What pika does not ask of an adapter.
const FURTHER: &[Scenario] = scenarios! {
    timers::a_timer_is_not_early_behind_a_long_callback,
    timers::equal_deadlines_come_in_order_of_creation,
    timers::one_removed_when_it_is_due_is_silent,
    timers::a_nearer_one_overtakes_a_farther_one,
    timers::one_is_moved,
    timers::a_periodic_one_comes_until_it_is_removed,
    timers::one_that_is_far_away_does_not_come,
    posts::every_wake_arrives,
    posts::a_wake_in_a_callback_arrives,
    posts::a_flood_of_posts_runs,
    posts::posts_race_with_the_end_of_the_loop,
    running::it_is_run_again,
    running::it_runs_on_for_what_is_to_come,
    running::an_idle_loop_does_not_spin,
    running::a_turn_inside_a_turn_is_refused,
    starvation::a_descriptor_that_is_always_ready_starves_nobody,
    starvation::a_callback_that_posts_itself_starves_nobody,
    starvation::a_timer_that_is_always_due_starves_nobody,
    starvation::a_thread_that_posts_without_end_starves_nobody,
    readiness::peer_reset,
    watching::what_is_left_unread_is_told_again,
    watching::what_comes_after_a_block_is_told,
    watching::a_full_socket_tells_when_it_takes_more,
    watching::an_interest_is_all_that_is_told,
    watching::a_hang_up_without_interest_does_not_spin,
    watching::a_hang_up_is_told_once_there_is_interest,
    watching::a_mere_hang_up_is_told_with_the_interest,
    watching::removal_drops_the_handler_at_once,
    watching::an_unknown_key_is_refused,
    watching::no_handler_is_called_from_inside_a_call,
    watching::a_file_is_refused_or_always_ready,
    batches::hundreds_are_all_told,
    batches::one_removed_in_the_batch_is_silent,
    batches::one_silenced_in_the_batch_is_silent,
    batches::an_interest_changed_in_the_batch_holds,
    batches::a_handler_removes_itself,
    batches::a_handler_gives_its_descriptor_to_another,
    batches::a_number_used_again_in_the_batch_gets_no_stale_event,
    sharing::duplicates_are_each_told,
    sharing::bytes_that_another_has_taken_harm_nobody,
    sharing::a_removed_one_is_silent_though_its_duplicate_lives,
    sharing::one_added_twice_is_refused_or_told_twice,
    connects::one_that_takes_too_long_times_out,
    connects::one_behind_the_other,
    panics::a_panic_in_a_callback_or_timer_is_told_and_goes_no_further,
    panics::a_panic_in_a_handler_is_told_and_goes_no_further,
    panics::a_panic_of_what_is_dropped_with_the_loop_goes_no_further,
    endings::a_connection_outlives_its_handles,
    endings::a_closed_connection_leaves_nothing,
    endings::a_loop_that_ends_drops_all_that_it_has,
    endings::services_that_are_detached_leave_the_loop,
    endings::a_connection_keeps_its_loop_running,
    endings::a_loop_runs_on_for_the_next_attempt,
    endings::callbacks_drop_what_they_hold,
    output::it_leaves_from_a_timer,
    output::it_leaves_from_a_callback,
    output::it_leaves_from_a_handler,
    output::it_leaves_from_outside,
    output::what_waits_is_bounded_and_room_is_told,
    liveness::an_idle_connection_is_kept_by_heartbeats,
    liveness::a_silent_broker_is_found,
    liveness::a_stalled_broker_is_found,
    #[cfg(feature = "tls")]
    liveness::a_stalled_tls_handshake_times_out,
};

/// Of all these, what is about a connection that has its socket.
const ONE_CONNECTION: &[Scenario] = scenarios! {
    connecting::opens_a_channel_and_closes,
    connecting::close_at_once_aborts,
    connecting::close_in_the_handshake_aborts,
    connecting::the_stack_timeout_ends_a_handshake,
    connecting::an_unknown_virtual_host_is_denied,
    connecting::update_secret_is_answered,
    channels::confirm_mode_confirms,
    channels::what_has_no_reply_stalls_no_request,
    channels::close_behind_requests_that_fail_does_not_hang,
    channels::close_lets_requests_be_answered,
    consuming::cancel_in_the_callback_ends_a_consumer,
    consuming::publish_and_consume,
    consuming::publish_and_consume_a_large_body,
    consuming::publish_and_get,
    exchanges::declare_and_delete_an_exchange,
    exchanges::an_exchange_declared_differently_closes_the_channel,
    queues::declare_and_delete_an_unnamed_queue,
    queues::declare_and_delete_a_named_queue,
    queues::a_queue_declared_differently_closes_the_channel,
    transactions::select_begins_a_transaction,
    transactions::commit_publishes,
    transactions::commit_without_select_closes_the_channel,
    transactions::rollback_publishes_nothing,
    transactions::rollback_without_select_closes_the_channel,
    blocked::a_blocked_connection_times_out,
    blocked::a_connection_unblocked_in_time_lives,
    streams::a_broken_pipe_is_told,
    streams::the_end_of_the_stream_is_told,
    streams::a_panic_in_on_open_ends_that_connection_alone,
    streams::a_panic_in_on_close_harms_nobody,
    streams::a_panic_in_on_message_ends_that_connection_alone,
    endings::a_connection_outlives_its_handles,
    endings::a_closed_connection_leaves_nothing,
    endings::callbacks_drop_what_they_hold,
    output::it_leaves_from_a_timer,
    output::it_leaves_from_a_callback,
    output::it_leaves_from_a_handler,
    output::it_leaves_from_outside,
    output::what_waits_is_bounded_and_room_is_told,
    liveness::an_idle_connection_is_kept_by_heartbeats,
    liveness::a_silent_broker_is_found,
    liveness::a_stalled_broker_is_found,
};

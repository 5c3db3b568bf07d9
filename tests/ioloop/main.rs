//! The event loop, through the public API only: each scenario over every poller (`every_poller!`).
//! Nothing sleeps to be in time: where time must pass, the loop waits for it.
//!
//! # Where pika's scenarios are
//!
//! | pika's | here |
//! |---|---|
//! | `select_connection_ioloop`: close closes the parts | `drops::the_drop_of_the_loop_drops_all_that_is_on_it` |
//! | close after start | `drops::what_is_dropped_by_removal_and_after_the_call_may_call_everything` |
//! | close before start unwinds | `drops::what_is_dropped_with_the_loop_may_call_everything` |
//! | close while it runs asserts | allowed here: `start_stop::a_callback_that_drops_the_loop_ends_start` |
//! | nested start | `start_stop::a_nested_start_is_an_error`, `start_stop::no_turn_is_nested_in_any_callback` |
//! | stop from a thread | `start_stop::stop_from_a_thread_comes_after_what_the_thread_posted` |
//! | `add_callback` after close | an error here: `remote::a_post_before_start_and_after_the_drop` |
//! | 5 timers set in reverse | `timers::timers_fire_in_order_of_deadlines_and_never_early` |
//! | a timer removes itself | `timers::a_timer_that_removes_itself_was_not_pending` |
//! | a timer removes a due peer | `timers::a_timer_removed_in_its_own_batch_does_not_fire` |
//! | both after oversleeping | `timers::a_loop_that_overslept_still_heeds_removals` |
//! | write/read pair | `fds::a_byte_goes_to_and_fro` |
//! | EINTR | `signals::a_wait_that_signals_interrupt_goes_on_to_the_same_deadline` |
//! | poll without fds | `fds::a_loop_without_descriptors_waits_for_its_timers` |
//! | poller close | `remote::posts_that_race_with_the_drop_run_or_are_dropped_or_are_refused` |
//! | events in 10 end states of a socket while the mask changes | `hang_ups::each_state_of_a_socket_is_told_whatever_the_interest_was_before` |
//! | `select_connection_timer`: the timeout object (validation, comparisons) | none: types see to it; order by `timers::equal_deadlines_fire_in_order_of_creation` |
//! | close x2 | by type once; of the core: `host::detach_drops_everything_and_may_be_called_from_a_callback_and_twice` |
//! | empty interval | `crank::time_to_deadline_is_that_of_the_first_timer` |
//! | negative delay | none: a `Duration` has no sign; the past: `timers::times_beyond_all_bounds_saturate` |
//! | single, several | `timers::timers_fire_in_order_of_deadlines_and_never_early` |
//! | add and remove, cancel future | `timers::a_removed_timer_does_not_fire_and_only_a_pending_one_is_removed` |
//! | cancel due | `timers::a_timer_removed_in_its_own_batch_does_not_fire` |
//! | compaction rule | removal is at once; memory: `ioloop_scale::a_million_timers_come_and_go_without_firing` |
//! | timer from timer deferred | `timers::a_timer_added_by_a_timer_waits_for_the_next_turn` |
//! | `select_connection_interrupt`: empty wake read | `remote::a_wake_with_nothing_behind_it_is_harmless` |
//! | acceptance: threadsafe callback before start, from loop, from thread | `remote::a_post_runs_on_the_loops_thread_soon_wherever_it_was_made` |
//! | stop before start, then start again | `start_stop::stop_before_start_runs_nothing_and_keeps_callbacks` |
//! | two equal timers, one cancelled | `timers::of_two_equal_timers_one_is_removed` |
//! | hand-cranking: `poll`, `process_timeouts` | `crank` |

#![allow(clippy::unwrap_used)]

mod batches;
mod callbacks;
mod connecting;
mod crank;
mod drops;
mod fds;
mod forks;
mod hang_ups;
mod host;
mod nesting;
mod panics;
mod periodic;
mod pollers;
mod remote;
mod resetting;
mod resolving;
mod signals;
mod start_stop;
mod starvation;
#[path = "../support/strace.rs"]
#[allow(dead_code, reason = "one test uses what another does not")]
mod strace;
mod syscalls;
mod timers;
mod tools;
mod variable;

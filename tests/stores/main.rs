//! What every counter store must do, said once and asked of each: the memory store, Redis alone, and Redis Cluster, the
//! last two with and without their memory of counters over the limit. The words in [`stand`] say where they may differ.
//!
//! Everything here is real: servers, time, threads. Windows are years long where time is not the subject, so that
//! nothing depends on how fast the machine is. The stands are shared by all tests, each of which has counters of its
//! own. What is particular to one store has its own tests elsewhere (`memory_store`, `redis_*`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../redis_support/mod.rs"]
mod redis_support;

mod agreement;
mod alone;
mod many;
mod stand;
mod subject;
mod time;
mod together;

macro_rules! behaviours {
    ($($room:ident: $($behaviour:ident),*;)*) => {
        $($(#[test]
        fn $behaviour() {
            crate::$room::$behaviour(&STAND);
        })*)*
    };
}

/// Every behaviour of these rooms as a test of one stand.
macro_rules! suite {
    ($($name:ident: $stand:ident,)*) => {
        $(mod $name {
            use crate::stand::$stand as STAND;
            behaviours! {
                alone: counters_are_apart, looking_makes_no_counter, inspecting_consumes_nothing,
                    costs_are_weighed, a_cost_above_the_limit_never_passes, denied_hits_are_recorded,
                    denied_hits_are_dropped, refunds_give_back_at_most_what_is_consumed, a_reset_forgets_everything,
                    post_paid_charges_pass_and_peeks_do_not, an_amount_of_nothing_admits_nothing,
                    hits_of_one_request_see_each_other, limits_of_one_descriptor_are_apart,
                    a_changed_amount_keeps_the_counter, answers_name_their_source;
                together: nothing_is_charged_when_one_is_denied, what_is_not_enforced_denies_nothing_and_is_recorded,
                    hits_on_one_counter_see_each_other, refunds_are_performed_even_when_nothing_is_charged,
                    several_limits_of_one_descriptor_hold_together, one_alone_leaves_nothing_behind,
                    a_counter_charged_twice_is_judged_by_the_sum;
                many: one_counter_is_exact, many_counters_are_exact, charges_and_refunds_add_up,
                    overlapping_requests_are_charged_all_or_not_at_all, a_bucket_of_one_admits_one;
                agreement: requests_on_their_own_agree_with_the_memory_store,
                    requests_together_agree_with_the_memory_store;
                time: windows_end, what_is_told_to_wait_is_true, buckets_refill_at_their_rate;
            }
        })*
    };
}

suite! {
    memory: MEMORY,
    single: SINGLE,
    single_remembering: SINGLE_REMEMBERING,
    cluster: CLUSTER,
    cluster_remembering: CLUSTER_REMEMBERING,
}

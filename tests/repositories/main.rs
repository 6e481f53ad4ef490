//! What every repository must do, said once and asked of each: the embedded one in memory, and in a file, and Postgres.
//! The stands say how one is made; what is particular to the file has tests of its own (`in_file`, `crash`, `full_disk`).
//!
//! Every test has a repository of its own, so that revisions can be counted. Times are the repository's: only their
//! order is looked at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../postgres_support/mod.rs"]
mod postgres_support;

mod changes;
mod commits;
mod crash;
mod full_disk;
mod histories;
mod in_file;
mod lists;
mod many;
mod model;
mod sample;
mod stand;
mod tokens;
mod unreadable;

macro_rules! promises {
    ($stand:ident, $($room:ident: $($promise:ident),*;)*) => {
        $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let stand = <crate::stand::$stand as crate::stand::Stand>::begin().await;
            crate::$room::$promise(stand).await;
        })*)*
    };
}

/// Every promise as a test of one stand; after `with`, those that not every stand can be asked for.
macro_rules! suite {
    ($($name:ident: $stand:ident $(with $room:ident: $($promise:ident),*)?;)*) => {
        $(mod $name {
            promises! {
                $stand,
                commits: a_new_one_is_empty, a_commit_takes_the_next_revision, what_is_written_is_read,
                    idle_changes_are_left_out, expectations_hold_or_nothing_changes, one_bad_change_undoes_all,
                    a_base_that_moved_is_told, what_makes_no_sense_is_refused, a_deleted_record_is_gone,
                    a_record_can_be_made_again, acceptance_begins_an_epoch, commits_are_announced;
                lists: records_are_in_order, pages_join_to_the_whole, filters_leave_out_what_was_not_asked_for,
                    prefixes_are_taken_literally, tombstones_are_not_listed;
                histories: versions_are_newest_first, who_when_and_why_is_kept, pages_do_not_cut_a_revision,
                    contents_of_the_past_are_kept;
                changes: whoever_has_seen_a_revision_misses_nothing, too_many_changes_are_not_told,
                    everything_can_be_read;
                many: ten_thousand_changes_are_one_commit, concurrent_commits_are_all_made_in_some_order,
                    of_commits_on_one_base_one_is_made;
                tokens: tokens_are_kept, names_are_unique_until_revoked, revoked_tokens_stay_in_the_list;
                $($room: $($promise),*;)?
            }

            #[test]
            fn any_commits_agree_with_the_model() {
                crate::model::any_commits_agree_with_the_model::<crate::stand::$stand>();
            }
        })*
    };
}

// Another repository is one more line here, and one more stand.
suite! {
    memory: Memory;
    postgres: InPostgres;
    file: InFile with unreadable: strange_contents_are_unreadable_one_by_one, strange_contents_can_be_replaced;
}

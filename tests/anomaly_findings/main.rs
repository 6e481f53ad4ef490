//! What every store of findings must do, said once and asked of each: in memory, in a file, and in Postgres. What happens
//! when Postgres is away, and what is particular to the file, comes after.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod away;
mod in_file;
#[path = "../postgres_support/mod.rs"]
mod postgres_support;
mod promises;
mod sample;
mod stand;

macro_rules! suite {
    ($($name:ident: $stand:ident: $($promise:ident),*;)*) => {
        $(mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let stand = <crate::stand::$stand as crate::stand::Stand>::begin().await;
                crate::promises::$promise(&stand).await;
            })*
        })*
    };
}

macro_rules! every_promise {
    ($($name:ident: $stand:ident;)*) => {
        suite! {
            $($name: $stand: incidents_are_noted_and_shown, events_that_come_again_change_nothing,
                many_incidents_are_noted_at_once, pages_join_to_the_whole, filters_leave_out_what_was_not_asked_for,
                reviews_are_recorded_once, what_was_reviewed_is_found, the_old_is_forgotten_in_steps,
                odd_names_are_kept, those_who_note_at_once_lose_nothing;)*
        }
    };
}

// Another store is one more line here, and one more stand.
every_promise! {
    memory: Memory;
    file: InFile;
    postgres: InPostgres;
}

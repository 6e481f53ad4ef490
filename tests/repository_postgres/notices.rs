//! Hearing of changes.

use crate::ground::{announced, commit, fresh, hasty, limit, put, repository, rule, settings, sql};
use crate::postgres_support::{Options, Postgres, signal, until};
use rustix::process::Signal;
use std::time::{Duration, Instant};
use tidegate::config::database::Database;
use tidegate::rules::repository::RuleRepository as _;

/// The process of the server that the repository's listening connection has.
async fn listener(server: &Postgres, database: &str) -> u32 {
    let text = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidegate listen' AND datname = $1";
    let client = server.client(database).await;
    let deadline = Instant::now() + crate::postgres_support::PATIENCE;
    loop {
        if let Some(row) = client.query_opt(text, &[&database]).await.unwrap() {
            return u32::try_from(row.get::<_, i32>(0)).unwrap();
        }
        assert!(Instant::now() < deadline, "nobody listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_notice_does_not_wait_for_the_next_look() {
    let server = Postgres::shared();
    let database = server.database().await;
    let rare = Database { poll_interval: Duration::from_secs(3_600), ..settings(&server.socket_url(&database)) };
    let (one, other) = (repository(&rare), repository(&rare));
    one.head().await.unwrap();
    until(
        server,
        &database,
        "SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'tidegate listen' \
        AND datname = current_database() AND query LIKE '%rule_set_head%' AND state = 'idle'",
    )
    .await;
    for revision in 1..=5 {
        let began = Instant::now();
        commit(&one, vec![put(rule("a"), limit(revision))]).await.unwrap();
        announced(&other, revision).await;
        // The next look would be 10 s away.
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_listening_connection_that_ends_is_replaced() {
    let (repository, database) = fresh().await;
    let server = Postgres::shared();
    for revision in 1..=3 {
        let pid = listener(server, &database).await;
        let client = sql(&database).await;
        client.execute("SELECT pg_terminate_backend($1)", &[&i32::try_from(pid).unwrap()]).await.unwrap();
        client
            .execute("INSERT INTO rate_limit_rules (domain, path) VALUES ('edge', $1)", &[&format!("k={revision}")])
            .await
            .unwrap();
        announced(&repository, revision).await;
    }
}

#[tokio::test]
async fn a_listening_connection_that_is_silent_is_replaced() {
    let server = Options::new().start();
    let repository = repository(&hasty(&server.socket_url("postgres")));
    repository.migrate().await.unwrap();
    announced(&repository, 0).await;
    let pid = listener(&server, "postgres").await;
    signal(pid, Signal::STOP);
    let client = server.client("postgres").await;
    client.execute("INSERT INTO rate_limit_rules (domain, path) VALUES ('edge', 'a')", &[]).await.unwrap();
    announced(&repository, 1).await;
    assert_ne!(listener_other_than(&server, pid).await, pid);
    signal(pid, Signal::CONT);
}

async fn listener_other_than(server: &Postgres, pid: u32) -> u32 {
    let text = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidegate listen' AND pid <> $1 LIMIT 1";
    let row = server.client("postgres").await.query_one(text, &[&i32::try_from(pid).unwrap()]).await.unwrap();
    u32::try_from(row.get::<_, i32>(0)).unwrap()
}

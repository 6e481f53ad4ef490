//! Databases that are away, full, or others.

use crate::ground::{
    self, all, announced, commit, fresh, hasty, is_away, limit, patiently, put, repository, rule, settings, sql,
};
use crate::postgres_support::{Options, Postgres};
use std::time::{Duration, Instant};
use tidegate::rules::repository::{Change, RepositoryError, Revision, RuleRepository as _, TokenRepository as _};

#[tokio::test]
async fn nothing_is_needed_of_the_database_to_begin() {
    let server = Options::new().start();
    let url = server.url("postgres", "postgres");
    server.sigkill();
    let repository = repository(&hasty(&url));
    let began = Instant::now();
    let away = commit(&repository, vec![put(rule("a"), limit(1))]).await;
    assert!(
        matches!(away, Err(RepositoryError::Unavailable { retry_after, .. }) if retry_after == Duration::from_secs(1))
    );
    assert!(began.elapsed() < Duration::from_secs(10));
    server.restart();
    assert_eq!(patiently(&repository, vec![put(rule("a"), limit(1))]).await, Revision(1));
    announced(&repository, 1).await;
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again() {
    let server = Options::new().set("restart_after_crash = off").start();
    let repository = repository(&hasty(&server.url("postgres", "postgres")));
    patiently(&repository, vec![put(rule("a"), limit(1))]).await;
    let epoch = repository.head().await.unwrap().epoch;
    for round in 2..=3 {
        server.sigkill();
        let away = commit(&repository, vec![put(rule("b"), limit(round))]).await;
        assert!(is_away(&away), "{away:?}");
        let mut read = 0;
        let away = repository.read_all(|_| read += 1).await;
        assert!(matches!(away, Err(RepositoryError::Unavailable { .. })) && read == 0, "{away:?}");
        server.restart();
        assert_eq!(patiently(&repository, vec![put(rule("b"), limit(round))]).await, Revision(round));
        announced(&repository, round).await;
        assert_eq!(repository.head().await.unwrap().epoch, epoch);
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time() {
    let server = Options::new().start();
    let repository = repository(&hasty(&server.url("postgres", "postgres")));
    patiently(&repository, vec![put(rule("a"), limit(1))]).await;
    server.sigstop();
    let began = Instant::now();
    let away = commit(&repository, vec![put(rule("b"), limit(1))]).await;
    assert!(is_away(&away), "{away:?}");
    assert!(matches!(repository.get(&rule("a")).await, Err(RepositoryError::Unavailable { .. })));
    assert!(matches!(repository.tokens().await, Err(RepositoryError::Unavailable { .. })));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    server.sigcont();
    assert_eq!(patiently(&repository, vec![put(rule("c"), limit(1))]).await, Revision(2), "b was never made");
    announced(&repository, 2).await;
}

#[tokio::test]
async fn another_database_in_its_place_is_another_epoch() {
    let server = Postgres::shared();
    let (name, spare) = (server.database().await, server.database().await);
    let repository = repository(&settings(&server.socket_url(&name)));
    for number in 1..=3 {
        commit(&repository, vec![put(rule("a"), limit(number))]).await.unwrap();
    }
    let before = repository.head().await.unwrap();
    let admin = sql("postgres").await;
    let text = format!("ALTER DATABASE {name} RENAME TO {name}_old");
    admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    let deadline = Instant::now() + crate::postgres_support::PATIENCE;
    loop {
        let ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        admin.query(ending, &[&name]).await.unwrap();
        if admin.batch_execute(&text).await.is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "{name} cannot be renamed");
    }
    admin.batch_execute(&format!("ALTER DATABASE {spare} RENAME TO {name}")).await.unwrap();
    assert_eq!(patiently(&repository, vec![put(rule("b"), limit(1))]).await, Revision(1), "it is migrated by itself");
    let after = repository.head().await.unwrap();
    assert_ne!(after.epoch, before.epoch);
    announced(&repository, 1).await;
}

#[tokio::test]
async fn tables_that_vanish_are_told_and_made_again() {
    let (repository, database) = fresh().await;
    let text = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    sql(&database).await.batch_execute(text).await.unwrap();
    let lost = repository.get(&rule("a")).await;
    // The listener may have been quicker.
    assert!(matches!(lost, Err(RepositoryError::Unusable(_)) | Ok(None)), "{lost:?}");
    assert_eq!(patiently(&repository, vec![put(rule("a"), limit(1))]).await, Revision(1));
}

#[tokio::test]
async fn a_database_that_takes_no_changes_is_told() {
    let (repository, database) = fresh().await;
    commit(&repository, vec![put(rule("a"), limit(1))]).await.unwrap();
    let admin = sql("postgres").await;
    admin.batch_execute(&format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await.unwrap();
    let server = Postgres::shared();
    let other = ground::repository(&settings(&server.socket_url(&database)));
    assert_eq!(other.head().await.unwrap().revision, Revision(1));
    let refused = commit(&other, vec![put(rule("b"), limit(1))]).await;
    assert!(
        matches!(&refused, Err(RepositoryError::Unavailable { reason, .. }) if reason.contains("takes no changes")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_finds_no_room_is_not_made_by_half() {
    let server = Options::new().set("temp_file_limit = 64kB").set("work_mem = 64kB").start();
    let repository = repository(&settings(&server.socket_url("postgres")));
    commit(&repository, vec![put(rule("a"), limit(1))]).await.unwrap();
    let role = server.client("postgres").await;
    role.batch_execute("CREATE ROLE tenant LOGIN SUPERUSER; ALTER ROLE tenant NOSUPERUSER; GRANT ALL ON ALL TABLES IN SCHEMA public TO tenant; \
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO tenant").await.unwrap();
    let tenant = ground::repository(&settings(&format!(
        "{}&",
        server.socket_url("postgres").replace("user=postgres", "user=tenant")
    )));
    let many: Vec<Change> = (0..4_000).map(|number| put(rule(&format!("user_id={number}")), limit(1))).collect();
    let full = commit(&tenant, many).await;
    assert!(
        matches!(&full, Err(RepositoryError::Unavailable { reason, .. }) if reason.contains("temp_file_limit")),
        "{full:?}"
    );
    assert_eq!(all(&repository).await.len(), 1);
    assert_eq!(repository.head().await.unwrap().revision, Revision(1));
    assert_eq!(commit(&tenant, vec![put(rule("b"), limit(1))]).await, Ok(Revision(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_during_commits_leaves_whole_ones() {
    let server = Options::new().start();
    let repository = std::sync::Arc::new(repository(&hasty(&server.url("postgres", "postgres"))));
    patiently(&repository, vec![put(rule("first"), limit(1))]).await;
    let writer = {
        let repository = std::sync::Arc::clone(&repository);
        tokio::spawn(async move {
            let mut outcomes = Vec::new();
            for round in 0.. {
                let paths = (0..20).map(|number| format!("r={round},n={number}"));
                let made = commit(&repository, paths.map(|path| put(rule(&path), limit(1))).collect()).await;
                let failed = made.is_err();
                outcomes.push(made);
                if failed {
                    break;
                }
            }
            outcomes
        })
    };
    announced(&repository, 1).await;
    let mut told = repository.announced();
    tokio::time::timeout(crate::postgres_support::PATIENCE, told.wait_for(|revision| revision.0 >= 4))
        .await
        .unwrap()
        .unwrap();
    server.sigkill();
    let outcomes = writer.await.unwrap();
    server.restart();
    let at = patiently(&repository, vec![put(rule("last"), limit(1))]).await;
    let records = all(&repository).await;
    let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let kept = (records.len() - 2) / 20;
    assert_eq!((records.len() - 2) % 20, 0, "a commit was made by half");
    match outcomes.last().unwrap() {
        Err(RepositoryError::OutcomeUnknown { .. }) => assert!(kept == made || kept == made + 1, "{kept} of {made}"),
        Err(RepositoryError::Unavailable { .. }) => assert_eq!(kept, made),
        other => panic!("{other:?}"),
    }
    assert_eq!(at.0, kept as u64 + 2);
}

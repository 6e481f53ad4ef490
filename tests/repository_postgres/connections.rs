//! TLS, passwords, and the pool.

use crate::ground::{self, commit, fresh, hasty, limit, patiently, put, repository, rule, settings, sql};
use crate::postgres_support::{Certificates, Options, Postgres, until};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tidegate::config::database::{Database, DatabaseTls, DatabaseUrl, TlsMode};
use tidegate::rules::repository::{Postgres as Repository, RepositoryError, Revision, RuleRepository as _};

#[tokio::test]
async fn tls_is_what_the_settings_ask_for() {
    let certificates = Certificates::new();
    let server = Options::new().tls(&certificates).start();
    let other = Options::new().start();
    let tls = |mode, ca: Option<PathBuf>| Some(DatabaseTls { mode, ca, ..DatabaseTls::default() });
    let ask = async |server: &Postgres, host: &str, tls: Option<DatabaseTls>| {
        let url = server.url("postgres", "postgres").replace("127.0.0.1", host);
        let repository = repository(&Database { tls, ..hasty(&url) });
        let text = repository.schema_version().await.map_err(|error| error.to_string());
        text.map(|_| ())
    };
    let encrypted = async |server: &Postgres| {
        let text = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name LIKE 'tidegate%'";
        server.client("postgres").await.query_one(text, &[]).await.unwrap().get::<_, i64>(0) > 0
    };
    let known = || Some(certificates.ca());
    let unknown = Certificates::new();
    assert_eq!(ask(&server, "127.0.0.1", tls(TlsMode::VerifyFull, known())).await, Ok(()));
    assert_eq!(ask(&server, "127.0.0.1", tls(TlsMode::VerifyCa, known())).await, Ok(()));
    assert_eq!(ask(&server, "127.0.0.1", tls(TlsMode::Require, None)).await, Ok(()));
    assert_eq!(ask(&server, "127.0.0.1", tls(TlsMode::Prefer, None)).await, Ok(()));
    assert_eq!(ask(&other, "127.0.0.1", tls(TlsMode::Prefer, None)).await, Ok(()));
    assert_eq!(ask(&other, "127.0.0.1", tls(TlsMode::Disable, None)).await, Ok(()));
    for mode in [TlsMode::VerifyFull, TlsMode::VerifyCa, TlsMode::Require] {
        let refused = ask(&server, "127.0.0.1", tls(mode, Some(unknown.ca()))).await.unwrap_err();
        assert!(refused.contains("UnknownIssuer") || refused.contains("certificate"), "{mode:?}: {refused}");
        assert!(ask(&other, "127.0.0.1", tls(mode, known())).await.unwrap_err().contains("TLS"), "{mode:?}");
    }
    // The certificate is for 127.0.0.1 and localhost.
    assert!(ask(&server, "127.0.0.2", tls(TlsMode::VerifyFull, known())).await.is_err());
    let url = format!(
        "{}?sslmode=verify-full&sslrootcert={}",
        server.url("postgres", "postgres"),
        certificates.ca().display()
    );
    let held = repository(&settings(&url));
    held.head().await.unwrap();
    assert!(encrypted(&server).await);
}

#[tokio::test]
async fn passwords_come_from_a_file_and_may_change() {
    let server = Options::new().password().start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    let admin = server.client("postgres").await;
    admin.batch_execute("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'first'").await.unwrap();
    std::fs::write(&file, "first\n").unwrap();
    let settings = Database { password_file: Some(file.clone()), ..hasty(&server.url("app", "postgres")) };
    let repository = repository(&settings);
    patiently(&repository, vec![put(rule("a"), limit(1))]).await;
    admin.batch_execute("ALTER ROLE app PASSWORD 'second'").await.unwrap();
    std::fs::write(&file, "wrong-hunter2\n").unwrap();
    admin.batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'").await.unwrap();
    let deadline = Instant::now() + crate::postgres_support::PATIENCE;
    let refused = loop {
        match repository.head().await {
            Err(RepositoryError::Unavailable { reason, .. }) if reason.contains("authentication") => break reason,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    };
    assert!(!refused.contains("hunter2"), "{refused}");
    std::fs::write(&file, "second\n").unwrap();
    patiently(&repository, vec![put(rule("a"), limit(2))]).await;
    let missing = Database { password_file: Some("/nowhere".into()), ..settings };
    assert!(Repository::new(&missing).unwrap_err().to_string().contains("database.password_file"));
    let open = Database { url: DatabaseUrl::new("postgres://me:hunter2@a/b"), ..Database::default() };
    assert!(!format!("{:?}", ground::repository(&open)).contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_pool_is_told() {
    let (_, database) = fresh().await;
    let server = Postgres::shared();
    let small = Database {
        pool_size: 1,
        acquire_timeout: Duration::from_millis(200),
        ..settings(&server.socket_url(&database))
    };
    let repository = std::sync::Arc::new(repository(&small));
    repository.head().await.unwrap();
    let client = sql(&database).await;
    client.batch_execute("BEGIN; SELECT * FROM rule_set_lock()").await.unwrap();
    let holder = {
        let repository = std::sync::Arc::clone(&repository);
        tokio::spawn(async move { commit(&repository, vec![put(rule("a"), limit(1))]).await })
    };
    until(
        server,
        &database,
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .await;
    let busy = repository.head().await;
    assert!(matches!(&busy, Err(RepositoryError::Unavailable { .. })), "{busy:?}");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(holder.await.unwrap(), Ok(Revision(1)));
}

//! Rules in Postgres: migrations, constraints, roles, notices, faults. What every repository must do is not here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod postgres_support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::json;
use tidegate::config::database::{Database, DatabaseTls, DatabaseUrl, TlsMode};
use tidegate::core::clock::Micros;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::core::spec::{DomainSettings, EffectSpec, HeaderFamilies, LimitSpec, RuleSpec};
use tidegate::rules::repository::postgres::newest_version;
use tidegate::rules::repository::record::Kind;
use tidegate::rules::repository::{
    Change, Commit, Content, Expected, Filter, Found, Override, Page, Postgres as Repository, Record, RepositoryError,
    Revision, RuleRepository as _, Scope, Stamp, Subject, Token, TokenRepository as _,
};

use postgres_support::{Certificates, Options, Postgres, signal, until};

/// Settings with short times, for a database of a server.
fn settings(url: &str) -> Database {
    Database {
        url: DatabaseUrl::new(url),
        poll_interval: Duration::from_millis(200),
        statement_timeout: Duration::from_secs(20),
        acquire_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(20),
        ..Database::default()
    }
}

/// As [`settings`], giving up soon.
fn hasty(url: &str) -> Database {
    let time = Duration::from_millis(700);
    Database { statement_timeout: time, acquire_timeout: time, connect_timeout: time, ..settings(url) }
}

fn repository(settings: &Database) -> Repository {
    Repository::new(settings).unwrap()
}

/// A repository of an empty database of the shared server, and the database's name.
async fn fresh() -> (Repository, String) {
    let server = Postgres::shared();
    let database = server.database().await;
    let repository = repository(&settings(&server.socket_url(&database)));
    repository.head().await.unwrap();
    (repository, database)
}

async fn sql(database: &str) -> tokio_postgres::Client {
    Postgres::shared().client(database).await
}

fn rule(path: &str) -> Subject {
    Subject::Rule("edge".into(), path.parse().unwrap())
}

fn limit_spec(amount: u64) -> LimitSpec {
    let parts = LimitParts {
        amount,
        window: Window::Length(Micros::from_secs(60)),
        algorithm: Algorithm::TokenBucket,
        burst: None,
        over: Over::Drop,
        post_paid: false,
    };
    LimitSpec { limit: Limit::new(parts).unwrap(), name: None, replaces: Vec::new() }
}

fn limit(amount: u64) -> Content {
    let effect = Some(EffectSpec::Limits(vec![limit_spec(amount)]));
    Content::Rule(RuleSpec { effect, ..RuleSpec::default() })
}

fn put(subject: Subject, content: Content) -> Change {
    Change { subject, content: Some(content), expected: Expected::Anything }
}

fn commit_of(changes: Vec<Change>) -> Commit {
    Commit { author: "ada".into(), reason: Some("a test".into()), base: None, changes }
}

async fn commit(repository: &Repository, changes: Vec<Change>) -> Result<Revision, RepositoryError> {
    Ok(repository.commit(commit_of(changes)).await?.head.revision)
}

/// Tries again what is told to be away, for a while.
async fn patiently(repository: &Repository, changes: Vec<Change>) -> Revision {
    let deadline = Instant::now() + postgres_support::PATIENCE;
    loop {
        match commit(repository, changes.clone()).await {
            Ok(revision) => return revision,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn announced(repository: &Repository, revision: u64) {
    let mut announced = repository.announced();
    let told = announced.wait_for(|there| *there == Revision(revision));
    tokio::time::timeout(postgres_support::PATIENCE, told).await.expect("it is announced").unwrap();
}

async fn all(repository: &Repository) -> Vec<Record> {
    let mut records = Vec::new();
    repository.read_all(|record| records.push(record)).await.unwrap();
    records.sort_by(|one, other| one.subject.cmp(&other.subject));
    records
}

fn is_away(result: &Result<Revision, RepositoryError>) -> bool {
    matches!(result, Err(RepositoryError::Unavailable { .. }))
}

// Schema.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_that_start_at_once_migrate_once() {
    let server = Postgres::shared();
    let database = server.database().await;
    let starting: Vec<_> = (0..10)
        .map(|_| repository(&Database { pool_size: 2, ..settings(&server.socket_url(&database)) }))
        .map(|repository| tokio::spawn(async move { (repository.head().await, repository) }))
        .collect();
    let mut heads = Vec::new();
    for one in starting {
        heads.push(one.await.unwrap().0.unwrap());
    }
    assert!(heads.iter().all(|head| *head == heads[0] && head.revision == Revision(0)), "{heads:?}");
    let made = sql(&database).await.query("SELECT version FROM tidegate_schema_history ORDER BY 1", &[]).await.unwrap();
    let made: Vec<i32> = made.iter().map(|row| row.get(0)).collect();
    assert_eq!(made, (1..=newest_version()).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_may_not_migrate_says_so_and_newer_schemas_are_refused() {
    let server = Postgres::shared();
    let database = server.database().await;
    let careful = repository(&Database { migrate: false, ..settings(&server.socket_url(&database)) });
    let refused = careful.head().await.unwrap_err().to_string();
    assert!(refused.contains("has version 0") && refused.contains("tidegate db migrate"), "{refused}");
    assert_eq!(careful.schema_version().await, Ok(0));
    careful.migrate().await.unwrap();
    assert_eq!(careful.schema_version().await, Ok(newest_version()));
    careful.head().await.unwrap();
    let text = "INSERT INTO tidegate_schema_history VALUES (99, 'future', '2030-01-01T00:00:00Z', '1')";
    sql(&database).await.batch_execute(text).await.unwrap();
    let older = repository(&settings(&server.socket_url(&database)));
    let refused = older.head().await;
    assert!(matches!(&refused, Err(RepositoryError::Unusable(text)) if text.contains("version 99")), "{refused:?}");
    assert!(careful.head().await.is_ok(), "one that runs already goes on");
}

#[tokio::test]
async fn everything_is_read_as_it_was_written() {
    let (repository, _) = fresh().await;
    let mut several = limit_spec(7);
    several.name = Some("öther \"one\"".to_owned());
    several.replaces = vec!["x".to_owned(), "y\\z".to_owned()];
    let metadata = json!({ "a": [1, 2.5, null, { "b": "ü\n" }], "z": {} });
    let rich = RuleSpec {
        effect: Some(EffectSpec::Limits(vec![limit_spec(0), several])),
        shadow_mode: true,
        quota_mode: true,
        detailed_metric: true,
        value_to_metric: true,
        share_threshold: true,
        metadata: metadata.as_object().cloned(),
        failure_mode: Some(tidegate::core::spec::FailureMode::Closed),
        disabled: true,
        tags: vec!["gold".to_owned(), "a,\"b\"{}".to_owned(), String::new()],
        protect: true,
        order: u32::MAX,
        ..RuleSpec::default()
    };
    let unlimited = EffectSpec::Unlimited { name: Some("free".to_owned()), replaces: vec!["x".to_owned()] };
    let until = Timestamp::from_microsecond(1_900_000_000_123_456).unwrap();
    let headers = Some(HeaderFamilies { draft: false, legacy: true, x: true });
    let contents = [
        (
            Subject::Domain("edge".into()),
            Content::Domain(DomainSettings { response_headers: headers, ..DomainSettings::FILE }),
        ),
        (Subject::Domain("other".into()), Content::Domain(DomainSettings::API)),
        (rule("a%2C=%0A*,b=x*"), Content::Rule(rich)),
        (rule("plain"), Content::Rule(RuleSpec::default())),
        (rule("user_id"), limit(4_294_967_295)),
        (
            Subject::Override("edge".into(), "u".parse().unwrap()),
            Content::Override(Override { effect: unlimited, until }),
        ),
    ];
    let changes: Vec<Change> = contents.iter().cloned().map(|(subject, content)| put(subject, content)).collect();
    assert_eq!(commit(&repository, changes.clone()).await, Ok(Revision(1)));
    assert_eq!(commit(&repository, changes).await, Ok(Revision(1)), "again, it is idle");
    let read = all(&repository).await;
    assert_eq!(read.len(), contents.len());
    for (subject, content) in contents {
        let record = repository.get(&subject).await.unwrap().unwrap();
        assert_eq!(record.content, Some(Ok(content.clone())));
        assert!(read.contains(&record));
        let past = repository.content_at(&subject, Revision(1)).await.unwrap();
        assert_eq!(past, Some(Ok(content.clone())), "the history has it too");
        let versions = repository.history(Some(&subject), Page { after: None, size: 5 }).await.unwrap();
        assert_eq!(versions[0].after, Some(tidegate::rules::form::write_content(&content)));
        assert_eq!((versions[0].reason.as_deref(), &versions[0].stamp), (Some("a test"), &record.updated));
    }
}

#[tokio::test]
async fn the_schema_cannot_hold_what_the_validator_refuses() {
    let (_repository, database) = fresh().await;
    let client = sql(&database).await;
    let limits = [
        r#"{}"#,
        r#"[]"#,
        r#""x""#,
        r#"[1]"#,
        r#"[{}]"#,
        r#"[{"requests_per_unit": 5}]"#,
        r#"[{"unit": "minute"}]"#,
        r#"[{"requests_per_unit": -1, "unit": "minute"}]"#,
        r#"[{"requests_per_unit": 1.5, "unit": "minute"}]"#,
        r#"[{"requests_per_unit": 5.0, "unit": "minute"}]"#,
        r#"[{"requests_per_unit": "5", "unit": "minute"}]"#,
        r#"[{"requests_per_unit": null, "unit": "minute"}]"#,
        r#"[{"requests_per_unit": 4294967296, "unit": "minute", "algorithm": "fixed_window"}]"#,
        r#"[{"requests_per_unit": 5, "unit": "fortnight"}]"#,
        r#"[{"requests_per_unit": 5, "unit": 3}]"#,
        r#"[{"requests_per_unit": 5, "unit": "minute", "window": "5s"}]"#,
        r#"[{"requests_per_unit": 5, "window": "0s"}]"#,
        r#"[{"requests_per_unit": 5, "window": "3651d"}]"#,
        r#"[{"requests_per_unit": 5, "window": "1M"}]"#,
        r#"[{"requests_per_unit": 5, "window": "1month"}]"#,
        r#"[{"requests_per_unit": 5, "window": "2y"}]"#,
        r#"[{"requests_per_unit": 5, "window": "soon"}]"#,
        r#"[{"requests_per_unit": 5, "window": 60}]"#,
        r#"[{"requests_per_unit": 10001, "unit": "minute"}]"#,
        r#"[{"requests_per_unit": 10001, "unit": "minute", "algorithm": "sliding_window_log"}]"#,
        r#"[{"requests_per_unit": 5, "unit": "minute", "algorithm": "magic"}]"#,
        r#"[{"requests_per_unit": 5, "unit": "minute", "burst": 5}]"#,
        r#"[{"requests_per_unit": 5, "unit": "minute", "algorithm": "fixed_window", "burst": 5}]"#,
        r#"[{"requests_per_unit": 5, "unit": "minute", "algorithm": "token_bucket", "burst": 0}]"#,
        r#"[{"requests_per_unit": 5, "unit": "minute", "algorithm": "token_bucket", "burst": 9007199254740992}]"#,
        r#"[{"requests_per_unit": 5, "unit": "minute", "over": "dorp"}]"#,
        r#"[{"requests_per_unit": 5, "unit": "minute", "post_paid": "yes"}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "calendar": true}]"#,
        r#"[{"requests_per_unit": 5, "unit": "hour", "calendar": true, "algorithm": "fixed_window"}]"#,
        r#"[{"requests_per_unit": 5, "window": "24h", "calendar": true, "algorithm": "fixed_window"}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "calendar": true, "algorithm": "fixed_window", "time_zone": "Europe/Bonn"}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "calendar": true, "algorithm": "fixed_window", "time_zone": "FOO+3"}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "time_zone": "UTC"}]"#,
        r#"[{"unlimited": true, "unit": "day"}]"#,
        r#"[{"unlimited": true}, {"requests_per_unit": 5, "unit": "day"}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "name": 3}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "name": ""}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "name": "a", "replaces": [{"name": "a"}]}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "replaces": [{"name": ""}]}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "replaces": ["a"]}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "colour": "red"}]"#,
    ];
    for limits in limits {
        let text = "INSERT INTO rate_limit_rules (domain, path, limits) VALUES ('edge', 'k', $1::text::jsonb)";
        let error = client.execute(text, &[&limits]).await.expect_err(limits);
        assert_eq!(error.as_db_error().and_then(|e| e.constraint()), Some("rate_limit_rules_limits_check"), "{limits}");
    }
    let long = format!("'{}'", "k".repeat(2_001));
    let deep = format!("'{}'", vec!["k"; 65].join(","));
    for path in [
        "''", "'a,,b'", "'=b'", "'a='", "'a=b=c'", "'a|b'", "'a%2'", "'a%2A'", "'a%2c'", "E'a\\nb'", "'a=%FF'", &long,
        &deep,
    ] {
        let text = format!("INSERT INTO rate_limit_rules (domain, path) VALUES ('edge', {path})");
        let error = client.execute(&text, &[]).await.expect_err(path);
        assert_eq!(error.as_db_error().and_then(|e| e.constraint()), Some("rate_limit_rules_path_check"), "{path}");
    }
    let good = r#"'[{"requests_per_unit": 5, "unit": "minute"}]'"#;
    let ways = [
        "rate_limit_rules (domain, path) VALUES ('', 'k')".to_owned(),
        "rate_limit_rules (domain, path, share_threshold) VALUES ('edge', 'k*,b', true)".to_owned(),
        "rate_limit_rules (domain, path, failure_mode) VALUES ('edge', 'k', 'panic')".to_owned(),
        "rate_limit_rules (domain, path, match_order) VALUES ('edge', 'k', -1)".to_owned(),
        "rate_limit_rules (domain, path, metadata) VALUES ('edge', 'k', '[1]')".to_owned(),
        "rate_limit_rules (domain, path, tags) VALUES ('edge', 'k', '{a,NULL}')".to_owned(),
        "rate_limit_rules (domain, path, algorithm) VALUES ('edge', 'k', 'token_bucket')".to_owned(),
        "rate_limit_overrides (domain, path, until) VALUES ('edge', 'k', now())".to_owned(),
        format!("rate_limit_overrides (domain, path, limits) VALUES ('edge', 'k', {good})"),
        format!("rate_limit_overrides (domain, path, limits, until) VALUES ('edge', 'k', {good}, 'infinity')"),
        "rate_limit_domains (domain, charge) VALUES ('edge', 'twice')".to_owned(),
        "rate_limit_domains (domain, default_algorithm) VALUES ('edge', 'magic')".to_owned(),
        "rate_limit_domains (domain, response_headers) VALUES ('edge', '{draft,xx}')".to_owned(),
        "ai_ddos_detection (user_id, anomaly_score) VALUES ('1', 1.5)".to_owned(),
        "ai_ddos_detection (anomaly_score) VALUES (0.5)".to_owned(),
        "limit_adjustments (domain, subject, author, expires_at) VALUES ('e', '{\"client\": {}}', 'a', now() + '1h')".to_owned(),
        "limit_adjustments (domain, subject, factor, author, expires_at) VALUES ('e', '{\"client\": {}}', 0.5, 'a', 'infinity')"
            .to_owned(),
        "api_tokens (name, hash, scopes, created_at, created_by) VALUES ('a', 'short', '{read}', now(), 'a')".to_owned(),
        "api_tokens (name, hash, scopes, created_at, created_by) VALUES ('a', sha256('a'), '{all}', now(), 'a')".to_owned(),
    ];
    for way in ways {
        assert!(client.execute(&format!("INSERT INTO {way}"), &[]).await.is_err(), "{way}");
    }
    for good in [
        r#"[{"requests_per_unit": 5, "window": "1h30m"}]"#,
        r#"[{"requests_per_unit": 10000, "unit": "month", "name": "a", "replaces": [{"name": "b"}]}]"#,
        r#"[{"requests_per_unit": 5, "unit": "day", "calendar": true, "algorithm": "fixed_window", "time_zone": "America/Port-au-Prince"}]"#,
        r#"[{"requests_per_unit": 0, "window": "315360000000000us", "algorithm": "leaky_bucket", "burst": 9007199254740991}]"#,
    ] {
        let problem = client.query_one("SELECT rate_limit_limits_problem($1::text::jsonb)", &[&good]).await.unwrap();
        assert_eq!(problem.get::<_, Option<&str>>(0), None, "{good}");
    }
    let kept = client.query_one("SELECT count(*) FROM rate_limit_rules", &[]).await.unwrap();
    assert_eq!(kept.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn what_only_the_database_refuses_names_its_record() {
    let (repository, database) = fresh().await;
    // A zone that this program knows and the database does not.
    let text = "CREATE OR REPLACE FUNCTION rate_limit_is_time_zone(zone text) RETURNS boolean LANGUAGE sql IMMUTABLE
                AS 'SELECT zone <> ''Europe/Berlin''';";
    sql(&database).await.batch_execute(text).await.unwrap();
    let calendar = |zone| {
        let window = tidegate::core::calendar::CalendarWindow::new(tidegate::core::calendar::CalendarUnit::Day, zone);
        let window = Window::Calendar(std::sync::Arc::new(window.unwrap()));
        let spec = LimitSpec { limit: Limit::new(LimitParts::fixed_window(5, window)).unwrap(), ..limit_spec(1) };
        Content::Rule(RuleSpec { effect: Some(EffectSpec::Limits(vec![spec])), ..RuleSpec::default() })
    };
    let changes = vec![
        put(rule("a"), limit(1)),
        put(rule("b"), calendar("UTC")),
        put(rule("c"), calendar("Europe/Berlin")),
        put(rule("d"), limit(1)),
    ];
    let refused = commit(&repository, changes).await;
    let Err(RepositoryError::Refused { subject, reason }) = refused else { panic!("{refused:?}") };
    assert_eq!((subject, reason.as_str()), (rule("c"), "time_zone is an IANA name, such as Europe/Berlin"));
    assert_eq!(all(&repository).await, []);
    for subject in [Subject::Domain("d".repeat(501).into()), Subject::Domain("a\0b".into())] {
        let refused = commit(&repository, vec![put(subject, Content::Domain(DomainSettings::API))]).await;
        assert!(matches!(refused, Err(RepositoryError::Refused { .. })), "{refused:?}");
    }
    let Content::Rule(mut zero) = limit(1) else { panic!() };
    zero.tags = vec!["a\0".to_owned()];
    let refused = commit(&repository, vec![put(rule("a"), Content::Rule(zero))]).await;
    assert!(matches!(refused, Err(RepositoryError::Refused { .. })), "{refused:?}");
}

// Changes by others.

#[tokio::test]
async fn changes_by_sql_are_like_any_others() {
    let (repository, database) = fresh().await;
    let client = sql(&database).await;
    let run = |text: &'static str| client.batch_execute(text);
    commit(&repository, vec![put(rule("a"), limit(1)), put(rule("b"), limit(1)), put(rule("c"), limit(1))])
        .await
        .unwrap();
    run("INSERT INTO rate_limit_rules (domain, path, limits) VALUES ('edge', 'd', '[{\"requests_per_unit\": 5, \"unit\": \"minute\"}]')")
        .await
        .unwrap();
    announced(&repository, 2).await;
    run("BEGIN; SET LOCAL tidegate.author = 'bob'; SET LOCAL tidegate.reason = 'why not';
         UPDATE rate_limit_rules SET enabled = false WHERE path = 'a'; DELETE FROM rate_limit_rules WHERE path >= 'c';
         INSERT INTO rate_limit_domains (domain) VALUES ('edge'); COMMIT")
    .await
    .unwrap();
    announced(&repository, 3).await;
    let changes = repository.changed_since(Revision(2), 10).await.unwrap().unwrap();
    let told: Vec<_> =
        changes.records.iter().map(|record| (record.subject.to_string(), record.content.is_none())).collect();
    for expected in [
        ("rule a of domain edge", false),
        ("rule c of domain edge", true),
        ("rule d of domain edge", true),
        ("domain edge", false),
    ] {
        assert!(told.contains(&(expected.0.to_owned(), expected.1)), "{told:?}");
    }
    assert_eq!((told.len(), changes.head.revision), (4, Revision(3)));
    let versions = repository.history(None, Page { after: None, size: 1 }).await.unwrap();
    assert_eq!(versions.len(), 4, "all of the newest revision");
    assert!(versions.iter().all(|version| &*version.stamp.by == "bob" && version.reason.as_deref() == Some("why not")));
    let disabled = versions.iter().find(|version| version.subject == rule("a")).unwrap();
    assert_eq!(disabled.before.as_ref().unwrap().get("enabled"), None);
    assert_eq!(disabled.after.as_ref().unwrap()["enabled"], json!(false));
    // Made, changed and deleted in one transaction; and nothing at all.
    run("BEGIN; INSERT INTO rate_limit_rules (domain, path) VALUES ('edge', 'c');
         UPDATE rate_limit_rules SET protect = true WHERE path = 'c'; DELETE FROM rate_limit_rules WHERE path = 'c'; COMMIT")
        .await
        .unwrap();
    announced(&repository, 4).await;
    run("UPDATE rate_limit_rules SET enabled = false WHERE path = 'a'; DELETE FROM rate_limit_rules WHERE path = 'c';
         UPDATE rate_limit_rules SET revision = 99, updated_by = 'eve'; DELETE FROM rate_limit_rules WHERE false")
    .await
    .unwrap();
    assert_eq!(repository.head().await.unwrap().revision, Revision(4), "idle statements take no revision");
    assert_eq!(&*repository.get(&rule("a")).await.unwrap().unwrap().updated.by, "bob");
    for refused in [
        "TRUNCATE rate_limit_rules",
        "UPDATE rate_limit_rules SET path = 'z' WHERE path = 'a'",
        "DELETE FROM rule_set_head",
        "UPDATE rule_set_head SET revision = 1",
    ] {
        assert!(client.batch_execute(refused).await.is_err(), "{refused}");
    }
    let head = client.query_one("SELECT epoch FROM rule_set_accept('ada', 'because')", &[]).await.unwrap();
    announced(&repository, 5).await;
    let accepted = repository.head().await.unwrap();
    assert_eq!(head.get::<_, &str>(0).replace('-', ""), accepted.epoch.to_string());
    assert!(accepted.accepted.is_some());
}

#[tokio::test]
async fn a_transaction_left_open_is_waited_for_and_not_for_ever() {
    let (_, database) = fresh().await;
    let server = Postgres::shared();
    let repository = repository(&hasty(&server.socket_url(&database)));
    repository.head().await.unwrap();
    let client = sql(&database).await;
    client.batch_execute("BEGIN; INSERT INTO rate_limit_rules (domain, path) VALUES ('edge', 'x')").await.unwrap();
    let began = Instant::now();
    let waited = commit(&repository, vec![put(rule("a"), limit(1))]).await;
    assert!(is_away(&waited), "{waited:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(patiently(&repository, vec![put(rule("a"), limit(1))]).await, Revision(2), "only it was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_are_seen_in_their_order() {
    let (repository, database) = fresh().await;
    let repository = std::sync::Arc::new(repository);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (repository, database) = (std::sync::Arc::clone(&repository), database.clone());
            tokio::spawn(async move {
                let client = sql(&database).await;
                for number in 0..10 {
                    let path = format!("k{writer}={number}");
                    if number % 2 == 0 {
                        let text = "INSERT INTO rate_limit_rules (domain, path) VALUES ('edge', $1)";
                        client.execute(text, &[&path]).await.unwrap();
                    } else {
                        commit(&repository, vec![put(rule(&path), limit(1))]).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let mut seen = Revision(0);
    let mut records = 0;
    while seen < Revision(40) {
        let changes = repository.changed_since(seen, 1_000).await.unwrap().unwrap();
        assert_eq!(
            changes.records.len() as u64,
            changes.head.revision.0 - seen.0,
            "one record a revision, none missed"
        );
        records += changes.records.len();
        seen = changes.head.revision;
    }
    assert_eq!(records, 40);
    for writer in writers {
        writer.await.unwrap();
    }
}

// Roles.

#[tokio::test]
async fn roles_have_what_they_need_and_no_more() {
    let server = Options::new().start();
    let document = include_str!("../docs/postgres.md").split_once("## Roles").unwrap().1;
    let blocks: Vec<&str> =
        document.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).take(2).collect();
    let owner = server.client("postgres").await;
    owner.batch_execute(blocks[0]).await.unwrap();
    let migrating = repository(&settings(&server.url("tidegate_migrate", "postgres")));
    migrating.migrate().await.unwrap();
    let owner =
        tokio_postgres::connect(&server.url("tidegate_migrate", "postgres"), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(owner.1);
    owner.0.batch_execute(blocks[1]).await.unwrap();

    let serving = repository(&settings(&server.url("tidegate_serve", "postgres")));
    let until = Timestamp::from_second(2_000_000_000).unwrap();
    let effect = EffectSpec::Limits(vec![limit_spec(1)]);
    let changes = vec![
        put(rule("a"), limit(1)),
        put(Subject::Domain("edge".into()), Content::Domain(DomainSettings::API)),
        put(Subject::Override("edge".into(), "a".parse().unwrap()), Content::Override(Override { effect, until })),
    ];
    commit(&serving, changes).await.unwrap();
    let delete = Change { subject: rule("a"), content: None, expected: Expected::Present };
    commit(&serving, vec![delete]).await.unwrap();
    commit(&serving, vec![put(rule("a"), limit(2))]).await.unwrap();
    announced(&serving, 3).await;
    serving.accept("ada", None).await.unwrap();
    serving.list(&Filter::default(), Page { after: None, size: 10 }).await.unwrap();
    serving.history(None, Page { after: None, size: 10 }).await.unwrap();
    serving.create_token(token("ci", 1)).await.unwrap();
    assert!(serving.revoke_token("ci", Timestamp::now()).await.unwrap());

    let connect = async |role: &str| {
        let (client, connection) =
            tokio_postgres::connect(&server.url(role, "postgres"), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let serve = connect("tidegate_serve").await;
    let read = connect("tidegate_read").await;
    for text in ["SELECT FROM rate_limit_rules", "SELECT FROM ai_ddos_detection", "SELECT FROM rate_limit_rule_history"]
    {
        read.execute(text, &[]).await.unwrap();
    }
    serve.execute("INSERT INTO ai_ddos_detection (user_id, anomaly_score) VALUES ('1', 0.9)", &[]).await.unwrap();
    let denied = [
        (&serve, "UPDATE rate_limit_rule_history SET reason = 'x'"),
        (&serve, "DELETE FROM rate_limit_rule_history"),
        (&serve, "UPDATE rule_set_head SET revision = 99"),
        (&serve, "ALTER TABLE rate_limit_rules DISABLE TRIGGER ALL"),
        (&serve, "CREATE TABLE mine ()"),
        (&serve, "DELETE FROM api_tokens"),
        (&read, "UPDATE rate_limit_rules SET enabled = false"),
        (&read, "SELECT FROM api_tokens"),
        (&read, "SELECT * FROM rule_set_lock()"),
        (&read, "SELECT * FROM rule_set_accept()"),
        (&read, "INSERT INTO ai_ddos_detection (user_id, anomaly_score) VALUES ('1', 0.9)"),
    ];
    for (client, text) in denied {
        let error = client.execute(text, &[]).await.expect_err(text);
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{text}: {error:?}");
    }
    let reading = repository(&settings(&server.url("tidegate_read", "postgres")));
    assert_eq!(reading.head().await.unwrap().revision, Revision(4));
    let refused = commit(&reading, vec![put(rule("b"), limit(1))]).await;
    assert!(matches!(&refused, Err(RepositoryError::Unusable(text)) if text.contains("role")), "{refused:?}");
}

// Notices.

/// The process of the server that the repository's listening connection has.
async fn listener(server: &Postgres, database: &str) -> u32 {
    let text = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidegate listen' AND datname = $1";
    let client = server.client(database).await;
    let deadline = Instant::now() + postgres_support::PATIENCE;
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

// Faults.

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
    let deadline = Instant::now() + postgres_support::PATIENCE;
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
    let other = crate::repository(&settings(&server.socket_url(&database)));
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
    let tenant = crate::repository(&settings(&format!(
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
    tokio::time::timeout(postgres_support::PATIENCE, told.wait_for(|revision| revision.0 >= 4)).await.unwrap().unwrap();
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

// Connections.

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
    let deadline = Instant::now() + postgres_support::PATIENCE;
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
    assert!(!format!("{:?}", crate::repository(&open)).contains("hunter2"));
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

// Size.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_commits_are_made_at_once() {
    let (repository, _) = fresh().await;
    let change = |number: usize, amount| put(rule(&format!("user_id={number:06}")), limit(amount));
    let began = Instant::now();
    let made = repository.commit(commit_of((0..20_000).map(|number| change(number, 1)).collect())).await.unwrap();
    assert_eq!((made.head.revision, made.changed), (Revision(1), 20_000));
    let written = began.elapsed();
    let began = Instant::now();
    assert_eq!(all(&repository).await.len(), 20_000);
    println!("20 000 rules: written in {written:?}, read in {:?}", began.elapsed());
    let half = (0..20_000).map(|number| change(number, 1 + number as u64 % 2)).collect();
    let made = repository.commit(commit_of(half)).await.unwrap();
    assert_eq!((made.head.revision, made.changed), (Revision(2), 10_000), "idle changes are left out");
    let mut last: Vec<Change> = (0..20_000).map(|number| change(number, 3)).collect();
    last[15_000].expected = Expected::At(Revision(7));
    last[16_000].expected = Expected::Absent;
    let conflict = repository.commit(commit_of(last)).await.unwrap_err();
    let subject = rule("user_id=015000");
    let found = Found::At(Revision(1));
    assert_eq!(conflict, RepositoryError::Conflict { subject, expected: Expected::At(Revision(7)), found });
    assert!(repository.changed_since(Revision(1), 9_999).await.unwrap().is_none());
    let changes = repository.changed_since(Revision(1), 10_000).await.unwrap().unwrap();
    assert_eq!(changes.records.len(), 10_000);
    let page = Page { after: Some(rule("user_id=010000")), size: 2 };
    let filter = Filter { kind: Some(Kind::Rule), path_prefix: Some("user_id=01".to_owned()), ..Filter::default() };
    let listed: Vec<_> =
        repository.list(&filter, page).await.unwrap().into_iter().map(|record| record.subject).collect();
    assert_eq!(listed, [rule("user_id=010001"), rule("user_id=010002")]);
}

/// `cargo test --release --test repository_postgres -- --ignored --nocapture a_hundred_thousand`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_hundred_thousand_rules_are_measured() {
    let server = Options::new().start();
    let repository = repository(&settings(&server.url("postgres", "postgres")));
    let change = |number: usize| put(rule(&format!("user_id={number:06}")), limit(5));
    for (what, amount) in [("written", 100_000), ("written again, idle", 100_000), ("one more", 1)] {
        let from = if amount == 1 { 100_000 } else { 0 };
        let commit = commit_of((from..from + amount).map(change).collect());
        let began = Instant::now();
        let made = repository.commit(commit).await.unwrap();
        println!("{what}: {:?}, {} changes", began.elapsed(), made.changed);
    }
    let began = Instant::now();
    let mut read = 0;
    let head = repository.read_all(|_| read += 1).await.unwrap();
    println!("all {read} read: {:?}", began.elapsed());
    let began = Instant::now();
    let one = repository.changed_since(Revision(head.revision.0 - 1), 10).await.unwrap().unwrap();
    println!("{} change read: {:?}", one.records.len(), began.elapsed());
    assert_eq!(read, 100_001);
}

// Tokens.

fn token(name: &str, hash: u8) -> Token {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    Token {
        name: name.into(),
        hash: [hash; 32],
        scopes: vec![Scope::Read, Scope::Operate],
        created: Stamp { at, by: "ada".into() },
        expires: Some(Timestamp::from_second(1_900_000_000).unwrap()),
        revoked: None,
    }
}

#[tokio::test]
async fn tokens_are_kept_until_they_are_revoked() {
    let (repository, _) = fresh().await;
    repository.create_token(token("ci", 1)).await.unwrap();
    repository.create_token(token("a", 2)).await.unwrap();
    assert_eq!(repository.tokens().await.unwrap(), [token("a", 2), token("ci", 1)]);
    assert_eq!(repository.create_token(token("ci", 3)).await, Err(RepositoryError::TokenExists("ci".into())));
    let now = Timestamp::from_second(1_850_000_000).unwrap();
    assert_eq!(repository.revoke_token("ci", now).await, Ok(true));
    assert_eq!(repository.revoke_token("ci", now).await, Ok(false));
    repository.create_token(token("ci", 3)).await.unwrap();
    let names: Vec<_> =
        repository.tokens().await.unwrap().into_iter().map(|token| (token.name, token.revoked)).collect();
    assert_eq!(names, [("a".into(), None), ("ci".into(), Some(now)), ("ci".into(), None)]);
}

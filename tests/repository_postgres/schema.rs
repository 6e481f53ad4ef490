//! Migrations, and what the schema holds.

use crate::ground::{all, commit, fresh, limit, limit_spec, put, repository, rule, settings, sql};
use crate::postgres_support::Postgres;
use jiff::Timestamp;
use serde_json::json;
use tidegate::config::database::Database;
use tidegate::core::limit::{Limit, LimitParts, Window};
use tidegate::core::spec::{DomainSettings, EffectSpec, HeaderFamilies, LimitSpec, RuleSpec};
use tidegate::rules::repository::postgres::newest_version;
use tidegate::rules::repository::{
    Change, Content, Override, Page, RepositoryError, Revision, RuleRepository as _, Subject,
};

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

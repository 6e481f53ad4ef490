//! Changes by others.

use crate::ground::{announced, commit, fresh, hasty, is_away, limit, patiently, put, repository, rule, sql};
use crate::postgres_support::Postgres;
use serde_json::json;
use std::time::{Duration, Instant};
use tidegate::rules::repository::{Page, Revision, RuleRepository as _};

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

//! Postgres is away, or not what is expected.

use std::time::{Duration, Instant};

use tidegate::anomaly::event::Verdict;
use tidegate::anomaly::findings::{Filter, Findings as _, FindingsError, Page};

use crate::postgres_support::{PATIENCE, Postgres as Server};
use crate::sample::{at, flag, review};
use crate::stand::migrated;

const DEADLINE: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_is_told_in_time() {
    let server = Server::start();
    let store = migrated(&server.url("postgres", "postgres"), DEADLINE).await;
    store.note(&[flag(1, 1)]).await.unwrap();
    server.sigstop();
    let page = Page { after: None, size: 10 };
    let begun = Instant::now();
    let said = review(Verdict::Dismissed, 1);
    let (events, all) = ([flag(2, 2)], Filter::default());
    let (noted, listed, got) = tokio::join!(store.note(&events), store.list(&all, page), store.get(1));
    let (reviewed, found, pruned) = tokio::join!(store.review(1, &said), store.reviewed(at(0)), store.prune(at(0), 10));
    // Two calls after another, each with two deadlines; a busy machine gets as much again.
    assert!(begun.elapsed() < 8 * DEADLINE, "{:?}", begun.elapsed());
    let failures = [noted.err(), listed.err(), got.err(), reviewed.err(), found.err(), pruned.err()];
    for failure in failures {
        assert!(matches!(failure, Some(FindingsError::Away(_))), "{failure:?}");
    }
    server.sigcont();
    // What was told to have failed may be repeated.
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = store.note(&[flag(2, 2)]).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let deadline = Instant::now() + PATIENCE;
    let finding = loop {
        match store.get(2).await {
            Ok(finding) => break finding.unwrap(),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert_eq!((finding.requests, finding.history.len()), (10, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_is_read_and_what_cannot_be_is_left_out() {
    let server = Server::shared();
    let database = server.database().await;
    let store = migrated(&server.socket_url(&database), PATIENCE).await;
    let sql = server.client(&database).await;
    let write = "INSERT INTO ai_ddos_detection (user_id, anomaly_score) VALUES ('ada', 0.9);
        INSERT INTO ai_ddos_detection (subject, anomaly_score, history) VALUES ('{\"client\": 7}', 0.9, '[]');
        INSERT INTO ai_ddos_detection (ip_address, anomaly_score, state) VALUES ('203.0.113.0/24', 0.8, 'ended')";
    sql.batch_execute(write).await.unwrap();
    let listed = store.list(&Filter::default(), Page { after: None, size: 2 }).await.unwrap();
    let subjects: Vec<_> = listed.findings.iter().map(|finding| finding.subject.to_string()).collect();
    assert_eq!(subjects, ["address 203.0.113.0"]);
    let rest = store.list(&Filter::default(), Page { after: listed.next, size: 2 }).await.unwrap();
    assert_eq!(rest.findings[0].subject.to_string(), "user ada");
    assert!(matches!(store.get(2).await, Err(FindingsError::Damaged(_))));
    let empty = server.database().await;
    let unmigrated = {
        let settings = tidegate::config::database::Database {
            url: tidegate::config::database::DatabaseUrl::new(server.socket_url(&empty)),
            ..Default::default()
        };
        let connector = tidegate::postgres::Connector::new(&settings).unwrap();
        tidegate::anomaly::findings::postgres::Postgres::new(connector.pool(&settings).unwrap(), &settings)
    };
    let refused = unmigrated.get(1).await.unwrap_err();
    assert!(matches!(&refused, FindingsError::Unusable(text) if text.contains("tidegate db migrate")), "{refused}");
}

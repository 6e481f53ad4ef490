//! What is particular to the embedded store.

use std::os::unix::fs::PermissionsExt as _;

use tidegate::anomaly::event::Kind;
use tidegate::anomaly::findings::embedded::Embedded;
use tidegate::anomaly::findings::{Filter, Findings as _, FindingsError};

use crate::sample::{event, flag, ids, user};

#[tokio::test]
async fn findings_are_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.findings.redb");
    let store = Embedded::open(&path).unwrap();
    store.note(&[flag(1, 1)]).await.unwrap();
    let kept = store.get(1).await.unwrap();
    let second = Embedded::open(&path).unwrap_err().to_string();
    assert!(second.contains("rules.findings.redb") && second.contains("already open"), "{second}");
    drop(store);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Embedded::open(&path).unwrap().get(1).await.unwrap(), kept);
}

#[tokio::test]
async fn what_is_no_store_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.findings.redb");
    std::fs::write(&path, "a letter to somebody, and long enough".repeat(100)).unwrap();
    let refused = Embedded::open(&path).unwrap_err();
    assert!(matches!(&refused, FindingsError::Unusable(text) if text.contains("move it away")), "{refused}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("a letter"));
}

#[tokio::test]
async fn of_too_many_those_that_ended_first_are_forgotten_first() {
    let store = Embedded::in_memory(5).unwrap();
    let end = |id: u64, second| event(id, second, user(&id.to_string()), Kind::Release);
    store.note(&[flag(1, 1), flag(2, 2), flag(3, 3), flag(4, 4), flag(5, 5), end(4, 10), end(2, 11)]).await.unwrap();
    store.note(&[flag(6, 12)]).await.unwrap();
    assert_eq!(ids(&store, Filter::default()).await, [6, 5, 3, 2, 1], "4 ended first");
    // What goes on after its end is not over.
    store.note(&[event(2, 13, user("2"), Kind::Flag), end(3, 14), flag(7, 15)]).await.unwrap();
    assert_eq!(ids(&store, Filter::default()).await, [7, 6, 5, 2, 1]);
    store.note(&[flag(8, 16)]).await.unwrap();
    assert_eq!(ids(&store, Filter::default()).await, [8, 7, 6, 5, 2], "when all are open, the oldest");
}

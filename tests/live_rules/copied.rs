//! Copies: where a replica starts while the repository is away, and what it follows then.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate::config::redis::RedisConnection;
use tidegate::redis::connect::Connector;
use tidegate::rules::copies::codec::Seal;
use tidegate::rules::copies::disk::Disk;
use tidegate::rules::copies::redis::RedisCopies;
use tidegate::rules::live::{Alarm, Copies, Source};
use tidegate::rules::repository::RuleRepository as _;

use crate::line::{Line, NEVER, Replica, change, commit, eventually, memory};
use crate::redis_support::Redis;

const OFTEN: Duration = Duration::from_millis(10);

fn seal() -> Seal {
    Seal::keyed(&[7; 32])
}

fn on_disk(directory: &Path) -> Option<Copies> {
    Some(Copies::new(seal(), Some(Disk::open(directory, seal()).unwrap()), None, true))
}

async fn in_redis(redis: &Redis) -> Option<Copies> {
    let connection = RedisConnection { urls: vec![redis.address()], ..RedisConnection::default() };
    let copies = RedisCopies::connect(Connector::new(&connection, Duration::from_secs(1)).unwrap(), "test", seal());
    copies.connected().await;
    Some(Copies::new(seal(), None, Some(copies), true))
}

/// Which revision the copy on disk has.
fn revision_on_disk(directory: &Path) -> Option<u64> {
    let found = Disk::open(directory, seal()).unwrap().look().ok().flatten();
    found.map(|found| found.standing.head.revision.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_starts_from_its_disk_while_the_repository_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let line = Line::to(memory(), false);
    let first = Replica::follow_with(&line, NEVER, on_disk(directory.path()));
    for amount in 1..=5 {
        let revision = commit(&*line, vec![change("a", Some(amount)), change("b", Some(amount + 100))]).await;
        first.reaches(revision).await;
        eventually("the copy has it", || revision_on_disk(directory.path()) == Some(revision)).await;
    }
    drop(first);
    line.cut(true);
    let second = Replica::follow_with(&line, OFTEN, on_disk(directory.path()));
    eventually("the copy is in force", || second.amount("a") == Some(5)).await;
    assert_eq!((second.amount("b"), second.source()), (Some(105), Some(Source::Disk)));

    // Back again, only what changed is asked for.
    let behind = line.behind.lock().unwrap().clone();
    let revision = commit(&behind, vec![change("a", Some(6))]).await;
    line.cut(false);
    second.reaches(revision).await;
    eventually("the repository is followed", || second.source() == Some(Source::Embedded)).await;
    assert_eq!(second.amount("a"), Some(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_does_not_take_a_replaced_database_for_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let line = Line::to(memory(), true);
    let first = Replica::follow_with(&line, OFTEN, on_disk(directory.path()));
    let revision = commit(&*line, vec![change("a", Some(1))]).await;
    first.reaches(revision).await;
    eventually("the copy has it", || revision_on_disk(directory.path()) == Some(revision)).await;
    drop(first);
    let empty = memory();
    line.replace(empty.clone());
    let second = Replica::follow_with(&line, OFTEN, on_disk(directory.path()));
    eventually("the alarm", || matches!(second.alarm(), Some(Alarm::OtherEpoch { .. }))).await;
    assert_eq!((second.amount("a"), second.source()), (Some(1), Some(Source::Disk)));
    let head = empty.accept("operator", None).await.unwrap();
    eventually("the empty one holds", || second.amount("a").is_none()).await;
    eventually("and is copied", || revision_on_disk(directory.path()) == Some(head.revision.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_replica_follows_the_copy_in_redis() {
    let redis = Redis::start();
    let repository = memory();
    let (near, far) = (Line::to(repository.clone(), false), Line::to(repository.clone(), false));
    let publisher = Replica::follow_with(&near, NEVER, in_redis(&redis).await);
    publisher.reaches(commit(&repository, vec![change("a", Some(1)), change("b", Some(2))]).await).await;

    // Cut off from its start, with nothing on disk.
    far.cut(true);
    let other = Replica::follow_with(&far, OFTEN, in_redis(&redis).await);
    eventually("the copy is in force", || other.amount("b") == Some(2)).await;
    assert_eq!(other.source(), Some(Source::Redis));
    for amount in 2..=10 {
        publisher.reaches(commit(&repository, vec![change("a", Some(amount))]).await).await;
        eventually("the change comes by Redis", || other.amount("a") == Some(amount)).await;
    }
    far.cut(false);
    eventually("the repository is followed again", || other.source() == Some(Source::Embedded)).await;
    assert_eq!((other.amount("a"), other.amount("b")), (Some(10), Some(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_an_operator_is_in_no_copy() {
    let (directory, redis) = (tempfile::tempdir().unwrap(), Redis::start());
    let line = Line::to(memory(), false);
    let first = Replica::follow_with(&line, OFTEN, on_disk(directory.path()));
    let second = Replica::follow_with(&line, OFTEN, in_redis(&redis).await);
    let names: Vec<String> = (0..30).map(|n| format!("user_id={n}")).collect();
    let full = commit(&*line, names.iter().map(|name| change(name, Some(5))).collect()).await;
    first.reaches(full).await;
    second.reaches(full).await;
    eventually("the copy has it", || revision_on_disk(directory.path()) == Some(full)).await;
    commit(&*line, names.iter().map(|name| change(name, None)).collect()).await;
    eventually("the alarm", || first.alarm().is_some() && second.alarm().is_some()).await;
    line.cut(true);
    let from_redis = Replica::follow_with(&line, OFTEN, in_redis(&redis).await);
    eventually("a start still has the rules", || from_redis.amount("user_id=7") == Some(5)).await;
    assert_eq!(revision_on_disk(directory.path()), Some(full));
    assert!(Arc::strong_count(&line) > 1);
}

//! What copies of a million rules cost: `cargo test --release --test rule_copies measure -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use tidegate::config::redis::RedisConnection;
use tidegate::redis::connect::Connector;
use tidegate::rules::copies::codec::{CopyBuilder, LogEntry, RuleCopy, Seal};
use tidegate::rules::copies::disk::{Appended, Disk};
use tidegate::rules::copies::redis::{Published, RedisCopies};
use tidegate::rules::repository::{Changes, Revision};

use crate::model::{NOW, head, rule};
use crate::redis_support::Redis;

pub const RULES: u64 = 1_000_000;

pub fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let from = Instant::now();
    let result = work();
    told(what, from.elapsed());
    result
}

pub fn told(what: &str, time: Duration) {
    println!("{what:<45} {:>10.2} ms", time.as_secs_f64() * 1e3);
}

pub fn million(seal: &Seal) -> RuleCopy {
    let mut builder = CopyBuilder::new(seal);
    let mut spent = Duration::ZERO;
    for user in 0..RULES {
        // As ids are: in no order, with little in common.
        let record = rule(user.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20, 1 + user % 1_000, Some(1 + user % 5_000));
        let from = Instant::now();
        builder.push(&record).unwrap();
        spent += from.elapsed();
    }
    let copy = timed("finish", || builder.finish(head(1_000), NOW).unwrap());
    told("build", spent);
    let title = copy.title();
    println!("{} records, {} parts, {} bytes", title.records, title.parts, copy.bytes());
    copy
}

pub fn one_change(seal: &Seal, revision: u64) -> LogEntry {
    let changes = Changes { head: head(revision), records: vec![rule(7, revision, Some(9))] };
    LogEntry::new(seal, Revision(revision - 1), &changes, NOW).unwrap()
}

#[test]
#[ignore = "a measurement"]
fn disk() {
    let seal = Seal::keyed(&[1; 32]);
    let directory = tempfile::tempdir_in(".").unwrap();
    let copy = million(&seal);
    let mut disk = Disk::open(directory.path(), seal.clone()).unwrap();
    timed("write", || disk.write(&copy).unwrap());
    drop(copy);
    timed("look", || disk.look().unwrap().unwrap());
    let mut count = 0;
    timed("load", || disk.load(&mut |_| count += 1).unwrap().unwrap());
    assert_eq!(count, RULES);
    let entries: Vec<_> = (1_001..1_101).map(|revision| one_change(&seal, revision)).collect();
    println!("one change: {} bytes", entries[0].piece.len());
    timed("append 100 changes", || {
        for entry in &entries {
            assert_eq!(disk.append(entry).unwrap(), Appended::Done);
        }
    });
    timed("compact", || disk.compact().unwrap());
}

#[tokio::test]
#[ignore = "a measurement"]
async fn redis() {
    let seal = Seal::keyed(&[1; 32]);
    let copy = million(&seal);
    let redis = Redis::start();
    let connection = RedisConnection { urls: vec![redis.address()], ..RedisConnection::default() };
    let connector = Connector::new(&connection, Duration::from_secs(1)).unwrap();
    let copies = RedisCopies::connect(connector, "test", seal.clone());
    copies.connected().await;
    let from = Instant::now();
    assert_eq!(copies.publish(&copy, None).await.unwrap(), Published::Done);
    told("publish", from.elapsed());
    println!("Redis uses {} bytes", redis.info("used_memory"));
    let from = Instant::now();
    for revision in 1_001..1_101 {
        assert_eq!(copies.append(&one_change(&seal, revision)).await.unwrap(), Published::Done);
    }
    told("append 100 changes", from.elapsed());
    let from = Instant::now();
    for revision in 1_000..1_100 {
        assert!(copies.changes_behind(head(revision)).await.unwrap().is_some());
    }
    told("read what changed, 100 times", from.elapsed());
    let from = Instant::now();
    let copy = copies.read().await.unwrap().unwrap();
    told("read all, seals checked", from.elapsed());
    let mut count = 0;
    timed("records of it", || copy.read(&seal, &mut |_| count += 1).unwrap());
    assert_eq!(count, RULES + 100);
}

//! The copy in Redis.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidegate::config::redis::{RedisConnection, Secret, Sentinel as SentinelSettings, Topology};
use tidegate::redis::connect::Connector;
use tidegate::rules::copies::codec::{CopyBuilder, CopyError, Place, RuleCopy, Seal};
use tidegate::rules::copies::redis::{LEASE, Published, RedisCopies, RedisCopyError};
use tidegate::rules::repository::{Epoch, Head, Revision};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::model::{self, NOW, State, apply, entry, entry_at, full, full_at, head, rule, state};
use crate::redis_support::{
    Cluster, Failover, Options, PATIENCE, Redis, SENTINEL_MASTER, Sentinel, slot_of, wait_until,
};

const HEAD: &str = "test_rules:{head}";
const LOG: &str = "test_rules:{head}:log";

fn seal() -> Seal {
    Seal::keyed(&[1; 32])
}

fn single(redis: &Redis) -> RedisConnection {
    RedisConnection { urls: vec![redis.address()], ..RedisConnection::default() }
}

fn clustered(cluster: &Cluster) -> RedisConnection {
    let urls = cluster.seeds().split(',').map(str::to_owned).collect();
    RedisConnection { topology: Topology::Cluster, urls, ..RedisConnection::default() }
}

fn watched(sentinel: &Sentinel) -> RedisConnection {
    let urls = sentinel.addresses().split(',').map(str::to_owned).collect();
    let named = SentinelSettings { master: SENTINEL_MASTER.to_owned(), ..SentinelSettings::default() };
    RedisConnection { topology: Topology::Sentinel, urls, sentinel: Some(named), ..RedisConnection::default() }
}

async fn replica_with(connection: &RedisConnection, seal: Seal) -> RedisCopies {
    let connector = Connector::new(connection, Duration::from_secs(1)).unwrap();
    let copies = RedisCopies::connect(connector, "test", seal);
    timeout(PATIENCE, copies.connected()).await.unwrap();
    copies
}

async fn replica(connection: &RedisConnection) -> RedisCopies {
    replica_with(connection, seal()).await
}

fn state_of(copy: &RuleCopy) -> (Head, State) {
    let mut state = State::new();
    let standing = copy.read(&seal(), &mut |record| apply(&mut state, record)).unwrap();
    (standing.head, state)
}

async fn assert_holds(copies: &RedisCopies, revision: u64) {
    let copy = copies.read().await.unwrap().unwrap();
    let (found, rules) = state_of(&copy);
    assert!(found == head(revision) && rules == state(revision), "{found:?} instead of revision {revision}");
    assert_eq!(copies.look().await.unwrap().unwrap().read(), Some((Epoch(0x00c0_ffee), Revision(revision))));
}

/// A copy of several parts.
fn large(revision: u64) -> RuleCopy {
    let seal = seal();
    let mut builder = CopyBuilder::new(&seal);
    (0..20_000).for_each(|user| builder.push(&rule(user, 1, Some(revision))).unwrap());
    let copy = builder.finish(head(revision), NOW).unwrap();
    assert!(copy.title().parts >= 4);
    copy
}

/// Everything that one replica writes and another reads.
async fn publishes_and_reads(connection: &RedisConnection) {
    let (publisher, reader) = (replica(connection).await, replica(connection).await);
    assert!(reader.read().await.unwrap().is_none() && reader.look().await.unwrap().is_none());
    assert!(reader.changes_behind(head(1)).await.unwrap().is_none() && !publisher.renew().await.unwrap());
    assert_eq!(publisher.append(&entry(&seal(), 2)).await.unwrap(), Published::NeedsCopy);

    assert_eq!(publisher.publish(&full(&seal(), 1), None).await.unwrap(), Published::Done);
    assert_holds(&reader, 1).await;
    for revision in 2..=60 {
        assert_eq!(publisher.append(&entry(&seal(), revision)).await.unwrap(), Published::Done);
    }
    assert_holds(&reader, 60).await;
    assert_eq!(publisher.append(&entry(&seal(), 60)).await.unwrap(), Published::Known);
    assert_eq!(publisher.append(&entry(&seal(), 62)).await.unwrap(), Published::NeedsCopy);

    // What is new, behind any revision.
    for known in [1, 2, 27, 28, 29, 57, 58, 59, 60] {
        let changes = reader.changes_behind(head(known)).await.unwrap().unwrap();
        let mut found = state(known);
        assert!(
            changes.records.is_sorted_by_key(|record| record.revision) && changes.records.len() <= 60 - known as usize
        );
        changes.records.into_iter().for_each(|record| apply(&mut found, record));
        assert_eq!((changes.head, found), (head(60), state(60)), "behind {known}");
    }
    assert!(reader.changes_behind(head(0)).await.unwrap().is_none());
    assert!(reader.changes_behind(model::other(59)).await.unwrap().is_none());
    assert_eq!(reader.changes_behind(head(99)).await.unwrap().unwrap().head, head(99));

    // A new full copy ends the log; a copy with changes begins one.
    let with_changes = reader.read().await.unwrap().unwrap();
    assert_eq!(publisher.publish(&full(&seal(), 60), None).await.unwrap(), Published::Done);
    assert!(reader.read().await.unwrap().unwrap().changes().is_empty());
    assert!(reader.changes_behind(head(59)).await.unwrap().is_none());
    assert_eq!(publisher.publish(&with_changes, None).await.unwrap(), Published::Done);
    assert_eq!(publisher.append(&entry(&seal(), 61)).await.unwrap(), Published::Done);
    assert_holds(&reader, 61).await;
    assert!(publisher.renew().await.unwrap());

    // An older one, or another history, stays away, unless it is told what to replace.
    let older = publisher.publish(&full(&seal(), 60), None).await.unwrap();
    let Published::Other(claim) = older else { panic!("{older:?}") };
    assert_eq!(claim.to_string(), "revision 61 of epoch 00000000000000000000000000c0ffee");
    let other = full_at(&seal(), model::other(5));
    assert_eq!(publisher.publish(&other, None).await.unwrap(), Published::Other(claim.clone()));
    assert_eq!(publisher.append(&entry_at(&seal(), model::other(62))).await.unwrap(), Published::Other(claim.clone()));
    assert_holds(&reader, 61).await;
    assert_eq!(publisher.append(&entry(&seal(), 62)).await.unwrap(), Published::Done);
    let moved = publisher.publish(&other, Some(&claim)).await.unwrap();
    let Published::Other(claim) = moved else { panic!("{moved:?}") };
    assert_eq!(publisher.publish(&other, Some(&claim)).await.unwrap(), Published::Done);
    assert_eq!(reader.read().await.unwrap().unwrap().standing().head, model::other(5));

    // Many parts.
    let claim = reader.look().await.unwrap();
    let large = large(70);
    assert_eq!(publisher.publish(&large, claim.as_ref()).await.unwrap(), Published::Done);
    let read = reader.read().await.unwrap().unwrap();
    assert!(read.pieces().eq(large.pieces()));
}

#[tokio::test]
async fn on_one_server() {
    publishes_and_reads(&single(&Redis::start())).await;
}

#[tokio::test]
async fn on_a_cluster() {
    publishes_and_reads(&clustered(&Cluster::start(3, 0))).await;
}

#[tokio::test]
async fn behind_sentinels_also_after_a_failover() {
    let sentinel = Sentinel::start();
    let connection = watched(&sentinel);
    publishes_and_reads(&connection).await;
    let copies = replica(&connection).await;
    sentinel.primary().command(&["WAIT", "1", "5000"]);
    sentinel.failover();
    // What the old primary still takes is lost, and so is the connection; the next attempt finds the new one.
    let is_there = async || {
        let claim = copies.look().await.ok()?;
        copies.publish(&full(&seal(), 80), claim.as_ref()).await.ok()?;
        let read = replica(&connection).await.read().await.ok()??;
        (read.standing().head == head(80)).then_some(())
    };
    until(is_there).await;
    assert_holds(&replica(&connection).await, 80).await;
}

/// Waits until something is there.
async fn until<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "still not so after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_cluster_may_move_slots_and_lose_a_primary() {
    let cluster = Cluster::start(3, 1);
    let copies = replica(&clustered(&cluster)).await;
    assert_eq!(copies.publish(&large(1), None).await.unwrap(), Published::Done);
    let slot = slot_of(HEAD);
    let other = cluster.primary_of((slot + 8_000) % 16_384);
    cluster.migrate_slot(slot, other);
    assert_eq!(copies.append(&entry(&seal(), 2)).await.unwrap(), Published::Done);
    assert_eq!(copies.read().await.unwrap().unwrap().standing().head, head(2));
    cluster.failover(slot, Failover::Graceful);
    let done = until(async || copies.append(&entry(&seal(), 3)).await.ok()).await;
    assert!(matches!(done, Published::Done | Published::Known), "{done:?}");
    let copy = until(async || copies.read().await.ok()).await.unwrap();
    assert_eq!(copy.standing().head, head(3));
}

#[tokio::test]
async fn parts_are_spread_and_expire() {
    let cluster = Cluster::start(3, 0);
    let copies = replica(&clustered(&cluster)).await;
    let keys = || -> Vec<(String, i64)> {
        let lifetimes = |node: &crate::redis_support::Node| {
            let keys = node.command(&["KEYS", "test_rules:*"]).array();
            let keys = keys.into_iter().map(crate::redis_support::Reply::text);
            keys.map(|key| (key.clone(), node.command(&["TTL", &key]).integer())).collect::<Vec<_>>()
        };
        let all: Vec<_> = cluster.nodes().iter().map(lifetimes).collect();
        assert!(all.iter().all(|keys| !keys.is_empty()), "{all:?}");
        all.concat()
    };
    let first = large(1);
    copies.publish(&first, None).await.unwrap();
    let (day, parts) = (86_400, first.title().parts as usize);
    assert_eq!(keys().len(), 1 + parts);
    assert!(keys().iter().all(|(_, lifetime)| *lifetime > 29 * day));
    let second = large(2);
    copies.publish(&second, None).await.unwrap();
    let id = format!("{:032x}", first.title().id);
    let (old, new): (Vec<_>, Vec<_>) = keys().into_iter().partition(|(key, _)| key.contains(&id));
    assert!(old.len() == parts && old.iter().all(|(_, lifetime)| (1..=600).contains(lifetime)), "{old:?}");
    assert!(new.iter().all(|(_, lifetime)| *lifetime > 29 * day));
}

#[tokio::test]
async fn one_leads_until_it_resigns_or_is_silent() {
    let redis = Redis::start();
    let (first, second) = (replica(&single(&redis)).await, replica(&single(&redis)).await);
    assert!(first.lead().await.unwrap() && !second.lead().await.unwrap() && first.lead().await.unwrap());
    let left = redis.command(&["PTTL", "test_rules:{head}:publisher"]).integer();
    assert!(left > 0 && left <= i64::try_from(LEASE.as_millis()).unwrap());
    second.resign().await.unwrap();
    assert!(!second.lead().await.unwrap());
    first.resign().await.unwrap();
    assert!(second.lead().await.unwrap() && !first.lead().await.unwrap());
    // Silence, without waiting for it.
    redis.command(&["PEXPIRE", "test_rules:{head}:publisher", "1"]);
    wait_until("the lease is over", || redis.command(&["EXISTS", "test_rules:{head}:publisher"]).integer() == 0);
    assert!(first.lead().await.unwrap());
}

async fn hears_of_changes(connection: &RedisConnection, cut: impl FnOnce()) {
    let (publisher, reader) = (replica(connection).await, replica(connection).await);
    let (told, mut hints) = watch::channel(Some((Epoch(0), Revision(0))));
    let listening = tokio::spawn(reader.listen(told));
    timeout(PATIENCE, hints.wait_for(Option::is_none)).await.unwrap().unwrap();
    publisher.publish(&full(&seal(), 1), None).await.unwrap();
    let mut slowest = Duration::ZERO;
    for revision in 1..=20 {
        if revision > 1 {
            let from = Instant::now();
            publisher.append(&entry(&seal(), revision)).await.unwrap();
            let hint = (head(revision).epoch, Revision(revision));
            timeout(PATIENCE, hints.wait_for(|told| *told == Some(hint))).await.unwrap().unwrap();
            slowest = slowest.max(from.elapsed());
        }
    }
    println!("told of a change within {slowest:?}");
    hints.mark_unchanged();
    cut();
    // It may have missed something, says so, and goes on.
    timeout(PATIENCE, hints.wait_for(Option::is_none)).await.unwrap().unwrap();
    until(async || publisher.append(&entry(&seal(), 21)).await.ok()).await;
    let hint = Some((head(21).epoch, Revision(21)));
    timeout(PATIENCE, hints.wait_for(|told| *told == hint)).await.unwrap().unwrap();
    listening.abort();
}

#[tokio::test]
async fn replicas_hear_of_changes() {
    let redis = Redis::start();
    hears_of_changes(&single(&redis), || drop(redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]))).await;
}

#[tokio::test]
async fn replicas_hear_of_changes_in_a_cluster() {
    let cluster = Cluster::start(3, 0);
    let cut = || cluster.nodes().iter().for_each(|node| drop(node.command(&["CLIENT", "KILL", "TYPE", "pubsub"])));
    hears_of_changes(&clustered(&cluster), cut).await;
}

/// Copies are read while others replace them, and changes are appended: every one is a revision that was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_was_one_revision() {
    let redis = Redis::start();
    let connection = single(&redis);
    let publishers = [replica(&connection).await, replica(&connection).await];
    let reader = replica(&connection).await;
    publishers[0].publish(&full(&seal(), 1), None).await.unwrap();
    static OVER: AtomicBool = AtomicBool::new(false);
    // Two who both believe to be the publisher.
    let writing = publishers.map(|publisher| {
        tokio::spawn(async move {
            let mut revision = 1;
            while !OVER.load(Ordering::Relaxed) {
                let published = match revision % 3 {
                    0 => publisher.publish(&full(&seal(), revision + 1), None).await.unwrap(),
                    _ => publisher.append(&entry(&seal(), revision + 1)).await.unwrap(),
                };
                match published {
                    Published::Other(claim) => revision = claim.read().unwrap().1.0,
                    Published::NeedsCopy => drop(publisher.publish(&full(&seal(), revision), None).await.unwrap()),
                    Published::Done | Published::Known => revision += 1,
                }
            }
            revision
        })
    });
    let mut newest = 1;
    while newest < 400 {
        match reader.read().await {
            Ok(copy) => {
                let (Head { revision: Revision(revision), .. }, found) = state_of(&copy.unwrap());
                assert!(revision >= newest, "{revision} after {newest}");
                assert_eq!(found, state(revision));
                newest = revision;
            }
            Err(error) => assert!(matches!(error, RedisCopyError::Restless), "{error}"),
        }
    }
    OVER.store(true, Ordering::Relaxed);
    for writing in writing {
        assert!(writing.await.unwrap() >= 400);
    }
}

/// What somebody may do who can write to Redis, but has not the key.
#[tokio::test]
async fn write_access_to_redis_is_no_write_access_to_rules() {
    let redis = Redis::start();
    let copies = replica(&single(&redis)).await;
    copies.publish(&full(&seal(), 3), None).await.unwrap();
    copies.append(&entry(&seal(), 4)).await.unwrap();
    let refused = async || match copies.read().await.unwrap_err() {
        RedisCopyError::Copy(error) => error,
        error => panic!("{error}"),
    };

    // Their own change, or copy.
    let forged = Seal::CHECKSUM;
    redis.command(&[b"RPUSH".to_vec(), LOG.into(), entry(&forged, 5).piece.to_vec()]).integer();
    assert_eq!(refused().await, CopyError::Unauthenticated(Place::Change(1)));
    redis.command(&["RPOP", LOG]);
    redis.command(&[b"RPUSH".to_vec(), LOG.into(), entry(&Seal::keyed(&[2; 32]), 5).piece.to_vec()]).integer();
    assert_eq!(refused().await, CopyError::NotAuthentic(Place::Change(1)));
    redis.command(&["RPOP", LOG]);
    let attacker = replica_with(&single(&redis), forged.clone()).await;
    let claim = attacker.look().await.unwrap();
    attacker.publish(&full(&forged, 9), claim.as_ref()).await.unwrap();
    assert_eq!(refused().await, CopyError::Unauthenticated(Place::Title));
    let claim = copies.look().await.unwrap();
    copies.publish(&full(&seal(), 4), claim.as_ref()).await.unwrap();

    // Genuine changes elsewhere: repeated, they change nothing; with a gap they are refused.
    redis.command(&[b"RPUSH".to_vec(), LOG.into(), entry(&seal(), 3).piece.to_vec()]).integer();
    assert_holds(&copies, 4).await;
    redis.command(&[b"RPUSH".to_vec(), LOG.into(), entry(&seal(), 6).piece.to_vec()]).integer();
    assert!(matches!(refused().await, CopyError::Gap { .. }));
    redis.command(&["DEL", LOG]);
    // A head that boasts.
    redis.command(&["HSET", HEAD, "revision", "999"]);
    let error = copies.read().await.unwrap_err().to_string();
    assert_eq!(error, "in Redis: the head names revision 999, but the copy ends at 4");
    redis.command(&["HSET", HEAD, "revision", "x"]);
    assert!(copies.read().await.is_err());
    let claim = copies.look().await.unwrap().unwrap();
    assert_eq!(claim.read(), None);
    // Whatever it is, it can be named and replaced.
    let copy = full(&seal(), 4);
    assert_eq!(copies.publish(&copy, Some(&claim)).await.unwrap(), Published::Done);
    assert_holds(&copies, 4).await;
    // A part that is gone, or another's.
    let part = format!("test_rules:{}:4:{:032x}:0", head(4).epoch, copy.title().id);
    redis.command(&["SET", &part, "nonsense"]);
    assert_eq!(refused().await, CopyError::Truncated(Place::Part(0)));
    redis.command(&["DEL", &part]);
    let error = copies.read().await.unwrap_err();
    assert!(matches!(error, RedisCopyError::Missing(0)), "{error}");
    assert!(!copies.renew().await.unwrap());
}

/// Both documents together say what a user may do; nothing more is needed.
#[tokio::test]
async fn the_documented_permissions_are_enough() {
    let redis_md = include_str!("../../docs/redis.md");
    let storage_md = include_str!("../../docs/rules-storage.md");
    let counters = redis_md.lines().find_map(|line| line.strip_prefix("user tidegate on >secret ")).unwrap();
    let copies = storage_md.lines().find(|line| line.starts_with("~rate_limit_rules:*")).unwrap();
    let rules = format!("{counters} {copies}").replace("rate_limit", "test");
    let rules: Vec<_> = rules.split(' ').collect();
    let redis = Options::new().user("tidegate", "secret", &rules).start();
    let (username, password) = (Some("tidegate".to_owned()), Some(Secret::new("secret")));
    let connection = RedisConnection { username, password, ..single(&redis) };
    let copies = replica(&connection).await;
    assert!(copies.lead().await.unwrap());
    copies.publish(&full(&seal(), 1), None).await.unwrap();
    copies.append(&entry(&seal(), 2)).await.unwrap();
    assert!(copies.renew().await.unwrap());
    assert_holds(&copies, 2).await;
    assert!(copies.changes_behind(head(1)).await.unwrap().is_some());
    copies.resign().await.unwrap();
    let (told, mut hints) = watch::channel(Some((Epoch(0), Revision(0))));
    let listening = tokio::spawn(copies.listen(told));
    timeout(PATIENCE, hints.wait_for(Option::is_none)).await.unwrap().unwrap();
    listening.abort();
}

#[tokio::test]
async fn a_log_is_bounded() {
    let redis = Redis::start();
    let copies = replica(&single(&redis)).await;
    copies.publish(&full(&seal(), 1), None).await.unwrap();
    let mut revision = 1;
    loop {
        match copies.append(&entry(&seal(), revision + 1)).await.unwrap() {
            Published::Done => revision += 1,
            Published::NeedsCopy => break,
            other => panic!("{other:?}"),
        }
    }
    let (changes, bytes) = (redis.command(&["LLEN", LOG]).integer(), redis.command(&["HGET", HEAD, "log"]).text());
    let is_full = bytes.parse::<usize>().unwrap() > (1 << 20) - 1_000;
    assert!(changes + 1 == i64::try_from(revision).unwrap() && (is_full || changes == 4_096), "{changes} {bytes}");
    assert_holds(&copies, revision).await;
    assert_eq!(copies.publish(&full(&seal(), revision + 1), None).await.unwrap(), Published::Done);
    assert_eq!(copies.append(&entry(&seal(), revision + 2)).await.unwrap(), Published::Done);
}

#[tokio::test]
async fn without_redis_there_is_an_error_in_time() {
    let redis = Redis::start();
    let copies = replica(&single(&redis)).await;
    redis.sigkill();
    let error = until(async || copies.read().await.err()).await;
    assert!(matches!(error, RedisCopyError::NotConnected | RedisCopyError::Redis(_)), "{error}");
    redis.restart();
    let read = until(async || copies.read().await.ok()).await;
    assert!(read.is_none());
}

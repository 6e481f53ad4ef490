//! One has the seat, and only it may write what only it may write.

use std::time::{Duration, Instant};

use tidegate::anomaly::bus::redis::LEASE;
use tidegate::anomaly::bus::{Bus, BusError, Position};

use crate::contract::deeds;
use crate::redis_support::{Cluster, Failover, Redis, Reply, slot_of};
use crate::sample::{checkpoint, event, feedback, standing};
use crate::server_support::eventually;
use crate::stand::{SEAT, bus, clustered, pair};

#[tokio::test]
async fn one_has_it_until_it_resigns() {
    let redis = Redis::start();
    let (first, second) = pair(&redis).await;
    assert!(first.lead().await.unwrap() && !second.lead().await.unwrap() && first.lead().await.unwrap());
    let left = redis.command(&["PTTL", SEAT]).integer();
    assert!(left > 0 && left <= i64::try_from(LEASE.as_millis()).unwrap());
    second.resign().await.unwrap();
    assert!(!second.lead().await.unwrap(), "nobody gives up another's");
    first.resign().await.unwrap();
    assert!(second.lead().await.unwrap() && !first.lead().await.unwrap());
}

#[tokio::test]
async fn another_takes_it_when_its_holder_is_silent() {
    let redis = Redis::start();
    let (first, second) = pair(&redis).await;
    assert!(first.lead().await.unwrap());
    let from = Instant::now();
    drop(first);
    assert!(!second.lead().await.unwrap());
    eventually("the seat is taken", async || second.lead().await.unwrap()).await;
    println!("the seat was taken {:?} after its holder's last word", from.elapsed());
    assert!(from.elapsed() < Duration::from_millis(1_500), "{:?}", from.elapsed());
}

/// One who was paused while it had the seat, and wakes when another has it, or nobody.
#[tokio::test]
async fn who_lost_it_writes_nothing() {
    let redis = Redis::start();
    let (paused, other) = pair(&redis).await;
    for nobody in [true, false] {
        assert!(paused.lead().await.unwrap());
        let before = paused.tell(vec![event(1)]).await.unwrap().unwrap();
        paused.leave_standing(&standing(1)).await.unwrap();
        paused.leave_checkpoint(&checkpoint(3 << 20, 1)).await.unwrap();
        redis.command(&["DEL", SEAT]);
        if !nobody {
            assert!(other.lead().await.unwrap());
        }
        assert_eq!(paused.tell(vec![event(2)]).await.unwrap(), None);
        assert_eq!(paused.tell(vec![feedback(3), event(2)]).await.unwrap(), None, "all or none");
        assert!(matches!(paused.leave_standing(&standing(2)).await, Err(BusError::Unseated)));
        assert!(matches!(paused.leave_checkpoint(&checkpoint(2 << 20, 2)).await, Err(BusError::Unseated)));
        assert!(other.deeds(before, Duration::ZERO).await.unwrap().items.is_empty());
        assert_eq!(other.standing().await.unwrap().unwrap(), standing(1));
        assert!(other.checkpoint().await.unwrap().unwrap() == checkpoint(3 << 20, 1));
        assert!(paused.tell(vec![feedback(3)]).await.unwrap().is_some());
        other.resign().await.unwrap();
    }
    // Nothing of what was refused is left over: of one checkpoint there are 4 parts, of two 8, until the first's end.
    let keys = redis.command(&["KEYS", "test_anomaly:checkpoint:*"]).array();
    assert!(keys.len() <= 8, "{keys:?}");
}

/// How long it takes from one replica to another.
#[tokio::test]
async fn deeds_travel_within_the_time_between_two_looks() {
    let redis = Redis::start();
    let (teller, reader) = pair(&redis).await;
    assert!(teller.lead().await.unwrap());
    let (mut since, mut times) = (Position::START, Vec::new());
    for number in 0..30 {
        assert!(teller.lead().await.unwrap());
        let reading = async {
            let found = deeds(&reader, 1, since).await;
            (found[0].clone(), Instant::now())
        };
        let telling = async {
            // At any point of the reader's rest.
            tokio::time::sleep(Duration::from_millis(number * 7 % 100)).await;
            let from = Instant::now();
            teller.tell(vec![event(number)]).await.unwrap();
            from
        };
        let (((at, deed), then), from) = tokio::join!(reading, telling);
        assert_eq!(deed, event(number));
        since = at;
        times.push(then - from);
    }
    times.sort();
    println!("a deed travels {:?} in the middle, {:?} at most", times[times.len() / 2], times[times.len() - 1]);
    assert!(times[times.len() / 2] < Duration::from_millis(500), "{times:?}");
}

#[tokio::test]
async fn a_cluster_may_fail_over() {
    let cluster = Cluster::start(3, 1);
    let bus = bus(&clustered(&cluster)).await;
    assert!(bus.lead().await.unwrap());
    let before = bus.tell(vec![event(1)]).await.unwrap().unwrap();
    cluster.primary_of(slot_of(SEAT)).command(&["WAIT", "1", "5000"]);
    cluster.failover(slot_of(SEAT), Failover::Graceful);
    eventually("the seat is had again", async || bus.lead().await.unwrap_or_default()).await;
    let told = async || matches!((bus.lead().await, bus.tell(vec![event(2)]).await), (Ok(true), Ok(Some(_))));
    eventually("a deed is told again", told).await;
    assert_eq!(deeds(&bus, 1, before).await[0].1, event(2));
    eventually("a checkpoint is left", async || bus.leave_checkpoint(&checkpoint(2 << 20, 1)).await.is_ok()).await;
    assert!(bus.checkpoint().await.unwrap().is_some());
    assert!(matches!(cluster.primary_of(slot_of(SEAT)).command(&["EXISTS", SEAT]), Reply::Integer(_)));
}

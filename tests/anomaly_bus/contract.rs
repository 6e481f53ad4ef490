//! What every bus does. `sender` and `reader` may be two replicas, or one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate::anomaly::bus::{Bus, BusError, Deed, MOST_BATCH_BYTES, Part, Position};
use tidegate::seal::Seal;

use crate::redis_support::{Cluster, PATIENCE, Redis, Sentinel};
use crate::sample::{checkpoint, event, feedback, noise, standing};
use crate::stand::{bus, bus_with, clustered, single, watched};

/// Everything behind a position, until there are so many.
pub async fn all<T>(count: usize, mut since: Position, read: impl AsyncFn(Position) -> Part<T>) -> Vec<(Position, T)> {
    let (mut found, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while found.len() < count {
        let part = read(since).await;
        assert!(!part.gap && part.upto >= since && part.items.iter().all(|(at, _)| *at > since && *at <= part.upto));
        since = part.upto;
        found.extend(part.items);
        assert!(Instant::now() < deadline, "{} of {count}", found.len());
    }
    found
}

pub async fn batches(bus: &impl Bus, count: usize, since: Position) -> Vec<(Position, Bytes)> {
    all(count, since, async |since| bus.receive(since, Duration::from_secs(1)).await.unwrap()).await
}

pub async fn deeds(bus: &impl Bus, count: usize, since: Position) -> Vec<(Position, Deed)> {
    all(count, since, async |since| bus.deeds(since, Duration::from_secs(1)).await.unwrap()).await
}

pub async fn keeps_its_promises(sender: &impl Bus, reader: &impl Bus) {
    let nothing = reader.receive(Position::START, Duration::ZERO).await.unwrap();
    assert_eq!((nothing.items.len(), nothing.gap, nothing.upto), (0, false, Position::START));
    assert_eq!((reader.standing().await.unwrap(), reader.checkpoint().await.unwrap()), (None, None));

    // Batches, in order; small ones, empty ones, the largest.
    let sent: Vec<_> = (0..100).map(|number| noise(number * 7, number as u64)).collect();
    for batch in &sent {
        sender.send(batch.clone()).await.unwrap();
    }
    sender.send(noise(MOST_BATCH_BYTES, 7)).await.unwrap();
    let too_large = sender.send(noise(MOST_BATCH_BYTES + 1, 7)).await.unwrap_err();
    assert!(matches!(too_large, BusError::TooLarge { most: MOST_BATCH_BYTES, .. }), "{too_large}");
    let found = batches(reader, 101, Position::START).await;
    assert!(found.is_sorted_by(|(a, _), (b, _)| a < b));
    assert!(found[..100].iter().map(|(_, batch)| batch).eq(&sent) && found[100].1 == noise(MOST_BATCH_BYTES, 7));
    assert_eq!(batches(reader, 41, found[59].0).await, found[60..], "from any position");

    // It waits for the first, and no longer than it is asked to.
    let last = found[100].0;
    let from = Instant::now();
    let nothing = reader.receive(last, Duration::from_millis(150)).await.unwrap();
    assert_eq!((nothing.items.len(), nothing.gap, nothing.upto), (0, false, last));
    assert!(from.elapsed() >= Duration::from_millis(150));
    let (part, ()) = tokio::join!(async { reader.receive(last, PATIENCE).await.unwrap() }, async {
        tokio::task::yield_now().await;
        sender.send("late".into()).await.unwrap();
    });
    assert!(part.items.len() == 1 && part.items[0].1 == "late" && from.elapsed() < PATIENCE);

    // Deeds.
    assert!(sender.lead().await.unwrap());
    let told: Vec<_> = (0..50).map(event).chain([feedback(7)]).collect();
    let at = sender.tell(told.clone()).await.unwrap().unwrap();
    assert!(sender.lead().await.unwrap());
    let next = sender.tell(vec![event(51)]).await.unwrap().unwrap();
    let found = deeds(reader, 52, Position::START).await;
    assert!(found.is_sorted_by_key(|(at, _)| *at) && next > at);
    assert_eq!((found[50].0, found[51].0), (at, next));
    assert!(found.iter().map(|(_, deed)| deed).eq(told.iter().chain([&event(51)])));
    assert_eq!(deeds(reader, 1, at).await, [(next, event(51))]);
    assert!(reader.tell(vec![feedback(8)]).await.unwrap().is_some(), "feedback comes from anybody");
    assert_eq!(deeds(reader, 1, next).await[0].1, feedback(8));

    // Thousands at once.
    assert!(sender.lead().await.unwrap());
    let many: Vec<_> = (0..5_000).map(event).collect();
    let from = reader.deeds(next, Duration::ZERO).await.unwrap().upto;
    assert!(sender.tell(many.clone()).await.unwrap().is_some());
    assert!(deeds(reader, 5_000, from).await.iter().map(|(_, deed)| deed).eq(&many));

    // What is left.
    for count in [0, 1, 30_000] {
        sender.lead().await.unwrap();
        sender.leave_standing(&standing(count)).await.unwrap();
        assert_eq!(reader.standing().await.unwrap().unwrap(), standing(count));
    }
    for bytes in [0, 1, (1 << 20) - 116, 1 << 20, 5 << 20] {
        sender.lead().await.unwrap();
        sender.leave_checkpoint(&checkpoint(bytes, 9)).await.unwrap();
        assert!(reader.checkpoint().await.unwrap().unwrap() == checkpoint(bytes, 9), "{bytes}");
    }
    sender.resign().await.unwrap();
}

#[tokio::test]
async fn on_one_server() {
    let redis = Redis::start();
    keeps_its_promises(&bus(&single(&redis)).await, &bus(&single(&redis)).await).await;
}

#[tokio::test]
async fn on_one_server_without_a_key() {
    let redis = Redis::start();
    let [sender, reader] = [(); 2].map(|()| bus_with(&single(&redis), Seal::CHECKSUM));
    keeps_its_promises(&sender.await, &reader.await).await;
}

#[tokio::test]
async fn on_a_cluster() {
    let cluster = Cluster::start(3, 0);
    keeps_its_promises(&bus(&clustered(&cluster)).await, &bus(&clustered(&cluster)).await).await;
}

#[tokio::test]
async fn behind_sentinels() {
    let sentinel = Sentinel::start();
    keeps_its_promises(&bus(&watched(&sentinel)).await, &bus(&watched(&sentinel)).await).await;
}

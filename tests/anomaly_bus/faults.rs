//! What Redis, and whoever may write in it, may do.

use std::time::{Duration, Instant};

use tidegate::anomaly::bus::redis::{OBSERVATIONS_BYTES, RedisBus};
use tidegate::anomaly::bus::{Bus, BusError, Position};
use tidegate::config::redis::{RedisConnection, Secret};
use tidegate::seal::Seal;
use tokio::time::timeout;

use crate::contract::{batches, deeds, keeps_its_promises};
use crate::redis_support::{Options, Redis, Reply};
use crate::sample::{checkpoint, event, feedback, noise, standing};
use crate::server_support::eventually;
use crate::stand::{DEEDS, OBSERVATIONS, bus, bus_with, pair, seated, single};

fn length(redis: &Redis, stream: &str) -> i64 {
    let sizes = redis.command(&["LLEN", &format!("{stream}:sizes")]).integer();
    let entries = redis.command(&["XLEN", stream]).integer();
    assert_eq!(entries, sizes);
    entries
}

async fn sends(bus: &RedisBus, batches: std::ops::Range<u8>) {
    for batch in batches {
        bus.send(vec![batch; 10].into()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_too_old_goes_and_whoever_asks_for_it_is_told() {
    let redis = Redis::start();
    let (sender, reader) = pair(&redis).await;
    sends(&sender, 0..10).await;
    let found = batches(&reader, 10, Position::START).await;
    assert_eq!(length(&redis, OBSERVATIONS), 10);
    // The first four, and one of them that others are behind, came a minute ago.
    for (index, (at, _)) in found[..4].iter().enumerate() {
        let (old, before) = (at.millis - 60_000, index * 10);
        redis.command(&["LSET", &format!("{OBSERVATIONS}:sizes"), &index.to_string(), &format!("{old} {before}")]).ok();
    }
    sends(&sender, 10..11).await;
    assert_eq!(length(&redis, OBSERVATIONS), 7);
    let part = reader.receive(found[1].0, Duration::ZERO).await.unwrap();
    assert!(part.gap && part.items.len() == 7 && part.items[0] == found[4], "{part:?}");
    assert_eq!(batches(&reader, 7, found[3].0).await[..6], found[4..], "what is gone was the last that was seen");
    assert!(reader.receive(Position::START, Duration::ZERO).await.unwrap().gap, "the first of all is gone");
    assert_eq!(batches(&reader, 1, found[9].0).await[0].1[..], [10; 10]);
}

#[tokio::test]
async fn what_is_too_much_goes() {
    let redis = Redis::start();
    let (sender, reader) = pair(&redis).await;
    sends(&sender, 0..4).await;
    // As if the first three took nearly all the room.
    let state = format!("{OBSERVATIONS}:state");
    let bytes: usize = redis.command(&["HGET", &state, "bytes"]).text().parse().unwrap();
    let sizes = format!("{OBSERVATIONS}:sizes");
    for index in 1..4 {
        let entry = redis.command(&["LINDEX", &sizes, &index.to_string()]).text();
        let (at, before) = entry.split_once(' ').unwrap();
        let before = before.parse::<usize>().unwrap() + OBSERVATIONS_BYTES - 1_000;
        redis.command(&["LSET", &sizes, &index.to_string(), &format!("{at} {before}")]).ok();
    }
    redis.command(&["HSET", &state, "bytes", &(bytes + OBSERVATIONS_BYTES - 1_000).to_string()]);
    sends(&sender, 4..5).await;
    assert_eq!(length(&redis, OBSERVATIONS), 5, "there is room");
    sender.send(noise(1_000, 1)).await.unwrap();
    assert_eq!(length(&redis, OBSERVATIONS), 5, "the first gave way");
    assert_eq!(reader.receive(Position::START, Duration::ZERO).await.unwrap().items[0].1[..], [1; 10]);
}

#[tokio::test]
async fn of_deeds_some_thousands_are_kept() {
    let redis = Redis::start();
    let bus = bus(&single(&redis)).await;
    for incident in 0..4_200 {
        bus.tell(vec![feedback(incident)]).await.unwrap().unwrap();
    }
    assert_eq!(length(&redis, DEEDS), 4_096);
    let part = bus.deeds(Position::START, Duration::ZERO).await.unwrap();
    assert!(part.gap && part.items[0].1 == feedback(104), "{:?}", part.items[0]);
    for key in [DEEDS, &format!("{DEEDS}:sizes"), &format!("{DEEDS}:state"), OBSERVATIONS] {
        let lifetime = redis.command(&["TTL", key]).integer();
        assert!(lifetime > 0 || key == OBSERVATIONS, "{key} {lifetime}");
    }
}

#[tokio::test]
async fn what_is_not_ours_is_left_out_and_counted() {
    let redis = Redis::start();
    let (bus, other) = (bus(&single(&redis)).await, bus_with(&single(&redis), Seal::CHECKSUM).await);
    sends(&bus, 0..2).await;
    redis.command(&["XADD", OBSERVATIONS, "*", "some", "thing"]);
    redis.command(&["XADD", OBSERVATIONS, "*", "after", "nonsense", "entry", "x"]);
    redis.command(&["XADD", OBSERVATIONS, "*", "\u{0}", ""]);
    sends(&bus, 2..3).await;
    sends(&other, 3..4).await;
    sends(&bus, 4..5).await;
    let found = batches(&bus, 4, Position::START).await;
    let first: Vec<_> = found.iter().map(|(_, batch)| batch[0]).collect();
    assert_eq!(first, [0, 1, 2, 4]);
    assert!(bus.damaged() >= 2, "{}", bus.damaged());
    let seen = bus.damaged();

    // A genuine envelope in another's place; one that is nearly genuine.
    let genuine = |stream: &str| {
        let entries = redis.command(&["XRANGE", stream, "-", "+", "COUNT", "1"]).array();
        let fields = entries.into_iter().next().unwrap().array().pop().unwrap().array();
        fields.into_iter().next_back().unwrap().bytes()
    };
    let last = redis.command(&["HGET", &format!("{OBSERVATIONS}:state"), "last"]).text();
    let forge = |stream: &str, entry: &[u8]| {
        let add: [&[u8]; 7] = [b"XADD", stream.as_bytes(), b"*", b"after", last.as_bytes(), b"entry", entry];
        let id = redis.command(&add).text();
        redis.command(&["HSET", &format!("{stream}:state"), "last", &id]);
    };
    bus.tell(vec![feedback(1)]).await.unwrap();
    let (batch, deed) = (genuine(OBSERVATIONS), genuine(DEEDS));
    forge(DEEDS, &batch);
    let mut changed = deed.clone();
    *changed.last_mut().unwrap() ^= 1;
    forge(DEEDS, &changed);
    forge(DEEDS, b"");
    bus.tell(vec![feedback(2)]).await.unwrap();
    let mut since = Position::START;
    let mut found = Vec::new();
    while found.len() < 2 {
        let part = bus.deeds(since, Duration::from_secs(1)).await.unwrap();
        assert!(part.upto > since);
        since = part.upto;
        found.extend(part.items.into_iter().map(|(_, deed)| deed));
    }
    assert_eq!(found, [feedback(1), feedback(2)]);
    assert_eq!(bus.damaged(), seen + 3);

    // Events that somebody without the key tells.
    assert!(other.lead().await.unwrap());
    other.tell(vec![event(3)]).await.unwrap().unwrap();
    other.leave_standing(&standing(1)).await.unwrap();
    other.leave_checkpoint(&checkpoint(10, 1)).await.unwrap();
    assert!(bus.deeds(since, Duration::ZERO).await.unwrap().items.is_empty());
    for error in [bus.standing().await.unwrap_err(), bus.checkpoint().await.unwrap_err()] {
        assert!(matches!(&error, BusError::Damaged { reason, .. } if reason.contains("not authenticated")), "{error}");
    }
}

#[tokio::test]
async fn nonsense_under_any_key_is_an_error_that_names_it() {
    let redis = Redis::start();
    let bus = bus(&single(&redis)).await;
    let read = async |key: &str| match key {
        "test_anomaly:{seat}:standing" => bus.standing().await.map(|_| ()),
        "test_anomaly:{seat}:checkpoint" => bus.checkpoint().await.map(|_| ()),
        _ => bus.deeds(Position::START, Duration::ZERO).await.map(|_| ()),
    };
    for key in ["test_anomaly:{seat}:standing", "test_anomaly:{seat}:checkpoint"] {
        for nonsense in ["", "x", "7", "7 99999999999", "7 100", "\n", "-1 -1\n7 7"] {
            redis.command(&["SET", key, nonsense]).ok();
            let error = read(key).await.unwrap_err();
            assert!(matches!(&error, BusError::Damaged { key: named, .. } if named == key), "{error}");
        }
        redis.command(&["DEL", key]);
        redis.command(&["RPUSH", key, "a list"]);
        assert!(matches!(read(key).await, Err(BusError::Away(reason)) if reason.contains("WRONGTYPE")));
        redis.command(&["DEL", key]);
    }
    let state = format!("{DEEDS}:state");
    redis.command(&["HSET", &state, "last", "nonsense", "bytes", "many"]);
    let error = read(DEEDS).await.unwrap_err().to_string();
    assert!(error.contains(&state) && error.contains("nonsense"), "{error}");
    // It is right again with the next that is told, and what was missed is told.
    bus.tell(vec![feedback(1)]).await.unwrap();
    let part = bus.deeds(Position::START, Duration::ZERO).await.unwrap();
    assert!(part.items.len() <= 1, "{part:?}");
    bus.tell(vec![feedback(2)]).await.unwrap();
    assert_eq!(deeds(&bus, 1, part.upto).await[0].1, feedback(2));
}

/// One leaves checkpoints, and is stopped in the middle of some; another reads all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_was_left_as_a_whole() {
    let redis = Redis::start();
    let (leader, reader) = pair(&redis).await;
    let first = checkpoint(3 << 20, 0);
    seated(&leader, leader.leave_checkpoint(&first)).await.unwrap();
    let writing = tokio::spawn(async move {
        for seed in 1..30_u64 {
            let checkpoint = checkpoint((1 + seed as usize % 4) << 20, seed);
            let leaving = seated(&leader, leader.leave_checkpoint(&checkpoint));
            if seed % 3 == 0 {
                // Somewhere on its way.
                let _ = timeout(Duration::from_millis(seed % 10), leaving).await;
            } else {
                leaving.await.unwrap();
            }
        }
        leader
    });
    let (mut newest, mut read) = (0, 0);
    while !writing.is_finished() {
        let found = reader.checkpoint().await.unwrap().unwrap();
        let seed = found.observations.millis;
        assert!(seed >= newest, "{seed} after {newest}");
        assert!(found == checkpoint((if seed == 0 { 3 } else { 1 + seed as usize % 4 }) << 20, seed));
        (newest, read) = (seed, read + 1);
    }
    let leader = writing.await.unwrap();
    assert!(read > 3 && newest > 3, "read {read}, newest {newest}");

    // What was replaced or given up ends soon, also that of the ones that were stopped.
    let ends = |key: &str| redis.command(&["TTL", key]).integer();
    let keys = redis.command(&["KEYS", "test_anomaly:checkpoint:*"]).array();
    let lasting: Vec<_> = keys.into_iter().map(Reply::text).filter(|key| ends(key) > 60).collect();
    assert!(lasting.len() <= 8, "those of the last, and at most of the one before: {lasting:?}");

    // A part that is gone, or longer than it may be.
    let last = checkpoint(2 << 20, 99);
    seated(&leader, leader.leave_checkpoint(&last)).await.unwrap();
    let lasting: Vec<_> = redis.command(&["KEYS", "test_anomaly:checkpoint:*:1"]).array();
    let part = lasting.into_iter().map(Reply::text).find(|key| ends(key) > 60).unwrap();
    redis.command(&["APPEND", &part, "more"]);
    let error = reader.checkpoint().await.unwrap_err().to_string();
    assert!(error.contains("its part 1 has 1048577 bytes instead of 1048576"), "{error}");
    redis.command(&["DEL", &part]);
    let error = reader.checkpoint().await.unwrap_err().to_string();
    assert!(error.contains("its part 1 has 0 bytes"), "{error}");
}

#[tokio::test]
async fn what_was_left_ends_by_itself() {
    let redis = Redis::start();
    let bus = bus(&single(&redis)).await;
    let (standing, checkpoint) = (standing(3), checkpoint(10, 1));
    seated(&bus, bus.leave_standing(&standing)).await.unwrap();
    seated(&bus, bus.leave_checkpoint(&checkpoint)).await.unwrap();
    let lifetimes = |pattern: &str| {
        let keys = redis.command(&["KEYS", pattern]).array();
        assert!(!keys.is_empty());
        keys.into_iter().map(|key| redis.command(&["TTL", &key.text()]).integer()).collect::<Vec<_>>()
    };
    // The last adjustment ends in an hour.
    assert!(lifetimes("test_anomaly:*standing*").iter().all(|left| (7_100..=7_200).contains(left)));
    assert!(lifetimes("test_anomaly:*checkpoint*").iter().all(|left| *left > 29 * 86_400));
}

/// The document says what a user may do; nothing more is needed.
#[tokio::test]
async fn the_documented_permissions_are_enough() {
    let document = include_str!("../../docs/redis.md");
    let counters = document.lines().find_map(|line| line.strip_prefix("user tidegate on >secret ")).unwrap();
    let shared = document.lines().find(|line| line.starts_with("~rate_limit_anomaly:*")).unwrap();
    let rules = format!("{counters} {shared}").replace("rate_limit", "test");
    let rules: Vec<_> = rules.split(' ').collect();
    let redis = Options::new().user("tidegate", "secret", &rules).start();
    let (username, password) = (Some("tidegate".to_owned()), Some(Secret::new("secret")));
    let connection = RedisConnection { username, password, ..single(&redis) };
    keeps_its_promises(&bus(&connection).await, &bus(&connection).await).await;
    let bus = bus(&connection).await;
    sends(&bus, 0..1).await;
    redis.command(&["LSET", &format!("{OBSERVATIONS}:sizes"), "0", "1 0"]).ok();
    sends(&bus, 1..2).await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_an_error_in_time() {
    let redis = Redis::start();
    let bus = bus(&single(&redis)).await;
    assert!(bus.lead().await.unwrap());
    let at = bus.tell(vec![event(1)]).await.unwrap().unwrap();
    redis.sigstop();
    is_away("lead", 500, bus.lead()).await;
    is_away("tell", 1_000, bus.tell(vec![event(2)])).await;
    is_away("send", 1_000, bus.send("x".into())).await;
    is_away("deeds", 1_000, bus.deeds(at, Duration::ZERO)).await;
    is_away("receive", 5_000, bus.receive(Position::START, Duration::ZERO)).await;
    is_away("standing", 1_000, bus.standing()).await;
    redis.sigcont();
    eventually("it leads again", async || bus.lead().await.unwrap_or_default()).await;
    eventually("it sends again", async || bus.send("y".into()).await.is_ok()).await;
    assert_eq!(bus.deeds(Position::START, Duration::ZERO).await.unwrap().items[0].1, event(1));
}

async fn is_away<T: std::fmt::Debug>(what: &str, deadline: u64, call: impl Future<Output = Result<T, BusError>>) {
    let from = Instant::now();
    let result = call.await;
    assert!(matches!(result, Err(BusError::Away(_))), "{what}: {result:?}");
    assert!(from.elapsed() < Duration::from_millis(deadline + 1_000), "{what} took {:?}", from.elapsed());
}

#[tokio::test]
async fn a_redis_that_lost_everything_tells_a_gap() {
    let redis = Redis::start();
    let bus = bus(&single(&redis)).await;
    assert!(bus.lead().await.unwrap());
    sends(&bus, 0..3).await;
    let seen = batches(&bus, 3, Position::START).await[2].0;
    let told = bus.tell(vec![event(1)]).await.unwrap().unwrap();
    redis.sigkill();
    let from = Instant::now();
    eventually("it is seen to be away", async || matches!(bus.lead().await, Err(BusError::Away(_)))).await;
    assert!(bus.send("x".into()).await.is_err() && bus.receive(seen, Duration::ZERO).await.is_err());
    assert!(from.elapsed() < Duration::from_secs(5));
    redis.restart();
    eventually("it leads again", async || bus.lead().await.unwrap_or_default()).await;
    eventually("it sends again", async || bus.send("again".into()).await.is_ok()).await;
    let part = bus.receive(seen, Duration::from_secs(1)).await.unwrap();
    assert!(part.gap && part.items.iter().all(|(_, batch)| batch == "again"), "{part:?}");
    // Nothing was told since.
    let part = bus.deeds(told, Duration::from_secs(1)).await.unwrap();
    assert!(part.gap && part.items.is_empty() && part.upto == Position::START, "{part:?}");
    bus.tell(vec![event(2)]).await.unwrap().unwrap();
    assert_eq!(deeds(&bus, 1, part.upto).await[0].1, event(2));
}

//! Replicas tell each other, through a real Redis, what counters were given something back, and how many they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod redis_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis_support::{Cluster, Options, Redis, Reply, wait_for, wait_until};
use smallvec::smallvec;
use tidegate::config::redis::{RedisConnection, Topology};
use tidegate::core::clock::{Micros, SystemClock};
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Limit, LimitParts, Window};
use tidegate::core::spec::{Charge, FailureMode};
use tidegate::counters::breaker::BreakerOptions;
use tidegate::counters::local::LocalCounters;
use tidegate::counters::over_limit::{OverLimitMemory, OverLimitOptions};
use tidegate::counters::redis::backend::Backend;
use tidegate::counters::redis::connect::Connector;
use tidegate::counters::redis::fallback::Fallback;
use tidegate::counters::redis::replicas::{Heartbeat, LiveReplicas};
use tidegate::counters::redis::{self, RedisStore, notices};
use tidegate::counters::{CounterKey, CounterName, CounterStore as _, Hit};
use tidegate::redis::subscription::{PROBE_EVERY, PROBE_TIMEOUT};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

type Store = RedisStore<SystemClock>;

/// Long enough for a busy machine.
const DEADLINE: Duration = Duration::from_secs(5);
/// Counters that are full stay so for the length of a test.
const WINDOW: Micros = Micros::from_secs(10 * 365 * 86_400);

fn single(redis: &Redis) -> RedisConnection {
    RedisConnection { urls: vec![redis.address()], ..RedisConnection::default() }
}

fn cluster(cluster: &Cluster) -> RedisConnection {
    let urls = cluster.seeds().split(',').map(str::to_owned).collect();
    RedisConnection { topology: Topology::Cluster, urls, ..RedisConnection::default() }
}

/// A replica that never asks again by itself.
fn replica(main: &RedisConnection, per_second: Option<&RedisConnection>) -> Store {
    replica_that_asks(main, per_second, 10 * 365 * 86_400 * Duration::from_secs(1))
}

/// A replica without workers, all of whose tasks run on this runtime.
fn replica_that_asks(main: &RedisConnection, per_second: Option<&RedisConnection>, ask_again: Duration) -> Store {
    let clock = SystemClock::new();
    let pauses = Duration::from_millis(10);
    let breaker = BreakerOptions { failures: 5, open_for: pauses, max_open_for: pauses };
    let backend = |connection| Backend::new(Connector::new(connection, DEADLINE).unwrap(), breaker);
    let local = LocalCounters::new(clock, Default::default());
    let store = Store::new(redis::Options {
        clock,
        prefix: "test".to_owned(),
        deadline: DEADLINE,
        workers: 0,
        cluster_buckets: 0,
        max_queued: 1_000,
        main: backend(main),
        per_second: per_second.map(backend),
        memory: OverLimitMemory::new(OverLimitOptions { max_counters: 1_000, ask_again }),
        fallback: Fallback::new(local, Arc::new(LiveReplicas::new(None))),
    });
    tokio::spawn(store.work(0));
    for backend in store.backends() {
        tokio::spawn(Arc::clone(backend).keep_fresh());
    }
    store
}

/// A replica that listens, and is connected.
async fn listening(main: &RedisConnection) -> Store {
    begin_to_listen(replica(main, None)).await
}

async fn begin_to_listen(store: Store) -> Store {
    tokio::spawn(notices::listen(&store));
    assert!(store.memory().is_suspended(), "nobody has subscribed yet");
    wait_until("the subscription stands", || !store.memory().is_suspended());
    wait_until("all slots have owners", || store.backends()[0].table().uncovered() == 0);
    store.connected(0).await;
    store
}

/// Two hits in ten years.
fn limit() -> Limit {
    Limit::new(LimitParts::fixed_window(2, Window::Length(WINDOW))).unwrap()
}

fn key(value: &str) -> CounterKey<'_> {
    let name = CounterName { domain: "edge", path: "user", limit: None };
    CounterKey { space: 7, name, values: smallvec![value.as_bytes()] }
}

/// Whether the operations of one request pass.
async fn request<const N: usize>(store: &Store, value: &str, charge: Charge, operations: [Operation; N]) -> [bool; N] {
    let limit = limit();
    let failure_mode = FailureMode::Error;
    let hits =
        operations.map(|operation| Hit { key: key(value), limit: &limit, operation, enforced: true, failure_mode });
    let answers = store.perform(&hits, charge, None).await.unwrap();
    std::array::from_fn(|position| answers.outcomes[position].allowed())
}

/// Whether the operation passes.
async fn perform(store: &Store, value: &str, operation: Operation) -> bool {
    request(store, value, Charge::Independent, [operation]).await == [true]
}

/// Has the replicas hit the counter until each remembers that it is full.
async fn flood(replicas: &[&Store], value: &str) {
    for store in replicas {
        while perform(store, value, Operation::Charge(1)).await {}
        assert_eq!(store.memory().len(), 1);
        let calls = store.stats().calls();
        assert!(!perform(store, value, Operation::Charge(1)).await);
        assert_eq!(store.stats().calls(), calls, "Redis was not asked");
    }
}

/// The subscriber that a server has.
fn subscriber(redis: &Redis) -> Option<String> {
    let list = redis.try_command(&["CLIENT", "LIST", "TYPE", "pubsub"]).ok()?.text();
    list.split_ascii_whitespace().find_map(|field| field.strip_prefix("id=")).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_gives_back_the_others_forget() {
    let redis = Redis::start();
    let (one, other) = (listening(&single(&redis)).await, listening(&single(&redis)).await);

    flood(&[&one, &other], "alice").await;
    assert!(perform(&one, "alice", Operation::Refund(9)).await);
    wait_until("a refund is heard of", || other.memory().is_empty());
    assert!(perform(&other, "alice", Operation::Charge(2)).await);

    flood(&[&one, &other], "alice").await;
    assert!(other.reset(&key("alice"), &limit()).await.unwrap());
    wait_until("a reset is heard of", || one.memory().is_empty());
    assert!(perform(&one, "alice", Operation::Charge(2)).await);

    // What cannot be read may be about anything.
    flood(&[&one, &other], "alice").await;
    redis.command(&["PUBLISH", &notices::channel("test"), "from a later version"]);
    wait_until("everything is forgotten", || one.memory().is_empty() && other.memory().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_makes_room_for_the_hits_behind_it() {
    let redis = Redis::start();
    let store = listening(&single(&redis)).await;
    flood(&[&store], "alice").await;
    let operations = [Operation::Charge(1), Operation::Refund(9), Operation::Charge(1)];
    assert_eq!(request(&store, "alice", Charge::Independent, operations).await, [false, true, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_that_passes_shows_that_a_denial_is_out_of_date() {
    let redis = Redis::start();
    let store = begin_to_listen(replica_that_asks(&single(&redis), None, Duration::ZERO)).await;
    for charge in [Charge::Independent, Charge::AllOrNothing] {
        let hits = [Operation::Charge(1); 2];
        while request(&store, "alice", charge, hits).await != [false; 2] {}
        assert_eq!(store.memory().len(), 1, "{charge:?}");
        // Redis has lost it, which nobody announces.
        redis.command(&["FLUSHALL"]).ok();
        assert_eq!(request(&store, "alice", charge, hits).await, [true; 2], "{charge:?}");
        assert!(store.memory().is_empty(), "{charge:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_remembered_while_notices_may_be_missed() {
    let redis = Redis::start();
    let store = listening(&single(&redis)).await;
    flood(&[&store], "alice").await;

    let since = Instant::now();
    redis.sigstop();
    wait_until("a server that hangs is noticed", || store.memory().is_suspended());
    assert!(since.elapsed() < 2 * (PROBE_EVERY + PROBE_TIMEOUT), "{:?}", since.elapsed());
    wait_until("everything is forgotten", || store.memory().is_empty());
    redis.sigcont();
    wait_until("the subscription stands again", || !store.memory().is_suspended());
    store.connected(0).await;
    flood(&[&store], "alice").await;

    redis.sigkill();
    wait_until("a server that is gone is noticed", || store.memory().is_suspended());
    wait_until("everything is forgotten", || store.memory().is_empty());
    redis.restart();
    wait_until("the subscription stands again", || !store.memory().is_suspended());
    store.connected(0).await;
    flood(&[&store], "alice").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_leaves_nothing_behind() {
    let redis = Redis::start();
    let store = listening(&single(&redis)).await;
    let mut last = subscriber(&redis).unwrap();
    let tasks = Handle::current().metrics().num_alive_tasks();
    for _ in 0..5 {
        assert_eq!(redis.command(&["CLIENT", "KILL", "ID", &last]), Reply::Integer(1));
        last = wait_for("another subscriber", || subscriber(&redis).filter(|id| *id != last));
        wait_until("the subscription stands again", || !store.memory().is_suspended());
    }
    wait_until("the tasks of old connections have ended", || Handle::current().metrics().num_alive_tasks() <= tasks);
    assert_eq!(redis.info("pubsub_clients").parse().unwrap_or(1), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_subscribe_remembers_nothing() {
    let rules = ["--user", "default", "on", "nopass", "~*", "+@all", "resetchannels"];
    let redis = Options::new().flags(&rules).start();
    let store = replica(&single(&redis), None);
    tokio::spawn(notices::listen(&store));
    let refusals = || {
        let log = redis.command(&["ACL", "LOG"]).array();
        let counts = log.into_iter().map(|entry| entry.array()[1].clone().integer());
        counts.sum::<i64>()
    };
    wait_until("several attempts are refused", || {
        assert!(store.memory().is_suspended());
        refusals() >= 4
    });
    assert!(store.memory().is_suspended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_deployments_both_have_to_stand() {
    let (main, per_second) = (Redis::start(), Redis::start());
    per_second.sigkill();
    let store = replica(&single(&main), Some(&single(&per_second)));
    tokio::spawn(notices::listen(&store));
    wait_until("one has a subscriber", || subscriber(&main).is_some());
    assert!(store.memory().is_suspended());
    per_second.restart();
    wait_until("both stand", || !store.memory().is_suspended());
    main.sigkill();
    wait_until("one is gone", || store.memory().is_suspended());
    assert!(subscriber(&per_second).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_another_node_takes_over() {
    let servers = Cluster::start(3, 1);
    let (one, other) = (listening(&cluster(&servers)).await, listening(&cluster(&servers)).await);
    flood(&[&one, &other], "alice").await;
    // Wherever the counter and the two subscribers are.
    assert!(perform(&one, "alice", Operation::Refund(2)).await);
    wait_until("a refund is heard of", || other.memory().is_empty());

    let nodes = servers.nodes();
    let heard = nodes.iter().find(|node| subscriber(node.redis()).is_some()).unwrap();
    heard.redis().sigkill();
    let elsewhere = || {
        let ids = nodes.iter().filter(|node| node.id() != heard.id()).map(|node| {
            let clients = node.redis().try_command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
            clients.map_or(0, |clients| clients.text().matches("id=").count())
        });
        ids.sum::<usize>()
    };
    wait_until("both listen to others", || {
        elsewhere() == 2 && ![&one, &other].iter().any(|store| store.memory().is_suspended())
    });
}

fn beat(heartbeat: &Arc<Heartbeat<SystemClock>>) -> JoinHandle<()> {
    let heartbeat = Arc::clone(heartbeat);
    tokio::spawn(async move { heartbeat.run().await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_count_each_other() {
    const INTERVAL: Duration = Duration::from_millis(100);
    let redis = Redis::start();
    let stores = [(); 3].map(|()| replica(&single(&redis), None));
    let hearts = stores.each_ref().map(|store| Arc::new(Heartbeat::new(store, INTERVAL)));
    let mut tasks = hearts.each_ref().map(beat);
    let counts = || stores.each_ref().map(|store| store.fallback().replicas().get());
    wait_until("all know of three", || counts() == [3; 3]);

    // One leaves in order.
    tasks[2].abort();
    (&mut tasks[2]).await.unwrap_err();
    hearts[2].leave().await.unwrap();
    assert_eq!(redis.command(&["ZCARD", "test:{replicas}"]), Reply::Integer(2));
    wait_until("the others know of two", || counts()[..2] == [2; 2]);
    assert_eq!(counts()[2], 3, "who does not ask does not learn");

    // It comes back, and dies.
    let dying = beat(&hearts[2]);
    wait_until("all know of three again", || counts() == [3; 3]);
    dying.abort();
    wait_until("the others notice", || counts()[..2] == [2; 2]);

    // While Redis is away the number is remembered, and it does not fall when it comes back empty.
    redis.sigkill();
    tokio::time::timeout(DEADLINE, async {
        while hearts[2].leave().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(counts()[..2], [2; 2]);
    redis.restart();
    let mut fewest = u32::MAX;
    wait_until("both have reported", || {
        fewest = fewest.min(counts()[0]).min(counts()[1]);
        redis.command(&["ZCARD", "test:{replicas}"]) == Reply::Integer(2)
    });
    assert_eq!((fewest, &counts()[..2]), (2, &[2; 2][..]));
    let expires = redis.command(&["PTTL", "test:{replicas}"]).integer();
    assert!((1..=400).contains(&expires), "the set goes when all are gone: {expires}");
}

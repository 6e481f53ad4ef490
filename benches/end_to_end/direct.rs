//! The round trip to Redis by itself, for comparison: the same load of the same scripts, two counters a call, sent
//! straight to Redis by one plain client in the place of the load generator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::prelude::*;
use fred::types::CustomCommand;
use tidegate::core::clock::Micros;
use tidegate::core::descriptor::Operation;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Window};
use tidegate::counters::redis::program::{Counter, CounterProgram, Independent};
use tidegate::counters::redis::scripts;
use tokio::runtime::Builder as RuntimeBuilder;
use tokio::task::JoinSet;

use crate::Options;
use crate::driver::Keys;
use crate::load::percentile;
use crate::redis_support::Redis;
use crate::servers::cpu_us;

/// Requests under way at most, as the load generator has them.
const STREAMS: u64 = 128;

pub fn run(options: &Options, keys: Keys) {
    let redis = Redis::start();
    let runtime = RuntimeBuilder::new_current_thread().enable_all().build().unwrap();
    let requests = options.requests as u64;
    let before = cpu_us(redis.pid());
    let mut latencies = runtime.block_on(drive(&redis, keys, requests, options.rate));
    latencies.sort_unstable();
    #[allow(clippy::cast_precision_loss)]
    let cpu = (cpu_us(redis.pid()) - before) as f64 / requests as f64;
    println!(
        "| {keys:?} | fixed_window | 2 | - | - | {cpu:.2} | - | {} | {} |",
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.99)
    );
}

async fn drive(redis: &Redis, keys: Keys, requests: u64, rate: u64) -> Vec<u32> {
    let client = Builder::from_config(Config::from_url(&redis.url()).unwrap()).build().unwrap();
    client.init().await.unwrap();
    let _: Value = client.script_load(scripts::INDEPENDENT.source).await.unwrap();
    let window = Window::Length(Micros::from_secs(3_600));
    let limit = Limit::new(LimitParts {
        algorithm: Algorithm::FixedWindow,
        over: Over::Drop,
        ..LimitParts::fixed_window(1_000_000_000, window)
    });
    let limit = Arc::new(limit.unwrap());
    let left = Arc::new(AtomicU64::new(requests));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for seed in 0..STREAMS {
        let (client, limit, left) = (client.clone(), Arc::clone(&limit), Arc::clone(&left));
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut latencies = Vec::new();
            loop {
                let number = left.load(Ordering::Relaxed);
                if number == 0 {
                    return latencies;
                }
                left.store(number - 1, Ordering::Relaxed);
                if rate > 0 {
                    #[allow(clippy::cast_precision_loss)]
                    let due = Duration::from_secs_f64((requests - number) as f64 / rate as f64);
                    tokio::time::sleep_until((start + due).into()).await;
                }
                let mut key = |name: &str| {
                    let client = match keys {
                        Keys::Uniform(count) | Keys::Zipf(count, _) => random.u64(..count),
                        Keys::One | Keys::InTurn => 0,
                    };
                    format!("rate_limit:{{bench|{name}|customer-{client:08}}}:fixed_window:3600s")
                };
                let counters = ["user_id", "tenant"].map(|name| CounterProgram {
                    counter: Counter { key: key(name).into(), limit: (*limit).clone(), notice: None },
                    runs: [Operation::Charge(1).into()].into_iter().collect(),
                });
                let asked = Instant::now();
                let call = Independent { counters: counters.into(), channel: Bytes::new() }.call(Micros::ZERO);
                let count = Bytes::from(call.keys.len().to_string());
                let args = [vec![call.script.sha1.clone().into(), count], call.keys, call.args].concat();
                let _: Value = client.custom(CustomCommand::new_static("EVALSHA", None, false), args).await.unwrap();
                latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
        });
    }
    let mut all = Vec::new();
    while let Some(part) = tasks.join_next().await {
        all.extend(part.unwrap());
    }
    all
}

//! Buses over servers of the test.

use std::time::Duration;

use tidegate::anomaly::bus::redis::RedisBus;
use tidegate::config::redis::{RedisConnection, Sentinel as SentinelSettings, Topology};
use tidegate::redis::connect::Connector;
use tidegate::seal::Seal;
use tokio::time::timeout;

use crate::redis_support::{Cluster, PATIENCE, Redis, SENTINEL_MASTER, Sentinel};

pub const OBSERVATIONS: &str = "test_anomaly:{observations}";
pub const SEAT: &str = "test_anomaly:{seat}";
pub const DEEDS: &str = "test_anomaly:{seat}:deeds";

pub fn single(redis: &Redis) -> RedisConnection {
    RedisConnection { urls: vec![redis.address()], ..RedisConnection::default() }
}

pub fn clustered(cluster: &Cluster) -> RedisConnection {
    let urls = cluster.seeds().split(',').map(str::to_owned).collect();
    RedisConnection { topology: Topology::Cluster, urls, ..RedisConnection::default() }
}

pub fn watched(sentinel: &Sentinel) -> RedisConnection {
    let urls = sentinel.addresses().split(',').map(str::to_owned).collect();
    let named = SentinelSettings { master: SENTINEL_MASTER.to_owned(), ..SentinelSettings::default() };
    RedisConnection { topology: Topology::Sentinel, urls, sentinel: Some(named), ..RedisConnection::default() }
}

pub async fn bus_with(connection: &RedisConnection, seal: Seal) -> RedisBus {
    let connector = Connector::new(connection, Duration::from_secs(1)).unwrap();
    let bus = RedisBus::connect(&connector, "test", seal);
    timeout(PATIENCE, bus.connected()).await.unwrap();
    bus
}

pub async fn bus(connection: &RedisConnection) -> RedisBus {
    bus_with(connection, Seal::keyed(&[1; 32])).await
}

pub async fn pair(redis: &Redis) -> (RedisBus, RedisBus) {
    (bus(&single(redis)).await, bus(&single(redis)).await)
}

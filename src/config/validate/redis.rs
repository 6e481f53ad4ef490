//! What must hold for the settings of Redis.

use std::time::Duration;

use super::{Field, Findings, HOUR, SECOND};
use crate::config::Config;
use crate::config::redis::{RedisConnection, Topology};

const MINUTE: Duration = Duration::from_secs(60);
const MILLISECOND: Duration = Duration::from_millis(1);
/// The longest prefix of keys: every key carries it.
const MAX_PREFIX: usize = 64;

pub(super) fn check(config: &Config, found: &mut Findings) {
    let Some(redis) = &config.redis else { return };
    connection("redis", &redis.connection(), found);
    if let Some(other) = &redis.per_second {
        connection("redis.per_second", other, found);
    }
    found.between("redis.deadline", redis.deadline, MILLISECOND, 10 * SECOND);
    found.range("redis.cluster_buckets", redis.cluster_buckets, 0..=16_384);
    found.range("redis.max_queued", redis.max_queued, 1..=1_000_000);
    // Braces would choose the slot of a key, and with it the node, for all counters alike.
    let visible = redis.key_prefix.bytes().all(|b| b.is_ascii_graphic() && b != b'{' && b != b'}');
    found.check("redis.key_prefix", visible && (1..=MAX_PREFIX).contains(&redis.key_prefix.len()), || {
        format!(
            "\"{}\" does not do; write 1 to {MAX_PREFIX} visible ASCII characters without braces, such as rate_limit",
            redis.key_prefix
        )
    });
    let breaker = &redis.breaker;
    found.range("redis.breaker.failures", breaker.failures, 1..=1_000);
    found.between("redis.breaker.open_for", breaker.open_for, MILLISECOND, MINUTE);
    found.between("redis.breaker.max_open_for", breaker.max_open_for, breaker.open_for, 10 * MINUTE);
    let memory = &redis.over_limit_memory;
    found.range("redis.over_limit_memory.max_counters", memory.max_counters, 0..=100_000_000);
    found.between("redis.over_limit_memory.ask_again", memory.ask_again, 10 * MILLISECOND, HOUR);
    found.between("redis.heartbeat.interval", redis.heartbeat.interval, 100 * MILLISECOND, MINUTE);
    if let Some(count) = redis.heartbeat.expect_replicas {
        found.range("redis.heartbeat.expect_replicas", count, 1..=10_000);
    }
}

/// What holds for either Redis; `section` is where its fields are.
fn connection(section: &str, redis: &RedisConnection, found: &mut Findings) {
    let field = |name: &str| Field::from(format!("{section}.{name}"));
    addresses(field("urls"), redis, found);
    found.range(field("connections_per_worker"), redis.connections_per_worker, 1..=64);
    found.between(field("connect_timeout"), redis.connect_timeout, MILLISECOND, MINUTE);
    found.check(field("database"), redis.topology != Topology::Cluster || redis.database == 0, || {
        "a cluster has only database 0; leave it out".to_owned()
    });
    found.check(field("password_file"), redis.password.is_none() || redis.password_file.is_none(), || {
        format!("{section}.password is set too; write only one of them")
    });
    let identified = redis.username.is_none() || redis.password.is_some() || redis.password_file.is_some();
    found.check(field("username"), identified, || {
        format!("a user needs a password; set {section}.password or {section}.password_file")
    });
    match (&redis.sentinel, redis.topology == Topology::Sentinel) {
        (sentinel, true) => {
            let named = sentinel.as_ref().is_some_and(|sentinel| !sentinel.master.is_empty());
            found.check(field("sentinel.master"), named, || {
                "sentinels know their primaries by name; write it, for example mymaster".to_owned()
            });
        }
        (Some(_), false) => found.check(field("sentinel"), false, || {
            format!("has a meaning only with {section}.type: sentinel; write that, or leave it out")
        }),
        (None, false) => {}
    }
    if let Some(tls) = &redis.tls {
        found.check(field("tls"), tls.certificate.is_some() == tls.key.is_some(), || {
            "certificate and key belong together; write both, or neither".to_owned()
        });
    }
}

fn addresses(field: Field, redis: &RedisConnection, found: &mut Findings) {
    let urls = &redis.urls;
    found.check(field.clone(), !urls.is_empty(), || "no address; write where Redis is, host:port".to_owned());
    found.check(field.clone(), redis.topology != Topology::Single || urls.len() <= 1, || {
        format!("type: single has one address, not {}; write type: cluster, or type: sentinel", urls.len())
    });
    match redis.endpoints() {
        Err(error) => found.check(field, false, || error.to_string()),
        Ok(endpoints) => {
            let local = endpoints.iter().any(|endpoint| endpoint.is_unix());
            found.check(field.clone(), !local || redis.topology == Topology::Single, || {
                "a Unix socket reaches only a server of type: single; write host:port".to_owned()
            });
            found.check(field, !local || redis.tls.is_none(), || {
                "there is no TLS on a Unix socket; leave tls out, or write host:port".to_owned()
            });
        }
    }
}

//! A Redis server for one test, and the scripts in it. It may be a node of a cluster, which takes only calls whose keys
//! are all in one slot: see [`tagged`].

use std::ops::Deref;

use bytes::Bytes;
use fred::prelude::*;
use tidegate::counters::redis::program::Call;
use tidegate::counters::redis::scripts::Script;
use tokio::runtime::Runtime;

use crate::redis_support::{Cluster, Redis, Reply};

/// A key of a counter, in the slot of all others.
pub fn tagged(counter: usize) -> String {
    format!("{{counter}} {counter}")
}

enum Host {
    Alone(Redis),
    /// A cluster of one node, which has all slots.
    Node(Cluster),
}

impl Deref for Host {
    type Target = Redis;

    fn deref(&self) -> &Redis {
        match self {
            Self::Alone(redis) => redis,
            Self::Node(cluster) => cluster.nodes()[0].redis(),
        }
    }
}

pub struct Server {
    redis: Host,
    runtime: Runtime,
    pub client: Client,
}

impl Server {
    pub fn start() -> Self {
        Self::on(Host::Alone(Redis::start()))
    }

    /// A node of a cluster.
    pub fn start_node() -> Self {
        Self::on(Host::Node(Cluster::start(1, 0)))
    }

    fn on(redis: Host) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let client = Builder::from_config(Config::from_url(&redis.url()).unwrap()).build().unwrap();
            client.init().await.unwrap();
            client
        });
        Self { redis, runtime, client }
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub fn url(&self) -> String {
        self.redis.url()
    }

    /// Sends a call as it is, on Redis' own time.
    pub fn call(&self, call: Call) -> Value {
        self.eval(call.script, call.keys, call.args)
    }

    /// Sends a call with a script's twin that takes the time as an argument.
    pub fn call_at(&self, script: &Script, call: Call, now: u64) -> Value {
        let mut args = call.args;
        args.push(now.to_string().into());
        self.eval(script, call.keys, args)
    }

    fn eval(&self, script: &Script, keys: Vec<Bytes>, args: Vec<Bytes>) -> Value {
        self.block_on(async {
            let reply: Result<Value, _> = self.client.evalsha(&script.sha1, keys.clone(), args.clone()).await;
            match reply {
                Err(error) if error.details().starts_with("NOSCRIPT") => {
                    self.client.eval(script.source, keys, args).await.unwrap()
                }
                reply => reply.unwrap(),
            }
        })
    }

    pub fn flush(&self) {
        self.block_on(self.client.flushall::<()>(false)).unwrap();
    }

    pub fn command(&self, words: &[&str]) -> Reply {
        self.redis.command(words)
    }

    /// Milliseconds that a key has left; -1 without an expiry, -2 without a key.
    pub fn ttl(&self, key: &str) -> i64 {
        self.block_on(self.client.pttl(key)).unwrap()
    }

    pub fn keys(&self) -> u64 {
        self.block_on(self.client.dbsize()).unwrap()
    }
}

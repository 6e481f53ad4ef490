//! One worker's way to every node of its Redis deployments.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use fred::types::Value;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::backend::Backend;
use super::failure::{Complaint, Failure};
use super::node::{Arguments, Node};
use super::program::Call;
use super::topology::NodeAddress;
use crate::core::clock::Clock;

/// How often a call is directed elsewhere: a redirection, another while a slot moves on, and a missing script.
const MAX_HOPS: usize = 4;

/// Where a counter is: counters of one place may share a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Which deployment.
    pub backend: u8,
    /// Which slot; 0 where slots do not matter.
    pub slot: u16,
}

/// One worker's connections.
#[derive(Debug)]
pub struct Router<C> {
    ways: Box<[Ways]>,
    clock: C,
}

#[derive(Debug)]
struct Ways {
    backend: Arc<Backend>,
    nodes: Mutex<HashMap<NodeAddress, Arc<Node>>>,
}

impl Ways {
    fn node(&self, address: &NodeAddress) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(address) {
            return Arc::clone(node);
        }
        // A new node is rare, and a good time to part with those that are gone.
        let table = self.backend.table();
        nodes.retain(|known, _| table.nodes().contains(known));
        let node = Arc::new(self.backend.connect(address));
        nodes.insert(address.clone(), Arc::clone(&node));
        node
    }
}

impl<C: Clock> Router<C> {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(backends: &[Arc<Backend>], clock: C) -> Self {
        let ways = |backend: &Arc<Backend>| Ways { backend: Arc::clone(backend), nodes: Mutex::default() };
        Self { ways: backends.iter().map(ways).collect(), clock }
    }

    /// Keeps connections to every node that is known, so that none waits for its first request. Never ends.
    pub async fn keep_warm(&self) {
        let mut all: Vec<_> = self.ways.iter().map(|ways| (ways, ways.backend.versions())).collect();
        loop {
            let mut changes = FuturesUnordered::new();
            for (ways, versions) in &mut all {
                versions.mark_unchanged();
                for address in ways.backend.table().nodes() {
                    ways.node(address);
                }
                changes.push(versions.changed());
            }
            // The sender lives as long as the backend, which is ours.
            changes.next().await;
        }
    }

    /// Waits until nodes are known, and every one of them is connected.
    pub async fn connected(&self) {
        for ways in &self.ways {
            ways.backend.known().await;
            let addresses = ways.backend.table().nodes().to_vec();
            for address in &addresses {
                ways.node(address).connected().await;
            }
        }
    }

    /// Runs a script on the counters of one place, at most once, whatever redirections and missing scripts it meets.
    ///
    /// # Errors
    /// Why there is no answer by `deadline`.
    pub async fn run(&self, place: Place, call: Call, deadline: Instant) -> Result<Value, Failure> {
        let ways = self.ways.get(usize::from(place.backend)).ok_or(Failure::Protocol)?;
        let mut asking: Option<NodeAddress> = None;
        let mut whole = false;
        for _ in 0..MAX_HOPS {
            let node = match asking.take() {
                Some(address) => (ways.node(&address), true),
                None => {
                    let table = ways.backend.table();
                    let Some(owner) = table.owner(place.slot) else {
                        ways.backend.suspect();
                        return Err(Failure::ClusterDown);
                    };
                    (ways.node(owner), false)
                }
            };
            let (node, asks) = node;
            let breaker = node.breaker();
            let admission = breaker.admit(self.clock.now().mono);
            if admission.is_refused() {
                // Perhaps another node has its slots by now, and nobody asks this one, which would say so.
                ways.backend.suspect();
                return Err(Failure::BreakerOpen);
            }
            // What is rare is boxed, as every call has room for all that it may wait for.
            if !node.is_met() {
                Box::pin(node.meet(deadline)).await;
            }
            let command = if whole { "EVAL" } else { "EVALSHA" };
            let arguments = arguments(&call, whole);
            let answer = match asks {
                true => Box::pin(node.send_asking(command, arguments, deadline)).await,
                false => node.send_by(command, arguments, deadline).await,
            };
            match answer {
                Ok(frame) => {
                    breaker.succeeded(admission, self.clock.now().mono);
                    return Value::try_from(frame).map_err(|_| Failure::Protocol);
                }
                Err(Complaint::Failed(failure)) => {
                    if failure.blames_the_node() {
                        breaker.failed(admission, self.clock.now().mono);
                        ways.backend.suspect();
                    }
                    return Err(failure);
                }
                // Sent whole, it is known there from then on.
                Err(Complaint::NoScript) => whole = true,
                Err(Complaint::Moved(slot, owner)) => ways.backend.moved(slot, &owner),
                Err(Complaint::Ask(_, owner)) => asking = Some(owner),
            }
            // Whatever it was, the node has answered.
            breaker.succeeded(admission, self.clock.now().mono);
        }
        Err(Failure::Migrating)
    }
}

fn arguments(call: &Call, whole: bool) -> Arguments {
    let Call { script, keys, args } = call;
    let mut arguments = Vec::with_capacity(2 + keys.len() + args.len());
    arguments.push(Value::from_static_str(if whole { script.source } else { &script.sha1 }));
    arguments.push(Value::Integer(i64::try_from(keys.len()).unwrap_or(i64::MAX)));
    arguments.extend(keys.iter().chain(args).cloned().map(Value::Bytes));
    arguments
}

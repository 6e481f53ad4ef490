//! One Redis server, as one worker sees it: some connections, and the circuit breaker that all workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use fred::clients::{Client, WithOptions};
use fred::interfaces::{ClientLike, FredResult};
use fred::types::config::Options;
use fred::types::{ClusterHash, CustomCommand, Resp3Frame, Value};

use super::failure::{Complaint, Failure, client_failure, complaint};
use super::topology::NodeAddress;
use crate::counters::breaker::Breaker;
use tokio::time::timeout_at;

/// A server and the connections of one worker to it.
#[derive(Debug)]
pub struct Node {
    address: NodeAddress,
    clients: Box<[Client]>,
    next: AtomicUsize,
    /// Whether a connection has ever stood.
    met: AtomicBool,
    breaker: Arc<Breaker>,
}

/// A call's arguments, cheap to send again.
pub type Arguments = Vec<Value>;

impl Node {
    /// Begins to connect `clients`, on the runtime that this is called in. They go on trying for ever.
    #[must_use]
    pub fn connect(address: NodeAddress, clients: Vec<Client>, breaker: Arc<Breaker>) -> Self {
        for client in &clients {
            // The task ends with the client.
            drop(client.connect());
        }
        Self { address, clients: clients.into(), next: AtomicUsize::new(0), met: AtomicBool::new(false), breaker }
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> &NodeAddress {
        &self.address
    }

    /// Its circuit breaker.
    #[must_use]
    pub const fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }

    /// Whether any of its connections stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.clients.iter().any(ClientLike::is_connected)
    }

    /// Waits until a connection stands.
    pub async fn connected(&self) {
        while !self.is_connected() {
            match self.clients.first() {
                // Ends when it stands, or when the client ends.
                Some(client) => drop(client.wait_for_connect().await),
                None => return,
            }
        }
    }

    /// Whether a connection has ever stood, so that there is nothing to [`Node::meet`].
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }

    /// Waits for the first connection to a node that is new here, but no longer than until `deadline`; the primary that
    /// a slot has moved to, for example, is a few round trips from its first answer. Once it has been connected, a node
    /// without connection is down, and nothing is waited for.
    pub async fn meet(&self, deadline: Instant) {
        if !self.is_met() && timeout_at(deadline.into(), self.connected()).await.is_ok() {
            self.met.store(true, Ordering::Relaxed);
        }
    }

    /// The next connection that stands. Without one there is no sense in queueing.
    fn client(&self) -> Option<&Client> {
        let count = self.clients.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..count).map(|step| &self.clients[(first.wrapping_add(step)) % count]).find(|client| client.is_connected())
    }

    /// The next connection that stands, for commands that end at `deadline`.
    fn client_until(&self, deadline: Instant) -> Result<WithOptions<Client>, Complaint> {
        let client = self.client().ok_or(Complaint::Failed(Failure::Disconnected))?;
        let timeout = deadline.saturating_duration_since(Instant::now());
        if timeout.is_zero() {
            return Err(Complaint::Failed(Failure::Timeout));
        }
        Ok(client.with_options(&Options { timeout: Some(timeout), ..Options::default() }))
    }

    /// Sends one command. It is sent at most once, and not at all once its time is over.
    ///
    /// # Errors
    /// What Redis, or the way to it, has to complain of.
    pub async fn send_by(
        &self,
        command: &'static str,
        arguments: Arguments,
        deadline: Instant,
    ) -> Result<Resp3Frame, Complaint> {
        let client = self.client_until(deadline)?;
        self.answer(client.custom_raw(custom(command), arguments).await)
    }

    /// Sends one command about a slot that is on its way to this node.
    ///
    /// # Errors
    /// As [`Node::send_by`].
    pub async fn send_asking(
        &self,
        command: &'static str,
        arguments: Arguments,
        deadline: Instant,
    ) -> Result<Resp3Frame, Complaint> {
        // Both are handed to the connection at once, so that nothing comes between.
        let both = self.client_until(deadline)?;
        let (asking, answer) = tokio::join!(
            biased;
            both.custom_raw(custom("ASKING"), Vec::<Value>::new()),
            both.custom_raw(custom(command), arguments),
        );
        self.answer(asking)?;
        self.answer(answer)
    }

    fn answer(&self, answer: FredResult<Resp3Frame>) -> Result<Resp3Frame, Complaint> {
        match answer {
            Ok(Resp3Frame::SimpleError { data, .. }) => Err(complaint(&data, &self.address.host)),
            Ok(Resp3Frame::BlobError { data, .. }) => {
                Err(complaint(&String::from_utf8_lossy(&data), &self.address.host))
            }
            Ok(frame) => Ok(frame),
            Err(error) => Err(Complaint::Failed(client_failure(&error))),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for client in &self.clients {
            let client = client.clone();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { client.quit().await });
            }
        }
    }
}

fn custom(command: &'static str) -> CustomCommand {
    // The client serves one server and has no use for slots.
    CustomCommand::new_static(command, ClusterHash::FirstKey, false)
}

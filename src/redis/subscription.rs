//! Listens to a channel of one server, and notices when it no longer does.
//!
//! A connection that is closed is noticed at once, one that hangs within [`PROBE_EVERY`] and [`PROBE_TIMEOUT`], because
//! every so often the server is asked whether it still takes us for a subscriber. What was published while there was no
//! subscription is lost; what that means, and when to try again, is the caller's business.

use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::Server;
use fred::types::{ClusterHash, CustomCommand, Message, Resp3Frame, Value};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// How often the server is asked whether it still takes us for a subscriber.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How long its answer may take.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The first and the longest pause between attempts; each is prolonged at random by up to as much again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why a subscription is not there, or is there no more.
#[derive(Debug, thiserror::Error)]
pub enum Gap {
    /// The server is not reached.
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    NotConnected,
    /// It does not answer.
    #[error("no answer within {PROBE_TIMEOUT:?}")]
    Hangs,
    /// It answers, but not as to a subscriber.
    #[error("the server has not subscribed us, though it answers; may this user SUBSCRIBE to the channel?")]
    NotSubscribed,
    /// The connection is gone.
    #[error("the connection was lost")]
    Lost,
    /// Nobody tells it anything any more.
    #[error("the node has left the cluster")]
    Left,
    /// What the client says.
    #[error("{0}")]
    Redis(#[from] Error),
}

/// What is heard.
#[derive(Debug)]
pub enum Heard {
    /// A message.
    Message(Message),
    /// More than could be listened to; some are lost.
    TooMuch,
    /// Nothing for a while, and the server has just said that it knows us.
    Nothing,
}

/// A subscription, which ends with this value. (A client left to itself would try to connect for ever.)
#[derive(Debug)]
pub struct Subscription {
    client: SubscriberClient,
    task: JoinHandle<Result<(), Error>>,
    messages: Receiver<Message>,
    errors: Receiver<(Error, Option<Server>)>,
    reconnects: Receiver<Server>,
    ticks: Interval,
}

impl Subscription {
    /// Connects a client that is not connected yet, and listens to a channel.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn open(client: SubscriberClient, channel: &[u8]) -> Result<Self, Gap> {
        let mut ticks = interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let task = client.connect();
        let (messages, errors, reconnects) = (client.message_rx(), client.error_rx(), client.reconnect_rx());
        let mut this = Self { client, task, messages, errors, reconnects, ticks };
        timeout(CONNECT_TIMEOUT, this.client.wait_for_connect()).await.map_err(|_| Gap::NotConnected)??;
        // What has been until now is of no interest.
        (this.errors, this.reconnects) = (this.client.error_rx(), this.client.reconnect_rx());
        // Done when it is sent; the answer to the probe shows what became of it.
        this.client.subscribe(channel).await?;
        this.probe().await?;
        this.ticks.reset();
        Ok(this)
    }

    /// What is heard next.
    ///
    /// # Errors
    /// Why nothing will be heard any more.
    pub async fn hear(&mut self) -> Result<Heard, Gap> {
        tokio::select! {
            biased;
            // The client would connect again by itself, and what came in between would be lost.
            _ = self.errors.recv() => Err(Gap::Lost),
            _ = self.reconnects.recv() => Err(Gap::Lost),
            message = self.messages.recv() => match message {
                Ok(message) => Ok(Heard::Message(message)),
                Err(RecvError::Lagged(_)) => Ok(Heard::TooMuch),
                Err(RecvError::Closed) => Err(Gap::Lost),
            },
            _ = self.ticks.tick() => {
                self.probe().await?;
                Ok(Heard::Nothing)
            }
        }
    }

    /// Whether the server answers, and takes us for a subscriber. (It then answers `PING` with a list: RESP2.)
    async fn probe(&self) -> Result<(), Gap> {
        let ping = CustomCommand::new_static("PING", ClusterHash::FirstKey, false);
        let answer = timeout(PROBE_TIMEOUT, self.client.custom_raw(ping, Vec::<Value>::new()));
        match answer.await.map_err(|_| Gap::Hangs)?? {
            Resp3Frame::Array { .. } => Ok(()),
            _ => Err(Gap::NotSubscribed),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The pauses between attempts to subscribe.
#[derive(Debug)]
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// The next one. They grow.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause + pause.mul_f64(fastrand::f64())
    }
}

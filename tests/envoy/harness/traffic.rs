//! Steady traffic beside what a test does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinHandle;

use super::{Client, eventually};

/// Requests from an endless row of clients, each of which sends one and is never limited; several at a time.
pub struct Traffic {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Traffic {
    pub fn start(envoy: SocketAddr, at_a_time: usize) -> Self {
        let (answered, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let number = Arc::<AtomicUsize>::default();
        let sender = |_| {
            let (answered, stop, number) = (Arc::clone(&answered), Arc::clone(&stop), Arc::clone(&number));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let [.., high, middle, low] = number.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                    let from = Ipv4Addr::new(127, 2 + high % 64, middle, 1 + low % 254);
                    let answer = Client::new(envoy, from).get("/", &[]).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let senders = (0..at_a_time).map(sender).collect();
        Self { answered, stop, senders }
    }

    /// How many requests have been answered, all with 200.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for so many further answers.
    pub async fn flows(&self, answers: usize) {
        let enough = self.answered() + answers;
        eventually("traffic flows", || async {
            assert!(self.senders.iter().all(|sender| !sender.is_finished()), "a request failed");
            (self.answered() >= enough).then_some(())
        })
        .await;
    }

    /// Ends it; fails the test if any request failed.
    pub async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.await.expect("a request failed");
        }
    }
}

//! Members of a bus in this process, and traffic for them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tidegate::anomaly::bus::Bus as _;
use tidegate::anomaly::bus::choice::AnyBus;
use tidegate::anomaly::event::Event;
use tidegate::anomaly::findings::FindingsError;
use tidegate::anomaly::observation::{Observation, Outcome};
use tidegate::anomaly::observe::{Observations, batch};
use tidegate::anomaly::worker::apply::PutInForce;
use tidegate::anomaly::worker::note::{Note, Noted};
use tidegate::anomaly::worker::status::Role;
use tidegate::anomaly::worker::{Deciding, Handle, Parts};
use tidegate::config::anomaly::Anomaly;
use tidegate::core::adjustment::Adjustment;
use tidegate::core::adjustment::set::AdjustmentSet;
use tidegate::core::clock::{ManualClock, Micros};
use tidegate::core::subject::Subject;
use tokio::runtime::Handle as Runtime;

pub const NOW: Micros = Micros::from_secs(1_700_000_000);

/// Enforcing, with one rung below the other soon.
pub fn settings() -> Anomaly {
    let mut settings = Anomaly { enabled: true, shadow: false, ..Anomaly::default() };
    settings.policy.duration = Duration::from_secs(60);
    settings
}

/// A worker, what it observes, and what it put in force.
pub struct Member {
    pub worker: Handle,
    pub observations: Arc<Observations>,
    in_force: Arc<Mutex<AdjustmentSet>>,
}

impl Member {
    pub fn start(bus: AnyBus, clock: &ManualClock, settings: Anomaly) -> Self {
        Self::noting(bus, clock, settings, None)
    }

    pub fn noting(
        bus: AnyBus,
        clock: &ManualClock,
        settings: Anomaly,
        findings: Option<(Arc<dyn Note>, Noted)>,
    ) -> Self {
        let worker = Handle::new(Parts { settings: Arc::new(settings), bus, findings, clock: Arc::new(clock.clone()) });
        let observations = Arc::new(Observations::new(1));
        let in_force = Arc::<Mutex<AdjustmentSet>>::default();
        let kept = Arc::clone(&in_force);
        let put: PutInForce = Arc::new(move |set| *kept.lock().unwrap() = set);
        let deciding = Deciding { observations: observations.read().unwrap(), geo: Arc::default(), put };
        worker.start(Some(deciding), &Runtime::current());
        Self { worker, observations, in_force }
    }

    pub fn role(&self) -> Role {
        self.worker.status().role()
    }

    /// The adjustments about a user.
    pub fn about(&self, user: &str) -> Vec<Adjustment> {
        let set = self.in_force.lock().unwrap();
        set.of_user(user).iter().map(|adjustment| (**adjustment).clone()).collect()
    }

    pub fn limits(&self, user: &str) -> bool {
        !self.about(user).is_empty()
    }

    /// Decisions leave these.
    pub fn see(&self, traffic: &[Request]) {
        traffic.iter().for_each(|request| self.observations.record(&request.observation()));
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub at: Micros,
    pub user: String,
    address: IpAddr,
    path: String,
}

impl Request {
    pub fn observation(&self) -> Observation<'_> {
        Observation {
            at: self.at,
            domain: "edge",
            user: Some(&self.user),
            address: Some(self.address),
            method: "GET",
            path: &self.path,
            user_agent: Some("Mozilla/5.0"),
            hits: 1,
            outcome: Outcome::Allowed,
            ..Observation::default()
        }
    }
}

/// What sixty people do in so many seconds up to `end`: each a request every two seconds or so.
pub fn calm(end: Micros, seconds: u64) -> Vec<Request> {
    let mut random = fastrand::Rng::with_seed(end.0 ^ seconds);
    let begin = end - Micros::from_secs(seconds);
    let mut traffic = Vec::new();
    for person in 0..60_u8 {
        let mut at = begin + Micros::from_millis(random.u64(..2_000));
        while at < end {
            traffic.push(Request {
                at,
                user: format!("person-{person}"),
                address: Ipv4Addr::new(192, 0, 2, person).into(),
                path: format!("/page/{}", ["a", "b", "c", "d", "e"][random.usize(..5)]),
            });
            at = at + Micros::from_millis(1_000 + random.u64(..2_000));
        }
    }
    traffic.sort_by_key(|request| request.at);
    traffic
}

/// One user floods for so many seconds up to `end`: 100 requests a second.
pub fn flood(user: &str, end: Micros, seconds: u64) -> Vec<Request> {
    let begin = end - Micros::from_secs(seconds);
    let flood = (0..seconds * 100).map(|number| Request {
        at: begin + Micros::from_millis(number * 10),
        user: user.to_owned(),
        address: Ipv4Addr::new(203, 0, 113, 9).into(),
        path: "/search".to_owned(),
    });
    flood.collect()
}

/// Traffic of several in the order of time.
pub fn mixed(parts: impl IntoIterator<Item = Vec<Request>>) -> Vec<Request> {
    let mut all: Vec<_> = parts.into_iter().flatten().collect();
    all.sort_by_key(|request| request.at);
    all
}

/// Sends traffic, as if another replica had.
pub async fn send(bus: &AnyBus, traffic: &[Request]) {
    for part in traffic.chunks(1_000) {
        let mut bytes = batch::empty();
        part.iter().for_each(|request| batch::push(&mut bytes, &request.observation()));
        bus.send(Bytes::from(bytes)).await.unwrap();
    }
}

/// A store of findings that can be away.
#[derive(Debug, Default)]
pub struct Kept {
    pub events: Mutex<Vec<Event>>,
    pub away: AtomicBool,
}

impl Note for Kept {
    fn note<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Result<(), FindingsError>> {
        Box::pin(async {
            if self.away.load(Ordering::SeqCst) {
                return Err(FindingsError::Away("stopped by the test".to_owned()));
            }
            self.events.lock().unwrap().extend_from_slice(events);
            Ok(())
        })
    }
}

pub fn user(name: &str) -> Subject {
    Subject::User(name.into())
}

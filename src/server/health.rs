//! Whether this process should get traffic: one truth for gRPC health, `/healthcheck` and `/readyz`.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health as HealthProtocol;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{access_log, ext_authz, rls};

/// Services a client may ask about: the whole server, the name that envoyproxy/ratelimit uses, and the full names.
const SERVICES: [&str; 5] = ["", "ratelimit", rls::SERVICE, ext_authz::SERVICE, access_log::SERVICE];

/// What health is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Components {
    /// A rule set is in force.
    pub rules_loaded: bool,
    /// The end has begun: still answering, but clients should turn away.
    pub shutting_down: bool,
    /// Connections are being closed.
    pub closing: bool,
}

impl Components {
    /// Whether all of them are well.
    #[must_use]
    pub const fn serving(&self) -> bool {
        self.rules_loaded && !self.shutting_down
    }
}

/// The health of the process; shared by those who know something of it and those who tell it.
#[derive(Debug, Default)]
pub struct Health {
    components: watch::Sender<Components>,
}

impl Health {
    /// Whether traffic is welcome.
    #[must_use]
    pub fn serving(&self) -> bool {
        self.components.borrow().serving()
    }

    /// What it is made of.
    #[must_use]
    pub fn components(&self) -> Components {
        *self.components.borrow()
    }

    /// A rule set is in force.
    pub fn rules_loaded(&self) {
        self.change(|components| components.rules_loaded = true);
    }

    /// The end has begun.
    pub fn shutting_down(&self) {
        self.change(|components| components.shutting_down = true);
    }

    /// Connections are being closed; those who watch are let go.
    pub fn closing(&self) {
        self.change(|components| components.closing = true);
    }

    fn change(&self, change: impl FnOnce(&mut Components)) {
        self.components.send_if_modified(|components| {
            let before = *components;
            change(components);
            *components != before
        });
    }
}

/// `grpc.health.v1.Health`.
#[derive(Clone, Debug)]
pub struct HealthService {
    health: Arc<Health>,
}

impl HealthService {
    /// Tells `health`.
    #[must_use]
    pub const fn new(health: Arc<Health>) -> Self {
        Self { health }
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

const fn status(components: &Components) -> ServingStatus {
    if components.serving() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

#[tonic::async_trait]
impl HealthProtocol for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found(format!("no service '{service}'; ask for one of {SERVICES:?}")));
        }
        Ok(Response::new(answer(status(&self.health.components()))))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let known = SERVICES.contains(&request.get_ref().service.as_str());
        let mut last = None;
        let changes = WatchStream::new(self.health.components.subscribe())
            .take_while(|components| !components.closing)
            .filter_map(move |components| {
                let status = if known { status(&components) } else { ServingStatus::ServiceUnknown };
                (last.replace(status) != Some(status)).then(|| Ok(answer(status)))
            });
        Ok(Response::new(Box::pin(changes)))
    }
}

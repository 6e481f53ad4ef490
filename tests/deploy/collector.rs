//! A receiver of traces, as OpenTelemetry's collector is one.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::harness::{Site, eventually};

/// The services that each trace has spans of.
type Traces = Arc<Mutex<HashMap<Vec<u8>, HashSet<String>>>>;

/// Serves until it is dropped.
pub struct Collector {
    pub address: SocketAddr,
    traces: Traces,
    server: JoinHandle<()>,
}

impl Collector {
    pub fn start(site: &Site) -> Self {
        let listener = std::net::TcpListener::bind(site.free_address()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let traces = Traces::default();
        let service = TraceServiceServer::new(Receiver(Arc::clone(&traces)));
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async { server.await.unwrap() });
        Self { address, traces, server }
    }

    /// Waits for a trace with spans of all these services.
    pub async fn wait_for_trace_of(&self, services: &[&str]) {
        eventually(&format!("a trace of {services:?}"), || {
            let traces = self.traces.lock().unwrap();
            let found = traces.values().any(|seen| services.iter().all(|&service| seen.contains(service)));
            std::future::ready(found.then_some(()))
        })
        .await;
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Receiver(Traces);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut traces = self.0.lock().unwrap();
        for of_service in request.into_inner().resource_spans {
            let attributes = of_service.resource.unwrap_or_default().attributes;
            let service = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let Some(Value::StringValue(service)) = service.and_then(|service| service.value?.value) else { continue };
            for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                traces.entry(span.trace_id).or_default().insert(service.clone());
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

//! Traces: a span for a decision, as a child of the one that Envoy's request carries, and below it one for the time that
//! Redis took; sent by OTLP over gRPC.
//!
//! Off by default, and then a decision pays for one look at a pointer. Spans wait in a bounded queue for a thread of
//! their own; when it is full they are dropped, and a collector that is away never slows a decision.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter,
};
use tokio::runtime::Handle;

use crate::config;

/// Spans that may wait; further ones are dropped.
const MAX_QUEUE: usize = 2_048;

/// Spans sent at once.
const MAX_BATCH: usize = 512;

/// How long a span waits for others before it is sent.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.traces: cannot send spans to {endpoint}: {source}")]
pub struct TracesError {
    endpoint: String,
    source: opentelemetry_otlp::ExporterBuildError,
}

/// Starts spans, if there is somewhere to send them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Tracing>>);

#[derive(Debug)]
struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
    sent: Arc<Sent>,
}

/// Counts of spans, once they have left the queue.
#[derive(Debug, Default)]
struct Sent {
    delivered: AtomicU64,
    lost: AtomicU64,
    failing: AtomicBool,
}

impl Traces {
    /// No traces.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Traces as the settings say; off unless they are enabled. The connection to the collector lives on `runtime`,
    /// which is not a worker's, and is opened when the first span is sent.
    ///
    /// # Errors
    /// [`TracesError`] when the endpoint has no meaning.
    pub fn start(settings: &config::Traces, runtime: &Handle) -> Result<Self, TracesError> {
        if !settings.enabled {
            return Ok(Self::off());
        }
        let _on_runtime = runtime.enter();
        let exporter = OtlpExporter::builder()
            .with_tonic()
            .with_endpoint(&settings.endpoint)
            .with_timeout(settings.timeout)
            .build()
            .map_err(|source| TracesError { endpoint: settings.endpoint.clone(), source })?;
        let sent = Arc::new(Sent::default());
        let exporter = Watched { exporter, sent: Arc::clone(&sent) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_QUEUE)
            .with_max_export_batch_size(MAX_BATCH)
            .with_scheduled_delay(MAX_DELAY)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sampling_ratio))))
            .with_resource(Resource::builder().with_service_name(settings.service_name.clone()).build())
            .build();
        let tracer = provider.tracer("tidegate");
        Ok(Self(Some(Arc::new(Tracing { provider, tracer, propagator: TraceContextPropagator::new(), sent }))))
    }

    /// Whether spans are sent at all.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Starts the span of a decision that `method` asks for, below the one that `traceparent` among the call's headers
    /// names. `None` when traces are off, the caller did not sample its trace, or chance says so.
    #[must_use]
    pub fn start_decision_span(&self, method: &'static str, headers: &HeaderMap) -> Option<DecisionSpan> {
        let tracing = self.0.as_ref()?;
        let parent = tracing.propagator.extract_with_context(&Context::new(), &Headers(headers));
        let builder = tracing.tracer.span_builder(method).with_kind(SpanKind::Server);
        let span = builder.start_with_context(&tracing.tracer, &parent);
        span.is_recording().then(|| DecisionSpan { span, tracer: tracing.tracer.clone() })
    }

    /// Spans that the collector took.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.0.as_ref().map_or(0, |tracing| tracing.sent.delivered.load(Ordering::Relaxed))
    }

    /// Spans that could not be sent. Those dropped from a full queue are not among them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |tracing| tracing.sent.lost.load(Ordering::Relaxed))
    }

    /// Sends what waits, at most for `timeout`, and ends. Blocks: call it from a thread that may, and while the
    /// runtime given at the start still runs.
    pub fn shutdown(&self, timeout: Duration) {
        if let Some(tracing) = &self.0
            && let Err(error) = tracing.provider.shutdown_with_timeout(timeout)
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// The span of one decision; it ends when dropped.
#[derive(Debug)]
pub struct DecisionSpan {
    span: Span,
    tracer: SdkTracer,
}

impl DecisionSpan {
    /// What was asked.
    pub fn request(&mut self, domain: &str, descriptors: usize) {
        self.span.set_attribute(KeyValue::new("ratelimit.domain", domain.to_owned()));
        self.span.set_attribute(KeyValue::new("ratelimit.descriptors", i64::try_from(descriptors).unwrap_or(i64::MAX)));
    }

    /// What was answered: `ok` or `over_limit`; `not_asked`, `allow_list` or `deny_list`, where no limit was asked.
    pub fn outcome(&mut self, outcome: &'static str) {
        self.span.set_attribute(KeyValue::new("ratelimit.outcome", outcome));
    }

    /// That there was no answer, and why.
    pub fn failed(&mut self, error: &dyn std::error::Error) {
        self.outcome("error");
        self.span.set_status(Status::error(error.to_string()));
    }

    /// That Redis was asked for counters, since then and until now: a span below this one. `failure` is why it did not
    /// answer.
    pub fn asked_redis(&self, since: SystemTime, failure: Option<&'static str>) {
        let parent = Context::new().with_remote_span_context(self.span.span_context().clone());
        let builder = self.tracer.span_builder("redis").with_kind(SpanKind::Client).with_start_time(since);
        let builder = builder.with_attributes([KeyValue::new("db.system", "redis")]);
        // It ends when dropped.
        let mut span = builder.start_with_context(&self.tracer, &parent);
        if let Some(failure) = failure {
            span.set_status(Status::error(failure));
        }
    }
}

/// The headers of a call, for the propagator.
struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// An exporter whose failures are seen: counted, and told when they begin and end.
#[derive(Debug)]
struct Watched<E> {
    exporter: E,
    sent: Arc<Sent>,
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        let was_failing = self.sent.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Ok(()) => {
                self.sent.delivered.fetch_add(spans, Ordering::Relaxed);
                if was_failing {
                    tracing::info!("spans are sent again");
                }
            }
            Err(error) => {
                self.sent.lost.fetch_add(spans, Ordering::Relaxed);
                if !was_failing {
                    tracing::warn!(%error, "spans cannot be sent");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

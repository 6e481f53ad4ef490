//! Logs as they are written, and traces as a collector receives them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tidegate::config;
use tidegate::telemetry::logs;
use tidegate::telemetry::traces::Traces;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A deadline for what must come soon.
const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(level: &str, format: config::LogFormat) -> String {
    let memory = Memory::default();
    let writer = memory.clone();
    let settings = config::Logs { level: level.to_owned(), format };
    let subscriber = logs::subscriber(&settings, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(target: "tidegate::rules", revision = 3, "rules \"loaded\"");
        tracing::debug!(target: "tidegate::rules", "a detail");
        tracing::info!(target: "h2", "somebody else's");
    });
    memory.text()
}

#[test]
fn logs_for_people() {
    let text = logged("info,h2=off", config::LogFormat::Text);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(" INFO tidegate::rules: rules \"loaded\" revision=3"), "{text}");
}

#[test]
fn logs_as_json() {
    let text = logged("warn,tidegate::rules=debug", config::LogFormat::Json);
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["level"], "INFO");
    assert_eq!(lines[0]["target"], "tidegate::rules");
    assert_eq!(lines[0]["message"], "rules \"loaded\"");
    assert_eq!(lines[0]["revision"], 3);
    assert!(lines[0]["timestamp"].is_string());
    assert_eq!(lines[1]["message"], "a detail");
}

#[test]
fn a_level_without_meaning_is_refused() {
    let settings = config::Logs { level: "tidegate=loud".to_owned(), ..config::Logs::default() };
    let error = logs::subscriber(&settings, std::io::sink).err().unwrap().to_string();
    assert!(error.contains("tidegate=loud"), "{error}");
}

/// A collector that passes on what it receives.
struct Collector(tokio::sync::mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

struct Received {
    runtime: Runtime,
    endpoint: String,
    requests: tokio::sync::mpsc::UnboundedReceiver<ExportTraceServiceRequest>,
}

fn collector() -> Received {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Received { runtime, endpoint, requests }
}

fn settings(endpoint: &str) -> config::Traces {
    config::Traces { enabled: true, endpoint: endpoint.to_owned(), ..config::Traces::default() }
}

fn headers(traceparent: &str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("traceparent"), traceparent.parse().unwrap())])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|pair| pair.key == key)?.value.clone()?.value
}

#[test]
fn a_span_arrives_below_its_parent() {
    let mut received = collector();
    let traces = Traces::start(&settings(&received.endpoint), received.runtime.handle()).unwrap();
    assert!(traces.is_enabled());
    let parent = headers("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let mut span = traces.start_decision_span("ShouldRateLimit", &parent).unwrap();
    span.request("edge", 2);
    span.outcome("over_limit");
    drop(span);
    let request = received.runtime.block_on(async { tokio::time::timeout(SOON, received.requests.recv()).await });
    let request = request.unwrap().unwrap();
    let [resource_spans] = request.resource_spans.as_slice() else { panic!("{request:?}") };
    let resource = resource_spans.resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name"), Some(Value::StringValue("tidegate".into())));
    let [span] = resource_spans.scope_spans[0].spans.as_slice() else { panic!("{request:?}") };
    assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    assert_eq!(span.name, "ShouldRateLimit");
    assert_eq!(attribute(&span.attributes, "ratelimit.domain"), Some(Value::StringValue("edge".into())));
    assert_eq!(attribute(&span.attributes, "ratelimit.descriptors"), Some(Value::IntValue(2)));
    assert_eq!(attribute(&span.attributes, "ratelimit.outcome"), Some(Value::StringValue("over_limit".into())));
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    wait_for(|| traces.delivered() == 1);
    assert_eq!(traces.lost(), 0);
}

#[test]
fn the_way_to_redis_is_a_span_below_the_decision() {
    let mut received = collector();
    let traces = Traces::start(&settings(&received.endpoint), received.runtime.handle()).unwrap();
    let began = SystemTime::now();
    let decision = traces.start_decision_span("Check", &HeaderMap::new()).unwrap();
    decision.asked_redis(began, None);
    decision.asked_redis(began, Some("store-unavailable"));
    drop(decision);
    traces.shutdown(SOON);
    let request = received.requests.try_recv().unwrap();
    let [answered, failed, decision] = &request.resource_spans[0].scope_spans[0].spans[..] else {
        panic!("{request:?}")
    };
    for span in [answered, failed] {
        assert_eq!((&*span.name, span.kind()), ("redis", SpanKind::Client));
        assert_eq!((&span.trace_id, &span.parent_span_id), (&decision.trace_id, &decision.span_id));
        assert_eq!(attribute(&span.attributes, "db.system"), Some(Value::StringValue("redis".into())));
        let since = u128::from(span.start_time_unix_nano);
        assert_eq!(since, began.duration_since(UNIX_EPOCH).unwrap().as_nanos());
    }
    assert_eq!(answered.status, Some(Default::default()));
    assert_eq!(failed.status.as_ref().unwrap().message, "store-unavailable");
}

#[test]
fn what_waits_is_sent_at_the_end() {
    let mut received = collector();
    let traces = Traces::start(&settings(&received.endpoint), received.runtime.handle()).unwrap();
    let mut span = traces.start_decision_span("ShouldRateLimit", &HeaderMap::new()).unwrap();
    span.failed(&std::io::Error::other("no rules"));
    drop(span);
    traces.shutdown(SOON);
    let request = received.requests.try_recv().unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.status.as_ref().unwrap().message, "no rules");
}

#[test]
fn the_callers_choice_is_followed_and_chance_decides_otherwise() {
    let Received { runtime, endpoint, .. } = collector();
    let never = config::Traces { sampling_ratio: 0.0, ..settings(&endpoint) };
    let traces = Traces::start(&never, runtime.handle()).unwrap();
    let sampled = headers("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let unsampled = headers("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    assert!(traces.start_decision_span("ShouldRateLimit", &sampled).is_some());
    assert!(traces.start_decision_span("ShouldRateLimit", &HeaderMap::new()).is_none());
    let always = Traces::start(&settings(&endpoint), runtime.handle()).unwrap();
    assert!(always.start_decision_span("ShouldRateLimit", &unsampled).is_none());
    assert!(always.start_decision_span("ShouldRateLimit", &HeaderMap::new()).is_some());
    assert!(always.start_decision_span("ShouldRateLimit", &headers("nonsense")).is_some());
}

#[test]
fn off_is_off() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let traces = Traces::start(&config::Traces::default(), runtime.handle()).unwrap();
    assert!(!traces.is_enabled());
    assert!(traces.start_decision_span("ShouldRateLimit", &HeaderMap::new()).is_none());
    traces.shutdown(SOON);
}

#[test]
fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = config::Traces { timeout: Duration::from_secs(2), ..settings(&format!("http://127.0.0.1:{port}")) };
    let traces = Traces::start(&away, runtime.handle()).unwrap();
    let began = Instant::now();
    for _ in 0..10_000 {
        drop(traces.start_decision_span("ShouldRateLimit", &HeaderMap::new()));
    }
    // The queue holds fewer, and no span waited for the collector, which takes its whole timeout to give up.
    assert!(began.elapsed() < away.timeout, "{:?}", began.elapsed());
    wait_for(|| traces.lost() > 0);
    assert_eq!(traces.delivered(), 0);
}

#[test]
fn an_endpoint_without_meaning_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle: &Handle = runtime.handle();
    let error = Traces::start(&settings("not a uri"), handle).unwrap_err().to_string();
    assert!(error.contains("not a uri"), "{error}");
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

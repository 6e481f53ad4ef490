//! One request is one trace: both gateways, the sidecar, Tidegate's decisions for each of them, and Redis.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::chain::{Chain, Plan};
use crate::harness::eventually;
use crate::redis_support::Redis;

/// A span, and which service sent it.
#[derive(Clone, Debug)]
struct Sent {
    service: String,
    span: Span,
}

impl Sent {
    fn is_kind(&self, kind: SpanKind) -> bool {
        self.span.kind() == kind
    }
}

/// A collector that keeps all spans.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Sent>>>);

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, address)
    }

    fn spans(&self) -> Vec<Sent> {
        self.0.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let service = attribute(&attributes, "service.name").unwrap_or_default();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| Sent { service: service.clone(), span }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    match attributes.iter().find(|pair| pair.key == key)?.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

async fn traced_chain(sampling: &str) -> (Chain, Collector, Redis) {
    let redis = Redis::start();
    let (collector, address) = Collector::start().await;
    let settings = format!(
        "redis: {{ urls: [\"{}\"], deadline: 10s }}\n\
         telemetry: {{ traces: {{ enabled: true, endpoint: \"http://{address}\" }} }}\n",
        redis.address()
    );
    let plan = Plan::default();
    let edge = plan.edge.replace("random_sampling: { value: 1 }", &format!("random_sampling: {{ value: {sampling} }}"));
    let chain = Chain::start_with(Plan { edge, settings, collector: Some(address), ..plan }).await;
    (chain, collector, redis)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_trace_from_the_edge_to_redis() {
    let (chain, collector, _redis) = traced_chain("100").await;
    assert_eq!(chain.client(1).status("/orders/1", &[]).await, 200);
    // For each hop: its own span, Tidegate's decision, Redis.
    let spans = eventually("the trace is complete", || async {
        let spans = collector.spans();
        let redis = spans.iter().filter(|sent| sent.span.name == "redis").count();
        let hops = ["gateway-edge", "gateway-inner", "sidecar"];
        let hop = |name: &str| spans.iter().any(|sent| sent.service == name && sent.is_kind(SpanKind::Server));
        (redis >= 3 && hops.into_iter().all(hop)).then_some(spans)
    })
    .await;

    let trace = &spans[0].span.trace_id;
    assert!(spans.iter().all(|sent| sent.span.trace_id == *trace), "one trace: {spans:#?}");
    let by_id: HashMap<_, _> = spans.iter().map(|sent| (&sent.span.span_id, sent)).collect();
    let roots: Vec<_> = spans.iter().filter(|sent| sent.span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.iter().map(|root| &*root.service).collect::<Vec<_>>(), ["gateway-edge"]);
    let above = |sent: &Sent| by_id.get(&sent.span.parent_span_id).copied();
    // The services on the way up from a span, each once for spans in a row.
    let way = |sent: &Sent| {
        let mut way = vec![sent.service.clone()];
        let mut at = above(sent);
        while let Some(sent) = at {
            if way.last() != Some(&sent.service) {
                way.push(sent.service.clone());
            }
            at = above(sent);
        }
        way
    };
    let mut decisions = BTreeMap::new();
    for redis in spans.iter().filter(|sent| sent.span.name == "redis") {
        assert!(redis.is_kind(SpanKind::Client), "{redis:?}");
        assert_eq!(attribute(&redis.span.attributes, "db.system").as_deref(), Some("redis"));
        let decision = above(redis).expect("a decision above it");
        assert!(decision.span.start_time_unix_nano <= redis.span.start_time_unix_nano, "{decision:?} {redis:?}");
        assert!(redis.span.end_time_unix_nano <= decision.span.end_time_unix_nano, "{decision:?} {redis:?}");
        let domain = attribute(&decision.span.attributes, "ratelimit.domain").unwrap();
        assert_eq!(attribute(&decision.span.attributes, "ratelimit.outcome").as_deref(), Some("ok"));
        decisions.insert(domain, (decision.span.name.clone(), way(redis)));
    }
    let way_of = |name: &str, services: &[&str]| {
        (name.to_owned(), services.iter().map(|&service| service.to_owned()).collect::<Vec<_>>())
    };
    let expected = BTreeMap::from([
        ("edge".to_owned(), way_of("ShouldRateLimit", &["tidegate", "gateway-edge"])),
        ("inner".to_owned(), way_of("ShouldRateLimit", &["tidegate", "gateway-inner", "gateway-edge"])),
        ("mesh".to_owned(), way_of("Check", &["tidegate", "sidecar", "gateway-inner", "gateway-edge"])),
    ]);
    assert_eq!(decisions, expected);
    chain.assert_no_decision_was_lost().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_that_is_remembered_asks_redis_no_more() {
    let (chain, collector, redis) = traced_chain("100").await;
    let client = chain.client(1);
    assert_eq!(client.allowed("/orders/1", &[], 50).await, 20);
    // Redis is asked again at most once a second; so of several at once, some are answered from memory.
    for _ in 0..5 {
        assert_eq!(client.status("/orders/1", &[]).await, 429);
    }
    let denied = |sent: &&Sent| attribute(&sent.span.attributes, "ratelimit.outcome").as_deref() == Some("over_limit");
    let spans = eventually("all decisions arrive", || async {
        let spans = collector.spans();
        (spans.iter().filter(denied).count() == 6).then_some(spans)
    })
    .await;
    let asked = |decision: &&Sent| {
        spans.iter().any(|sent| sent.span.name == "redis" && sent.span.parent_span_id == decision.span.span_id)
    };
    let remembered = spans.iter().filter(denied).filter(|decision| !asked(decision)).count();
    assert!((1..6).contains(&remembered), "{remembered} of 6 denials from memory");
    drop(redis);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sampled_leaves_no_span_anywhere() {
    let (chain, collector, _redis) = traced_chain("0").await;
    // Not even when a client would like it.
    let wish = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("x-client-trace-id", "1")];
    for _ in 0..5 {
        assert_eq!(chain.client(1).status("/orders/1", &wish).await, 200);
    }
    // When Tidegate has stopped, it has sent what it had.
    let mut chain = chain;
    chain.tidegates[0].signal("TERM");
    chain.tidegates[0].ends().await;
    assert_eq!(collector.spans().len(), 0, "{:#?}", collector.spans());
}

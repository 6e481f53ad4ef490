//! Clients that speak gRPC.

use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc::Status as RpcStatus;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{DENIED, envoy_asking, gateway};
use crate::harness::{Configuration, Envoy, Site};

async fn client(envoy: &Envoy) -> HealthClient<Channel> {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", envoy.address)).unwrap();
    HealthClient::new(channel.connect().await.unwrap())
}

#[tokio::test]
async fn a_limited_call_gets_resource_exhausted() {
    let (gateway, _) = gateway().await;
    let mut client = client(&gateway.envoy).await;
    for _ in 0..100 {
        client.check(Request::new(HealthCheckRequest::default())).await.unwrap();
    }
    let status = client.check(Request::new(HealthCheckRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(
        status.message().starts_with("The limit 'per-address' of 100 per 60s is exceeded; try again in "),
        "{status}"
    );
    let metadata = |name: &str| status.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(metadata("ratelimit-policy").as_deref(), Some(r#""per-address";q=100;w=60"#));
    assert!(metadata("ratelimit").is_some_and(|value| value.starts_with(r#""per-address";r=0;t="#)), "{status:?}");
    assert!(metadata("retry-after").is_some(), "{status:?}");
    gateway.assert_no_decision_was_lost().await;
}

#[tokio::test]
async fn a_call_that_a_list_turns_away_gets_permission_denied() {
    let settings = super::settings().replace(&format!("127.1.1.{DENIED}"), "127.0.0.0/8");
    let gateway = super::Gateway::start_with(Configuration::ext_authz(), super::tidegate(settings)).await;
    let status = client(&gateway.envoy).await.check(Request::new(HealthCheckRequest::default())).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "Access is denied."));
}

/// Answers 429 in HTTP's terms alone.
struct Plain;

#[tonic::async_trait]
impl Authorization for Plain {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let denied = DeniedHttpResponse { status: Some(HttpStatus { code: 429 }), ..DeniedHttpResponse::default() };
        Ok(Response::new(CheckResponse {
            status: Some(RpcStatus { code: 8, ..RpcStatus::default() }),
            http_response: Some(HttpResponse::DeniedResponse(denied)),
            ..CheckResponse::default()
        }))
    }
}

/// Why the answer has a header `grpc-status`: by itself Envoy makes of 429 what clients of gRPC try again.
#[tokio::test]
async fn without_the_header_a_limited_call_gets_unavailable() {
    let site = Site::new();
    let listener = tokio::net::TcpListener::bind(site.free_address()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<AuthorizationServer<Plain>>().await;
    let server = tonic::transport::Server::builder().add_service(health).add_service(AuthorizationServer::new(Plain));
    let server = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let (envoy, _backend) = envoy_asking(&site, Configuration::ext_authz(), address).await;
    envoy.finds_healthy("tidegate", 1).await;
    let status = client(&envoy).await.check(Request::new(HealthCheckRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    server.abort();
}

//! A server with an `ext_authz` section, and requests to ask it about.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::address::Address as AnyAddress;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderValueOption, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::google::protobuf::value::Kind;
use tidegate::config::{Config, LoadOptions};
use tonic::transport::Channel;

use crate::server_support::{Server, channel, start};

pub const RULES: &str = r#"
domain: api
descriptors:
  - key: user
    rate_limit: { name: per-user, unit: hour, requests_per_unit: 3 }
  - key: blocked
    rate_limit: { unit: day, requests_per_unit: 0 }
  - key: odd
    rate_limit: { name: "a \"<b>\" é%\r\nX-Evil: 1", unit: hour, requests_per_unit: 0 }
"#;

/// A section: the user is a header, and there are routes for each rule.
pub const SECTION: &str = r#"
ext_authz:
  domain: api
  values:
    user: { header: x-user }
    blocked: { header: x-user }
    odd: { header: x-user }
  user: user
  routes:
    - { name: free, match: { paths: [/free] } }
    - { name: blocked, match: { paths: [/blocked] }, descriptors: [[blocked]] }
    - { name: odd, match: { paths: [/odd] }, descriptors: [[odd]] }
    - { name: users, descriptors: [[user]] }
"#;

/// The settings of a section, written in YAML.
pub fn settings(yaml: &str) -> Config {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tidegate.yaml");
    std::fs::write(&file, yaml).expect("a file of settings");
    let options = LoadOptions { file: Some(file), ..LoadOptions::default() };
    Config::load(&options).unwrap_or_else(|errors| panic!("{errors}")).config
}

/// A server with [`RULES`], [`SECTION`] and more of the section's fields after it.
pub async fn server(more: &str) -> Site {
    server_with(&format!("{SECTION}{more}"), |_| {}).await
}

/// A server with [`RULES`] and any section; `change` has the last word on the settings.
pub async fn server_with(yaml: &str, change: impl FnOnce(&mut Config)) -> Site {
    let section = settings(yaml).ext_authz;
    let server = start(RULES, |config| {
        config.ext_authz = section;
        change(config);
    });
    let client = AuthorizationClient::new(channel(server.address()).await);
    Site { server, client }
}

pub struct Site {
    pub server: Server,
    pub client: AuthorizationClient<Channel>,
}

impl Site {
    pub async fn check(&mut self, request: CheckRequest) -> CheckResponse {
        self.client.check(request).await.expect("an answer").into_inner()
    }

    /// An answer that allows.
    pub async fn allowed(&mut self, request: CheckRequest) -> OkHttpResponse {
        allowed(self.check(request).await)
    }

    /// An answer that denies.
    pub async fn denied(&mut self, request: CheckRequest) -> DeniedHttpResponse {
        denied(self.check(request).await)
    }
}

pub fn allowed(answer: CheckResponse) -> OkHttpResponse {
    assert_eq!(answer.status.as_ref().expect("a status").code, 0, "{answer:?}");
    match answer.http_response {
        Some(HttpResponse::OkResponse(response)) => response,
        other => panic!("{other:?}"),
    }
}

pub fn denied(answer: CheckResponse) -> DeniedHttpResponse {
    assert_ne!(answer.status.as_ref().expect("a status").code, 0, "{answer:?}");
    match answer.http_response {
        Some(HttpResponse::DeniedResponse(response)) => response,
        other => panic!("{other:?}"),
    }
}

/// A GET of `path` with these headers, from 192.0.2.1.
pub fn get(path: &str, headers: &[(&str, &str)]) -> CheckRequest {
    request("GET", "192.0.2.1", path, headers)
}

pub fn request(method: &str, peer: &str, path: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let socket = SocketAddress { address: peer.to_owned(), ..SocketAddress::default() };
    let address = Some(Address { address: Some(AnyAddress::SocketAddress(socket)) });
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let http = HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        host: "example.com".to_owned(),
        scheme: "http".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        headers: headers.collect(),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer { address, ..Peer::default() }),
            request: Some(Request { http: Some(http), time: None }),
            ..AttributeContext::default()
        }),
    }
}

/// The values of a header, in order; each replaces others of its name, or not.
pub fn values<'a>(headers: &'a [HeaderValueOption], name: &str, replaces: bool) -> Vec<&'a str> {
    let named = headers.iter().filter(|option| option.header.as_ref().unwrap().key.eq_ignore_ascii_case(name));
    named
        .map(|option| {
            assert_eq!(option.append_action, if replaces { 2 } else { 0 }, "{option:?}");
            option.header.as_ref().unwrap().value.as_str()
        })
        .collect()
}

pub fn names(headers: &[HeaderValueOption]) -> Vec<&str> {
    headers.iter().map(|option| option.header.as_ref().unwrap().key.as_str()).collect()
}

/// The dynamic metadata as texts.
pub fn metadata(answer: &CheckResponse) -> HashMap<String, String> {
    let fields = answer.dynamic_metadata.as_ref().map(|metadata| metadata.fields.clone()).unwrap_or_default();
    let text = |kind| match kind {
        Some(Kind::StringValue(text)) => text,
        Some(Kind::NumberValue(number)) => number.to_string(),
        Some(Kind::BoolValue(truth)) => truth.to_string(),
        other => panic!("{other:?}"),
    };
    fields.into_iter().map(|(key, value)| (key, text(value.kind))).collect()
}

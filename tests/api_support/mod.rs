//! A server in this process whose rules can be changed, and whoever calls its API.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::config::Config;
use tidegate::rules::repository::choice::Repository;
use tidegate::rules::repository::record::Stamp;
use tidegate::rules::repository::secret::Secret;
use tidegate::rules::repository::{RuleRepository as _, Scope, Token, TokenRepository as _};
use tidegate::server::{self, Running};

use crate::process::{Answer, request};
use crate::server_support::{config, eventually};

/// A running server, with its rules in a file.
pub struct Api {
    pub running: Running,
    _directory: tempfile::TempDir,
}

/// Everybody may do everything; there are no rules.
pub fn open() -> Api {
    start(|config| config.http.allow_unauthenticated = true)
}

/// With settings of the test's own, and without rules.
pub fn start(change: impl FnOnce(&mut Config)) -> Api {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config();
    config.rules.repository_file = Some(directory.path().join("rules.redb"));
    change(&mut config);
    let running = server::start(config).expect("the server starts");
    let api = Api { running, _directory: directory };
    block_on(eventually("the tokens are read", async || api.get("/rate-limit/rules").status != 503));
    api
}

impl Api {
    /// One request with a JSON body, or without a body.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        let mut lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        if !body.is_empty() {
            lines.push_str("content-type: application/json\r\n");
        }
        request(self.running.http_address, method, path, &lines, body.as_bytes())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], None)
    }

    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, &[], Some(body))
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &[], Some(body))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], None)
    }

    /// `POST /rate-limit/rules:apply` with a text of YAML.
    pub fn apply(&self, query: &str, headers: &str, text: &str) -> Answer {
        let headers = format!("content-type: application/yaml\r\n{headers}");
        let path = format!("/rate-limit/rules:apply{query}");
        request(self.running.http_address, "POST", &path, &headers, text.as_bytes())
    }

    pub fn repository(&self) -> Arc<Repository> {
        Arc::clone(&self.running.context.rule_store.as_ref().expect("rules that can be changed").repository)
    }

    pub fn revision(&self) -> u64 {
        block_on(self.repository().head()).unwrap().revision.0
    }

    /// A token made beside the server, as the command line makes them, once the server knows it.
    pub fn token(&self, name: &str, scopes: &[Scope]) -> String {
        let secret = Secret::generate().unwrap();
        let created = Stamp { at: jiff::Timestamp::now(), by: "test".into() };
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        let token = Token { name: name.into(), hash: secret.hash(), scopes, created, expires: None, revoked: None };
        block_on(async {
            self.repository().create_token(token).await.unwrap();
            self.running.context.access.refresh().await.unwrap();
        });
        secret.reveal().to_owned()
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A problem document with this status, and this in its detail.
#[track_caller]
pub fn assert_problem(answer: &Answer, status: u16, detail: &str) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let document = answer.json();
    assert_eq!(document["status"], status, "{document}");
    assert!(document["detail"].as_str().unwrap().contains(detail), "{document}");
    assert_eq!(document["request_id"].as_str(), answer.header("x-request-id"), "{answer:?}");
    document
}

/// A plain rule.
pub fn rule(amount: u64) -> Value {
    json!({ "rate_limit": { "requests_per_unit": amount, "unit": "minute" } })
}

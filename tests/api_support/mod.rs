//! A server in this process whose rules can be changed, and whoever calls its API.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tidegate::config::Config;
use tidegate::rules::repository::choice::Repository;
use tidegate::rules::repository::memory::MemoryRepository;
use tidegate::rules::repository::record::Stamp;
use tidegate::rules::repository::secret::Secret;
use tidegate::rules::repository::token::{Scope, Token, TokenRepository as _};
use tidegate::rules::repository::{RepositoryError, RuleRepository as _};
use tidegate::server::rule_store::RuleStore;
use tidegate::server::{self, Running};

use crate::process::{Answer, request};
use crate::server_support::{config, eventually};

/// A running server and its repository.
pub struct Api {
    pub running: Running,
    pub repository: Arc<Repository>,
    /// Whether changes come into force.
    pub follows: Arc<AtomicBool>,
}

/// Everybody may do everything.
pub fn open() -> Api {
    start(|config| config.http.allow_unauthenticated = true)
}

/// With settings of the test's own.
pub fn start(change: impl FnOnce(&mut Config)) -> Api {
    start_on(Arc::new(Repository::Memory(MemoryRepository::default())), change)
}

pub fn start_on(repository: Arc<Repository>, change: impl FnOnce(&mut Config)) -> Api {
    let follows = Arc::new(AtomicBool::new(true));
    let applied = {
        let follows = Arc::clone(&follows);
        Arc::new(move |_| -> futures_util::future::BoxFuture<'static, ()> {
            if follows.load(Ordering::Relaxed) { Box::pin(async {}) } else { Box::pin(std::future::pending()) }
        })
    };
    let mut config = config();
    change(&mut config);
    let store = RuleStore::new(Arc::clone(&repository), applied);
    let running = server::start_with(config, Some(store)).expect("the server starts");
    Api { running, repository, follows }
}

impl Api {
    /// One request with a JSON body, or without a body; `headers` as lines.
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

    /// From now on the repository fails so.
    pub fn fail_with(&self, failure: Option<RepositoryError>) {
        let Repository::Memory(memory) = &*self.repository;
        memory.fail_with(failure);
    }

    pub fn revision(&self) -> u64 {
        block_on(self.repository.head()).unwrap().revision.0
    }

    /// A token made beside the server, as the command line makes them, once the server knows it.
    pub fn token(&self, name: &str, scopes: &[Scope]) -> String {
        let secret = Secret::generate().unwrap();
        let created = Stamp { at: jiff::Timestamp::now(), by: "test".into() };
        let token = Token {
            name: name.into(),
            hash: secret.hash(),
            scopes: scopes.to_vec(),
            created,
            expires: None,
            revoked: None,
        };
        block_on(async {
            self.repository.create_token(token).await.unwrap();
            let known = async || self.running.context.access.refresh().await.is_ok();
            eventually("the server knows the token", known).await;
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

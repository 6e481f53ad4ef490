//! `tidegate.admin.v1.Admin`.

use std::sync::Arc;

use tonic::{Code, Request, Response, Status};

use super::counters;
use super::describe;
use super::explain::{self, MAX_ENTRIES};
use super::proto::admin_server::Admin;
use super::proto::{
    CountersRequest, CountersResponse, DescribeRulesRequest, DescribeRulesResponse, Entry, ExplainRequest,
    ExplainResponse,
};
use crate::core::ruleset::Domain;
use crate::server::Context;
use crate::server::access::{Denied, Need, Peer};

/// Rules on a page when the request does not say.
const DEFAULT_PAGE: u32 = 1_000;
/// The most rules on a page.
const MAX_PAGE: u32 = 10_000;

/// Answers from the rules in force.
#[derive(Clone)]
pub struct Service {
    context: Arc<Context>,
}

impl Service {
    /// A service of this server.
    pub const fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Whether the caller may do that: the same tokens as over HTTP, in the metadata `authorization`.
    fn allow<T>(&self, request: &Request<T>, need: Need) -> Result<Box<str>, Status> {
        let peer = request.extensions().get::<Peer>().copied().unwrap_or(Peer::Stranger);
        let headers = request.metadata().as_ref();
        let allowed = self.context.access.allow(headers.get(http::header::AUTHORIZATION), &peer, need);
        allowed.map(|caller| caller.0).map_err(|denied| {
            let code = match denied {
                Denied::NotKnown => Code::Unavailable,
                Denied::TooMany(_) => Code::ResourceExhausted,
                Denied::Scope { .. } | Denied::NoTokensYet | Denied::NoTokensHere => Code::PermissionDenied,
                _ => Code::Unauthenticated,
            };
            Status::new(code, denied.to_string())
        })
    }
}

#[tonic::async_trait]
impl Admin for Service {
    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        self.allow(&request, Need::Read)?;
        let request = request.into_inner();
        check(&request.domain, &request.entries)?;
        match explain::explain(&self.context, &request).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }

    async fn get_counters(&self, request: Request<CountersRequest>) -> Result<Response<CountersResponse>, Status> {
        self.allow(&request, Need::Read)?;
        let request = request.into_inner();
        check(&request.domain, &request.entries)?;
        Ok(Response::new(counters::get(&self.context, &request).await?))
    }

    async fn reset_counters(&self, request: Request<CountersRequest>) -> Result<Response<CountersResponse>, Status> {
        let author = self.allow(&request, Need::Operate)?;
        let request = request.into_inner();
        check(&request.domain, &request.entries)?;
        let answer = counters::reset(&self.context, &request).await?;
        let entry = |entry: &Entry| format!("{}={}", entry.key.escape_ascii(), entry.value.escape_ascii());
        let subject = request.entries.iter().map(entry).collect::<Vec<_>>().join(",");
        let domain = request.domain;
        tracing::info!(target: "tidegate::audit", %author, action = "reset counters", domain, subject, "changed");
        Ok(Response::new(answer))
    }

    async fn describe_rules(
        &self,
        request: Request<DescribeRulesRequest>,
    ) -> Result<Response<DescribeRulesResponse>, Status> {
        self.allow(&request, Need::Read)?;
        let DescribeRulesRequest { domain, page_size, page_token } = request.into_inner();
        if page_size > MAX_PAGE {
            return Err(Status::invalid_argument(format!("page_size: {page_size}, at most {MAX_PAGE} fit on a page")));
        }
        let active = self.context.limiter.active();
        let start = page_start(&page_token, active.revision)?;
        let size = if page_size == 0 { DEFAULT_PAGE } else { page_size } as usize;
        let total = match &*domain {
            "" => active.rules.rule_count(),
            domain => active.rules.domain(domain.as_bytes()).map_or(0, Domain::rule_count),
        };
        let chosen = active.rules.rules().filter(|rule| domain.is_empty() || *rule.domain == *domain);
        let page = chosen.skip(start).take(size);
        let rules = page.map(|rule| describe::rule(rule, describe::origin(&self.context, rule.origin))).collect();
        let next = start.saturating_add(size);
        Ok(Response::new(DescribeRulesResponse {
            rules,
            next_page_token: if next < total { format!("{}:{next}", active.revision) } else { String::new() },
            revision: active.revision,
            total: total as u64,
        }))
    }
}

/// Whether this is a descriptor of a domain.
fn check(domain: &str, entries: &[Entry]) -> Result<(), Status> {
    if domain.is_empty() {
        return Err(Status::invalid_argument("domain: must not be empty"));
    }
    match entries.len() {
        0 => Err(Status::invalid_argument("entries: a descriptor has at least one")),
        got @ 1.. if got > MAX_ENTRIES => {
            Err(Status::invalid_argument(format!("entries: {got}, at most {MAX_ENTRIES} are walked")))
        }
        _ => Ok(()),
    }
}

/// The position that a page token stands for. It holds only within one revision: in another, positions mean others.
fn page_start(token: &str, revision: u64) -> Result<usize, Status> {
    if token.is_empty() {
        return Ok(0);
    }
    let parse = |(of, position): (&str, &str)| Some((of.parse::<u64>().ok()?, position.parse().ok()?));
    match token.split_once(':').and_then(parse) {
        Some((of, position)) if of == revision => Ok(position),
        Some((of, _)) => Err(Status::aborted(format!(
            "page_token: the rules changed from revision {of} to {revision}; start again without a token"
        ))),
        None => Err(Status::invalid_argument("page_token: not one of ours; start again without a token")),
    }
}

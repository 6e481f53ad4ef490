//! Envoy's external authorization, `envoy.service.auth.v3.Authorization`: [`message`] reads what Envoy tells of a
//! request, [`crate::authz`] makes a question of it, [`answer`] writes what becomes of the request.

pub mod answer;
pub mod message;
mod setup;
mod template;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use tonic::Status;

use self::answer::{Caller, Grounds};
pub use self::setup::{ExtAuthz, SetupError};
use super::context::Context;
use super::grpc::{self, Method, Refusal, Span};
use super::workers::{AnsweredBy, Load};
use crate::authz::lists::{Lists, Subject, Verdict};
use crate::authz::policy::Evaluation;
use crate::core::clock::Micros;
use crate::counters::Deadline;
use crate::wire::Malformed;

/// The service's name.
pub const SERVICE: &str = "envoy.service.auth.v3.Authorization";
/// The path of its one method.
pub const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The service; one per worker.
#[derive(Debug)]
pub struct Authorization {
    context: Arc<Context>,
    load: Arc<Load>,
}

/// A request that was read, with what it is to the policy.
struct Check<'a> {
    evaluation: Evaluation<'a>,
    caller: Caller,
}

impl Authorization {
    /// Decides with the policy, the lists and the limiter of `context`, on the worker of `load`.
    #[must_use]
    pub const fn new(context: Arc<Context>, load: Arc<Load>) -> Self {
        Self { context, load }
    }

    fn read<'a>(&'a self, message: &'a [u8]) -> Result<Check<'a>, Malformed> {
        let attributes = message::decode(message)?;
        let caller = Caller::of(&attributes);
        Ok(Check { evaluation: self.context.ext_authz.policy.evaluate(&attributes), caller })
    }

    /// The answer of a list, if one speaks of the request.
    fn listed(&self, check: &Check<'_>, span: &mut Span) -> Option<Bytes> {
        let lists = self.context.lists.load();
        let grounds = match verdict(&lists, &check.evaluation, self.context.limiter.wall()) {
            Verdict::Unlisted => return None,
            Verdict::Allowed(entry) => Grounds::AllowListed(entry),
            Verdict::Denied(entry) => Grounds::DenyListed(entry),
        };
        Some(self.reply(&grounds, check, span))
    }

    fn reply(&self, grounds: &Grounds<'_, '_>, check: &Check<'_>, span: &mut Span) -> Bytes {
        let (by, outcome) = match grounds {
            Grounds::NotAsked => (AnsweredBy::Nothing, "not_asked"),
            Grounds::AllowListed(_) => (AnsweredBy::AllowList, "allow_list"),
            Grounds::DenyListed(_) => (AnsweredBy::DenyList, "deny_list"),
            Grounds::Decided { .. } => (AnsweredBy::Limits, if grounds.deny() { "over_limit" } else { "ok" }),
        };
        self.load.count_check(by);
        span.outcome(outcome);
        let answers = &self.context.ext_authz.answers;
        grpc::framed(|buffer| answers.encode(buffer, grounds, &check.evaluation, check.caller))
    }
}

impl Method for Authorization {
    const NAME: &'static str = "Check";

    fn decide_now(&self, message: &[u8], span: &mut Span) -> Option<Result<Bytes, Refusal>> {
        let limiter = &self.context.limiter;
        // First, since the question borrows from both, and goes before them.
        let active = limiter.active();
        let check = match self.read(message) {
            Ok(check) => check,
            Err(error) => return Some(Err(error.into())),
        };
        if let Some(answer) = self.listed(&check, span) {
            return Some(Ok(answer));
        }
        let who = self.context.is_client_wanted().then(|| check.evaluation.who());
        let Some(mut question) = check.evaluation.question() else {
            return Some(Ok(self.reply(&Grounds::NotAsked, &check, span)));
        };
        question.client = who.as_ref();
        span.asked(&question);
        let decision = match limiter.decide_now(&active, &question)? {
            Ok(decision) => decision,
            Err(error) => return Some(Err(error.into())),
        };
        self.context.observe(&question, &decision);
        Some(Ok(self.reply(&Grounds::Decided { decision: &decision, revision: active.revision }, &check, span)))
    }

    async fn decide(&self, message: &[u8], deadline: Deadline, span: &mut Span) -> Result<Bytes, Refusal> {
        let limiter = &self.context.limiter;
        let active = limiter.active();
        let check = self.read(message)?;
        if let Some(answer) = self.listed(&check, span) {
            return Ok(answer);
        }
        let who = self.context.is_client_wanted().then(|| check.evaluation.who());
        let Some(mut question) = check.evaluation.question() else {
            return Ok(self.reply(&Grounds::NotAsked, &check, span));
        };
        question.client = who.as_ref();
        span.asked(&question);
        let since = span.counting();
        let decided = limiter.decide(&active, &question, deadline).await;
        span.counted(since, &decided);
        let decision = decided?;
        self.context.observe(&question, &decision);
        Ok(self.reply(&Grounds::Decided { decision: &decision, revision: active.revision }, &check, span))
    }
}

fn verdict<'l>(lists: &'l Lists, evaluation: &Evaluation<'_>, now: Micros) -> Verdict<'l> {
    let Evaluation { client, user, path, .. } = evaluation;
    lists.verdict(&Subject { address: *client, user: user.as_deref(), path }, now.0 / Micros::SECOND.0)
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        Status::invalid_argument(format!("the message is no CheckRequest: {error}")).into()
    }
}

//! `/rate-limit/rules` and what belongs to it: rules, overrides and domains, changed while the server runs. One file a
//! route, each of the same shape: read the request, do it, show what is there now.
//!
//! What a caller must be allowed stands in a handler's arguments, [`Store`] first: where rules come from files or
//! an xDS server, nothing can be done here, whoever asks.

pub(super) mod accept;
pub(super) mod apply;
pub(super) mod body;
pub(super) mod change;
mod content;
pub(super) mod delete;
pub(super) mod domains;
pub(super) mod export;
pub(super) mod history;
pub(super) mod list;
pub(super) mod overrides;
mod preconditions;
mod record;
pub(super) mod replace;
pub(super) mod rollback;
pub(super) mod rollback_all;
pub(super) mod set;
pub(super) mod show;
mod target;
mod whole;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::routing::{get, post, put};

use super::Api;
use super::problem::{Kind, Problem};
use crate::server::rule_store::RuleStore;

/// The routes of rules.
pub fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/rate-limit/rules", get(list::list).put(set::set))
        .route("/rate-limit/rules/{domain}/{path}", get(show::show).put(replace::replace).delete(delete::delete))
        .route("/rate-limit/rules/{domain}/{path}/history", get(history::of_rule))
        .route("/rate-limit/rules/{domain}/{path}/rollback", post(rollback::rule))
        .route("/rate-limit/rules:rollback", post(rollback_all::all))
        .route("/rate-limit/rules:accept", post(accept::accept))
        .route("/rate-limit/rules:export", get(export::export))
        .route("/rate-limit/history", get(history::all))
        .route("/rate-limit/domains/{domain}", get(domains::get).merge(put(domains::put)))
        .route("/rate-limit/overrides", get(overrides::all))
        .route("/rate-limit/overrides/{domain}/{path}", get(overrides::get).put(overrides::put).delete(overrides::end))
}

/// The route whose body and time are larger: whole rule sets.
pub fn bulk() -> Router<Arc<Api>> {
    Router::new().route("/rate-limit/rules:apply", post(apply::apply))
}

/// The rules that can be changed.
pub struct Store(RuleStore);

impl Deref for Store {
    type Target = RuleStore;
    fn deref(&self) -> &RuleStore {
        &self.0
    }
}

impl FromRequestParts<Arc<Api>> for Store {
    type Rejection = Problem;
    async fn from_request_parts(_: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let missing = || match &api.context.xds {
            Some(xds) => {
                let text = "and are changed there, not here; for Envoy Gateway, change its policies";
                Problem::new(Kind::Conflict, format!("the rules come from the xDS server {}, {text}", xds.server))
            }
            None => Problem::new(
                Kind::Conflict,
                "the rules of this server come from files; change the files, which are followed, or move the rules to a \
                 repository with `tidegate rules import`",
            ),
        };
        api.context.rule_store.clone().map(Self).ok_or_else(missing)
    }
}

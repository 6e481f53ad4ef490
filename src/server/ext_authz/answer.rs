//! Writes a `CheckResponse`, straight into the buffer that is sent.

use super::template::{Template, TemplateError};
use crate::authz::attributes::Attributes;
use crate::authz::policy::Evaluation;
use crate::config::Config;
use crate::config::ext_authz::{Body, ExtAuthz};
use crate::core::decision::{Code, Decision};
use crate::server::grpc::metadata;
use crate::server::headers::{self, HeaderSettings};
use crate::server::problem;
use crate::wire::Writer;

/// What an answer rests on.
#[derive(Clone, Copy, Debug)]
pub enum Grounds<'a, 'd> {
    /// The policy asks nothing of such a request.
    NotAsked,
    /// The allow list lets it through; with the entry that says so.
    AllowListed(&'a str),
    /// The deny list turns it away; with the entry that says so.
    DenyListed(&'a str),
    /// The limiter decided.
    Decided {
        /// How.
        decision: &'a Decision<'d>,
        /// By which rule set.
        revision: u64,
    },
}

impl Grounds<'_, '_> {
    /// Whether the request is denied.
    #[must_use]
    pub const fn deny(&self) -> bool {
        match self {
            Self::NotAsked | Self::AllowListed(_) => false,
            Self::DenyListed(_) => true,
            Self::Decided { decision, .. } => matches!(decision.code, Code::OverLimit),
        }
    }
}

/// What the client can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// It speaks gRPC, and reads statuses instead of bodies.
    pub grpc: bool,
    /// It asked with HEAD, and is sent no body.
    pub head: bool,
}

impl Caller {
    /// As the request tells. gRPC is any media type that begins like gRPC's: Envoy answers `application/grpc` and
    /// `application/grpc+...` in gRPC's way, and clients of gRPC-Web read the same headers.
    #[must_use]
    pub fn of(attributes: &Attributes<'_>) -> Self {
        const GRPC: &[u8] = b"application/grpc";
        let kind = attributes.header("content-type").and_then(|kind| kind.get(..GRPC.len()));
        Self { grpc: kind.is_some_and(|kind| kind.eq_ignore_ascii_case(GRPC)), head: attributes.method == b"HEAD" }
    }
}

/// The body of a denial.
#[derive(Clone, Debug)]
enum DenialBody {
    Problem,
    Text,
    Custom(Template),
    None,
}

/// How answers are written: `ext_authz.answer`, compiled.
#[derive(Clone, Debug)]
pub struct Answers {
    headers: HeaderSettings,
    /// Put headers on the responses of allowed requests, too.
    response_headers: bool,
    dynamic_metadata: bool,
    body: DenialBody,
    status: u16,
    list_status: u16,
    /// Names of users are secret: an entry that is one is not told.
    secret_users: bool,
}

const TEXT: &str = "text/plain; charset=utf-8";

// Fields of CheckResponse.
const STATUS: u32 = 1;
const DENIED_RESPONSE: u32 = 2;
const OK_RESPONSE: u32 = 3;
const DYNAMIC_METADATA: u32 = 4;

// Fields of OkHttpResponse.
const HEADERS: u32 = 2;
const HEADERS_TO_REMOVE: u32 = 5;
const RESPONSE_HEADERS_TO_ADD: u32 = 6;

// Fields of DeniedHttpResponse; its headers are the second, too.
const HTTP_STATUS: u32 = 1;
const BODY: u32 = 3;

// Codes of gRPC.
const PERMISSION_DENIED: u64 = 7;
const RESOURCE_EXHAUSTED: u64 = 8;

/// What becomes of headers of the same name: `HeaderValueOption.HeaderAppendAction`.
#[derive(Clone, Copy)]
enum Others {
    Stay = 0,
    Go = 2,
}

impl Answers {
    /// As configured.
    ///
    /// # Errors
    /// [`TemplateError`] of `ext_authz.answer.template`.
    pub fn new(config: &Config) -> Result<Self, TemplateError> {
        let ExtAuthz { answer, values, user, .. } = &config.ext_authz;
        let limiter = &config.limiter;
        let body = match answer.body {
            Body::Problem => DenialBody::Problem,
            Body::Text => DenialBody::Text,
            Body::Custom => {
                let media_type = answer.content_type.as_deref().unwrap_or(TEXT);
                DenialBody::Custom(Template::new(answer.template.as_deref().unwrap_or_default(), media_type)?)
            }
            Body::None => DenialBody::None,
        };
        Ok(Self {
            headers: HeaderSettings { families: limiter.header_families(), names: limiter.header_names.clone() },
            response_headers: answer.response_headers,
            dynamic_metadata: limiter.dynamic_metadata,
            body,
            status: answer.status,
            list_status: answer.list_status,
            secret_users: user.as_ref().and_then(|user| values.get(user)).is_some_and(|value| value.secret),
        })
    }

    /// Appends an answer to `buffer`.
    #[must_use]
    pub fn encode(
        &self,
        buffer: Vec<u8>,
        grounds: &Grounds<'_, '_>,
        evaluation: &Evaluation<'_>,
        caller: Caller,
    ) -> Vec<u8> {
        let mut out = Writer::after(buffer);
        if grounds.deny() {
            let limited = matches!(grounds, Grounds::Decided { .. });
            let code = if limited { RESOURCE_EXHAUSTED } else { PERMISSION_DENIED };
            out.message(STATUS, |out| out.number(1, code));
            out.message(DENIED_RESPONSE, |out| self.denied(out, grounds, code, caller));
        } else {
            out.message(STATUS, |_| {});
            out.message(OK_RESPONSE, |out| self.allowed(out, grounds, evaluation));
        }
        if self.dynamic_metadata {
            out.message(DYNAMIC_METADATA, |out| self.metadata(out, grounds, evaluation.route()));
        }
        out.into_inner()
    }

    /// `OkHttpResponse`.
    fn allowed(&self, out: &mut Writer, grounds: &Grounds<'_, '_>, evaluation: &Evaluation<'_>) {
        evaluation.upstream_headers(|name, value| match value {
            Some(value) => header(out, HEADERS, name, value, Others::Go),
            None => out.bytes(HEADERS_TO_REMOVE, name.as_bytes()),
        });
        if let (true, Grounds::Decided { decision, .. }) = (self.response_headers, grounds) {
            // Those of another limiter behind this one stay, as they do where RLS answers.
            headers::write(decision, &self.headers, |name, value| {
                header(out, RESPONSE_HEADERS_TO_ADD, name, value, Others::Stay);
            });
        }
    }

    /// `DeniedHttpResponse`; `code` is gRPC's.
    fn denied(&self, out: &mut Writer, grounds: &Grounds<'_, '_>, code: u64, caller: Caller) {
        let limited = match grounds {
            Grounds::Decided { decision, .. } => Some(*decision),
            _ => None,
        };
        let status = if limited.is_some() { self.status } else { self.list_status };
        out.message(HTTP_STATUS, |out| out.number(1, status.into()));
        let mut set = |name: &str, value: &str| header(out, HEADERS, name, value, Others::Go);
        if let Some(decision) = limited {
            headers::write(decision, &self.headers, &mut set);
        }
        if caller.grpc {
            // Envoy would make UNAVAILABLE of 429, and would put a body in the place of this message.
            let sentence = limited.map_or_else(|| problem::TURNED_AWAY.to_owned(), problem::sentence);
            set("grpc-status", if code == RESOURCE_EXHAUSTED { "8" } else { "7" });
            set("grpc-message", &percent_encoded(&sentence));
        } else if !caller.head
            && let Some((media_type, body)) = self.body(grounds, limited, status)
        {
            set("Content-Type", media_type);
            out.bytes(BODY, &body);
        }
    }

    /// The media type and text of a denial's body. It holds names and numbers from the rules, and nothing that the
    /// client sent.
    fn body(&self, grounds: &Grounds<'_, '_>, limited: Option<&Decision<'_>>, status: u16) -> Option<(&str, Vec<u8>)> {
        match &self.body {
            DenialBody::Problem => {
                let turned_away = || Some(problem::turned_away(status));
                let body = limited.map_or_else(turned_away, |decision| problem::denial(decision, status));
                Some((problem::MEDIA_TYPE, body?))
            }
            DenialBody::Text => {
                let sentence = limited.map_or_else(|| problem::TURNED_AWAY.to_owned(), problem::sentence);
                Some((TEXT, (sentence + "\n").into_bytes()))
            }
            DenialBody::Custom(template) => Some((template.media_type(), template.fill(grounds, status).into_bytes())),
            DenialBody::None => None,
        }
    }

    /// Why, for Envoy's access log: what RLS tells, and `route`; of a list, its name and the entry.
    fn metadata(&self, out: &mut Writer, grounds: &Grounds<'_, '_>, route: Option<&str>) {
        match grounds {
            Grounds::NotAsked => metadata::text(out, "code", "OK"),
            Grounds::Decided { decision, revision } => metadata::encode(out, decision, *revision),
            Grounds::AllowListed(entry) => self.listed(out, "OK", "allow", entry),
            Grounds::DenyListed(entry) => self.listed(out, "DENIED", "deny", entry),
        }
        if let Some(route) = route {
            metadata::text(out, "route", route);
        }
    }

    fn listed(&self, out: &mut Writer, code: &str, list: &str, entry: &str) {
        metadata::text(out, "code", code);
        metadata::text(out, "list", list);
        let hidden = self.secret_users && entry.starts_with("user:");
        metadata::text(out, "entry", if hidden { "user" } else { entry });
    }
}

/// `config.core.v3.HeaderValueOption` {header 1 {key 1, value 2}, append_action 3}.
fn header(out: &mut Writer, field: u32, name: &str, value: &str, others: Others) {
    out.message(field, |out| {
        out.message(1, |out| {
            out.bytes(1, name.as_bytes());
            out.bytes(2, value.as_bytes());
        });
        out.number(3, others as u64);
    });
}

/// A text as gRPC's `grpc-message` wants it: visible ASCII and the blank, all else percent-encoded.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => out.push_str("%25"),
            0x20..=0x7e => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

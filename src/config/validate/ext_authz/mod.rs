//! What must hold for the settings of external authorization, but for what only compiling them finds (path templates).

mod route;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

use super::{Field, Findings};
use crate::config::Config;
use crate::config::ext_authz::{Answer, Body, BuiltIn, ExtAuthz, Piece, pieces};
use crate::config::field::key;

/// The most templates, of all routes together as well.
const MAX_TEMPLATES: usize = 10_000;
const MAX_TEMPLATE_BYTES: usize = 64 << 10;
/// The longest text that stands in the settings for a value, and the longest name.
const MAX_TEXT: usize = 1024;

/// Headers that only say how two neighbours speak to each other, or what a proxy may not change here.
const NOT_OURS: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn check(config: &Config, found: &mut Findings) {
    let section = &config.ext_authz;
    found.not_empty("ext_authz.domain", &section.domain);
    let address = &section.client_address;
    found.range("ext_authz.client_address.trusted_hops", address.trusted_hops, 1..=100);
    found.range("ext_authz.client_address.ipv4_prefix", address.ipv4_prefix, 8..=32);
    found.range("ext_authz.client_address.ipv6_prefix", address.ipv6_prefix, 16..=128);
    found.most("ext_authz.paths.templates", section.paths.templates.len(), MAX_TEMPLATES);
    found.not_empty("ext_authz.paths.unmatched", &section.paths.unmatched);
    found.not_empty("ext_authz.claims.namespace", &section.claims.namespace);
    value::check(section, found);
    if let Some(user) = &section.user {
        found.known("ext_authz.user", section, user);
    }
    secrets(section, found);
    route::check(section, found);
    lists(section, found);
    answer(section, found);
}

impl Findings {
    fn most(&mut self, field: impl Into<Field>, count: usize, most: usize) {
        self.check(field, count <= most, || format!("there are {count}; write at most {most}"));
    }

    /// A name that users choose.
    fn name(&mut self, field: impl Into<Field>, name: &str) {
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic() && !b"={}\"\\".contains(&byte));
        self.check(field, plain && (1..=128).contains(&name.len()), || {
            format!("\"{name}\" is no name; write 1 to 128 visible ASCII characters other than = {{ }} \" \\")
        });
    }

    /// That a value exists.
    fn known(&mut self, field: impl Into<Field>, section: &ExtAuthz, name: &str) {
        let known = BuiltIn::named(name).is_some() || section.values.contains_key(name);
        self.check(field, known, || {
            let built_in = BuiltIn::ALL.map(BuiltIn::name).join(", ");
            format!("there is no value '{name}'; define it in ext_authz.values, or write one of {built_in}")
        });
    }

    fn headers(&mut self, field: &str, section: &ExtAuthz, headers: &BTreeMap<String, String>) {
        let mut names: Vec<_> = headers.keys().map(|name| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        self.check(field.to_owned(), names.len() == headers.len(), || {
            "two names differ only in capitals, and headers do not; leave one of them out".to_owned()
        });
        for (name, text) in headers {
            let field = format!("{field}.{}", key(name));
            self.header_name(field.clone(), name);
            let visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            self.check(field.clone(), visible && text.len() <= MAX_TEXT, || {
                format!("a header's text holds at most {MAX_TEXT} visible ASCII characters and blanks; write such")
            });
            match pieces(text) {
                Err(reason) => self.check(field, false, || reason),
                Ok(pieces) => {
                    for piece in pieces {
                        if let Piece::Value(name) = piece {
                            self.known(field.clone(), section, name);
                        }
                    }
                }
            }
        }
    }

    /// A header that may be set or removed.
    fn header_name(&mut self, field: impl Into<Field>, name: &str) {
        let field = field.into();
        self.check(field.clone(), HeaderName::from_bytes(name.as_bytes()).is_ok(), || {
            format!("\"{name}\" is no HTTP header name; write letters, digits and dashes")
        });
        self.check(field, !NOT_OURS.contains(&name.to_ascii_lowercase().as_str()), || {
            format!("{name} is between Envoy and the upstream, who would misunderstand each other; leave it out")
        });
    }
}

fn secrets(section: &ExtAuthz, found: &mut Findings) {
    let secret = section.values.iter().find(|(_, value)| value.secret);
    if let (Some((name, _)), None) = (secret, &section.secret_key_file) {
        found.check(format!("ext_authz.values.{}.secret", key(name)), false, || {
            "secret values are hashed with a key; set ext_authz.secret_key_file, a file with 32 bytes or more that \
             `openssl rand -hex 32` makes"
                .to_owned()
        });
    }
    let named = section.secret_key_file.as_ref().is_none_or(|path| !path.as_os_str().is_empty());
    found.check("ext_authz.secret_key_file", named, || {
        "an empty path names nothing; write a file, or leave it out".to_owned()
    });
}

fn lists(section: &ExtAuthz, found: &mut Findings) {
    for (name, list) in [("deny", &section.lists.deny), ("allow", &section.lists.allow)] {
        for (index, file) in list.files.iter().enumerate() {
            found.check(format!("ext_authz.lists.{name}.files[{index}]"), *file != PathBuf::new(), || {
                "an empty path names nothing; write a file".to_owned()
            });
        }
        found.check(format!("ext_authz.lists.{name}.users"), list.users.is_empty() || section.user.is_some(), || {
            "nobody says which value is the user; set ext_authz.user".to_owned()
        });
    }
}

fn answer(section: &ExtAuthz, found: &mut Findings) {
    let Answer { body, template, content_type, status, list_status, upstream_headers, remove_headers, .. } =
        &section.answer;
    found.range("ext_authz.answer.status", *status, 400..=599);
    found.range("ext_authz.answer.list_status", *list_status, 400..=599);
    let custom = *body == Body::Custom;
    found.check("ext_authz.answer.template", template.is_some() == custom, || match template {
        None => "body: custom is the text of a template; write it".to_owned(),
        Some(_) => "has a meaning only with ext_authz.answer.body: custom; write that, or leave it out".to_owned(),
    });
    let size = template.as_ref().map_or(0, String::len);
    found.check("ext_authz.answer.template", size <= MAX_TEMPLATE_BYTES, || {
        format!("it has {size} bytes; write at most {MAX_TEMPLATE_BYTES}")
    });
    if let Some(content_type) = content_type {
        found.check("ext_authz.answer.content_type", custom, || {
            "has a meaning only with ext_authz.answer.body: custom; write that, or leave it out".to_owned()
        });
        let media_type = HeaderValue::from_str(content_type).is_ok() && content_type.contains('/');
        found.check("ext_authz.answer.content_type", media_type, || {
            format!("\"{content_type}\" is no media type; write one such as text/html; charset=utf-8")
        });
    }
    found.headers("ext_authz.answer.upstream_headers", section, upstream_headers);
    for (index, name) in remove_headers.iter().enumerate() {
        found.header_name(format!("ext_authz.answer.remove_headers[{index}]"), name);
    }
}

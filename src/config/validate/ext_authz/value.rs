//! Named values.

use super::{Findings, MAX_TEXT};
use crate::config::ext_authz::{BuiltIn, ExtAuthz, Source, Value};
use crate::config::field::key;

pub(super) fn check(section: &ExtAuthz, found: &mut Findings) {
    found.most("ext_authz.values", section.values.len(), 64);
    for (name, value) in &section.values {
        let field = format!("ext_authz.values.{}", key(name));
        found.name(field.clone(), name);
        found.check(field.clone(), BuiltIn::named(name).is_none(), || {
            "every request has a value of that name already; write another name".to_owned()
        });
        match value.source() {
            Ok(source) => self::source(&field, section, source, found),
            Err(reason) => found.check(field.clone(), false, || reason),
        }
        shape(&field, value, found);
    }
}

fn source(field: &str, section: &ExtAuthz, source: Source<'_>, found: &mut Findings) {
    let (kind, name) = match source {
        Source::Header(name) => ("header", name),
        Source::Query(name) => ("query", name),
        Source::Cookie(name) => ("cookie", name),
        Source::Claim(path) => ("claim", path),
        Source::Metadata { path, .. } => ("metadata", path),
        Source::Context(key) => ("context", key),
        Source::PathVariable(name) => ("path_variable", name),
    };
    let field = format!("{field}.{kind}");
    found.check(field.clone(), (1..=MAX_TEXT).contains(&name.len()), || {
        format!("it has {} characters; write 1 to {MAX_TEXT}", name.len())
    });
    match source {
        Source::Header(name) if name.starts_with(':') => found.check(field, false, || {
            format!("{name} has a value of its own; write method, host, scheme or path where it is named")
        }),
        Source::Header(name) => found.check(field, http::HeaderName::from_bytes(name.as_bytes()).is_ok(), || {
            format!("\"{name}\" is no HTTP header name; write letters, digits and dashes")
        }),
        Source::PathVariable(name) => {
            let routes = section.routes.iter().flat_map(|route| &route.matching.paths);
            let mut templates = section.paths.templates.iter().chain(routes);
            let written = [format!("{{{name}}}"), format!("{{*{name}}}")];
            let known = templates.any(|template| written.iter().any(|written| template.contains(written)));
            found.check(field, known, || {
                format!("no template has a variable '{name}'; write {{{name}}} in one of ext_authz.paths.templates")
            });
        }
        _ => {}
    }
}

fn shape(field: &str, value: &Value, found: &mut Findings) {
    for (name, text) in [("default", &value.default), ("other_value", &value.other_value)] {
        let Some(text) = text else { continue };
        found.check(format!("{field}.{name}"), (1..=MAX_TEXT).contains(&text.len()), || {
            format!("it has {} bytes; write 1 to {MAX_TEXT}, or leave it out", text.len())
        });
    }
    found.most(format!("{field}.one_of"), value.one_of.len(), 10_000);
    for (index, text) in value.one_of.iter().enumerate() {
        found.check(format!("{field}.one_of[{index}]"), (1..=MAX_TEXT).contains(&text.len()), || {
            format!("it has {} bytes; write 1 to {MAX_TEXT}, or leave it out", text.len())
        });
    }
    found.check(format!("{field}.other_value"), value.other_value.is_none() || !value.one_of.is_empty(), || {
        "has a meaning only with one_of; write that, or leave it out".to_owned()
    });
}

//! Routes: which requests, and what is asked of them.

use super::{Findings, MAX_TEMPLATES, MAX_TEXT};
use crate::config::ext_authz::{Descriptor, ExtAuthz, Hits, HitsOf, Match};
use crate::core::limit::MAX_HITS;

pub(super) fn check(section: &ExtAuthz, found: &mut Findings) {
    found.most("ext_authz.routes", section.routes.len(), 1_000);
    let templates: usize = section.routes.iter().map(|route| route.matching.paths.len()).sum();
    found.check("ext_authz.routes", templates <= MAX_TEMPLATES, || {
        format!("they match {templates} path templates; write at most {MAX_TEMPLATES} in all of them")
    });
    for (index, route) in section.routes.iter().enumerate() {
        let field = format!("ext_authz.routes[{index}]");
        if let Some(name) = &route.name {
            found.name(format!("{field}.name"), name);
        }
        matching(&format!("{field}.match"), &route.matching, found);
        if let Some(domain) = &route.domain {
            found.not_empty(format!("{field}.domain"), domain);
        }
        found.most(format!("{field}.descriptors"), route.descriptors.len(), 100);
        for (index, asked) in route.descriptors.iter().enumerate() {
            descriptor(&format!("{field}.descriptors[{index}]"), section, asked, found);
        }
        if let Some(cost) = &route.hits {
            hits(&format!("{field}.hits"), section, cost, found);
        }
        found.headers(&format!("{field}.upstream_headers"), section, &route.upstream_headers);
    }
}

fn matching(field: &str, matching: &Match, found: &mut Findings) {
    found.most(format!("{field}.methods"), matching.methods.len(), 100);
    for (index, method) in matching.methods.iter().enumerate() {
        found.check(format!("{field}.methods[{index}]"), http::Method::from_bytes(method.as_bytes()).is_ok(), || {
            format!("\"{method}\" is no method; write one such as GET")
        });
    }
    found.most(format!("{field}.hosts"), matching.hosts.len(), 1_000);
    for (index, host) in matching.hosts.iter().enumerate() {
        let name = host.strip_prefix("*.").unwrap_or(host);
        let bracketed = name.starts_with('[') && name.ends_with(']');
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let whole = !name.is_empty() && !name.ends_with('.') && (1..=255).contains(&host.len());
        found.check(format!("{field}.hosts[{index}]"), whole && (plain || bracketed), || {
            format!("\"{host}\" is no host without port; write one such as example.com or *.example.com")
        });
    }
    found.most(format!("{field}.context"), matching.context.len(), 100);
    found.check(format!("{field}.context"), matching.context.keys().all(|key| !key.is_empty()), || {
        "an empty key has no meaning here; write one of the route's context_extensions".to_owned()
    });
}

fn descriptor(field: &str, section: &ExtAuthz, descriptor: &Descriptor, found: &mut Findings) {
    let entries = &descriptor.entries;
    found.check(field.to_owned(), (1..=32).contains(&entries.len()), || {
        format!("it has {} entries; write 1 to 32", entries.len())
    });
    for (index, entry) in entries.iter().enumerate() {
        // Where the short form was written, the place is the same.
        let item = if descriptor.hits.is_some() { ".entries" } else { "" };
        let field = format!("{field}{item}[{index}]");
        match entry.split_once('=') {
            Some((key, text)) => {
                found.check(field.clone(), !key.is_empty() && key.len() <= MAX_TEXT && text.len() <= MAX_TEXT, || {
                    format!("\"{entry}\" is no constant; write key=text, each of at most {MAX_TEXT} bytes")
                });
            }
            None => found.known(field, section, entry),
        }
    }
    if let Some(cost) = &descriptor.hits {
        hits(&format!("{field}.hits"), section, cost, found);
    }
}

fn hits(field: &str, section: &ExtAuthz, hits: &Hits, found: &mut Findings) {
    match hits {
        Hits::Fixed(hits) => found.range(field.to_owned(), *hits, 0..=MAX_HITS),
        Hits::Of(HitsOf { value, per, default, min, max }) => {
            let numeric = value == "request_size" || section.values.contains_key(value);
            found.check(format!("{field}.value"), numeric, || {
                format!("'{value}' is no number; write request_size, or one of ext_authz.values")
            });
            found.range(format!("{field}.per"), *per, 1..=u64::MAX);
            found.range(format!("{field}.default"), *default, 0..=MAX_HITS);
            found.range(format!("{field}.min"), *min, 0..=MAX_HITS);
            found.range(format!("{field}.max"), *max, 0..=MAX_HITS);
            found.check(format!("{field}.min"), min <= max, || {
                format!("{min} is more than max, {max}; write at most so much")
            });
        }
    }
}

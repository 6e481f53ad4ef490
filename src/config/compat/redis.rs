//! Where Redis is. The reference knows two, one of them for limits per second, with the same names.

use super::{Env, Reference, Weight};

const WITHOUT_URL: &str = "has no effect without REDIS_URL: counters are kept in this process's memory";
const WITHOUT_PERSECOND: &str = "has no effect without REDIS_PERSECOND=true";
const MEMORY_INSTEAD: &str = "counters are kept in this process's memory, so replicas do not share them; set REDIS_URL";

/// The names of one Redis, and our section for it.
struct Names {
    prefix: &'static str,
    section: &'static str,
}

const MAIN: Names = Names { prefix: "REDIS_", section: "redis" };
const PER_SECOND: Names = Names { prefix: "REDIS_PERSECOND_", section: "redis.per_second" };

/// Names that mean something to each Redis.
const PARTS: [&str; 7] = ["TYPE", "URL", "AUTH", "SENTINEL_AUTH", "TLS", "TIMEOUT", "SOCKET_TYPE"];
/// Those of TLS, which both share.
const TLS_FILES: [(&str, &str); 3] =
    [("REDIS_TLS_CACERT", "ca"), ("REDIS_TLS_CLIENT_CERT", "certificate"), ("REDIS_TLS_CLIENT_KEY", "key")];

pub(super) fn read(env: &Env<'_>, current: impl Fn(&str) -> Option<String>, found: &mut Reference) {
    let configured = current("redis.urls").is_some();
    backend(env, configured, found);
    if env.contains_key("REDIS_URL") || configured {
        connection(env, &MAIN, found);
        if let Some(prefix) = env.get("CACHE_KEY_PREFIX")
            && !prefix.is_empty()
        {
            // There it stands before the whole key.
            found.set("redis.key_prefix", format!("{prefix}rate_limit"), "CACHE_KEY_PREFIX");
        }
        if found.flag(env, "REDIS_PERSECOND") == Some(true) {
            connection(env, &PER_SECOND, found);
        } else {
            unused(env, &PER_SECOND, WITHOUT_PERSECOND, found);
        }
    } else {
        unused(env, &MAIN, WITHOUT_URL, found);
        unused(env, &PER_SECOND, WITHOUT_URL, found);
        for name in ["CACHE_KEY_PREFIX", "REDIS_PERSECOND"].into_iter().chain(tls_names()) {
            if env.get(name).is_some_and(|value| !value.is_empty()) {
                found.note(Weight::Info, name, WITHOUT_URL);
            }
        }
        return;
    }
    let tls = [&MAIN, &PER_SECOND].map(|names| found.flag(env, &format!("{}TLS", names.prefix)) == Some(true));
    if !tls.contains(&true) {
        for name in tls_names().filter(|name| env.get(name).is_some_and(|value| !value.is_empty())) {
            found.note(Weight::Info, name, "has no effect without REDIS_TLS=true");
        }
    }
}

fn tls_names() -> impl Iterator<Item = &'static str> {
    TLS_FILES.into_iter().map(|(name, _)| name).chain(["REDIS_TLS_SKIP_HOSTNAME_VERIFICATION"])
}

fn backend(env: &Env<'_>, configured: bool, found: &mut Reference) {
    match env.get("BACKEND_TYPE") {
        None | Some(&"") => {}
        Some(&"redis") if configured || env.contains_key("REDIS_URL") => {}
        Some(&"redis") => found.note(Weight::Warning, "BACKEND_TYPE", MEMORY_INSTEAD),
        Some(&"memcache") => found.note(Weight::Warning, "BACKEND_TYPE", super::table::MEMCACHE),
        Some(other) => found.error("BACKEND_TYPE", format!("there is no backend \"{other}\"; write redis")),
    }
}

fn unused(env: &Env<'_>, names: &Names, why: &'static str, found: &mut Reference) {
    for part in PARTS {
        let name = format!("{}{part}", names.prefix);
        if env.get(&*name).is_some_and(|value| !value.is_empty()) {
            found.note(Weight::Info, &name, why);
        }
    }
}

fn connection(env: &Env<'_>, names: &Names, found: &mut Reference) {
    let name = |part: &str| format!("{}{part}", names.prefix);
    let field = |part: &str| format!("{}.{part}", names.section);
    let get = |part: &str| env.get(&*name(part)).copied().filter(|value| !value.is_empty());
    let topology = get("TYPE").map(str::to_lowercase);
    if let Some(topology) = &topology {
        found.set(&field("type"), topology, &name("TYPE"));
    }
    if let Some(url) = get("URL") {
        let origin = name("URL");
        let mut urls = url.to_owned();
        if topology.as_deref() == Some("sentinel") {
            match url.split_once(',') {
                Some((master, sentinels)) => {
                    found.set(&field("sentinel.master"), master.trim(), &origin);
                    urls = sentinels.to_owned();
                }
                None => found.error(&origin, "names no sentinels; write master,host:port,host:port"),
            }
        }
        // A URI may bring user and password.
        let plain = urls.strip_prefix("rediss://").or_else(|| urls.strip_prefix("redis://"));
        if let Some((credentials, rest)) = plain.and_then(|plain| plain.rsplit_once('@')) {
            authenticate(credentials, &field("username"), &field("password"), &origin, found);
            urls = rest.to_owned();
        } else if let Some(plain) = plain {
            urls = plain.to_owned();
        }
        if url.starts_with("rediss://") {
            found.set(&field("tls.verify_hostname"), "true", &origin);
        }
        found.set(&field("urls"), urls, &origin);
    }
    if get("SOCKET_TYPE").is_some() {
        found.note(Weight::Info, &name("SOCKET_TYPE"), "not needed: a path is a Unix socket, anything else is not");
    }
    if let Some(text) = get("AUTH") {
        authenticate(text, &field("username"), &field("password"), &name("AUTH"), found);
    }
    if let Some(text) = get("SENTINEL_AUTH") {
        let (user, password) = (field("sentinel.username"), field("sentinel.password"));
        authenticate(text, &user, &password, &name("SENTINEL_AUTH"), found);
    }
    if let Some(timeout) = get("TIMEOUT") {
        found.set(&field("connect_timeout"), timeout, &name("TIMEOUT"));
    }
    if found.flag(env, &name("TLS")) == Some(true) {
        let skip = found.flag(env, "REDIS_TLS_SKIP_HOSTNAME_VERIFICATION") == Some(true);
        let origin = if skip { "REDIS_TLS_SKIP_HOSTNAME_VERIFICATION".to_owned() } else { name("TLS") };
        found.set(&field("tls.verify_hostname"), (!skip).to_string(), &origin);
        for (name, part) in TLS_FILES {
            if let Some(path) = env.get(name).filter(|path| !path.is_empty()) {
                found.set(&field(&format!("tls.{part}")), path, name);
            }
        }
    }
}

/// `password`, or `user:password`.
fn authenticate(text: &str, user: &str, password: &str, origin: &str, found: &mut Reference) {
    match text.split_once(':') {
        Some((name, secret)) => {
            if !name.is_empty() {
                found.set(user, name, origin);
            }
            found.set(password, secret, origin);
        }
        None => found.set(password, text, origin),
    }
}

//! Where Redis is. The reference knows two, one of them for limits per second, with the same names.
//!
//! Counters are in Redis when an address is given, by `REDIS_URL` or by our own setting. Without one, whatever else is
//! said of Redis has no effect, and is told.

use super::{Env, Reference, Weight};
use crate::config::load::Setting;

const WITHOUT_URL: &str =
    "has no effect without REDIS_URL: counters are kept in this process's memory, so replicas do not share them";
const WITHOUT_PERSECOND: &str = "has no effect without REDIS_PERSECOND=true";
const WITHOUT_SENTINEL: &str = "has no effect unless the type of that Redis is sentinel";
const WITHOUT_TLS: &str = "has no effect without REDIS_TLS=true";
const MEMORY_INSTEAD: &str = "counters are kept in this process's memory, so replicas do not share them; set REDIS_URL";
const SOCKET_TYPE: &str = "not needed: a path is a Unix socket, anything else is not";

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
const SKIP_HOSTNAME: &str = "REDIS_TLS_SKIP_HOSTNAME_VERIFICATION";

/// `given` tells whether any source but the reference's names gives a field.
pub(super) fn read(env: &Env<'_>, given: impl Fn(&str) -> bool, found: &mut Reference) {
    let used = env.contains_key("REDIS_URL") || given("redis.urls");
    backend(env, used, found);
    if !used {
        unused(env, &MAIN, Weight::Warning, WITHOUT_URL, found);
        unused(env, &PER_SECOND, Weight::Warning, WITHOUT_URL, found);
        for name in ["CACHE_KEY_PREFIX", "REDIS_PERSECOND"].into_iter().chain(tls_names()) {
            if env.contains_key(name) {
                found.note(Weight::Warning, name, WITHOUT_URL);
            }
        }
        return;
    }
    if let Some(prefix) = env.get("CACHE_KEY_PREFIX") {
        // There it stands before the whole key.
        found.set("redis.key_prefix", format!("{prefix}rate_limit"), "CACHE_KEY_PREFIX");
    }
    let mut secure = MAIN.read(env, &given, found);
    if found.flag(env, "REDIS_PERSECOND") == Some(true) {
        if !env.contains_key("REDIS_PERSECOND_URL") && !given("redis.per_second.urls") {
            found.error("REDIS_PERSECOND", "the second Redis has no address; set REDIS_PERSECOND_URL too");
            return;
        }
        secure |= PER_SECOND.read(env, &given, found);
    } else {
        unused(env, &PER_SECOND, Weight::Info, WITHOUT_PERSECOND, found);
    }
    if !secure {
        for name in tls_names().filter(|name| env.contains_key(name)) {
            found.note(Weight::Info, name, WITHOUT_TLS);
        }
    }
}

fn tls_names() -> impl Iterator<Item = &'static str> {
    TLS_FILES.into_iter().map(|(name, _)| name).chain([SKIP_HOSTNAME])
}

fn backend(env: &Env<'_>, used: bool, found: &mut Reference) {
    match env.get("BACKEND_TYPE") {
        None => {}
        Some(&"redis") if used => {}
        Some(&"redis") => found.note(Weight::Warning, "BACKEND_TYPE", MEMORY_INSTEAD),
        Some(&"memcache") => found.note(Weight::Warning, "BACKEND_TYPE", super::table::MEMCACHE),
        Some(other) => found.error("BACKEND_TYPE", format!("there is no backend \"{other}\"; write redis")),
    }
}

fn unused(env: &Env<'_>, names: &Names, weight: Weight, why: &'static str, found: &mut Reference) {
    for name in PARTS.map(|part| names.name(part)) {
        if env.contains_key(&*name) {
            found.note(weight, &name, why);
        }
    }
}

impl Names {
    fn name(&self, part: &str) -> String {
        format!("{}{part}", self.prefix)
    }

    fn field(&self, part: &str) -> String {
        format!("{}.{part}", self.section)
    }

    /// Whether it speaks TLS.
    fn read(&self, env: &Env<'_>, given: impl Fn(&str) -> bool, found: &mut Reference) -> bool {
        let get = |part: &str| env.get(&*self.name(part)).copied();
        let topology = get("TYPE").map(str::to_lowercase);
        if let Some(topology) = &topology {
            found.set(&self.field("type"), topology, &self.name("TYPE"));
        }
        let is_sentinel = topology.as_deref() == Some("sentinel");
        if let Some(url) = get("URL") {
            self.address(url, is_sentinel, get("AUTH").is_some(), found);
        }
        if get("SOCKET_TYPE").is_some() {
            found.note(Weight::Info, &self.name("SOCKET_TYPE"), SOCKET_TYPE);
        }
        if let Some(text) = get("AUTH") {
            self.authenticate("AUTH", "", text, found);
        }
        match get("SENTINEL_AUTH") {
            Some(text) if is_sentinel || given(&self.field("sentinel.master")) => {
                self.authenticate("SENTINEL_AUTH", "sentinel.", text, found);
            }
            Some(_) => found.note(Weight::Info, &self.name("SENTINEL_AUTH"), WITHOUT_SENTINEL),
            None => {}
        }
        if let Some(timeout) = get("TIMEOUT") {
            found.set(&self.field("connect_timeout"), timeout, &self.name("TIMEOUT"));
        }
        self.tls(env, found)
    }

    /// An address, addresses, or the name of a primary and the addresses of its sentinels.
    fn address(&self, url: &str, is_sentinel: bool, authenticated: bool, found: &mut Reference) {
        let origin = self.name("URL");
        let mut urls = url;
        if is_sentinel {
            let Some((master, sentinels)) = url.split_once(',') else {
                return found.error(&origin, "names no sentinels; write master,host:port,host:port");
            };
            found.set(&self.field("sentinel.master"), master.trim(), &origin);
            urls = sentinels;
        }
        if !(urls.contains("://") && urls.contains('@')) {
            return found.set(&self.field("urls"), urls, &origin);
        }
        let Some(uri) = Uri::parse(urls) else {
            return found.error(&origin, "this is no address; write redis://user:password@host:port/database");
        };
        let address = match uri.scheme {
            "redis" => uri.address.to_owned(),
            scheme => format!("{scheme}://{}", uri.address),
        };
        found.set(&self.field("urls"), address, &origin);
        if let Some(database) = uri.database {
            found.set(&self.field("database"), database, &origin);
        }
        // A name of its own is over what the address says.
        if let Some(password) = uri.password.filter(|_| !authenticated) {
            found.set(&self.field("password"), password, &origin);
            if !uri.user.is_empty() {
                found.set(&self.field("username"), uri.user, &origin);
            }
        }
    }

    /// `password`, or `user:password`.
    fn authenticate(&self, part: &str, section: &str, text: &str, found: &mut Reference) {
        let origin = self.name(part);
        let (user, password) = text.split_once(':').unwrap_or(("", text));
        if !user.is_empty() {
            found.set(&self.field(&format!("{section}username")), user, &origin);
        }
        found.set(&self.field(&format!("{section}password")), password, &origin);
    }

    fn tls(&self, env: &Env<'_>, found: &mut Reference) -> bool {
        let switch = self.name("TLS");
        if found.flag(env, &switch) != Some(true) {
            return false;
        }
        let section = self.field("tls");
        found.settings.push(Setting::section(&section, &switch));
        for (name, part) in TLS_FILES {
            if let Some(path) = env.get(name) {
                found.set(&format!("{section}.{part}"), path, name);
            }
        }
        if let Some(skip) = found.flag(env, SKIP_HOSTNAME) {
            found.set(&format!("{section}.verify_hostname"), (!skip).to_string(), SKIP_HOSTNAME);
        }
        true
    }
}

/// `redis://user:password@host:port/database`; all but the host may be missing.
struct Uri<'u> {
    scheme: &'u str,
    user: String,
    password: Option<String>,
    address: &'u str,
    database: Option<&'u str>,
}

impl<'u> Uri<'u> {
    fn parse(text: &'u str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (credentials, rest) = rest.rsplit_once('@')?;
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let (address, database) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Self {
            scheme,
            user: decode(user)?,
            password: Some(decode(password)?).filter(|password| !password.is_empty()),
            address,
            database: Some(database).filter(|database| !database.is_empty()),
        })
    }
}

/// `%41` is `A` (RFC 3986, section 2.1).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn percent_signs_are_read() {
        assert_eq!(decode("p%40ss%3a%C3%A9").as_deref(), Some("p@ss:é"));
        for wrong in ["%", "%4", "%zz", "%+1", "%ff"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}

//! A server process with a directory of its own for the copy of the rules.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::rules::copies::codec::Seal;
use tidegate::rules::copies::disk::Disk;

use crate::postgres_support::{PATIENCE, Postgres};
use crate::process::{Answer, Server, request};

pub type Amounts = BTreeMap<String, u64>;

pub struct Replica {
    server: Option<Server>,
    url: String,
    copies: tempfile::TempDir,
}

impl Replica {
    pub fn start(postgres: &Postgres, database: &str) -> Self {
        let mut replica =
            Self { server: None, url: postgres.url("postgres", database), copies: tempfile::tempdir().unwrap() };
        replica.restart();
        replica
    }

    /// Starts it, on whatever copy it has.
    pub fn restart(&mut self) {
        let env = [
            ("DATABASE_URL", self.url.as_str()),
            ("TIDEGATE_RULES__COPY_DIRECTORY", self.copies.path().to_str().unwrap()),
            ("TIDEGATE_HTTP__ALLOW_UNAUTHENTICATED", "true"),
            ("TIDEGATE_DATABASE__POLL_INTERVAL", "200ms"),
            ("TIDEGATE_DATABASE__CONNECT_TIMEOUT", "1s"),
        ];
        self.server = Some(Server::start_from(&[], &env));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.server = None;
    }

    pub const fn is_running(&self) -> bool {
        self.server.is_some()
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        request(self.server().http, method, path, "content-type: application/json\r\n", text.as_bytes())
    }

    /// Makes a rule of so many an hour.
    pub fn put(&self, path: &str, amount: u64) -> Answer {
        let limit = json!({ "requests_per_unit": amount, "unit": "hour", "algorithm": "fixed_window" });
        let path = format!("/rate-limit/rules/edge/{}", path.replace('=', "%3D"));
        self.call("PUT", &path, &json!({ "rate_limit": limit }))
    }

    pub fn decide(&self, user: &str) -> u16 {
        self.call("POST", "/rate-limit", &json!({ "user_id": user })).status
    }

    /// How the rules in force stand to the repository.
    pub fn standing(&self) -> Value {
        let answer = request(self.server().http, "GET", "/readyz?verbose", "", b"");
        answer.json()["rules"]["repository"].clone()
    }

    /// Which revision the copy on disk has.
    pub fn revision_on_disk(&self) -> Option<u64> {
        let found = Disk::open(self.copies.path(), Seal::CHECKSUM).unwrap().look().ok().flatten();
        found.map(|found| found.standing.head.revision.0)
    }

    fn revision(&self) -> Option<u64> {
        self.standing()["revision"].as_u64()
    }

    /// The revision in force, and the rules, by their name in metrics; `None` before the first.
    pub fn in_force(&self) -> Option<(u64, Amounts)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.revision();
            let text = request(self.server().admin, "GET", "/rlconfig", "", b"").body;
            if before == self.revision() {
                return Some((before?, text.lines().map(amount).collect()));
            }
            assert!(Instant::now() < deadline, "the rules change too often");
        }
    }
}

/// `edge.user_id_1: unit=HOUR requests_per_unit=5, ...`
fn amount(line: &str) -> (String, u64) {
    let (name, rest) = line.split_once(": ").unwrap();
    let number = rest.split_once("requests_per_unit=").unwrap().1;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    (name.to_owned(), number[..digits].parse().unwrap())
}

/// Waits until something is so.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn database(postgres: &Postgres) -> String {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(postgres.database())
}

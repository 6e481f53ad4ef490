//! The whole chain.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Client, Configuration, Envoy, Site, Tidegate, TidegateOptions, eventually, repository};
use crate::service::Service;
use crate::tokens::Issuer;

/// What a chain is started with. The default is what the files say, but for more time for decisions: a test machine may
/// be busy.
pub struct Plan {
    pub edge: Configuration,
    pub inner: Configuration,
    pub sidecar: Configuration,
    /// Files or folders with rules.
    pub rules: PathBuf,
    /// Settings in YAML, beside those of `tidegate/mesh.yaml`.
    pub settings: String,
    pub tidegates: usize,
    /// Where the first Tidegate listens; anywhere by default.
    pub tidegate_at: Option<SocketAddr>,
    /// Whom the Envoys ask instead of the Tidegates.
    pub asked: Option<SocketAddr>,
    /// Where traces go; nowhere by default.
    pub collector: Option<SocketAddr>,
}

impl Default for Plan {
    fn default() -> Self {
        let plan = Self::hurried();
        Self { edge: plan.edge.patient(), inner: plan.inner.patient(), sidecar: plan.sidecar.patient(), ..plan }
    }
}

impl Plan {
    /// The files' own time for decisions, 20 ms.
    pub fn hurried() -> Self {
        Self {
            edge: Configuration::read("gateway-edge.yaml"),
            inner: Configuration::read("gateway-inner.yaml"),
            sidecar: Configuration::read("sidecar.yaml"),
            rules: repository("deploy/envoy/rules"),
            settings: String::new(),
            tidegates: 1,
            tidegate_at: None,
            asked: None,
            collector: None,
        }
    }
}

pub struct Chain {
    pub edge: Envoy,
    pub inner: Envoy,
    pub sidecar: Envoy,
    pub tidegates: Vec<Tidegate>,
    pub service: Service,
    issuer: Issuer,
    /// How a further Tidegate, or one that starts anew, is started.
    rules: PathBuf,
    settings: String,
    site: Site,
}

impl Chain {
    pub async fn start() -> Self {
        Self::start_with(Plan::default()).await
    }

    pub async fn start_with(plan: Plan) -> Self {
        let site = Site::new();
        let service = Service::start(&site);
        let issuer = Issuer::new();
        let settings = std::fs::read_to_string(repository("deploy/envoy/tidegate/mesh.yaml")).unwrap() + &plan.settings;
        let mut tidegates = Vec::new();
        for number in 0..plan.tidegates {
            let address = plan.tidegate_at.filter(|_| number == 0).unwrap_or_else(|| site.free_address());
            tidegates.push(start_tidegate(&site, address, &plan.rules, &settings).await);
        }
        let asked: Vec<_> = match plan.asked {
            Some(address) => vec![address],
            None => tidegates.iter().map(|tidegate| tidegate.grpc).collect(),
        };
        let collector = plan.collector.unwrap_or_else(|| site.free_address());

        let [inner_address, sidecar_address] = [site.free_address(), site.free_address()];
        let edge = plan.edge.address("where clients connect", &[site.free_address()]);
        let edge = edge.address("the next proxy", &[inner_address]);
        let [x, y] = issuer.coordinates();
        let edge = edge
            .replace("-eeXLQgDn6cYMPhSUknxxWSQHXcnYPk6NNMWVUVO8Qs", &x)
            .replace("IXbyIM4xYrMjIhNIw4NmQ9T91SloJF8b8qwmVq-W8wc", &y);
        let inner = plan.inner.address("where the edge connects", &[inner_address]);
        let inner = inner.address("the next proxy", &[sidecar_address]);
        let sidecar = plan.sidecar.address("where the inner gateway connects", &[sidecar_address]);
        let sidecar = sidecar.address("your service", &[service.address()]);

        let start = async |name: &str, configuration: Configuration| {
            let admin = site.free_address();
            let configuration = configuration
                .address("Envoy's own administration", &[admin])
                .address("Tidegate", &asked)
                .address("your collector", &[collector]);
            let text = configuration.text();
            Envoy::run(&site, name, text, admin, listener(text)).await
        };
        let sidecar = start("sidecar", sidecar).await;
        let inner = start("inner", inner).await;
        let edge = start("edge", edge).await;
        let chain = Self { edge, inner, sidecar, tidegates, service, issuer, rules: plan.rules, settings, site };
        for envoy in chain.envoys() {
            envoy.finds_healthy("tidegate", chain.tidegates.len() as u64).await;
        }
        chain
    }

    /// An `authorization` header of this user.
    pub fn token(&self, user: &str) -> String {
        self.issuer.bearer(serde_json::json!({ "sub": user }))
    }

    /// A client with the given address: every address is another client.
    pub fn client(&self, number: u8) -> Client {
        Client::new(self.edge.address, [127, 1, 1, number].into())
    }

    pub fn envoys(&self) -> [&Envoy; 3] {
        [&self.edge, &self.inner, &self.sidecar]
    }

    /// Starts Tidegate anew at the address of one that has ended.
    pub async fn restart(&mut self, replica: usize) {
        let address = self.tidegates[replica].grpc;
        self.tidegates[replica] = start_tidegate(&self.site, address, &self.rules, &self.settings).await;
    }

    /// How often each rule of a domain has counted, in all replicas: `remote_address` 3.
    pub async fn hits(&self, domain: &str) -> Vec<(String, u64)> {
        let mut hits = std::collections::BTreeMap::<String, u64>::new();
        for tidegate in &self.tidegates {
            let series = format!(r#"tidegate_hits_total{{domain="{domain}",rule=""#);
            for line in tidegate.metrics().await.lines() {
                let Some((rule, count)) = line.strip_prefix(&series).and_then(|rest| rest.split_once("\"} ")) else {
                    continue;
                };
                *hits.entry(rule.to_owned()).or_default() += count.parse::<u64>().unwrap();
            }
        }
        hits.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Errors and requests let pass without a decision, at the edge, at the inner gateway and at the sidecar.
    pub async fn lost(&self) -> [(u64, u64); 3] {
        let filters = ["cluster.inner.ratelimit", "cluster.sidecar.ratelimit", "cluster.backend.ext_authz"];
        let mut lost = [(0, 0); 3];
        for ((envoy, filter), lost) in self.envoys().into_iter().zip(filters).zip(&mut lost) {
            let error = envoy.stat(&format!("{filter}.error")).await;
            *lost = (error, envoy.stat(&format!("{filter}.failure_mode_allowed")).await);
        }
        lost
    }

    /// Fails unless every hop got a decision for every request.
    pub async fn assert_no_decision_was_lost(&self) {
        assert_eq!(self.lost().await, [(0, 0); 3]);
    }
}

async fn start_tidegate(site: &Site, address: SocketAddr, rules: &Path, settings: &str) -> Tidegate {
    let file = Some(settings.to_owned());
    let options = TidegateOptions { rules: rules.to_owned(), file, ..TidegateOptions::default() };
    Tidegate::start_at(site, address, options).await
}

/// Where a configuration listens: the address that a comment on its line says clients or proxies connect to.
fn listener(text: &str) -> SocketAddr {
    let line = text.lines().find(|line| line.contains("# address: where")).unwrap();
    let part = |name: &str| line.split_once(name).unwrap().1.split([',', ' ', '}']).next().unwrap();
    format!("{}:{}", part("{ address: "), part("port_value: ")).parse().unwrap()
}

/// The last line of an access log about a request with this path, once it is there.
pub async fn logged(envoy: &Envoy, path: &str) -> Value {
    eventually(&format!("{path} in the access log"), || async {
        let log = envoy.access_log(0).await;
        log.into_iter().rev().find(|line| line["path"] == path)
    })
    .await
}

//! A Kubernetes API server without a cluster: it validates, defaults and keeps objects, and nothing runs them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::KeyPair;

use super::{Process, Site, crds, part, repository, succeeded, wait_for};

/// The one user, who may do everything.
const TOKEN: &str = "tidegate-tests";

/// kube-apiserver with an etcd of its own; both end when it is dropped.
pub struct ApiServer {
    kubeconfig: PathBuf,
    // In this order, they end before their folder goes.
    server: Process,
    _etcd: Process,
    site: Site,
}

impl ApiServer {
    /// Starts both, and returns once the server is ready: nothing in it but what it makes itself.
    pub async fn start() -> Self {
        let site = Site::new();
        let (clients, peers) = (site.free_address(), site.free_address());
        let mut command = Command::new(part("etcd"));
        command
            .args(["--name", "test", "--data-dir"])
            .arg(site.path("etcd"))
            .args([
                format!("--listen-client-urls=http://{clients}"),
                format!("--advertise-client-urls=http://{clients}"),
            ])
            .args([
                format!("--listen-peer-urls=http://{peers}"),
                format!("--initial-advertise-peer-urls=http://{peers}"),
                format!("--initial-cluster=test=http://{peers}"),
            ]);
        let etcd = Process::start(&site, "etcd", &mut command);

        let address = site.free_address();
        let key = KeyPair::generate().unwrap();
        let write = |name: &str, text: String| {
            let path = site.path(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (private, public) =
            (write("accounts.key", key.serialize_pem()), write("accounts.pem", key.public_key_pem()));
        let users = write("users.csv", format!("{TOKEN},admin,admin,system:masters\n"));
        let kubeconfig = write("kubeconfig", kubeconfig(&format!("https://{address}")));
        let mut command = Command::new(part("kube-apiserver"));
        command
            .arg(format!("--etcd-servers=http://{clients}"))
            .arg(format!("--bind-address={}", address.ip()))
            .arg(format!("--secure-port={}", address.port()))
            // It would announce itself to pods, at an address that a pod reaches.
            .args(["--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none"])
            .arg(format!("--cert-dir={}", site.path("certificates").display()))
            .args(["--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=AlwaysAllow"])
            .arg(format!("--token-auth-file={}", users.display()))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-signing-key-file={}", private.display()))
            .arg(format!("--service-account-key-file={}", public.display()))
            // It waits for accounts that a controller makes, and there is none.
            .arg("--disable-admission-plugins=ServiceAccount")
            .args(["--profiling=false", "--v=1"]);
        let server = Process::start(&site, "kube-apiserver", &mut command);
        let mut api = Self { kubeconfig, server, _etcd: etcd, site };
        wait_for("the API server is ready", || {
            api.server.assert_runs();
            let ready = api.command("kubectl").args(["get", "--raw", "/readyz"]).output().unwrap().status.success();
            std::future::ready(ready.then_some(()))
        })
        .await;
        api
    }

    /// The file that clients find it with.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where it and its clients live: addresses and files.
    pub const fn site(&self) -> &Site {
        &self.site
    }

    /// A part (`kubectl`, `helm`, `istioctl`) that talks to this server, run in the repository.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(part(name));
        command
            .current_dir(repository(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            // Caches and settings of who runs the tests stay out of it.
            .env("HOME", self.site.folder())
            .env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs a part, and returns what it wrote; fails the test unless it succeeded.
    pub fn run(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.command(name).args(arguments).output().unwrap();
        succeeded(&format!("{name} {}", arguments.join(" ")), &output)
    }

    /// Applies manifests, YAML or JSON.
    pub fn apply(&self, manifests: &str) -> String {
        let mut child = self
            .command("kubectl")
            .args(["apply", "--server-side", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
        succeeded("kubectl apply", &child.wait_with_output().unwrap())
    }

    /// The resource definitions of Istio, Gateway API and Envoy Gateway, served by the time it returns.
    pub async fn install_crds(&self) {
        for name in ["istio", "gateway"] {
            let folder = crds(name);
            self.run("kubectl", &["apply", "--server-side", "--recursive", "-f", folder.to_str().unwrap()]);
        }
        self.run("kubectl", &["wait", "--for=condition=Established", "--timeout=120s", "crd", "--all"]);
    }

    /// Makes namespaces.
    pub fn namespaces(&self, names: &[&str]) {
        let namespace = |name: &&str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name} }}\n");
        self.apply(&names.iter().map(namespace).collect::<Vec<_>>().join("---\n"));
    }
}

fn kubeconfig(server: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
current-context: test
clusters: [{{ name: test, cluster: {{ server: '{server}', insecure-skip-tls-verify: true }} }}]
users: [{{ name: admin, user: {{ token: {TOKEN} }} }}]
contexts: [{{ name: test, context: {{ cluster: test, user: admin }} }}]
"
    )
}

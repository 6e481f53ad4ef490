//! Tidegate, the program itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use super::process::Process;
use super::{Client, Site, eventually, repository};

/// What differs from test to test.
pub struct TidegateOptions {
    /// Files or folders with rules.
    pub rules: PathBuf,
    /// Settings, `TIDEGATE_...` and their values.
    pub settings: Vec<(&'static str, &'static str)>,
    /// The text of a file of settings.
    pub file: Option<String>,
}

impl Default for TidegateOptions {
    fn default() -> Self {
        Self { rules: repository("deploy/envoy/rules"), settings: Vec::new(), file: None }
    }
}

pub struct Tidegate {
    pub grpc: SocketAddr,
    pub admin: Client,
    process: Process,
}

impl Tidegate {
    pub async fn start(site: &Site, options: TidegateOptions) -> Self {
        Self::start_at(site, site.free_address(), options).await
    }

    /// Starts with the gRPC listener at the given address.
    pub async fn start_at(site: &Site, grpc: SocketAddr, options: TidegateOptions) -> Self {
        let (http, admin) = (site.free_address(), site.free_address());
        let file = options.file.map(|text| {
            let file = site.path("tidegate.yaml");
            std::fs::write(&file, text).unwrap();
            file
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .arg("serve")
            .arg("--rules")
            .arg(options.rules)
            .args(["--grpc-address", &grpc.to_string()])
            .args(["--http-address", &http.to_string()])
            .args(["--admin-address", &admin.to_string()])
            .args(["--workers", "1"])
            .args(file.iter().flat_map(|file| ["--config".as_ref(), file.as_os_str()]))
            .current_dir(site.folder())
            // A test must not depend on who runs it.
            .env_clear()
            .envs(options.settings);
        let mut process = Process::start(site, &format!("tidegate-{}", grpc.port()), &mut command);
        let [http, admin] = [http, admin].map(|address| Client::new(address, [127, 0, 0, 1].into()));
        eventually("Tidegate is ready", || {
            process.assert_runs();
            async { (http.try_get("/readyz", &[]).await.ok()?.status == 200).then_some(()) }
        })
        .await;
        Self { grpc, admin, process }
    }

    /// The metrics that administration shows.
    pub async fn metrics(&self) -> String {
        let answer = self.admin.get("/metrics", &[]).await;
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    pub async fn ends(&mut self) -> ExitStatus {
        self.process.ends().await
    }
}

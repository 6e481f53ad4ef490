//! A real Envoy between the demo's clients and the server.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::scratch::Scratch;

const BOOTSTRAP: &str = include_str!("envoy.yaml");

/// How often a starting Envoy is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A running Envoy; stopped, and its files removed, when this is dropped.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    directory: Scratch,
    /// Where clients connect.
    pub address: SocketAddr,
}

impl Envoy {
    /// Starts `binary` in front of the server at `grpc`, and waits until it listens.
    pub async fn start(binary: &Path, domain: &str, grpc: SocketAddr, within: Duration) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let directory = scratch.path();
        let config = BOOTSTRAP
            .replace("{directory}", &directory.display().to_string())
            .replace("{domain}", domain)
            .replace("{ip}", &grpc.ip().to_string())
            .replace("{port}", &grpc.port().to_string());
        let config = scratch.write("envoy.yaml", &config)?;
        let log = File::create(directory.join("envoy.log")).context("creating Envoy's log")?;
        let child = Command::new(binary)
            .arg("-c")
            .arg(config)
            .arg("--admin-address-path")
            .arg(directory.join("admin"))
            .args(["--concurrency", "1", "--disable-hot-restart", "-l", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}; is this an Envoy binary? (--envoy)", binary.display()))?;
        // From here on, dropping stops the process.
        let mut envoy = Self { child, directory: scratch, address: grpc };
        envoy.address = envoy.listening(within).await?;
        Ok(envoy)
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    async fn listening(&mut self, within: Duration) -> anyhow::Result<SocketAddr> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if !self.running() {
                bail!("Envoy ended at once: {}", self.complaint());
            }
            if let Some(address) = self.listener().await {
                return Ok(address);
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("Envoy did not listen within {} s: {}", within.as_secs(), self.complaint())
    }

    /// The address of its listener, once there is one: asked from its own administration.
    async fn listener(&self) -> Option<SocketAddr> {
        let admin = fs::read_to_string(self.directory.path().join("admin")).ok()?.trim().parse().ok()?;
        if get(admin, "/ready").await.ok()?.0 != 200 {
            return None;
        }
        let (_, listeners) = get(admin, "/listeners").await.ok()?;
        listeners.lines().find_map(|line| line.strip_prefix("demo::"))?.trim().parse().ok()
    }

    /// The last lines of its log.
    fn complaint(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("envoy.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(3).collect();
        if lines.is_empty() {
            "it says nothing".to_owned()
        } else {
            lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
        }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let call = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        let request = http::Request::get(path).header("host", "envoy").body(Empty::<bytes::Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::time::timeout(Duration::from_secs(1), call).await?
}

/// An `envoy` on the search path.
pub fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join("envoy")).find(|file| file.is_file())
}

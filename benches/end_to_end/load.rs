//! One loaded run: `h2load` on the second core, the server's own CPU time from the kernel.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::question::Question;
use crate::servers::Server;

/// How to load a server.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub requests: usize,
    pub connections: usize,
    /// Streams at a time, on each connection.
    pub streams: usize,
    /// The cores that `h2load` may use.
    pub cores: &'static str,
    pub question: Question,
}

impl Default for Load {
    fn default() -> Self {
        Self { requests: 200_000, connections: 4, streams: 32, cores: "1", question: Question::TwoOfMany("domain-3") }
    }
}

/// What one run showed.
#[derive(Clone, Debug)]
pub struct Run {
    pub requests_per_second: f64,
    /// Of user and system time of the server's process.
    pub cpu_us_per_request: f64,
    /// Sorted, in microseconds.
    pub latencies: Vec<u32>,
    /// Every request: when it started, in microseconds of the epoch, and how long it took.
    pub requests: Vec<(u64, u32)>,
    pub failed: usize,
}

impl Run {
    pub fn percentile(&self, share: f64) -> u32 {
        percentile(&self.latencies, share)
    }
}

/// Of sorted latencies.
pub fn percentile(latencies: &[u32], share: f64) -> u32 {
    let last = latencies.len().saturating_sub(1);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let position = (last as f64 * share) as usize;
    latencies.get(position).copied().unwrap_or(0)
}

pub fn run(server: &Server, load: &Load) -> Run {
    h2load(server, &Load { requests: load.requests / 10, ..*load }, None);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let before = server.cpu_us();
    let text = h2load(server, load, Some(&log));
    let cpu = server.cpu_us() - before;
    let mut requests = Vec::with_capacity(load.requests);
    let mut failed = 0;
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        let mut fields = line.split_ascii_whitespace();
        let start = fields.next().unwrap().parse().unwrap();
        failed += usize::from(fields.next() != Some("200"));
        requests.push((start, fields.next().unwrap().parse().unwrap()));
    }
    failed += load.requests - requests.len();
    let mut latencies: Vec<u32> = requests.iter().map(|(_, took)| *took).collect();
    latencies.sort_unstable();
    let finished = text.lines().find(|line| line.starts_with("finished in")).expect("h2load's closing lines");
    let rate = finished.split(", ").nth(1).and_then(|text| text.strip_suffix(" req/s")).unwrap();
    #[allow(clippy::cast_precision_loss)]
    let cpu_us_per_request = cpu as f64 / load.requests as f64;
    Run { requests_per_second: rate.parse().unwrap(), cpu_us_per_request, latencies, requests, failed }
}

fn h2load(server: &Server, load: &Load, log: Option<&Path>) -> String {
    let mut data = tempfile::NamedTempFile::new().unwrap();
    data.write_all(&load.question.framed("77")).unwrap();
    let mut command = Command::new("taskset");
    command.args(["-c", load.cores, "h2load", "-c", &load.connections.to_string(), "-m", &load.streams.to_string()]);
    command.args(["-n", &load.requests.to_string(), "-d"]).arg(data.path());
    command.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    if let Some(log) = log {
        command.arg("--log-file").arg(log);
    }
    command.arg(format!("http://127.0.0.1:{}{}", server.port, load.question.path()));
    let output = command.output().expect("h2load (Debian package nghttp2-client) and taskset must be installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

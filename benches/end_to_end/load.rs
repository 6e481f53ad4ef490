//! One loaded run: `h2load` on the second core, the server's own CPU time from the kernel.

use std::process::Command;

use prost::Message as _;

use crate::servers::Server;

/// What one run showed.
#[derive(Clone, Debug)]
pub struct Run {
    pub requests_per_second: f64,
    /// Of user and system time of the server's process.
    pub cpu_us_per_request: f64,
    /// Sorted, in microseconds.
    pub latencies: Vec<u32>,
    pub failed: usize,
}

impl Run {
    pub fn percentile(&self, share: f64) -> u32 {
        let last = self.latencies.len().saturating_sub(1);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let position = (last as f64 * share) as usize;
        self.latencies.get(position).copied().unwrap_or(0)
    }
}

/// The request of every run: two descriptors.
fn body() -> Vec<u8> {
    use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
    use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
    use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
    let descriptor = |entries: &[(&str, &str)]| RateLimitDescriptor {
        entries: entries.iter().map(|(key, value)| Entry { key: (*key).into(), value: (*value).into() }).collect(),
        ..RateLimitDescriptor::default()
    };
    let request = RateLimitRequest {
        domain: "domain-3".into(),
        descriptors: vec![
            descriptor(&[("user_id", "customer-77")]),
            descriptor(&[("user_id", "customer-123"), ("method", "GET"), ("path", "/api/v1/items/17")]),
        ],
        hits_addend: 1,
    }
    .encode_to_vec();
    let length = u32::try_from(request.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &request].concat()
}

pub fn run(server: &Server, requests: usize) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let (data, log) = (directory.path().join("request"), directory.path().join("log"));
    std::fs::write(&data, body()).unwrap();
    let h2load = |requests: usize, log: Option<&std::path::Path>| {
        let mut command = Command::new("taskset");
        command.args(["-c", "1", "h2load", "-c", "4", "-m", "32", "-n", &requests.to_string()]);
        command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"]).arg(&data);
        if let Some(log) = log {
            command.arg("--log-file").arg(log);
        }
        command.arg(format!(
            "http://127.0.0.1:{}/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
            server.port
        ));
        let output = command.output().expect("h2load (Debian package nghttp2-client) and taskset must be installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    h2load(requests / 10, None);
    let before = server.cpu_us();
    let text = h2load(requests, Some(&log));
    let cpu = server.cpu_us() - before;
    let mut latencies: Vec<u32> = Vec::with_capacity(requests);
    let mut failed = 0;
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        let mut fields = line.split_ascii_whitespace().skip(1);
        failed += usize::from(fields.next() != Some("200"));
        latencies.push(fields.next().unwrap().parse().unwrap());
    }
    latencies.sort_unstable();
    let finished = text.lines().find(|line| line.starts_with("finished in")).expect("h2load's closing lines");
    let rate = finished.split(", ").nth(1).and_then(|text| text.strip_suffix(" req/s")).unwrap();
    #[allow(clippy::cast_precision_loss)]
    let cpu_us_per_request = cpu as f64 / requests as f64;
    Run { requests_per_second: rate.parse().unwrap(), cpu_us_per_request, latencies, failed }
}

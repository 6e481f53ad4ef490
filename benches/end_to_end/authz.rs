//! External authorization beside a server that authorizes everything: what does it cost to read the same request, to make
//! a descriptor of it, look it up in lists and decide it?

use std::net::SocketAddr;

use tidegate::config::{Config, LoadOptions};

use crate::Options;
use crate::driver::{self, Keys, Traffic};
use crate::load::{self, Load, percentile};
use crate::question::Question;
use crate::report;
use crate::servers::Server;

const NAMES: [&str; 2] = ["authz-tonic", "authz"];

/// Networks in the deny list.
const NETWORKS: u32 = 100_000;

/// The section: one descriptor for each user of a verified token, paths by templates, lists, a header for the upstream.
const SECTION: &str = r#"
ext_authz:
  domain: shop
  paths: { templates: ["/api/v1/items/{id}", "/api/v1/items", "/login"] }
  values:
    user_id: { claim: sub }
    plan: { claim: plan, one_of: [gold, silver], default: free }
  user: user_id
  routes:
    - { name: login, match: { paths: [/login], methods: [POST] }, descriptors: [[route, remote_address]] }
    - { name: api, match: { paths: ["/api/{*rest}"] }, descriptors: [[user_id]] }
    - { name: other, descriptors: [[remote_address]] }
  answer:
    upstream_headers: { x-plan: "{plan}" }
"#;

/// The rules of its domain, beside those that every scenario has: a limit for each user.
pub const RULES: &str = "
domain: shop
descriptors:
  - key: user_id
    rate_limit: { unit: hour, requests_per_unit: 1000000000 }
";

/// The settings of the server `authz`, whose files are in `directory`.
pub fn settings(directory: &std::path::Path) -> Config {
    let list = directory.join("deny.txt");
    let network = |number: u32| format!("{}.{}.{}.0/24\n", 11 + (number >> 16), number >> 8 & 0xff, number & 0xff);
    let users = (0..1_000).map(|number| format!("user:banned-{number}\n"));
    std::fs::write(&list, (0..NETWORKS).map(network).chain(users).collect::<String>()).unwrap();
    let file = directory.join("settings.yml");
    let lists =
        format!("  lists:\n    deny: {{ files: [{}] }}\n    allow: {{ networks: [127.0.0.9] }}\n", list.display());
    std::fs::write(&file, format!("{SECTION}{lists}")).unwrap();
    Config::load(&LoadOptions { file: Some(file), ..LoadOptions::default() }).unwrap().config
}

pub fn run(options: &Options) {
    let names = NAMES;
    let mut runs = Vec::new();
    let start = |name| Server::start(name, "0", &[]);
    let load = Load { requests: options.requests, question: Question::Check, ..Load::default() };
    println!("{} bytes a request", Question::Check.framed("00000077").len());
    for round in 0..=options.rounds {
        for name in names {
            let run = load::run(&start(name), &load);
            // The first round warms the machine up.
            if round > 0 {
                runs.push((name, run));
            }
        }
    }
    report::print(&names, &runs);

    let half = runs.iter().map(|(_, run)| run.requests_per_second).fold(f64::INFINITY, f64::min) / 2.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rate = if options.rate > 0 { options.rate } else { half as u64 };
    println!("\nat {rate} requests a second, evenly spaced:");
    let traffic = Traffic {
        keys: Keys::Uniform(2_000),
        question: Question::Check,
        requests: options.requests as u64 / 2,
        connections: 4,
        streams: 32,
        rate,
    };
    for _ in 0..options.rounds.min(3) {
        for name in names {
            let server = start(name);
            let address = SocketAddr::from(([127, 0, 0, 1], server.port));
            driver::run(address, Traffic { requests: traffic.requests / 10, ..traffic });
            let answers = driver::run(address, traffic);
            let latency = |share| percentile(&answers.latencies, share);
            println!("{name:<14} p50 {} us, p99 {} us, failed {}", latency(0.5), latency(0.99), answers.failed);
        }
    }
}

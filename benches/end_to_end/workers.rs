//! One worker against two, and what one connection with all the load does.

use crate::Options;
use crate::load::{self, Load};
use crate::report;
use crate::servers::Server;

/// Workers, and connections that share 128 streams.
const CASES: [(&str, &str, usize); 4] =
    [("1 worker, 8 c", "1", 8), ("2 workers, 8 c", "2", 8), ("1 worker, 1 c", "1", 1), ("2 workers, 1 c", "2", 1)];

/// Server and load share both cores, as they would share a machine with an Envoy beside them.
pub fn run(options: &Options) {
    let mut runs = Vec::new();
    for _ in 0..options.rounds {
        for (name, workers, connections) in CASES {
            let server = Server::start("tidegate", "0,1", &[("BENCH_WORKERS", workers)]);
            let load = Load {
                requests: options.requests,
                connections,
                streams: 128 / connections,
                cores: "0,1",
                ..Load::default()
            };
            runs.push((name, load::run(&server, &load)));
        }
    }
    report::table(&CASES.map(|(name, ..)| name), &runs);
}

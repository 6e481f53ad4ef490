//! What observations for the anomaly worker add to a whole request: the same server with and without somebody who reads
//! them, in turn. Reading counts, too; what is made of observations does not.

use crate::Options;
use crate::load::{self, Load};
use crate::report;
use crate::servers::Server;

const TAKEN: &str = "tidegate_observations_total{outcome=\"taken\"}";
const LOST: &str = "tidegate_observations_total{outcome=\"lost\"}";

pub fn run(options: &Options) {
    let names = ["tidegate", "observed"];
    let mut runs = Vec::new();
    for round in 0..=options.rounds {
        for name in names {
            let environment: &[(&str, &str)] = if name == "observed" { &[("BENCH_OBSERVED", "1")] } else { &[] };
            let server = Server::start("tidegate", "0", environment);
            let run = load::run(&server, &Load { requests: options.requests, ..Load::default() });
            // The first round warms the machine up.
            if round > 0 {
                if name == "observed" {
                    let metrics = server.metrics();
                    println!("round {round}: {} taken, {} lost", metrics.get(TAKEN), metrics.get(LOST));
                }
                runs.push((name, run));
            }
        }
    }
    report::print(&names, &runs);
}

//! A replica is stopped while requests flow.

use crate::harness::{Backend, Configuration, Envoy, Site, Tidegate, TidegateOptions, Traffic};

#[tokio::test]
async fn a_replica_that_stops_loses_no_decision() {
    let site = Site::new();
    let backend = Backend::start(&site);
    let options =
        || TidegateOptions { settings: vec![("TIDEGATE_SHUTDOWN__DRAIN_PERIOD", "3s")], ..TidegateOptions::default() };
    let mut leaving = Tidegate::start(&site, options()).await;
    let staying = Tidegate::start(&site, options()).await;
    // Envoy notices sooner than with the file's 2 s, so that the drain period of this test can be short.
    let configuration = Configuration::ratelimit().replace(" interval: 1s", " interval: 0.2s");
    let envoy = Envoy::start(&site, configuration, &[leaving.grpc, staying.grpc], backend.address).await;
    envoy.finds_healthy("tidegate", 2).await;

    let traffic = Traffic::start(envoy.address, 2);
    traffic.flows(100).await;
    let hits = [decided(&leaving).await, decided(&staying).await];
    assert!(hits.iter().all(|&hits| hits > 0), "both decide: {hits:?}");

    leaving.signal("TERM");
    envoy.finds_healthy("tidegate", 1).await;
    let status = leaving.ends().await;
    assert_eq!(status.code(), Some(0), "{status}");
    traffic.flows(100).await;
    traffic.end().await;
    envoy.assert_no_decision_was_lost().await;
}

/// Hits on the rule that all traffic meets.
async fn decided(tidegate: &Tidegate) -> u64 {
    let metrics = tidegate.metrics().await;
    let series = r#"tidegate_hits_total{domain="edge",rule="remote_address"} "#;
    metrics.lines().find_map(|line| line.strip_prefix(series)).map_or(0, |value| value.parse().unwrap())
}

//! Databases of countries and autonomous systems.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tidegate::core::adjustment::set::AdjustmentSet;
use tidegate::core::adjustment::{Adjustment, Effect};
use tidegate::core::clock::Micros;
use tidegate::core::locate::Locate as _;
use tidegate::core::subject::{Attribute, Subject};
use tidegate::server;

use crate::server_support::{OK, OVER_LIMIT, Server, config, eventually, request, start};

const RULES: &str = "
domain: edge
descriptors:
  - key: remote_address
    rate_limit: { unit: day, requests_per_unit: 1000 }
";

const BRITISH: &str = "2.125.160.217";

fn database(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data/geo", name].iter().collect()
}

/// Puts a file in place of another at once.
fn put(bytes: &[u8], at: &Path) {
    let beside = at.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, at).unwrap();
}

fn reloads(server: &Server, outcome: &str) -> u64 {
    let text = server.running.context.metrics.encode();
    let name = format!("tidegate_geo_reloads_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_setting() {
    let mut config = config();
    config.anomaly.geo.country_database = Some("/nowhere/country.mmdb".into());
    let error = server::start(config).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("anomaly.geo.country_database: cannot read /nowhere/country.mmdb"), "{error}");
}

#[tokio::test]
async fn a_new_file_takes_its_place_and_a_bad_one_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("country.mmdb");
    let good = std::fs::read(database("GeoLite2-Country-Test.mmdb")).unwrap();
    put(&good, &file);
    let server = start(RULES, |config| config.anomaly.geo.country_database = Some(file.clone()));
    let is_known = || server.running.context.geo.country(BRITISH.parse().unwrap()) == Some(*b"GB");
    assert!(is_known());
    assert_eq!((reloads(&server, "success"), reloads(&server, "error")), (1, 0));

    put(&good[..good.len() / 2], &file);
    eventually("half a file is refused", async || reloads(&server, "error") == 1).await;
    assert!(is_known());
    put(&std::fs::read(database("GeoLite2-ASN-Test.mmdb")).unwrap(), &file);
    eventually("another database is refused", async || reloads(&server, "error") == 2).await;
    assert!(is_known());
    std::fs::remove_file(&file).unwrap();
    eventually("no file is refused", async || reloads(&server, "error") == 3).await;
    assert!(is_known());
    put(&good, &file);
    eventually("the file is back", async || reloads(&server, "success") == 2).await;
    assert!(is_known());
}

#[tokio::test]
async fn an_adjustment_by_country_holds_for_addresses_that_are_there() {
    let country = database("GeoLite2-Country-Test.mmdb");
    let server = start(RULES, |config| config.anomaly.geo.country_database = Some(country));
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    server.running.context.limiter.adjust(AdjustmentSet::new([Adjustment {
        id: "a-1".into(),
        subject: Subject::Group([(Attribute::Country, "GB".into())].into_iter().collect()),
        domain: None,
        effect: Effect::Block,
        expires: Micros::from(now + Duration::from_secs(600)),
        shadow: false,
    }]));
    let mut client = server.client().await;
    for (address, code) in [(BRITISH, OVER_LIMIT), ("2001:218::1", OK), ("192.0.2.1", OK)] {
        let answer = client.should_rate_limit(request("edge", &[&[("remote_address", address)]])).await.unwrap();
        assert_eq!(answer.into_inner().overall_code, code, "{address}");
    }
}

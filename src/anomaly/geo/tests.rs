use std::path::PathBuf;

use super::*;
use crate::anomaly::observation::Observation;

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data/geo", name].iter().collect()
}

fn both() -> Settings {
    Settings {
        country_database: Some(file("GeoLite2-Country-Test.mmdb")),
        asn_database: Some(file("GeoLite2-ASN-Test.mmdb")),
    }
}

#[test]
fn addresses_are_found() {
    let geo = Geo::new(Databases::load(&both()).unwrap());
    for (address, country, asn) in [
        ("2.125.160.217", Some(*b"GB"), None),
        ("::ffff:2.125.160.217", Some(*b"GB"), None),
        ("2001:218::1", Some(*b"JP"), None),
        ("1.0.0.7", None, Some(15_169)),
        ("89.160.20.113", Some(*b"SE"), Some(29_518)),
        ("192.0.2.1", None, None),
    ] {
        let address = address.parse().unwrap();
        assert_eq!((geo.country(address), geo.asn(address)), (country, asn), "{address}");
    }
}

#[test]
fn an_observation_keeps_what_its_source_tells() {
    let geo = Geo::new(Databases::load(&both()).unwrap());
    let address = Some("89.160.20.113".parse().unwrap());
    let filled = |observation: Observation<'_>| {
        let mut observation = observation;
        geo.fill(&mut observation);
        (observation.country, observation.asn)
    };
    let silent = Observation { address, ..Observation::default() };
    assert_eq!(filled(silent), (Some(*b"SE"), Some(29_518)));
    assert_eq!(filled(Observation { country: Some(*b"NO"), ..silent }), (Some(*b"NO"), Some(29_518)));
    assert_eq!(filled(Observation { asn: Some(7), ..silent }), (Some(*b"SE"), Some(7)));
    assert_eq!(filled(Observation::default()), (None, None));
}

#[test]
fn without_databases_nothing_is_known() {
    let geo = Geo::default();
    let address = "89.160.20.113".parse().unwrap();
    assert_eq!((geo.country(address), geo.asn(address)), (None, None));
}

#[test]
fn what_cannot_be_used_is_named_with_its_setting() {
    let mistake = |country: &std::path::Path, asn: Option<PathBuf>| {
        let settings = Settings { country_database: Some(country.to_owned()), asn_database: asn };
        Databases::load(&settings).unwrap_err().to_string()
    };
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.mmdb");
    let told = mistake(&missing, None);
    assert!(told.starts_with("anomaly.geo.country_database: cannot read ") && told.contains("missing.mmdb"), "{told}");

    let text = directory.path().join("text.mmdb");
    std::fs::write(&text, "203.0.113.0/24 DE\n").unwrap();
    let told = mistake(&text, None);
    assert!(told.contains("text.mmdb is no database that can be used"), "{told}");

    let cut = directory.path().join("cut.mmdb");
    let whole = std::fs::read(file("GeoLite2-Country-Test.mmdb")).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let told = mistake(&cut, None);
    assert!(told.contains("cut.mmdb is no database that can be used"), "{told}");

    let told = mistake(&file("GeoLite2-ASN-Test.mmdb"), None);
    assert!(told.contains("is of the kind GeoLite2-ASN and tells no countries"), "{told}");
    let country = file("GeoLite2-Country-Test.mmdb");
    let told = mistake(&country, Some(country.clone()));
    assert!(told.starts_with("anomaly.geo.asn_database: ") && told.contains("tells no autonomous systems"), "{told}");
}

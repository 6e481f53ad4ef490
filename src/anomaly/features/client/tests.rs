//! Each feature by what it is meant for.

use super::*;

/// A plain request at `now`.
pub fn request(now: Micros) -> Seen {
    Seen {
        now,
        half: u32::try_from(now.0 / 300_000_000).unwrap(),
        path: 2,
        path_hash: 77,
        number: None,
        agent: 2,
        agent_hash: 99,
        country: 2,
        asn: MISSING,
        writes: Some(false),
        status: Some(200),
        bytes: Some(1_000),
        outcome: Outcome::Allowed,
        address_hash: 55,
        fresh_user: false,
    }
}

/// A client whose `count` requests are `gap` milliseconds apart, each as `change` makes it.
fn client(count: u64, gap: impl Fn(u64) -> u64, change: impl Fn(u64, &mut Seen)) -> (Client, Micros) {
    let mut now = Micros::from_secs(1_000_000);
    let mut client = Client::new(1, now);
    for index in 0..count {
        now = now + Micros::from_millis(gap(index));
        let mut seen = request(now);
        change(index, &mut seen);
        client.observe(&seen, &Walk::default(), true);
    }
    (client, now)
}

fn feature(feature: Feature, count: u64, gap: impl Fn(u64) -> u64, change: impl Fn(u64, &mut Seen)) -> f64 {
    let (mut client, now) = client(count, gap, change);
    client.vector(now)[feature.index()]
}

fn same(_: u64, _: &mut Seen) {}

#[test]
fn rates_are_those_of_the_requests() {
    for (what, tolerance) in [(Feature::Rate10s, 0.4), (Feature::Rate1m, 0.4), (Feature::Rate10m, 0.2)] {
        let rate = feature(what, 2_400, |_| 250, same);
        assert!((rate - 4.0).abs() < tolerance, "{}: {rate}", what.name());
    }
    let young = feature(Feature::Rate10m, 40, |_| 250, same);
    assert!((young - 4.0).abs() < 0.5, "a young client's rate is not spread over the time before: {young}");
}

#[test]
fn rates_fade() {
    let (mut client, now) = client(400, |_| 100, same);
    let vector = client.vector(now + Micros::from_secs(60));
    assert!(vector[Feature::Rate10s.index()] < 0.1);
    assert!(vector[Feature::Rate10m.index()] > 0.1);
}

#[test]
fn clocks_are_regular_and_people_are_not() {
    let clock = feature(Feature::Regularity, 50, |_| 2_000, same);
    assert!(clock > 0.95, "{clock}");
    let person = feature(Feature::Regularity, 50, |index| [200, 9_000, 1_500, 30_000][index as usize % 4], same);
    assert!(person < 0.3, "{person}");
    assert!(feature(Feature::Regularity, 5, |_| 2_000, same).is_nan(), "too early to tell");
}

#[test]
fn bursts_are_bursty() {
    let even = feature(Feature::Burstiness, 600, |_| 500, same);
    let bursts = feature(Feature::Burstiness, 600, |index| if index % 50 == 0 { 25_000 } else { 5 }, same);
    assert!(even < 2.5 && bursts > 10.0, "{even} {bursts}");
}

#[test]
fn paths_and_their_mix() {
    let wander = |index: u64, seen: &mut Seen| {
        seen.path = 2 + Id::try_from(index % 12).unwrap();
        seen.path_hash = (index % 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    };
    let paths = feature(Feature::Paths, 200, |_| 500, wander);
    assert!((30.0..50.0).contains(&paths), "{paths}");
    assert!(feature(Feature::Concentration, 200, |_| 500, wander) < 0.2);
    assert!(feature(Feature::Concentration, 200, |_| 500, same) > 0.99);
}

#[test]
fn answers_are_counted_by_kind() {
    let every_other = |status: u16| {
        move |index: u64, seen: &mut Seen| {
            seen.status = Some(if index.is_multiple_of(2) { status } else { 200 });
        }
    };
    let failures = feature(Feature::AuthFailures, 120, |_| 500, every_other(401));
    assert!((30.0..60.0).contains(&failures), "one a second, fading with a minute: {failures}");
    assert!((feature(Feature::ClientErrors, 120, |_| 500, every_other(404)) - 0.5).abs() < 0.05);
    assert!((feature(Feature::ServerErrors, 120, |_| 500, every_other(503)) - 0.5).abs() < 0.05);
    assert!(feature(Feature::NotFound, 120, |_| 500, every_other(404)) > 30.0);
    assert_eq!(feature(Feature::AuthFailures, 120, |_| 500, every_other(404)), 0.0);
}

#[test]
fn what_the_source_does_not_tell_is_missing() {
    let blind = |_: u64, seen: &mut Seen| {
        (seen.status, seen.bytes, seen.writes, seen.outcome) = (None, None, None, Outcome::Unknown);
        (seen.path, seen.agent, seen.country, seen.address_hash) = (MISSING, MISSING, MISSING, 0);
    };
    for what in [
        Feature::AuthFailures,
        Feature::ClientErrors,
        Feature::Bytes,
        Feature::Writes,
        Feature::Denied,
        Feature::Paths,
        Feature::UserAgents,
        Feature::Addresses,
        Feature::CountryChanges,
    ] {
        assert!(feature(what, 60, |_| 500, blind).is_nan(), "{}", what.name());
    }
}

#[test]
fn denials_by_adjustments_are_no_evidence() {
    let denied = |by: Outcome| move |_: u64, seen: &mut Seen| seen.outcome = by;
    assert!(feature(Feature::Denied, 60, |_| 500, denied(Outcome::Limited)) > 0.99);
    assert!(feature(Feature::Denied, 60, |_| 500, denied(Outcome::LimitedByAdjustment)).is_nan());
}

#[test]
fn churn_and_moves() {
    let churn = |index: u64, seen: &mut Seen| {
        seen.agent_hash = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        seen.address_hash = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        seen.country = 2 + Id::try_from(index % 2).unwrap();
        seen.fresh_user = true;
    };
    assert!(feature(Feature::UserAgents, 40, |_| 500, churn) > 25.0);
    assert!(feature(Feature::Addresses, 40, |_| 500, churn) > 25.0);
    assert!(feature(Feature::FreshUsers, 40, |_| 500, churn) > 25.0);
    assert!(feature(Feature::CountryChanges, 40, |_| 500, churn) > 25.0);
    assert_eq!(feature(Feature::CountryChanges, 40, |_| 500, same), 0.0);
}

#[test]
fn steps_through_numbered_things() {
    let steps = feature(Feature::Sequence, 60, |_| 1_000, |index, seen| seen.number = Some(1_000 + index));
    let jumps = feature(Feature::Sequence, 60, |_| 1_000, |index, seen| seen.number = Some(index * 7_919 % 10_007));
    assert!(steps > 30.0 && jumps < 3.0, "{steps} {jumps}");
}

#[test]
fn growth_is_against_its_own_past() {
    let grown = feature(Feature::Growth, 2_000, |index| if index < 700 { 1_000 } else { 20 }, same);
    let steady = feature(Feature::Growth, 1_000, |_| 1_000, same);
    assert!(grown > 8.0 && (0.5..2.0).contains(&steady), "{grown} {steady}");
}

//! Entries of an access log as observations.

use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::data::accesslog::v3::HttpAccessLogEntry;
use prost::Message as _;
use tidegate::anomaly::observation::{Observation, Outcome};
use tidegate::anomaly::observe::Reader;
use tidegate::config::{Config, LoadOptions};
use tidegate::core::clock::Micros;
use tidegate::server::access_log::MAX_MESSAGE;

use crate::envoy::{Batch, Entries, batch, below, common, entry, flags, left, send, texts};
use crate::server_support::{Server, channel, eventually, request, start};

const RULES: &str = "
domain: edge
descriptors:
  - key: user_id
    rate_limit: { unit: day, requests_per_unit: 1000 }
";

const SETTINGS: &str = "
anomaly:
  access_logs:
    gateway:
      domain: edge
      user: { claim: sub }
    inner:
      domain: mesh
      user: { header: X-User-Id }
      country: { header: x-country }
      asn: { metadata: 'geo:system.number' }
      client_address: { source: x_forwarded_for, trusted_hops: 2 }
";

fn server(change: impl FnOnce(&mut Config)) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.yaml");
    std::fs::write(&file, SETTINGS).unwrap();
    let loaded = Config::load(&LoadOptions { file: Some(file), ..LoadOptions::default() });
    let logs = loaded.unwrap_or_else(|errors| panic!("{errors}")).config.anomaly.access_logs;
    start(RULES, |config| {
        config.anomaly.access_logs = logs;
        change(config);
    })
}

fn now() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap()
}

/// Sends batches as one stream, which is answered at its end.
async fn deliver(server: &Server, batches: Vec<Batch>) {
    send(channel(server.address()).await, tokio_stream::iter(batches)).await.expect("an answer");
}

fn encoded(entries: &[HttpAccessLogEntry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| entry.encode_to_vec()).collect()
}

fn reader(server: &Server) -> Reader {
    server.running.context.observations.read().expect("the first to read")
}

/// What `of` makes of each observation.
fn seen<T>(reader: &mut Reader, of: impl Fn(&Observation<'_>) -> T) -> Vec<T> {
    let mut all = Vec::new();
    reader.drain(|observation| all.push(of(observation)));
    all
}

fn count(server: &Server, outcome: &str) -> u64 {
    let text = server.running.context.metrics.encode();
    let name = format!("tidegate_access_log_entries_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_entry_tells_how_its_request_ended() {
    let server = server(|_| {});
    let mut reader = reader(&server);
    let at = now() - 1_000_000;
    let mut of_alice = entry(at, 404);
    left(&mut of_alice, "envoy.filters.http.jwt_authn", below("jwt_payload", texts(&[("sub", "alice")])));
    deliver(&server, vec![batch(Some("gateway"), encoded(&[of_alice]))]).await;
    let expected = Observation {
        at: Micros(at),
        domain: "edge",
        user: Some("alice"),
        address: Some("192.0.2.7".parse().unwrap()),
        method: "POST",
        path: "/a/c",
        user_agent: Some("probe/1"),
        country: None,
        asn: None,
        status: Some(404),
        bytes: Some(77),
        duration: Some(Micros(1_500)),
        hits: 1,
        outcome: Outcome::Allowed,
    };
    assert_eq!(seen(&mut reader, |observation| *observation == expected), [true]);
}

#[tokio::test]
async fn headers_and_metadata_tell_what_the_settings_say() {
    let server = server(|_| {});
    let mut reader = reader(&server);
    let mut logged = entry(now(), 200);
    let asked = logged.request.as_mut().unwrap();
    asked.forwarded_for = "6.6.6.6, 203.0.113.9, 10.0.0.1".to_owned();
    for (name, value) in [("x-user-id", "bob"), ("x-country", "se"), ("x-forwarded-for", "7.7.7.7")] {
        asked.request_headers.insert(name.to_owned(), value.to_owned());
    }
    left(&mut logged, "geo", below("system", texts(&[("number", "AS64496")])));
    // A name that comes with the first message holds for all.
    let bare = entry(now(), 200);
    deliver(&server, vec![batch(Some("inner"), encoded(&[logged])), batch(None, encoded(&[bare]))]).await;
    let told = seen(&mut reader, |seen| {
        (seen.domain.to_owned(), seen.user.map(str::to_owned), seen.address, seen.country, seen.asn)
    });
    let address = "203.0.113.9".parse().ok();
    let bob = ("mesh".to_owned(), Some("bob".to_owned()), address, Some(*b"SE"), Some(64_496));
    assert_eq!(told, [bob, ("mesh".to_owned(), None, None, None, None)]);
}

#[tokio::test]
async fn what_was_decided_stands_in_flags_and_metadata() {
    const RATELIMIT: &str = "envoy.filters.http.ratelimit";
    const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";
    let server = server(|_| {});
    let mut reader = reader(&server);
    type Case<'c> = (u32, bool, bool, Option<(&'c str, &'c [(&'c str, &'c str)])>, Outcome);
    let cases: &[Case<'_>] = &[
        (200, false, false, None, Outcome::Allowed),
        (200, false, false, Some((RATELIMIT, &[("code", "OK"), ("adjustment", "a-1")])), Outcome::Allowed),
        (429, true, false, None, Outcome::Limited),
        (429, true, false, Some((RATELIMIT, &[("code", "OVER_LIMIT")])), Outcome::Limited),
        (
            429,
            true,
            false,
            Some((RATELIMIT, &[("code", "OVER_LIMIT"), ("adjustment", "a-1")])),
            Outcome::LimitedByAdjustment,
        ),
        (
            429,
            false,
            true,
            Some((EXT_AUTHZ, &[("code", "OVER_LIMIT"), ("adjustment", "a-1")])),
            Outcome::LimitedByAdjustment,
        ),
        (403, false, true, Some((EXT_AUTHZ, &[("code", "DENIED"), ("list", "deny")])), Outcome::Allowed),
        (429, false, true, None, Outcome::Limited),
        (403, false, true, None, Outcome::Allowed),
        (429, false, false, None, Outcome::Allowed),
    ];
    let logged = cases.iter().map(|(status, limited, unauthorized, metadata, _)| {
        let mut logged = entry(now(), *status);
        common(&mut logged).response_flags = flags(*limited, *unauthorized);
        if let Some((namespace, fields)) = metadata {
            left(&mut logged, namespace, texts(fields));
        }
        logged.encode_to_vec()
    });
    deliver(&server, vec![batch(Some("gateway"), logged.collect())]).await;
    let expected: Vec<Outcome> = cases.iter().map(|case| case.4).collect();
    assert_eq!(seen(&mut reader, |observation| observation.outcome), expected);
}

/// The engine would take a clock that is far behind for one that was set back.
#[tokio::test]
async fn times_are_kept_within_bounds() {
    let server = server(|_| {});
    let mut reader = reader(&server);
    let before = now();
    let hour = 3_600_000_000;
    let entries = encoded(&[entry(before - hour, 200), entry(before + hour, 200), entry(before - 5_000_000, 200)]);
    deliver(&server, vec![batch(Some("gateway"), entries)]).await;
    let after = now();
    let times = seen(&mut reader, |observation| observation.at.0);
    let around = before..=after;
    assert!(around.contains(&(times[0] + 20_000_000)) && around.contains(&times[1]), "{times:?}");
    assert_eq!(times[2], before - 5_000_000);
}

#[tokio::test]
async fn what_cannot_be_used_is_counted_and_costs_nobody_the_stream() {
    let server = server(|_| {});
    let unwanted = encoded(&[entry(now(), 200)]);
    deliver(&server, vec![batch(Some("gateway"), unwanted)]).await;
    assert_eq!((count(&server, "unwanted"), count(&server, "observed")), (1, 0));

    let mut reader = reader(&server);
    let mut going_on = entry(now(), 200);
    common(&mut going_on).access_log_type = 5;
    let mut not_utf8 = entry(now(), 200).encode_to_vec();
    let agent = not_utf8.windows(5).position(|bytes| bytes == b"probe").unwrap();
    not_utf8[agent + 1] = 0xff;
    let cut_off = entry(now(), 200).encode_to_vec()[..20].to_vec();
    let mut entries = encoded(&[going_on]);
    entries.extend([cut_off, not_utf8, Vec::new()]);
    let mut first = batch(Some("gateway"), entries);
    first.tcp = Some(Entries { log_entry: vec![Vec::new(); 3] });
    let unknown = batch(Some("nobody"), encoded(&[entry(now(), 200)]));
    deliver(&server, vec![first, unknown, batch(Some("gateway"), encoded(&[entry(now(), 201)]))]).await;
    let told = seen(&mut reader, |seen| (seen.user_agent.map(str::to_owned), seen.status));
    let probe = |text: &str, status| (Some(text.to_owned()), Some(status));
    assert_eq!(told, [probe("p", 200), (None, None), probe("probe/1", 201)]);
    let counts = ["observed", "intermediate", "malformed", "tcp", "unknown_log", "excess"].map(|of| count(&server, of));
    assert_eq!(counts, [3, 1, 1, 3, 1, 0]);

    // An empty entry is two bytes, so that this is more than is read of a message, and within its size.
    deliver(&server, vec![batch(Some("gateway"), vec![Vec::new(); 10_500])]).await;
    assert_eq!((count(&server, "observed"), count(&server, "excess")), (10_003, 500));
    let large = batch(Some("gateway"), vec![vec![0; MAX_MESSAGE]]);
    let refused = send(channel(server.address()).await, tokio_stream::once(large)).await.unwrap_err();
    assert!(refused.message().contains(&MAX_MESSAGE.to_string()), "{refused:?}");
    assert_eq!(count(&server, "excess"), 501);
}

#[tokio::test]
async fn no_request_is_seen_twice() {
    let server = server(|config| {
        // Another domain, without an access log.
        let rules = config.rules.paths[0].with_file_name("other.yaml");
        std::fs::write(&rules, RULES.replace("domain: edge", "domain: other")).unwrap();
        config.rules.paths.push(rules);
    });
    let mut reader = reader(&server);
    let mut client = server.client().await;
    for domain in ["edge", "other"] {
        client.should_rate_limit(request(domain, &[&[("user_id", "alice")]])).await.unwrap();
    }
    deliver(&server, vec![batch(Some("gateway"), encoded(&[entry(now(), 200)]))]).await;
    let mut told = seen(&mut reader, |seen| (seen.domain.to_owned(), seen.status));
    told.sort_unstable();
    assert_eq!(told, [("edge".to_owned(), Some(200)), ("other".to_owned(), None)]);
}

fn open_streams(server: &Server) -> bool {
    server.running.context.metrics.encode().contains("tidegate_access_log_streams 1")
}

/// Envoy would keep its stream for ever.
#[tokio::test]
async fn a_stream_is_answered_when_its_connection_grows_old() {
    let server = server(|config| config.grpc.max_connection_age = Duration::from_millis(100));
    let channel = channel(server.address()).await;
    let answer = send(channel, tokio_stream::pending()).await;
    answer.expect("OK, and no reset");
}

#[tokio::test]
async fn a_stream_is_answered_when_the_server_stops() {
    let server = server(|config| config.shutdown.grace_period = Duration::from_secs(600));
    let stream = tokio::spawn(send(channel(server.address()).await, tokio_stream::pending()));
    eventually("the stream is open", async || open_streams(&server)).await;
    server.running.shutdown();
    stream.await.unwrap().expect("OK, and no reset");
    server.running.wait().await;
    assert!(!open_streams(&server));
}

#[test]
fn mistakes_in_the_settings_are_told_with_their_place() {
    let told = |log: &str| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tidegate.yaml");
        std::fs::write(&file, format!("anomaly: {{ access_logs: {{ a.b: {log} }} }}")).unwrap();
        let errors = Config::load(&LoadOptions { file: Some(file), ..LoadOptions::default() }).unwrap_err();
        errors.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (log, mistake) in [
        ("{}", "anomaly.access_logs.\"a.b\".domain"),
        ("{ domain: edge, user: {} }", "write one of header, claim, metadata"),
        ("{ domain: edge, user: { header: a, claim: b } }", "write only one of header, claim, metadata"),
        ("{ domain: edge, user: { header: 'a b' } }", "\"a b\" is no HTTP header name"),
        ("{ domain: edge, country: { metadata: geo } }", "anomaly.access_logs.\"a.b\".country"),
        ("{ domain: edge, client_address: { trusted_hops: 0 } }", "client_address.trusted_hops"),
        ("{ domain: edge, users: {} }", "users"),
    ] {
        let errors = told(log);
        assert!(errors.contains(mistake), "{log}: {errors}");
    }
}

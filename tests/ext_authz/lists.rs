//! Lists speak before anything is counted.

use crate::site::{allowed, denied, get, metadata, names, request, server, server_with, values};

const LISTS: &str = r#"
  lists:
    deny: { networks: [198.51.100.0/24], users: [mallory], paths: ["/admin/{*rest}"] }
    allow: { networks: [203.0.113.9, "2001:db8::/32"], users: [probe] }
"#;

fn from(peer: &str, path: &str) -> envoy_types::pb::envoy::service::auth::v3::CheckRequest {
    request("GET", peer, path, &[("x-user", "alice")])
}

#[tokio::test]
async fn who_is_denied_learns_nothing_of_the_list() {
    let mut site = server(LISTS).await;
    let by_user = get("/", &[("x-user", "mallory")]);
    let cases = [
        (from("198.51.100.77", "/free"), "198.51.100.0/24", "free"),
        (from("::ffff:198.51.100.77", "/"), "198.51.100.0/24", "users"),
        (by_user, "mallory", "users"),
        (from("192.0.2.1", "/x/..//%61dmin/users?a=b"), "/admin/{*rest}", "users"),
    ];
    for (request, entry, route) in cases {
        let answer = site.check(request).await;
        assert_eq!(answer.status.as_ref().unwrap().code, 7);
        let told = metadata(&answer);
        assert_eq!((told.len(), &*told["code"], &*told["list"], &*told["route"]), (4, "DENIED", "deny", route));
        assert!(told["entry"].contains(entry), "{told:?}");
        let denied = denied(answer);
        assert_eq!(denied.status.unwrap().code, 403);
        assert_eq!(names(&denied.headers), ["Content-Type"]);
        assert_eq!(
            denied.body,
            r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"Access is denied."}"#
        );
    }
    let totals = site.server.running.context.metrics.decisions().totals();
    assert_eq!(totals.iter().map(|(_, counts)| counts.total_hits).sum::<u64>(), 0, "nothing was counted");
}

#[tokio::test]
async fn who_is_allowed_is_not_counted() {
    let mut site = server(LISTS).await;
    for _ in 0..9 {
        for request in
            [from("203.0.113.9", "/"), from("2001:db8::1", "/blocked"), get("/blocked", &[("x-user", "probe")])]
        {
            let answer = site.check(request).await;
            let told = metadata(&answer);
            assert_eq!((&*told["code"], &*told["list"]), ("OK", "allow"));
            assert_eq!(allowed(answer).response_headers_to_add, []);
        }
    }
    site.denied(from("203.0.113.8", "/blocked")).await;
}

#[tokio::test]
async fn the_settings_say_how_a_list_denies() {
    let answer = r#"
  answer: { list_status: 404, body: custom, template: "{status}{rule}" }
"#;
    let mut site = server(&format!("{LISTS}{answer}")).await;
    let denied = site.denied(from("198.51.100.77", "/")).await;
    assert_eq!((denied.status.unwrap().code, &*denied.body), (404, "404"));
    let call = request("POST", "198.51.100.77", "/", &[("content-type", "application/grpc")]);
    let denied = site.denied(call).await;
    assert_eq!(values(&denied.headers, "grpc-status", true), ["7"]);
    assert_eq!(values(&denied.headers, "grpc-message", true), ["Access is denied."]);
    assert_eq!(denied.body, "");
}

#[tokio::test]
async fn secret_names_of_users_are_not_told() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let section = crate::site::SECTION.replace("user: { header: x-user }", "user: { header: x-user, secret: true }");
    let yaml = format!("{section}{LISTS}  secret_key_file: {}\n", key.display());
    let mut site = server_with(&yaml, |_| {}).await;
    let answer = site.check(get("/", &[("x-user", "mallory")])).await;
    assert_eq!(metadata(&answer)["entry"], "user");
    assert!(!format!("{answer:?}").contains("mallory"), "{answer:?}");
    // What is no user is told as ever.
    assert!(metadata(&site.check(from("198.51.100.77", "/")).await)["entry"].contains("198.51.100.0/24"));
}

//! Bodies of denials.

use crate::site::{get, server, values};

const USER: [(&str, &str); 1] = [("x-user", "a")];

/// The media type and the body of a denial of `path`, and its status.
async fn denial(answer: &str, path: &str) -> (Vec<String>, String, i32) {
    let mut site = server(&format!("  answer:\n{answer}")).await;
    let denied = site.denied(get(path, &USER)).await;
    let types = values(&denied.headers, "content-type", true).into_iter().map(str::to_owned).collect();
    (types, denied.body, denied.status.unwrap().code)
}

#[tokio::test]
async fn a_problem_has_the_status_of_the_settings() {
    let (types, body, status) = denial("    status: 503\n", "/blocked").await;
    assert_eq!((&*types, status), (&["application/problem+json".to_owned()][..], 503));
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["status"], 503);
}

#[tokio::test]
async fn a_text_is_one_sentence() {
    let (types, body, _) = denial("    body: text\n", "/blocked").await;
    assert_eq!(types, ["text/plain; charset=utf-8"]);
    assert_eq!(body, "The limit 'blocked' of 0 per 86400s can never hold a request of this cost.\n");
}

#[tokio::test]
async fn none_is_none() {
    let (types, body, status) = denial("    body: none\n", "/blocked").await;
    assert_eq!((types.len(), &*body, status), (0, "", 429));
}

#[tokio::test]
async fn a_template_is_filled_in() {
    let text = "{status} {rule} of {domain}: {limit} per {window}, {remaining} left, wait '{retry_after}'";
    let (types, body, _) = denial(&format!("    body: custom\n    template: \"{text}\"\n"), "/blocked").await;
    assert_eq!(types, ["text/plain; charset=utf-8"]);
    assert_eq!(body, "429 blocked of api: 0 per 86400s, 0 left, wait ''");
}

#[tokio::test]
async fn values_stay_values_in_json_and_html() {
    let json = "    body: custom\n    content_type: application/json\n    \
                template: '{\"error\": {\"rule\": \"{rule}\", \"limit\": {limit}, \"wait\": {retry_after}}}'\n";
    let (types, body, _) = denial(json, "/odd").await;
    assert_eq!(types, ["application/json"]);
    let value: serde_json::Value = serde_json::from_str(&body).expect(&body);
    assert_eq!(
        value,
        serde_json::json!({ "error": { "rule": "a \"<b>\" é%\r\nX-Evil: 1", "limit": 0, "wait": null } })
    );

    let html = "    body: custom\n    content_type: text/html; charset=utf-8\n    template: '<p title=\"{rule}\">{rule}</p>'\n";
    let (types, body, _) = denial(html, "/odd").await;
    assert_eq!(types, ["text/html; charset=utf-8"]);
    let name = "a &quot;&lt;b&gt;&quot; é%\r\nX-Evil: 1";
    assert_eq!(body, format!("<p title=\"{name}\">{name}</p>"));
}

//! What is wrong with settings that only compiling sees, and what was never loaded.

use super::*;

fn errors(yaml: &str, key: Option<&[u8]>) -> Vec<String> {
    try_policy(yaml, key).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn templates_that_are_none_are_told_with_their_place() {
    let found = errors(
        "
paths: { templates: [/a, '/b/{x'] }
routes:
  - {}
  - match: { paths: ['/c/{x}', '/c/{y}'] }
",
        None,
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("paths.templates[1]: "), "{found:?}");
    assert!(found[1].starts_with("routes[1].match.paths[1]: "), "{found:?}");
}

#[test]
fn everything_wrong_is_told_at_once() {
    let found = errors(
        "
values:
  a: { header: x, query: y }
  b: { path_variable: id }
  c: { header: x, secret: true }
user: nobody
routes:
  - descriptors: [[a, pth], { entries: [path], hits: { value: size } }]
    hits: { value: tokens }
answer:
  upstream_headers: { x: '{', 'no name': '{d}' }
",
        None,
    );
    let fields: Vec<_> = found.iter().map(|text| text.split(": ").next().unwrap()).collect();
    let expected = [
        "values.b.path_variable",
        "values.a",
        "user",
        "routes[0].hits",
        "routes[0].descriptors[0]",
        "routes[0].descriptors[1].hits",
        "answer.upstream_headers.\"no name\"",
        "answer.upstream_headers.x",
        "secret_key_file",
    ];
    for field in expected {
        assert!(fields.contains(&field), "no {field} in {found:#?}");
    }
    let short = errors("{}", Some(b"short"));
    assert_eq!(short, ["secret_key_file: the key has 5 bytes; write at least 32"]);
}

#[test]
fn many_routes_compile_and_are_found() {
    let routes: String = (0..1_000)
        .map(|at| {
            format!("  - {{ name: r{at}, match: {{ paths: ['/api/v1/s{at}/{{*rest}}'] }}, descriptors: [[route]] }}\n")
        })
        .collect();
    let policy = policy(&format!("routes:\n{routes}"));
    for at in [0, 1, 500, 999] {
        let path = format!("/api/v1/s{at}/x");
        let attributes = Attributes { path: path.as_bytes(), ..request() };
        assert_eq!(asked(&policy.evaluate(&attributes)), format!("edge: route=r{at}"));
    }
}

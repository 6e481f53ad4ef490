//! Which route holds.

use proptest::prelude::*;

use super::*;

#[test]
fn the_first_route_that_matches_holds() {
    let settings = "
domain: d
routes:
  - { name: health, match: { paths: [/health, '/status/{*rest}'] } }
  - { name: write, match: { methods: [POST, put], paths: ['/api/{*rest}'] }, descriptors: [[route]] }
  - { name: admin, match: { hosts: ['Admin.example.com', '*.internal'] }, domain: inner, descriptors: [[route]] }
  - { name: user, match: { paths: ['/api/users/{id}'] }, descriptors: [[route]] }
  - { name: gold, match: { context: { tier: gold, region: eu } }, descriptors: [[route]] }
  - { name: api, match: { paths: ['/api/{*rest}'] }, descriptors: [[route]] }
";
    let policy = policy(settings);
    let route = |method: &str, host: &str, path: &str, context: &[(&str, &str)]| {
        let mut attributes = request();
        (attributes.method, attributes.host, attributes.path) = (method.as_bytes(), host.as_bytes(), path.as_bytes());
        attributes.context.extend(context.iter().map(|(key, text)| (key.as_bytes(), text.as_bytes())));
        let evaluation = policy.evaluate(&attributes);
        let question = evaluation.question().map(|question| text(question.domain));
        format!("{} {}", evaluation.route().unwrap_or("-"), question.as_deref().unwrap_or("-"))
    };
    let gold = [("tier", "gold"), ("region", "eu")];
    for (method, host, path, context, expected) in [
        ("GET", "a.com", "/health", &[][..], "health -"),
        ("GET", "a.com", "//health/?x=1", &[], "health -"),
        ("GET", "a.com", "/status/a/b", &[], "health -"),
        ("GET", "a.com", "/healthy", &[], "- -"),
        ("POST", "a.com", "/api/users/1", &[], "write d"),
        ("PUT", "a.com", "/api", &[], "write d"),
        ("GET", "a.com", "/api/users/1", &[], "user d"),
        ("GET", "a.com", "/api/users/1/posts", &[], "api d"),
        ("GET", "ADMIN.example.com:443", "/api/users/1", &[], "admin inner"),
        ("GET", "x.y.internal.", "/", &[], "admin inner"),
        ("GET", "internal", "/", &[], "- -"),
        ("GET", "xinternal", "/", &[], "- -"),
        ("GET", "admin.example.com.evil", "/", &[], "- -"),
        ("GET", "a.com", "/other", &gold, "gold d"),
        ("GET", "a.com", "/other", &gold[..1], "- -"),
        ("GET", "a.com", "/api/x", &gold, "gold d"),
    ] {
        assert_eq!(route(method, host, path, context), expected, "{method} {host} {path}");
    }
}

#[test]
fn case_matters_only_where_it_is_said_to() {
    let asked = |ignore_case: bool, path: &str| {
        let settings = format!(
            "paths: {{ ignore_case: {ignore_case} }}\n\
             routes: [{{ match: {{ paths: ['/Users/{{id}}'] }}, descriptors: [[method]] }}]"
        );
        ask(&settings, &Attributes { path: path.as_bytes(), ..request() })
    };
    assert_eq!(asked(false, "/Users/1"), "edge: method=GET");
    assert_eq!(asked(false, "/users/1"), "nothing");
    assert_eq!(asked(true, "/users/1"), "edge: method=GET");
    assert_eq!(asked(true, "/%55SERS/1"), "edge: method=GET");
}

const SEGMENTS: [&str; 6] = ["a", "b", "%7Ec", "{x}", "{y}", "{*rest}"];

fn template() -> impl Strategy<Value = String> {
    proptest::collection::vec(0..SEGMENTS.len(), 0..5).prop_map(|segments| {
        let mut template = String::new();
        for (at, segment) in segments.into_iter().enumerate() {
            let segment = SEGMENTS[segment];
            if segment == "{*rest}" {
                return template + "/{*rest}";
            }
            template += "/";
            template += &if segment.starts_with('{') { format!("{{v{at}}}") } else { segment.to_owned() };
        }
        if template.is_empty() { "/".to_owned() } else { template }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The index finds what looking at all routes in turn finds.
    #[test]
    fn no_route_is_passed_over(
        templates in proptest::collection::vec(
            (proptest::option::of(template()), proptest::sample::subsequence(vec!["a.x", "b.x", "*.x"], 0..=2)),
            1..12,
        ),
        host in proptest::sample::select(vec!["a.x", "B.x:80", "c.x", "x"]),
        path in proptest::collection::vec(proptest::sample::select(vec!["a", "b", "~c", "%61", "d", "", "."]), 0..5),
    ) {
        let path = format!("/{}", path.join("/"));
        let config = ExtAuthz {
            routes: templates.iter().enumerate().map(|(at, (template, hosts))| {
                let mut route = crate::config::ext_authz::Route { name: Some(at.to_string()), ..Default::default() };
                route.matching.paths.extend(template.clone());
                route.matching.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
                route
            }).collect(),
            ..ExtAuthz::default()
        };
        let policy = Policy::new(&config, None).unwrap();
        let attributes = Attributes { path: path.as_bytes(), host: host.as_bytes(), ..Attributes::default() };
        let evaluation = policy.evaluate(&attributes);
        let fits = |template: &String| {
            let alone = crate::authz::path::Templates::new(std::slice::from_ref(template), false).unwrap();
            alone.find(&evaluation.path).is_some()
        };
        let plain = host.split(':').next().unwrap().to_lowercase();
        let serves = |hosts: &[&str]| {
            let below = |host: &&str| **host == *plain || (**host == *"*.x" && plain.ends_with(".x"));
            hosts.is_empty() || hosts.iter().any(below)
        };
        let first = templates.iter().position(|(template, hosts)| template.as_ref().is_none_or(fits) && serves(hosts));
        prop_assert_eq!(evaluation.route().map(str::to_owned), first.map(|at| at.to_string()));
    }
}

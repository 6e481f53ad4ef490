//! Ways to write one path, and ways past a template.

use std::borrow::Cow;

use proptest::prelude::*;

use super::{Templates, normalise, query};

fn normal(raw: &str) -> String {
    String::from_utf8(normalise(raw.as_bytes(), false).into_owned()).unwrap()
}

/// Each is a way to write `/admin` that some server reads as `/admin`, or a way to write something else.
#[test]
fn a_path_cannot_be_hidden_by_the_way_it_is_written() {
    let table = [
        ("/admin", "/admin"),
        // The same, written otherwise.
        ("//admin", "/admin"),
        ("///admin//", "/admin"),
        ("/admin/", "/admin"),
        ("/./admin", "/admin"),
        ("/admin/.", "/admin"),
        ("/x/../admin", "/admin"),
        ("/x/..//admin", "/admin"),
        ("/x//../admin", "/admin"),
        ("/../admin", "/admin"),
        ("/../../../admin", "/admin"),
        ("/admin/x/..", "/admin"),
        ("/%61dmin", "/admin"),
        ("/%61%64%6D%69%6e", "/admin"),
        ("/%2e/admin", "/admin"),
        ("/%2e%2e/admin", "/admin"),
        ("/x/%2E./admin", "/admin"),
        ("/x/.%2e/admin", "/admin"),
        ("/%2fadmin", "/admin"),
        ("/admin%2f", "/admin"),
        ("/x%2f..%2fadmin", "/admin"),
        ("/x%2F%2e%2e%2Fadmin", "/admin"),
        ("\\admin", "/admin"),
        ("/\\admin", "/admin"),
        ("/admin\\", "/admin"),
        ("/x\\..\\admin", "/admin"),
        ("/admin%5c", "/admin"),
        ("/x%5C..%5Cadmin", "/admin"),
        ("/admin?x", "/admin"),
        ("/admin?", "/admin"),
        ("/admin/?x=/../y", "/admin"),
        ("/admin#frag", "/admin"),
        ("/admin#frag?x", "/admin"),
        ("admin", "/admin"),
        ("./admin", "/admin"),
        ("http://host/admin", "/admin"),
        ("HTTPS://user@host:8443/admin?x", "/admin"),
        ("http://host//admin", "/admin"),
        ("http://host\\admin", "/admin"),
        ("http:///admin", "/admin"),
        // Something else, and it stays that.
        ("/ADMIN", "/ADMIN"),
        ("/admin;x", "/admin;x"),
        ("/admin%3bx", "/admin;x"),
        ("/admin;/x", "/admin;/x"),
        ("/admin%00", "/admin%00"),
        ("/admin%20", "/admin%20"),
        ("/admin ", "/admin%20"),
        ("/admin%09", "/admin%09"),
        ("/admin\t", "/admin%09"),
        ("/admin\r\nX-Admin: 1", "/admin%0D%0AX-Admin:%201"),
        ("/admin%0d%0a", "/admin%0D%0A"),
        ("/admin%3Fx", "/admin%3Fx"),
        ("/admin%3fx", "/admin%3Fx"),
        ("/admin%23frag", "/admin%23frag"),
        ("/admin.", "/admin."),
        ("/admin..", "/admin.."),
        ("/.../admin", "/.../admin"),
        ("/..;/admin", "/..;/admin"),
        ("/.admin", "/.admin"),
        // Encoded twice is decoded once.
        ("/%2561dmin", "/%2561dmin"),
        ("/%252e%252e/admin", "/%252e%252e/admin"),
        ("/x/..%252fadmin", "/x/..%252fadmin"),
        // What encodes nothing is text.
        ("/admin%", "/admin%25"),
        ("/admin%6", "/admin%256"),
        ("/admin%zz", "/admin%25zz"),
        ("/%%361dmin", "/%2561dmin"),
        ("/%u0061dmin", "/%25u0061dmin"),
        // Letters that only look or fold alike, and encodings longer than they may be.
        ("/%C0%AFadmin", "/%C0%AFadmin"),
        ("/%c0%ae%c0%ae/admin", "/%C0%AE%C0%AE/admin"),
        ("/ａdmin", "/%EF%BD%81dmin"),
        ("/admın", "/adm%C4%B1n"),
        ("/ädmin", "/%C3%A4dmin"),
        ("/%c3%a4dmin", "/%C3%A4dmin"),
        // The same punctuation, plain and encoded.
        ("/v1/users:lock", "/v1/users:lock"),
        ("/v1/users%3Alock", "/v1/users:lock"),
        ("/a%21%24%26%27%28%29%2A%2B%2C%3D%40~b", "/a!$&'()*+,=@~b"),
        ("/a\"<>^`{|}b", "/a%22%3C%3E%5E%60%7B%7C%7Db"),
        ("/a[1]", "/a%5B1%5D"),
        // Targets without a path.
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        ("/.", "/"),
        ("/..", "/"),
        ("?x", "/"),
        ("#frag", "/"),
        ("http://host", "/"),
        ("http://host?x=/admin", "/"),
        ("http://", "/"),
        ("*", "/*"),
        ("host:443", "/host:443"),
        ("://host/admin", "/:/host/admin"),
        ("1http://host/admin", "/1http:/host/admin"),
        ("/http://host/admin", "/http:/host/admin"),
    ];
    for (raw, expected) in table {
        assert_eq!(normal(raw), expected, "{raw:?}");
    }
}

#[test]
fn case_is_folded_only_when_asked_for_and_only_of_ascii() {
    for (raw, expected) in [
        ("/ADMIN", "/admin"),
        ("/%41dmin", "/admin"),
        ("/aDmIn/%C3%84", "/admin/%C3%84"),
        ("/X/Ä%2A%2f%3F", "/x/%C3%84*/%3F"),
        ("HTTP://HOST/Admin?X", "/admin"),
    ] {
        assert_eq!(String::from_utf8_lossy(&normalise(raw.as_bytes(), true)), expected, "{raw:?}");
        assert_ne!(normal(raw), expected, "{raw:?}");
    }
}

#[test]
fn a_usual_path_is_borrowed() {
    for raw in [
        "/",
        "/v1/users/42?fields=name",
        "/v1/users/",
        "/.well-known/jwks.json",
        "/..a/b..",
        "/caf%C3%A9/a%20b#part",
        "http://host/x;v=1/y",
        "/%2525",
    ] {
        assert!(matches!(normalise(raw.as_bytes(), true), Cow::Borrowed(_)), "{raw:?}");
    }
    for raw in ["/a//b", "/A", "/%c3", "/%41", "/a/./b", "/%2F", "a", ""] {
        assert!(matches!(normalise(raw.as_bytes(), true), Cow::Owned(_)), "{raw:?}");
    }
}

#[test]
fn the_query_lies_between_question_mark_and_fragment() {
    for (raw, expected) in [
        ("/a?b=c", "b=c"),
        ("/a?b?c#d?e", "b?c"),
        ("/a#b?c", ""),
        ("/a?", ""),
        ("/a", ""),
        ("?b", "b"),
        ("http://host?b#c", "b"),
        ("", ""),
    ] {
        assert_eq!(query(raw.as_bytes()), expected.as_bytes(), "{raw:?}");
    }
}

fn templates(all: &[&str]) -> Templates {
    Templates::new(&all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), false).unwrap()
}

#[test]
fn the_most_literal_template_is_found() {
    let all = templates(&[
        "/",
        "/users/{id}",
        "/users/me",
        "/users/{id}/orders/{order}",
        "/users/me/keys",
        "/files/{*rest}",
        "/files/{name}",
        "/files/readme",
        "/{tenant}/files/{*rest}",
    ]);
    for (path, expected) in [
        ("/", Some("/")),
        ("/users/me", Some("/users/me")),
        ("/users/42", Some("/users/{id}")),
        ("/users", None),
        ("/users/me/orders/1", Some("/users/{id}/orders/{order}")),
        ("/users/me/keys", Some("/users/me/keys")),
        ("/users/me/orders", None),
        ("/users/42/", Some("/users/{id}")),
        ("/files", Some("/files/{*rest}")),
        ("/files/", Some("/files/{*rest}")),
        ("/files/readme", Some("/files/readme")),
        ("/files/a", Some("/files/{name}")),
        ("/files/a/b/c", Some("/files/{*rest}")),
        ("/files/files/a", Some("/files/{*rest}")),
        ("/acme/files/a/b", Some("/{tenant}/files/{*rest}")),
        ("/acme/files", Some("/{tenant}/files/{*rest}")),
        ("/acme", None),
        ("/user%2Fs/x/y", None),
    ] {
        let path = normal(path);
        assert_eq!(all.find(path.as_bytes()).map(|found| found.template()), expected, "{path}");
    }
    let path = normal("/acme%2Dinc/files/a/b%20c/");
    let found = all.find(path.as_bytes()).unwrap();
    assert_eq!(found.index(), 8);
    assert_eq!(found.variable("tenant"), Some(&b"acme-inc"[..]));
    assert_eq!(found.variable("rest"), Some(&b"a/b%20c"[..]));
    assert_eq!(found.variable("id"), None);
    assert_eq!(all.find(b"/files").unwrap().variable("rest"), Some(&b""[..]));
    assert!(all.has_variable("order") && !all.has_variable("orders"));
    let (first, second) = (all.find(b"/users/me/orders/7").unwrap(), b"me".as_slice());
    assert_eq!((first.variable("id"), first.variable("order")), (Some(second), Some(&b"7"[..])));
}

#[test]
fn templates_are_normalised_as_paths_are() {
    let all = Templates::new(&["/Users/{ID}/caf\u{e9}/".to_owned(), "/%41/b%7Bc".to_owned()], true).unwrap();
    let path = normalise(b"/users/X/Caf%c3%a9", true);
    let found = all.find(&path).unwrap();
    assert_eq!((found.template(), found.variable("ID")), ("/Users/{ID}/caf\u{e9}/", Some(&b"x"[..])));
    assert_eq!(all.find(&normalise(b"/a/B{C", true)).unwrap().index(), 1);
}

#[test]
fn a_walk_goes_on_where_a_template_is_refused() {
    let all = templates(&["/a/b", "/a/{x}", "/{y}/b", "/a/{*rest}", "/{*rest}"]);
    let mut refused = Vec::new();
    while let Some(found) = all.find_where(b"/a/b", |index| !refused.contains(&index)) {
        refused.push(found.index());
    }
    assert_eq!(refused, [0, 1, 3, 2, 4]);
}

#[test]
fn what_is_no_template_is_refused_with_its_reason() {
    let long = format!("/{}", "x".repeat(4096));
    let deep = "/x".repeat(65);
    for (template, reason) in [
        ("", "must start with '/'"),
        ("users", "must start with '/'"),
        ("/a?b", "must end before '?'"),
        ("/a#b", "must end before '?'"),
        ("/a//b", "no segment of a path"),
        ("/a/../b", "no segment of a path"),
        ("/./b", "no segment of a path"),
        ("/a%2Fb", "no segment of a path"),
        ("/a/%2f", "no segment of a path"),
        ("/%5Ca", "no segment of a path"),
        ("/a\\", "no segment of a path"),
        ("/a/{}", "needs a name"),
        ("/a/{*}", "needs a name"),
        ("/a/{b c}", "needs a name"),
        ("/a/{{b}}", "needs a name"),
        ("/a/x{b}", "a whole segment"),
        ("/a/{b}.json", "a whole segment"),
        ("/a/{b", "a whole segment"),
        ("/a/b}", "a whole segment"),
        ("/{*a}/b", "nothing may follow"),
        ("/{a}/{a}", "two variables of the name 'a'"),
        ("/{a}/{*a}", "two variables of the name 'a'"),
        ("/{b}", "same paths as template 0, \"/{a}\""),
        ("/{b}/", "same paths as template 0, \"/{a}\""),
        (&long, "at most 4096 bytes"),
        (&deep, "at most 64 segments"),
    ] {
        let error = Templates::new(&["/{a}".to_owned(), template.to_owned()], false).unwrap_err();
        assert_eq!(error.index, 1);
        assert!(error.reason.contains(reason), "{template:?}: {error}");
    }
}

/// The one form, plainly: in whole passes over texts.
fn reference(raw: &[u8], ignore_case: bool) -> Vec<u8> {
    // Bytes as characters of the same number.
    let mut text: String = raw.iter().map(|byte| char::from(*byte)).collect();
    if let Some((scheme, rest)) = text.split_once("://")
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    {
        text = rest.find(['/', '\\', '?', '#']).map_or(String::new(), |start| rest[start..].to_owned());
    }
    let text = text.split(['?', '#']).next().unwrap();
    let mut pieces = text.split('%');
    let mut decoded = pieces.next().unwrap().to_owned();
    for piece in pieces {
        match piece.get(..2).filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit())) {
            Some(digits) => {
                decoded.push(char::from(u8::from_str_radix(digits, 16).unwrap()));
                decoded.push_str(&piece[2..]);
            }
            None => {
                decoded.push('%');
                decoded.push_str(piece);
            }
        }
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        for c in segment.chars() {
            match c {
                c if c.is_ascii_alphanumeric() && ignore_case => path.push(c.to_ascii_lowercase()),
                c if c.is_ascii_alphanumeric() || "-._~:@!$&'()*+,;=".contains(c) => path.push(c),
                c => path.push_str(&format!("%{:02X}", u32::from(c))),
            }
        }
    }
    if path.is_empty() { b"/".to_vec() } else { path.into_bytes() }
}

/// Targets made of what makes a difference.
fn targets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"/".to_vec()),
        Just(b"\\".to_vec()),
        Just(b".".to_vec()),
        Just(b"..".to_vec()),
        Just(b"%".to_vec()),
        Just(b"?".to_vec()),
        Just(b"#".to_vec()),
        Just(b"://".to_vec()),
        prop::sample::select(vec!["%2e", "%2F", "%5c", "%25", "%00", "%41", "%7e", "%c3", "2", "e", "5"])
            .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
        "[a-cA-C]{1,3}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

/// Templates and paths of few and short segments, so that they often fit.
fn segments(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(of.to_vec()), 0..5)
}

/// How a template fits a path, segment by segment; smaller is more literal. `None` when it does not.
fn fit(template: &[&str], path: &[&str]) -> Option<Vec<u8>> {
    match (template, path) {
        ([], []) => Some(vec![]),
        (["{*r}"], _) => Some(vec![2]),
        ([first, template @ ..], [segment, path @ ..]) if first == segment || *first == "{v}" => {
            let mut ranks = fit(template, path)?;
            ranks.insert(0, u8::from(*first == "{v}"));
            Some(ranks)
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn normalising_is_what_the_plain_reading_says(raw in targets(), ignore_case: bool) {
        let normal = normalise(&raw, ignore_case);
        prop_assert_eq!(&*normal, &*reference(&raw, ignore_case));
        prop_assert!(normal.starts_with(b"/") && normal.iter().all(u8::is_ascii_graphic));
        prop_assert!(normal == &b"/"[..] || !normal.ends_with(b"/"));
        prop_assert!(normal.len() <= 3 * raw.len() + 1);
        let again = normalise(&normal, ignore_case);
        prop_assert_eq!(&again, &normal);
        prop_assert!(matches!(again, Cow::Borrowed(_)));
    }

    #[test]
    fn finding_is_the_best_of_all_that_fit(
        all in prop::collection::vec((segments(&["a", "b", "{v}"]), any::<bool>()), 0..12),
        path in segments(&["a", "b", "c"]),
    ) {
        let mut kept: Vec<Vec<&str>> = Vec::new();
        let mut tree = Templates::default();
        for (mut template, rest) in all {
            if rest {
                template.push("{*r}");
            }
            // Names must differ within a template.
            let text: String = template.iter().enumerate().map(|(at, segment)| match *segment {
                "{v}" => format!("/{{v{at}}}"),
                other => format!("/{other}"),
            }).collect();
            let text = if text.is_empty() { "/".to_owned() } else { text };
            match tree.insert(&text, false) {
                Ok(index) => {
                    prop_assert_eq!(index, kept.len());
                    kept.push(template);
                }
                Err(refusal) => {
                    let same = kept.iter().position(|other| *other == template);
                    prop_assert_eq!(Some(refusal), same.map(super::templates::Refusal::Taken));
                }
            }
        }
        let best = kept.iter().enumerate()
            .filter_map(|(index, template)| fit(template, &path).map(|ranks| (ranks, index)))
            .min()
            .map(|(_, index)| index);
        let text = format!("/{}", path.join("/"));
        prop_assert_eq!(tree.find(text.as_bytes()).map(|found| found.index()), best);
    }
}

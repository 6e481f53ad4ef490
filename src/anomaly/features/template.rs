//! Paths become templates: what looks like a name of one thing becomes `{id}`, so that there are only so many.

/// More segments are cut off.
const MAX_SEGMENTS: usize = 8;
/// Longer segments are names of things.
const MAX_SEGMENT: usize = 32;

/// Writes the template of `path` over `out`. A template stays what it is; the query is cut off.
///
/// A segment is a name when it is all digits; has a number that stands by itself (`item-5`), or of two digits and more
/// (but for versions such as `v12`); is 16 and more hexadecimal digits; has three dashes; or is longer than 32 bytes.
pub fn reduce(path: &str, out: &mut String) {
    out.clear();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    for segment in segments.by_ref().take(MAX_SEGMENTS) {
        out.push('/');
        out.push_str(if is_name(segment.as_bytes()) { "{id}" } else { segment });
    }
    if segments.next().is_some() {
        out.push_str("/*");
    }
    if out.is_empty() && path.starts_with('/') {
        out.push('/');
    }
}

/// The template of `path`, see [`reduce`].
#[must_use]
pub fn template(path: &str) -> String {
    let mut out = String::new();
    reduce(path, &mut out);
    out
}

fn is_name(segment: &[u8]) -> bool {
    if segment.starts_with(b"{") {
        return false;
    }
    if segment.len() > MAX_SEGMENT || segment.iter().filter(|byte| **byte == b'-').count() >= 3 {
        return true;
    }
    if segment.len() >= 16 && segment.iter().all(u8::is_ascii_hexdigit) {
        return true;
    }
    if let [b'v' | b'V', version @ ..] = segment
        && version.len() <= 3
        && version.iter().all(u8::is_ascii_digit)
    {
        return false;
    }
    let mut run = 0;
    let mut alone = true;
    for (index, byte) in segment.iter().enumerate() {
        if byte.is_ascii_digit() {
            if run == 0 {
                alone = index == 0 || !segment.get(index - 1).is_some_and(u8::is_ascii_alphabetic);
            }
            run += 1;
            let ends = segment.get(index + 1).is_none_or(|next| !next.is_ascii_alphanumeric());
            if run >= 2 || alone && ends {
                return true;
            }
        } else {
            run = 0;
        }
    }
    false
}

/// The number at the end of a path, such as that of a thing: `/items/17` is 17.
#[must_use]
pub fn trailing_number(path: &str) -> Option<u64> {
    let digits = path.len() - path.bytes().rev().take_while(u8::is_ascii_digit).count();
    let digits = path.get(digits..)?;
    if digits.is_empty() || digits.len() > 18 { None } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ids() {
        for (path, expected) in [
            ("/", "/"),
            ("", ""),
            ("/products/1234", "/products/{id}"),
            ("/products/5?sort=up", "/products/{id}"),
            ("/products/item-5", "/products/{id}"),
            ("/products/item-512/reviews", "/products/{id}/reviews"),
            ("/api/v1/users/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/api/v1/users/{id}"),
            ("/objects/deadbeefdeadbeef", "/objects/{id}"),
            ("/blog/ten-things-that-nobody-told-you", "/blog/{id}"),
            ("/oauth2/token", "/oauth2/token"),
            ("/users/{id}/orders", "/users/{id}/orders"),
            ("/static/app.3f21b.js", "/static/{id}"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/*"),
            ("/files/{*rest}", "/files/{*rest}"),
        ] {
            assert_eq!(template(path), expected, "{path}");
            assert_eq!(template(expected), expected, "a template stays what it is");
        }
    }

    #[test]
    fn numbers_at_the_end() {
        assert_eq!(trailing_number("/items/17"), Some(17));
        assert_eq!(trailing_number("/items/a"), None);
        assert_eq!(trailing_number("/items/12345678901234567890"), None);
    }
}

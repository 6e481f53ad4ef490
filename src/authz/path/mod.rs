//! Paths, in one form.
//!
//! A client can write one path in many ways, and a server behind us may read them all alike. What is counted, denied or
//! let through by path must therefore not depend on how the path is written: [`normalise`] brings every request target
//! into one form, and [`Templates`] know only that form. Where servers differ, it follows those that read the most
//! paths as one, so that nothing slips past a template that a server behind us would serve:
//!
//! - The query and the fragment are cut off, and of an absolute target (`http://host/path`) the scheme and the host.
//! - Percent-encoding is undone, once: `%61` is `a`, `%2541` is the text `%41`. What cannot stand in a path as it is
//!   (spaces, controls, bytes beyond ASCII, `%`, `?`, quotes, braces) is then encoded, with capital digits. A `%` that
//!   encodes nothing stands for itself.
//! - `/`, `\` and what encodes them (`%2F`, `%5C`) separate segments. Empty segments are dropped (`//a`, `/a/`), so that
//!   a path with and without a slash at its end is one path; then `.` and `..` are resolved, never above the root. That
//!   is the order of most servers and of Envoy with `merge_slashes` for all that Envoy has not resolved itself.
//! - Letters are folded only where the settings say so, and only those of ASCII.
//! - `;parameters` stay: they are part of the segment, as Envoy and most servers see it. A server that drops them
//!   (servlet containers do) should stand behind a gateway that refuses or drops them, too.
//!
//! The gateway and the server should agree on what a path is: `normalize_path`, `merge_slashes`, and for
//! `path_with_escaped_slashes_action` a choice other than `KEEP_UNCHANGED`. That matters most for lists that let a path
//! through.

mod templates;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(in crate::authz) use templates::Refusal;
pub use templates::{Match, TemplateError, Templates};

/// The path of a request target in its one form: visible ASCII that starts with `/`, and ends with it only when it is
/// nothing else. `*`, the target of `OPTIONS`, is `/*`; an empty target is `/`.
///
/// At most three times as long as the target. Borrowed when nothing but the end was to change. Normalising it again
/// changes nothing.
#[must_use]
pub fn normalise(raw: &[u8], ignore_case: bool) -> Cow<'_, [u8]> {
    let path = without_slashes_at_end(without_query(without_authority(raw)));
    if is_normal(path, ignore_case) { Cow::Borrowed(path) } else { Cow::Owned(rewrite(path, ignore_case)) }
}

/// The query of a request target as it was written, without `?` and fragment; empty when there is none.
#[must_use]
pub fn query(raw: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'#', raw).unwrap_or(raw.len());
    memchr::memchr(b'?', &raw[..end]).map_or(b"", |start| &raw[start + 1..end])
}

/// What follows `scheme://authority`; a target that does not begin so stays.
fn without_authority(raw: &[u8]) -> &[u8] {
    let scheme = raw.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
    match raw[scheme..].strip_prefix(b"://") {
        Some(rest) if raw[0].is_ascii_alphabetic() => {
            let end = rest.iter().position(|byte| b"/\\?#".contains(byte)).unwrap_or(rest.len());
            &rest[end..]
        }
        _ => raw,
    }
}

fn without_query(raw: &[u8]) -> &[u8] {
    memchr::memchr2(b'?', b'#', raw).map_or(raw, |end| &raw[..end])
}

/// The first slash stays.
fn without_slashes_at_end(mut path: &[u8]) -> &[u8] {
    while let [start @ .., b'/'] = path
        && !start.is_empty()
    {
        path = start;
    }
    path
}

fn is_normal(path: &[u8], ignore_case: bool) -> bool {
    match path {
        b"/" => true,
        [b'/', rest @ ..] => rest
            .split(|byte| *byte == b'/')
            .all(|segment| !matches!(segment, b"" | b"." | b"..") && is_normal_text(segment, ignore_case)),
        _ => false,
    }
}

fn is_normal_text(mut segment: &[u8], ignore_case: bool) -> bool {
    while let Some((byte, length)) = read(segment) {
        let normal = if length == 1 {
            is_plain(byte) && !(ignore_case && byte.is_ascii_uppercase())
        } else {
            !is_plain(byte) && !is_separator(byte) && !segment[1..length].iter().any(u8::is_ascii_lowercase)
        };
        if !normal {
            return false;
        }
        segment = &segment[length..];
    }
    true
}

/// The one form, written anew.
fn rewrite(mut path: &[u8], ignore_case: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 16);
    out.push(b'/');
    // Where the segment begins that is being written, after the slash before it.
    let mut begin = 1;
    while let Some((byte, length)) = read(path) {
        if is_separator(byte) {
            begin = end_segment(&mut out, begin);
        } else if is_plain(byte) {
            out.push(if ignore_case { byte.to_ascii_lowercase() } else { byte });
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        path = &path[length..];
    }
    end_segment(&mut out, begin);
    if out.len() > 1 {
        out.pop();
    }
    out
}

/// Ends the segment that begins at `begin`, or takes back what it undoes. Returns where the next one begins.
fn end_segment(out: &mut Vec<u8>, begin: usize) -> usize {
    match &out[begin..] {
        b"" => {}
        b"." => out.truncate(begin),
        b".." => {
            let parent = out[..begin - 1].iter().rposition(|byte| *byte == b'/').map_or(1, |slash| slash + 1);
            out.truncate(parent);
        }
        _ => out.push(b'/'),
    }
    out.len()
}

/// The next byte that is meant, and how many bytes write it.
fn read(text: &[u8]) -> Option<(u8, usize)> {
    match *text {
        [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            Some((hex(high) << 4 | hex(low), 3))
        }
        [byte, ..] => Some((byte, 1)),
        [] => None,
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// What stands in a segment as it is: `pchar` of RFC 3986 without what is encoded.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'@')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

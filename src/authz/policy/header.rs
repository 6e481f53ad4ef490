//! Headers for the upstream.

use std::fmt::Write as _;

use crate::authz::text::Text;

/// The longest value that is sent, in bytes.
const MAX_BYTES: usize = 1024;

/// A header that the upstream gets, or only no longer gets from the client.
#[derive(Debug)]
pub(super) struct Header {
    /// In lower case.
    pub(super) name: Box<str>,
    /// `None` when it is only removed.
    pub(super) text: Option<Vec<Piece>>,
}

/// A piece of a header's text.
#[derive(Debug)]
pub(super) enum Piece {
    Text(Box<str>),
    /// One of the route's values.
    Slot(usize),
}

impl Header {
    /// Its value, written to `out`; whether there is one. There is none when a value is missing, or it would be longer
    /// than [`MAX_BYTES`].
    pub(super) fn write(&self, values: &[Option<Text<'_>>], out: &mut String) -> bool {
        out.clear();
        let Some(pieces) = &self.text else { return false };
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Slot(slot) => match values.get(*slot) {
                    Some(Some(value)) => push_encoded(value, out),
                    _ => return false,
                },
            }
            if out.len() > MAX_BYTES {
                return false;
            }
        }
        true
    }
}

/// Visible ASCII and blanks as they are, any other byte as `%0A`: nothing that ends a header, or begins another, is left.
fn push_encoded(value: &[u8], out: &mut String) {
    for &byte in value {
        if byte == b' ' || byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

//! Texts in which `{name}` stands for a value of the request.

/// A piece of such a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// As it is.
    Text(&'t str),
    /// A value, by its name.
    Value(&'t str),
}

/// Takes a text to pieces. `{{` and `}}` are single braces.
///
/// # Errors
/// What to write, when a brace is left alone.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        rest = if let Some(after) = brace.strip_prefix("{{") {
            pieces.push(Piece::Text("{"));
            after
        } else if let Some(after) = brace.strip_prefix("}}") {
            pieces.push(Piece::Text("}"));
            after
        } else if let Some((name, after)) = brace.strip_prefix('{').and_then(|name| name.split_once('}')) {
            pieces.push(Piece::Value(name));
            after
        } else {
            return Err("a brace stands alone; write {name} for a value, {{ and }} for braces".to_owned());
        };
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_values() {
        let taken = pieces("a {{b}} {c}{d} e").unwrap();
        let texts = ["a ", "{", "b", "}", " "].map(Piece::Text);
        assert_eq!(taken[..5], texts);
        assert_eq!(taken[5..], [Piece::Value("c"), Piece::Value("d"), Piece::Text(" e")]);
        assert_eq!(pieces("").unwrap(), []);
        for alone in ["{", "}", "a {b", "b}", "{{{", "{a} }"] {
            assert!(pieces(alone).is_err(), "{alone}");
        }
    }
}

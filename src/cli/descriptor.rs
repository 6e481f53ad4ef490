//! Descriptors on the command line: `key=value,key=value`.

use std::str::FromStr;

/// A descriptor as typed. A `\` before `,`, `=` or `\` takes it literally; in a value, `=` needs none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedDescriptor(pub Vec<(String, String)>);

impl FromStr for TypedDescriptor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        let (mut key, mut value): (String, Option<String>) = (String::new(), None);
        let mut characters = text.chars();
        loop {
            let character = characters.next();
            match (character, &mut value) {
                (None | Some(','), _) => {
                    if key.is_empty() {
                        let number = entries.len() + 1;
                        return Err(format!("entry {number} has no key; write key=value[,key=value]..."));
                    }
                    entries.push((std::mem::take(&mut key), value.take().unwrap_or_default()));
                    if character.is_none() {
                        return Ok(Self(entries));
                    }
                }
                (Some('='), None) => value = Some(String::new()),
                (Some('\\'), current) => {
                    let literal = characters.next().ok_or("ends with a \\; write \\\\ for one")?;
                    current.as_mut().unwrap_or(&mut key).push(literal);
                }
                (Some(character), current) => current.as_mut().unwrap_or(&mut key).push(character),
            }
        }
    }
}

impl std::fmt::Display for TypedDescriptor {
    /// As one would type it, with control characters written out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (key, value)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}", plain(key))?;
            if !value.is_empty() {
                write!(f, "={}", plain(value))?;
            }
        }
        Ok(())
    }
}

/// Text that cannot steer a terminal.
pub fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
        text.parse::<TypedDescriptor>().map(|descriptor| descriptor.0)
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn entries_are_keys_with_or_without_values() {
        assert_eq!(parse("a=1,b=2").unwrap(), [pair("a", "1"), pair("b", "2")]);
        assert_eq!(parse("a").unwrap(), [pair("a", "")]);
        assert_eq!(parse("q=x=y").unwrap(), [pair("q", "x=y")]);
        assert_eq!(parse(r"a\=b=1\,2\\").unwrap(), [pair("a=b", r"1,2\")]);
    }

    #[test]
    fn a_key_is_needed() {
        for text in ["", "=1", "a=1,", ",a"] {
            assert!(parse(text).unwrap_err().contains("has no key"), "{text}");
        }
        assert!(parse("a=\\").is_err());
    }
}

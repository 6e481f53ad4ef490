//! Reading JSON field by field, so that every complaint names the field, what stands there and what may.

use serde_json::{Map, Value};

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct FieldError {
    /// The field's path, `descriptors[0].entries[1].key`; `body` for the document itself.
    pub field: String,
    /// What is wrong and what may stand there.
    pub reason: String,
}

impl FieldError {
    /// An error about `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// How fields are named and numbers written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// As they are called; numbers are numbers.
    Plain,
    /// Protobuf's JSON: `lowerCamelCase` or `snake_case`; numbers also as strings.
    Proto,
}

/// A JSON object and where it stands in the document.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    path: String,
    members: &'a Map<String, Value>,
    notation: Notation,
}

/// Parses a whole document, which must be an object.
///
/// # Errors
/// One sentence, with line and column where the text is no JSON.
pub fn parse(body: &[u8]) -> Result<Value, FieldError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(FieldError::new("body", "is empty; send a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| FieldError::new("body", format!("not valid JSON: {error}")))
}

impl<'a> Object<'a> {
    /// The document itself.
    ///
    /// # Errors
    /// When it is no object.
    pub fn root(value: &'a Value, notation: Notation) -> Result<Self, FieldError> {
        Self::new(String::new(), value, notation)
    }

    fn new(path: String, value: &'a Value, notation: Notation) -> Result<Self, FieldError> {
        match value {
            Value::Object(members) => Ok(Self { path, members, notation }),
            other => {
                let field = if path.is_empty() { "body".to_owned() } else { path };
                Err(FieldError::new(field, format!("must be an object, got {}", describe(other))))
            }
        }
    }

    /// Refuses every field but these, which are written in `snake_case`.
    ///
    /// # Errors
    /// For the first field that is none of them.
    pub fn only(&self, known: &[&str]) -> Result<(), FieldError> {
        for name in self.members.keys() {
            let matches = |known: &&str| *known == name || (self.notation == Notation::Proto && camel(known) == *name);
            if !known.iter().any(matches) {
                let reason = format!("unknown field; known are {}", known.join(", "));
                return Err(FieldError::new(self.path_of(name), reason));
            }
        }
        Ok(())
    }

    /// The path of a field of this object.
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn get(&self, name: &str) -> Result<Option<&'a Value>, FieldError> {
        let mut found = self.members.get(name);
        if self.notation == Notation::Proto && name.contains('_') {
            let other = self.members.get(&camel(name));
            if found.is_some() && other.is_some() {
                return Err(FieldError::new(self.path_of(name), format!("stands twice, also as {}", camel(name))));
            }
            found = found.or(other);
        }
        Ok(found.filter(|value| !value.is_null()))
    }

    /// A text.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, FieldError> {
        match self.get(name)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a string", other)),
        }
    }

    /// A truth value.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn flag(&self, name: &str) -> Result<bool, FieldError> {
        match self.get(name)? {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(name, "true or false", other)),
        }
    }

    /// A whole number from 0 to `max`.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn whole(&self, name: &str, max: u64) -> Result<Option<u64>, FieldError> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_u64().or_else(|| whole_double(number.as_f64()?)),
            Value::String(text) if self.notation == Notation::Proto => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if number <= max => Ok(Some(number)),
            _ => Err(self.wrong(name, &format!("a whole number from 0 to {max}"), value)),
        }
    }

    /// A value of an enum: its name, or its number.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, i32, T)]) -> Result<Option<T>, FieldError> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let found = choices.iter().find(|(text, number, _)| match value {
            Value::String(given) => given == text,
            Value::Number(given) => given.as_i64() == Some(i64::from(*number)),
            _ => false,
        });
        match found {
            Some((_, _, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(text, _, _)| *text).collect();
                Err(self.wrong(name, &format!("one of {}", names.join(", ")), value))
            }
        }
    }

    /// An object within this one.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn object(&self, name: &str) -> Result<Option<Object<'a>>, FieldError> {
        self.get(name)?.map(|value| Object::new(self.path_of(name), value, self.notation)).transpose()
    }

    /// A list of objects, empty when absent.
    ///
    /// # Errors
    /// When something else stands there, or in the list.
    pub fn objects(&self, name: &str) -> Result<Vec<Object<'a>>, FieldError> {
        match self.get(name)? {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let path = self.path_of(name);
                let object = |(index, item)| Object::new(format!("{path}[{index}]"), item, self.notation);
                items.iter().enumerate().map(object).collect()
            }
            Some(other) => Err(self.wrong(name, "a list of objects", other)),
        }
    }

    fn wrong(&self, name: &str, wanted: &str, got: &Value) -> FieldError {
        FieldError::new(self.path_of(name), format!("must be {wanted}, got {}", describe(got)))
    }
}

/// `1.0` and `2e3` are whole, too; beyond 2^53 a double no longer says which number was meant.
fn whole_double(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (number.fract() == 0.0 && (0.0..EXACT).contains(&number)).then_some(number as u64)
}

/// What stands there, in few words: the caller's own value when it is short.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.chars().count() <= 64 => format!("the string {text:?}"),
        Value::String(_) => "a long string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn camel(snake: &str) -> String {
    let mut camel = String::with_capacity(snake.len());
    let mut upper = false;
    for character in snake.chars() {
        match character {
            '_' => upper = true,
            _ if upper => {
                camel.push(character.to_ascii_uppercase());
                upper = false;
            }
            _ => camel.push(character),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: std::fmt::Debug>(
        text: &str,
        notation: Notation,
        read: impl Fn(&Object<'_>) -> Result<T, FieldError>,
    ) -> String {
        let value = parse(text.as_bytes()).unwrap();
        read(&Object::root(&value, notation).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn complaints_name_the_field_what_stands_there_and_what_may() {
        let plain = Notation::Plain;
        assert_eq!(
            error(r#"{"hits": -1}"#, plain, |o| o.whole("hits", 7)),
            "hits: must be a whole number from 0 to 7, got -1"
        );
        assert_eq!(
            error(r#"{"hits": "1"}"#, plain, |o| o.whole("hits", 7)),
            "hits: must be a whole number from 0 to 7, got the string \"1\""
        );
        assert_eq!(
            error(r#"{"a": {"b": 1}}"#, plain, |o| o.object("a")?.unwrap().text("b").map(drop)),
            "a.b: must be a string, got 1"
        );
        assert_eq!(error(r#"{"x": 1}"#, plain, |o| o.only(&["a", "b"])), "x: unknown field; known are a, b");
        assert_eq!(
            error(r#"{"list": [{}, 3]}"#, plain, |o| o.objects("list").map(drop)),
            "list[1]: must be an object, got 3"
        );
        assert_eq!(
            parse(b"{\n \"a\": }").unwrap_err().to_string(),
            "body: not valid JSON: expected value at line 2 column 7"
        );
        assert_eq!(parse(b" \n").unwrap_err().field, "body");
        assert!(parse(&[b'['; 100_000]).is_err());
    }

    #[test]
    fn proto_notation_knows_both_spellings_and_numbers_as_text() {
        let value = parse(br#"{"hitsAddend": "12", "limit_name": "x", "unit": 2, "whole": 3.0}"#).unwrap();
        let object = Object::root(&value, Notation::Proto).unwrap();
        assert_eq!(object.whole("hits_addend", u64::MAX).unwrap(), Some(12));
        assert_eq!(object.text("limit_name").unwrap(), Some("x"));
        assert_eq!(object.whole("whole", 3).unwrap(), Some(3));
        assert_eq!(object.choice("unit", &[("SECOND", 1, 's'), ("MINUTE", 2, 'm')]).unwrap(), Some('m'));
        object.only(&["hits_addend", "limit_name", "unit", "whole"]).unwrap();
        let twice = error(r#"{"hitsAddend": 1, "hits_addend": 1}"#, Notation::Proto, |o| o.whole("hits_addend", 9));
        assert_eq!(twice, "hits_addend: stands twice, also as hitsAddend");
        let huge = error(r#"{"hits_addend": 1e30}"#, Notation::Proto, |o| o.whole("hits_addend", u64::MAX));
        assert!(huge.starts_with("hits_addend: must be a whole number"), "{huge}");
    }
}

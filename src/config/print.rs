//! The settings as YAML, each value with its source: what `--print-config` shows.

use std::fmt::Write as _;

use serde_json::Value;

use super::Loaded;

impl Loaded {
    /// The settings as YAML that can be loaded again, each value with a comment on where it came from. Passwords in
    /// addresses are hidden.
    #[must_use]
    pub fn print(&self) -> String {
        let mut lines = Vec::new();
        // The tree holds nothing that JSON cannot.
        if let Ok(Value::Object(sections)) = serde_json::to_value(&self.config) {
            for (name, section) in &sections {
                self.lines(name, name, section, 0, &mut lines);
            }
        }
        let width = lines.iter().filter(|(_, source)| source.is_some()).map(|(line, _)| line.len()).max().unwrap_or(0);
        let mut out = String::new();
        for (line, source) in lines {
            // Writing to a String cannot fail.
            let _ = match source {
                Some(source) => writeln!(out, "{line:width$}  # from {source}", width = width.min(60)),
                None => writeln!(out, "{line}"),
            };
        }
        out
    }

    fn lines(&self, name: &str, field: &str, value: &Value, depth: usize, lines: &mut Vec<(String, Option<String>)>) {
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(entries) => {
                lines.push((format!("{indent}{name}:"), None));
                for (name, value) in entries {
                    self.lines(name, &format!("{field}.{name}"), value, depth + 1, lines);
                }
            }
            value => {
                let text = match value {
                    Value::Array(items) => format!("[{}]", items.iter().map(scalar).collect::<Vec<_>>().join(", ")),
                    value => scalar(value),
                };
                lines.push((format!("{indent}{name}: {text}"), Some(self.sources.of(field).to_owned())));
            }
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let text = hide_password(text);
            let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./:%-".contains(c))
                && !text.ends_with(':')
                && text.parse::<f64>().is_err()
                && !matches!(text.to_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "null");
            // JSON's quotes are YAML's double quotes.
            if plain { text } else { Value::String(text).to_string() }
        }
        other => other.to_string(),
    }
}

/// An address with what stands before its `@` hidden.
fn hide_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://***{}", rest.get(at..).unwrap_or_default()),
        None => text.to_owned(),
    }
}

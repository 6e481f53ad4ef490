//! The settings as YAML, each value with its source: what `--print-config` shows.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Loaded, field};

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
            Value::Object(entries) if !entries.is_empty() => {
                lines.push((format!("{indent}{name}:"), None));
                self.entries(field, entries, depth + 1, lines);
            }
            Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                lines.push((format!("{indent}{name}:"), None));
                for (index, item) in items.iter().enumerate() {
                    self.item(&format!("{field}[{index}]"), item, depth + 1, lines);
                }
            }
            value => {
                let line = format!("{indent}{name}: {}", inline(value));
                lines.push((line, Some(self.sources.of(field).to_owned())));
            }
        }
    }

    fn entries(
        &self,
        field: &str,
        entries: &serde_json::Map<String, Value>,
        depth: usize,
        lines: &mut Vec<(String, Option<String>)>,
    ) {
        for (name, value) in entries {
            self.lines(&text(name), &format!("{field}.{}", field::key(name)), value, depth, lines);
        }
    }

    fn item(&self, field: &str, item: &Value, depth: usize, lines: &mut Vec<(String, Option<String>)>) {
        let indent = "  ".repeat(depth);
        match item {
            Value::Object(entries) if !entries.is_empty() => {
                let first = lines.len();
                self.entries(field, entries, depth + 1, lines);
                if let Some((line, _)) = lines.get_mut(first) {
                    *line = format!("{indent}- {}", line.trim_start());
                }
            }
            item => lines.push((format!("{indent}- {}", inline(item)), Some(self.sources.of(field).to_owned()))),
        }
    }
}

/// A value on its line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(value) => text(&hide_password(value)),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn text(text: &str) -> String {
    let number = text.parse::<f64>().is_ok()
        || text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(['x', 'o', 'b', '_']);
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./:%-".contains(c))
        && !text.ends_with(':')
        && !number
        && !matches!(text.to_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "null");
    // JSON's quotes are YAML's double quotes.
    if plain { text.to_owned() } else { Value::from(text).to_string() }
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

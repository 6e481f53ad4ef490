//! Records and diffs in words.

use serde_json::Value;

use crate::cli::descriptor::plain;

/// A text member, `-` without one.
pub fn text<'v>(value: &'v Value, pointer: &str) -> std::borrow::Cow<'v, str> {
    match value.pointer(pointer) {
        Some(Value::String(text)) => plain(text).into(),
        Some(Value::Null) | None => "-".into(),
        Some(other) => other.to_string().into(),
    }
}

/// The limits of a rule or an override, short: `5/minute sliding_window_log, 100/hour token_bucket`.
pub fn limits(record: &Value) -> String {
    let one = record.get("rate_limit").into_iter();
    let several = record.get("rate_limits").and_then(Value::as_array).into_iter().flatten();
    let words: Vec<String> = one.chain(several).map(limit).collect();
    if words.is_empty() { "no limit".to_owned() } else { words.join(", ") }
}

fn limit(limit: &Value) -> String {
    if limit.get("unlimited").and_then(Value::as_bool) == Some(true) {
        return "unlimited".to_owned();
    }
    let window = limit.get("unit").or_else(|| limit.get("window")).and_then(Value::as_str).map_or("?".into(), plain);
    let zone =
        limit.get("time_zone").and_then(Value::as_str).map_or_else(String::new, |zone| format!("@{}", plain(zone)));
    format!("{}/{window}{zone} {}", text(limit, "/requests_per_unit"), text(limit, "/algorithm"))
}

/// What is unusual about a rule: `disabled`, `shadow`...
pub fn flags(record: &Value) -> String {
    let is = |name| record.get(name).and_then(Value::as_bool) == Some(true);
    let disabled = record.get("enabled").and_then(Value::as_bool) == Some(false);
    let unreadable = record.get("unreadable").is_some_and(|reason| !reason.is_null());
    let all = [
        ("disabled", disabled),
        ("shadow", is("shadow_mode")),
        ("quota", is("quota_mode")),
        ("protected", is("protect")),
        ("unreadable", unreadable),
    ];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

/// Rows as a table, columns aligned, without trailing blanks.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_short() {
        let one = json!({ "rate_limit": { "requests_per_unit": 5, "unit": "minute", "algorithm": "fixed_window" } });
        assert_eq!(limits(&one), "5/minute fixed_window");
        let two = json!({ "rate_limits": [
            { "requests_per_unit": 5, "window": "90s", "algorithm": "token_bucket" },
            { "requests_per_unit": 9, "unit": "day", "calendar": true, "time_zone": "UTC", "algorithm": "fixed_window" },
        ] });
        assert_eq!(limits(&two), "5/90s token_bucket, 9/day@UTC fixed_window");
        assert_eq!(limits(&json!({ "rate_limit": { "unlimited": true } })), "unlimited");
        assert_eq!(limits(&json!({})), "no limit");
    }

    #[test]
    fn columns_are_aligned() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        assert_eq!(table(&[row(&["a", "bb", ""]), row(&["ccc", "d", "e"])]), "a    bb\nccc  d   e\n");
    }
}

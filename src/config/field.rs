//! Names of fields, `ext_authz.routes[2].match.paths[0]`. A key that is the user's own is quoted where it would be read
//! otherwise: `ext_authz.values."tenant.id"`.

use std::fmt::Write as _;

use figment::value::Value;

/// Reads a name as the steps from the root.
pub(super) fn steps(name: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (step, after) = step(rest);
        steps.push(step);
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    steps
}

/// The first step, and what follows it.
fn step(name: &str) -> (String, &str) {
    if let Some((index, after)) = name.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (index.to_owned(), after);
    }
    if name.starts_with('"') {
        let mut quoted = serde_json::Deserializer::from_str(name).into_iter::<String>();
        if let Some(Ok(step)) = quoted.next() {
            return (step, name.get(quoted.byte_offset()..).unwrap_or_default());
        }
    }
    let end = name.find(['.', '[']).filter(|&end| end > 0).unwrap_or(name.len());
    let (step, after) = name.split_at(end);
    (step.to_owned(), after)
}

/// The name of what the steps lead to; in `tree` they may end early.
pub(super) fn name(steps: &[String], tree: &Value) -> String {
    let mut name = String::new();
    let mut at = Some(tree);
    for step in steps {
        // Writing to a String cannot fail.
        let _ = match at {
            Some(Value::Array(..)) => write!(name, "[{step}]"),
            _ if name.is_empty() => write!(name, "{}", key(step)),
            _ => write!(name, ".{}", key(step)),
        };
        at = at.and_then(|value| below(value, step));
    }
    name
}

/// A key as a step of a name.
pub(crate) fn key(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if plain { key.to_owned() } else { serde_json::Value::from(key).to_string() }
}

/// What is one step below a value.
pub(super) fn below<'v>(value: &'v Value, step: &str) -> Option<&'v Value> {
    match value {
        Value::Dict(_, entries) => entries.get(step),
        Value::Array(_, items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Takes what is wrong out of a value: the innermost entry that holds it, so that no item changes its number. Whether
/// there was one.
pub(super) fn take_out(value: &mut Value, steps: &[String]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return false };
    match value {
        Value::Dict(_, entries) => {
            let taken = entries.get_mut(step).is_some_and(|below| take_out(below, rest));
            taken || entries.remove(step).is_some()
        }
        Value::Array(_, items) => {
            let item = step.parse::<usize>().ok().and_then(|index| items.get_mut(index));
            item.is_some_and(|item| take_out(item, rest))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use figment::value::Dict;

    #[test]
    fn names_come_back() {
        let item = Value::from(Dict::from([("a.b".to_owned(), Value::from("x")), ("0".to_owned(), Value::from("y"))]));
        let tree = Value::from(Dict::from([("routes".to_owned(), Value::from(vec![item]))]));
        for text in ["routes[0].\"a.b\"", "routes[0].0", "routes[0].none", "routes", "other.\"x \\\"y\\\"\".z"] {
            assert_eq!(name(&steps(text), &tree), text);
        }
        for odd in ["", ".", "..", "[", "[]", "\"", "\"a", "a..b", "a[1"] {
            let _ = steps(odd);
        }
    }

    #[test]
    fn what_is_taken_out_leaves_numbers_as_they_are() {
        let item = |text: &str| Value::from(Dict::from([("a".to_owned(), Value::from(vec![text, "z"]))]));
        let mut list = Value::from(vec![item("x"), item("y")]);
        assert!(take_out(&mut list, &steps("[0].a[1]")));
        assert!(below(&list, "0").is_some_and(|item| below(item, "a").is_none()));
        assert!(below(&list, "1").is_some_and(|item| below(item, "a").is_some()));
        assert!(!take_out(&mut list, &steps("[1]")), "an item as a whole is its list's affair");
        assert!(!take_out(&mut list, &steps("[7].a")));
    }
}

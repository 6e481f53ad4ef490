//! The Helm chart, as files; `tests/control_planes` renders it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::documents::{document, entries, repository};

/// Values that hold whatever their user puts there.
fn is_free(schema: &Value) -> bool {
    schema["properties"].is_null()
}

/// A schema, or the one that it refers to.
fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    match schema["$ref"].as_str() {
        Some(reference) => root.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference}")),
        None => schema,
    }
}

fn schema() -> Value {
    let text = std::fs::read_to_string(repository("deploy/helm/tidegate/values.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every value that is no section, `image.tag`; with sections that their users fill as one.
fn leaves(root: &Value, schema: &Value, values: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    let schema = resolve(root, schema);
    if is_free(schema) {
        found.insert(prefix.to_owned());
        return;
    }
    assert_eq!(schema["additionalProperties"], false, "{prefix} takes anything");
    for (name, value) in entries(values) {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let inner = &schema["properties"][name];
        assert!(!inner.is_null(), "{path} is in values.yaml, and refused by values.schema.json");
        if prefix == "settings" || path == "settings" {
            found.insert("settings".to_owned());
            continue;
        }
        leaves(root, inner, value, &path, found);
    }
}

#[test]
fn values_schema_and_readme_agree() {
    let (root, values) = (schema(), document("deploy/helm/tidegate/values.yaml"));
    let mut found = BTreeSet::new();
    leaves(&root, &root, &values, "", &mut found);
    for (name, _) in entries(&root["properties"]) {
        assert!(name == "global" || values.get(name).is_some(), "{name} is in the schema, and not in values.yaml");
    }
    let readme = std::fs::read_to_string(repository("deploy/helm/tidegate/README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<_> = rows.map(|(name, _)| name.to_owned()).collect();
    let lacking: Vec<_> = found.difference(&documented).collect();
    assert!(lacking.is_empty(), "README.md lacks {lacking:?}");
    let unknown: Vec<_> = documented.difference(&found).collect();
    assert!(unknown.is_empty(), "README.md tells of {unknown:?}");
}

/// Sections of the settings are checked by name, so that a misspelt one is refused before anything is installed.
#[test]
fn the_schema_knows_every_section_of_the_settings() {
    let root = schema();
    let known: BTreeSet<_> = entries(&root["properties"]["settings"]["properties"]).map(|(name, _)| name).collect();
    let settings = serde_json::to_value(tidegate::config::Config::default()).unwrap();
    let sections: BTreeSet<_> = entries(&settings).map(|(name, _)| name).collect();
    assert_eq!(known, sections);
}

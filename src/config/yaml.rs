//! The settings file: YAML, read into leaves that know their lines.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A node whose scalars are still texts: which type each has is for the field to say.
pub(super) enum Node {
    /// Nothing: leaves the layers below in force.
    Null,
    Scalar(String),
    List(Vec<Node>),
    Section(Vec<(String, Spanned<Node>)>),
}

/// A value of the file.
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    pub(super) value: LeafValue,
    /// Counted from 1.
    pub(super) line: u64,
}

pub(super) enum LeafValue {
    Text(String),
    List(Vec<String>),
    /// `{}`: the section is there, with everything in it as it is by default.
    EmptySection,
}

/// Every leaf of a file, in order.
///
/// # Errors
/// The line, and what is wrong there.
pub(super) fn leaves(text: &str) -> Result<Vec<Leaf>, (Option<u64>, String)> {
    let mut leaves = Vec::new();
    if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(leaves);
    }
    let node: Spanned<Node> = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        let error = error.without_snippet().to_string();
        (line, error)
    })?;
    match &node.value {
        Node::Null => {}
        Node::Section(_) => walk(&node, &mut Vec::new(), &mut leaves)?,
        _ => return Err((Some(1), "the file must hold sections, such as \"grpc:\"".to_owned())),
    }
    Ok(leaves)
}

fn walk(node: &Spanned<Node>, path: &mut Vec<String>, leaves: &mut Vec<Leaf>) -> Result<(), (Option<u64>, String)> {
    let line = node.referenced.line();
    let leaf = |value| Leaf { path: path.clone(), value, line };
    match &node.value {
        Node::Null => {}
        Node::Scalar(text) => leaves.push(leaf(LeafValue::Text(text.clone()))),
        Node::List(items) => {
            let texts = items.iter().map(|item| match item {
                Node::Scalar(text) => Ok(text.clone()),
                _ => Err((Some(line), format!("{}: a list holds plain values only", path.join(".")))),
            });
            let texts = texts.collect::<Result<_, _>>()?;
            leaves.push(leaf(LeafValue::List(texts)));
        }
        Node::Section(entries) if entries.is_empty() => leaves.push(leaf(LeafValue::EmptySection)),
        Node::Section(entries) => {
            for (key, entry) in entries {
                path.push(key.clone());
                walk(entry, path, leaves)?;
                path.pop();
            }
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a section")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut section = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            section.push(entry);
        }
        Ok(Node::Section(section))
    }
}

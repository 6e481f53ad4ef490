//! The settings file: YAML, read into leaves that know their lines.

use std::fmt;

use figment::value::{Dict, Empty, Tag, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A node whose scalars are still texts: which type each has is for the field to say.
pub(super) enum Node {
    /// Nothing: leaves the layers below in force.
    Null,
    Scalar(String),
    List(Vec<Spanned<Node>>),
    Section(Vec<(String, Spanned<Node>)>),
}

/// A value of the file: a text, a list, or `{}`, a section that is there with everything in it as it is by default.
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    /// Counted from 1.
    pub(super) line: u64,
}

/// What a file holds.
#[derive(Default)]
pub(super) struct Leaves {
    /// In order.
    pub(super) leaves: Vec<Leaf>,
    /// Where each item of the lists, and everything in it, was written.
    pub(super) items: Vec<(Vec<String>, u64)>,
}

/// Every leaf of a file.
///
/// # Errors
/// The line, and what is wrong there.
pub(super) fn leaves(text: &str) -> Result<Leaves, (Option<u64>, String)> {
    let mut leaves = Leaves::default();
    if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(leaves);
    }
    // Texts stay as they were written: `NO` is a country before it is a switch, and switches are read from texts.
    let options = serde_saphyr::options! { strict_booleans: true, leading_zero_numbers_as_strings: true };
    let node: Spanned<Node> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map(|location| location.line());
        let error = error.without_snippet().to_string();
        (line, error)
    })?;
    match &node.value {
        Node::Null => {}
        Node::Section(_) => leaves.walk(&node, &mut Vec::new()),
        _ => return Err((Some(1), "the file must hold sections, such as \"grpc:\"".to_owned())),
    }
    Ok(leaves)
}

impl Leaves {
    fn walk(&mut self, node: &Spanned<Node>, path: &mut Vec<String>) {
        let value = match &node.value {
            Node::Null => return,
            Node::Section(entries) if !entries.is_empty() => {
                for (key, entry) in entries {
                    path.push(key.clone());
                    self.walk(entry, path);
                    path.pop();
                }
                return;
            }
            Node::Section(_) => Value::from(Dict::new()),
            Node::Scalar(text) => Value::from(text.clone()),
            Node::List(items) => self.list(items, path),
        };
        self.leaves.push(Leaf { path: path.clone(), value, line: node.referenced.line() });
    }

    fn list(&mut self, items: &[Spanned<Node>], path: &mut Vec<String>) -> Value {
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            path.push(index.to_string());
            values.push(self.item(item, path));
            path.pop();
        }
        Value::from(values)
    }

    /// What stands in a list is one value with it: lists are replaced as a whole by the layers above.
    fn item(&mut self, node: &Spanned<Node>, path: &mut Vec<String>) -> Value {
        self.items.push((path.clone(), node.referenced.line()));
        match &node.value {
            Node::Null => Value::Empty(Tag::Default, Empty::None),
            Node::Scalar(text) => Value::from(text.clone()),
            Node::List(items) => self.list(items, path),
            Node::Section(entries) => {
                let mut dict = Dict::new();
                for (key, entry) in entries {
                    if !matches!(entry.value, Node::Null) {
                        path.push(key.clone());
                        dict.insert(key.clone(), self.item(entry, path));
                        path.pop();
                    }
                }
                Value::from(dict)
            }
        }
    }
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
        while let Some(item) = items.next_element::<Spanned<Node>>()? {
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

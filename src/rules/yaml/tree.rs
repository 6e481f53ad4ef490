//! The text of a file as a tree of nodes with their places. Anchors are followed, so an aliased node is a child of
//! several parents; the bounds below hold for the tree as seen by who walks it, not as written.

use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::scalar::Meaning;

/// The deepest nesting of lists and maps.
pub(super) const MAX_DEPTH: usize = 200;

/// So many nodes may come out of aliases beyond those that are written, in a whole file.
pub(super) const MAX_ALIASED: u64 = 1_000_000;

/// A place in the text; line and column count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::rules) struct Mark {
    pub(in crate::rules) line: u32,
    pub(in crate::rules) column: u32,
}

impl From<Marker> for Mark {
    fn from(marker: Marker) -> Self {
        let bounded = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: bounded(marker.line()), column: bounded(marker.col() + 1) }
    }
}

/// Index of a node in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) struct NodeId(u32);

/// A node.
#[derive(Debug)]
pub(in crate::rules) struct Node<'a> {
    pub(in crate::rules) at: Mark,
    pub(in crate::rules) kind: Kind<'a>,
    /// Nodes below and including this one, aliases expanded.
    size: u64,
    /// Levels below this one, aliases expanded.
    height: usize,
}

/// What a node is.
#[derive(Debug)]
pub(in crate::rules) enum Kind<'a> {
    Scalar(Scalar<'a>),
    List(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
}

/// A scalar's text and meaning.
#[derive(Debug)]
pub(in crate::rules) struct Scalar<'a> {
    pub(in crate::rules) text: Cow<'a, str>,
    pub(in crate::rules) meaning: Meaning,
}

/// A document.
#[derive(Debug)]
pub(in crate::rules) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    /// `None` when there is nothing but comments.
    pub(in crate::rules) root: Option<NodeId>,
    /// Where something follows the first document, which is all that is read.
    pub(in crate::rules) rest: Option<Mark>,
}

/// Why there is no tree.
#[derive(Debug)]
pub(in crate::rules) struct SyntaxError {
    pub(in crate::rules) at: Mark,
    pub(in crate::rules) message: String,
    pub(in crate::rules) help: Option<&'static str>,
}

impl SyntaxError {
    fn new(at: impl Into<Mark>, message: impl Into<String>, help: &'static str) -> Self {
        Self { at: at.into(), message: message.into(), help: Some(help) }
    }
}

impl From<ScanError> for SyntaxError {
    fn from(error: ScanError) -> Self {
        let (info, at) = (error.info(), Mark::from(*error.marker()));
        let help = if info.contains("quoted scalar") && info.contains("end of stream") {
            Some("a quotation mark opens a text that is never closed")
        } else if info.contains("unknown anchor") {
            Some("an alias *name needs its anchor &name before it, in the same file")
        } else if info.contains("tab") {
            Some("indent with spaces")
        } else if info.contains("block") {
            Some("indent the lines of one list or map alike")
        } else if info.contains("did not find expected") {
            Some("something is missing here, or a bracket, brace or quotation mark was left open above")
        } else {
            None
        };
        Self { at, message: info.to_owned(), help }
    }
}

impl<'a> Tree<'a> {
    /// Reads the first document of a text.
    pub(in crate::rules) fn parse(text: &'a str) -> Result<Self, SyntaxError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Builder::default().build(text).map_err(|error| SyntaxError { at: within(error.at, text), ..error })
    }

    pub(in crate::rules) fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }
}

/// What is missing at the end is missed below the last line; the end of that line is where to look.
fn within(at: Mark, text: &str) -> Mark {
    let text = text.trim_end_matches(['\n', '\r', ' ', '\t']);
    let mut lines = 1;
    let mut last = 0;
    for (index, _) in text.match_indices(['\n', '\r']) {
        if !text[index..].starts_with("\r\n") {
            lines += 1;
            last = index + 1;
        }
    }
    if at.line <= lines {
        return at;
    }
    let column = text[last..].chars().count() + 1;
    Mark { line: lines, column: u32::try_from(column).unwrap_or(u32::MAX) }
}

/// A list or map whose end has not been met.
#[derive(Debug)]
struct Open<'a> {
    at: Mark,
    anchor: usize,
    kind: Kind<'a>,
    /// The key whose value comes next.
    key: Option<NodeId>,
    size: u64,
    height: usize,
}

#[derive(Debug, Default)]
struct Builder<'a> {
    nodes: Vec<Node<'a>>,
    open: Vec<Open<'a>>,
    /// By anchor id; `None` while the anchored node is open.
    anchors: Vec<Option<NodeId>>,
    root: Option<NodeId>,
}

impl<'a> Builder<'a> {
    fn build(mut self, text: &'a str) -> Result<Tree<'a>, SyntaxError> {
        let mut parser = Parser::new_from_str(text);
        let mut rest = None;
        let mut done = false;
        while let Some(event) = parser.next_event() {
            if done {
                // What comes after the first document is never read, not even for its mistakes.
                rest = match event {
                    Ok((Event::StreamEnd, _)) => None,
                    Ok((_, span)) => Some(span.start.into()),
                    Err(error) => Some((*error.marker()).into()),
                };
                break;
            }
            let (event, span) = event?;
            let at = Mark::from(span.start);
            match event {
                Event::Scalar(text, style, anchor, tag) => {
                    let meaning = meaning(&text, style, tag.as_deref(), at)?;
                    let id = self.add(at, Kind::Scalar(Scalar { text, meaning }), 1, 0)?;
                    self.anchor(anchor, Some(id));
                    self.attach(id);
                }
                Event::SequenceStart(anchor, _) => self.open(at, anchor, Kind::List(Vec::new()))?,
                Event::MappingStart(anchor, _) => self.open(at, anchor, Kind::Map(Vec::new()))?,
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
                Event::Alias(anchor) => {
                    let Some(id) = self.anchors.get(anchor).copied().flatten() else {
                        return Err(SyntaxError::new(
                            at,
                            "anchor contains itself",
                            "an alias cannot stand inside the \
                            node that it names",
                        ));
                    };
                    if self.open.len() + self.nodes[id.0 as usize].height > MAX_DEPTH {
                        return Err(too_deep(at));
                    }
                    self.attach(id);
                }
                Event::DocumentEnd => done = true,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
            }
        }
        Ok(Tree { nodes: self.nodes, root: self.root, rest })
    }

    fn open(&mut self, at: Mark, anchor: usize, kind: Kind<'a>) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.anchor(anchor, None);
        self.open.push(Open { at, anchor, kind, key: None, size: 1, height: 0 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        if open.size > self.nodes.len() as u64 + MAX_ALIASED {
            return Err(SyntaxError::new(
                open.at,
                format!("aliases expand to more than {MAX_ALIASED} nodes"),
                "write the repeated parts out, or split them over several files",
            ));
        }
        let id = self.add(open.at, open.kind, open.size, open.height)?;
        self.anchor(open.anchor, Some(id));
        self.attach(id);
        Ok(())
    }

    fn add(&mut self, at: Mark, kind: Kind<'a>, size: u64, height: usize) -> Result<NodeId, SyntaxError> {
        let id =
            u32::try_from(self.nodes.len()).map_err(|_| SyntaxError::new(at, "too many nodes", "split the file"))?;
        self.nodes.push(Node { at, kind, size, height });
        Ok(NodeId(id))
    }

    fn anchor(&mut self, anchor: usize, id: Option<NodeId>) {
        if anchor > 0 {
            if self.anchors.len() <= anchor {
                self.anchors.resize(anchor + 1, None);
            }
            self.anchors[anchor] = id;
        }
    }

    fn attach(&mut self, id: NodeId) {
        let Node { size, height, .. } = self.nodes[id.0 as usize];
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(id);
            return;
        };
        parent.size = parent.size.saturating_add(size);
        parent.height = parent.height.max(height + 1);
        match &mut parent.kind {
            Kind::List(items) => items.push(id),
            Kind::Map(entries) => match parent.key.take() {
                Some(key) => entries.push((key, id)),
                None => parent.key = Some(id),
            },
            Kind::Scalar(_) => {}
        }
    }
}

fn too_deep(at: Mark) -> SyntaxError {
    SyntaxError::new(at, format!("nested more than {MAX_DEPTH} levels deep"), "nest descriptors less deeply")
}

/// What a scalar means: what its tag says, else what a plain text looks like, else text.
fn meaning(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Mark) -> Result<Meaning, SyntaxError> {
    let Some(tag) = tag.filter(|tag| tag.is_yaml_core_schema()) else {
        return Ok(if style == ScalarStyle::Plain && tag.is_none() { Meaning::of_plain(text) } else { Meaning::Text });
    };
    let plain = Meaning::of_plain(text);
    let fits = match tag.suffix.as_str() {
        "str" | "timestamp" => return Ok(Meaning::Text),
        "int" => matches!(plain, Meaning::Int(_)),
        "float" => matches!(plain, Meaning::Int(_) | Meaning::Float(_)),
        "bool" => matches!(plain, Meaning::Bool(_)),
        "null" => matches!(plain, Meaning::Null),
        "merge" => plain == Meaning::Merge,
        _ => false,
    };
    match plain {
        Meaning::Int(int) if fits && tag.suffix == "float" => Ok(Meaning::Float(int as f64)),
        plain if fits => Ok(plain),
        _ => Err(SyntaxError::new(
            at,
            format!("'{text}' cannot be read as !!{}", tag.suffix),
            "leave the tag out, or use one of !!str, !!int, !!bool, !!float, !!null",
        )),
    }
}

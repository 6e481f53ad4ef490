//! The text of a file as a tree of nodes with their places. Anchors are followed, so an aliased node is a child of
//! several parents; the bounds below hold for the tree as seen by who walks it, not as written.

use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::scalar::Meaning;

/// The deepest nesting of lists and maps.
pub(super) const MAX_DEPTH: usize = 200;

/// So many nodes may come out of aliases beyond those that are written, in a whole text.
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
#[derive(Debug, Default)]
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
        let mut documents = Documents::new(text);
        let mut tree = documents.next().transpose()?.unwrap_or_default();
        tree.rest = documents.rest();
        Ok(tree)
    }

    /// Whether the document says nothing.
    pub(super) fn is_empty(&self) -> bool {
        let root = self.root.map(|root| &self.node(root).kind);
        root.is_none_or(|root| matches!(root, Kind::Scalar(Scalar { meaning: Meaning::Null, .. })))
    }

    pub(in crate::rules) fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }
}

/// The documents of a text, one after the other. Nothing follows an error.
pub(super) struct Documents<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    /// Nodes of the documents so far: as written, and with their aliases expanded.
    written: u64,
    expanded: u64,
    ended: bool,
}

impl<'a> Documents<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { text, parser: Parser::new_from_str(text), written: 0, expanded: 0, ended: false }
    }

    /// Where something follows the documents that were read. It is not read, not even for its mistakes.
    fn rest(&mut self) -> Option<Mark> {
        match self.parser.next_event()? {
            Ok((Event::StreamEnd, _)) => None,
            Ok((_, span)) => Some(span.start.into()),
            Err(error) => Some((*error.marker()).into()),
        }
    }
}

impl<'a> Iterator for Documents<'a> {
    type Item = Result<Tree<'a>, SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let aliased = MAX_ALIASED.saturating_sub(self.expanded.saturating_sub(self.written));
        let built = Builder { aliased, ..Builder::default() }.build(&mut self.parser);
        match built {
            Ok(Some(tree)) => {
                self.written += tree.nodes.len() as u64;
                self.expanded = self.expanded.saturating_add(tree.root.map_or(0, |root| tree.node(root).size));
                return Some(Ok(tree));
            }
            Ok(None) => self.ended = true,
            Err(error) => {
                self.ended = true;
                return Some(Err(SyntaxError { at: within(error.at, self.text), ..error }));
            }
        }
        None
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

/// What an anchor names.
#[derive(Clone, Copy, Debug)]
enum Anchor {
    At(NodeId),
    /// A node whose end has not been met.
    Open,
    /// A node of an earlier document.
    Elsewhere,
}

#[derive(Debug, Default)]
struct Builder<'a> {
    nodes: Vec<Node<'a>>,
    open: Vec<Open<'a>>,
    /// By anchor id.
    anchors: Vec<Anchor>,
    root: Option<NodeId>,
    /// So many nodes may come out of aliases beyond those that are written.
    aliased: u64,
}

impl<'a> Builder<'a> {
    /// Reads a document; `None` when there is no more.
    fn build(mut self, parser: &mut Parser<'a, StrInput<'a>>) -> Result<Option<Tree<'a>>, SyntaxError> {
        while let Some(event) = parser.next_event() {
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
                Event::Alias(anchor) => self.alias(at, anchor)?,
                Event::DocumentEnd => {
                    return Ok(Some(Tree { nodes: self.nodes, root: self.root, rest: None }));
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
            }
        }
        Ok(None)
    }

    fn alias(&mut self, at: Mark, anchor: usize) -> Result<(), SyntaxError> {
        match self.anchors.get(anchor) {
            Some(Anchor::At(id)) if self.open.len() + self.nodes[id.0 as usize].height > MAX_DEPTH => Err(too_deep(at)),
            Some(Anchor::At(id)) => {
                self.attach(*id);
                Ok(())
            }
            Some(Anchor::Open) => {
                let help = "an alias cannot stand inside the node that it names";
                Err(SyntaxError::new(at, "anchor contains itself", help))
            }
            Some(Anchor::Elsewhere) | None => {
                let help = "an alias *name needs its anchor &name before it, in the same document";
                Err(SyntaxError::new(at, "unknown anchor", help))
            }
        }
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
        if open.size > self.nodes.len() as u64 + self.aliased {
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
                self.anchors.resize(anchor + 1, Anchor::Elsewhere);
            }
            self.anchors[anchor] = id.map_or(Anchor::Open, Anchor::At);
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

//! A limits file as text: a list of maps. limitador reads some files otherwise than they look (a missing `max_value`
//! is 0, an unknown field is ignored); such a file is refused here, because nobody means that.

use crate::core::spec::Origin;
use crate::rules::report::Severity;
use crate::rules::yaml::Problem;
use crate::rules::yaml::keys::suggest;
use crate::rules::yaml::scalar::Meaning;
use crate::rules::yaml::tree::{Kind, Mark, NodeId, Scalar, Tree};

/// The most limits of one file.
const MAX_LIMITS: usize = 10_000;

const FIELDS: [&str; 7] = ["namespace", "id", "name", "max_value", "seconds", "conditions", "variables"];

/// A text of the file, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) at: Origin,
}

/// A limit as it was written.
#[derive(Clone, Debug)]
pub(super) struct ForeignLimit {
    pub(super) at: Origin,
    pub(super) namespace: Text,
    pub(super) id: Option<Text>,
    pub(super) name: Option<Text>,
    pub(super) max_value: u64,
    pub(super) seconds: u64,
    pub(super) conditions: Vec<Text>,
    pub(super) variables: Vec<Text>,
}

/// The limits of a file, and what is wrong with it; of use only when nothing is.
pub(super) fn read(text: &str, file: u32) -> (Vec<ForeignLimit>, Vec<Problem>) {
    let mut problems = Vec::new();
    let limits = match Tree::parse(text) {
        Ok(tree) => {
            let mut reader = Reader { tree: &tree, file, problems: &mut problems };
            reader.limits()
        }
        Err(error) => {
            problems.push(Problem {
                severity: Severity::Error,
                origin: Origin { file, line: error.at.line, column: error.at.column },
                message: format!("the file is no YAML: {}", error.message),
                help: error.help.map(str::to_owned),
            });
            Vec::new()
        }
    };
    (limits, problems)
}

struct Reader<'t, 'a> {
    tree: &'t Tree<'a>,
    file: u32,
    problems: &'t mut Vec<Problem>,
}

impl<'t, 'a> Reader<'t, 'a> {
    fn limits(&mut self) -> Vec<ForeignLimit> {
        let start = Mark { line: 1, column: 1 };
        if let Some(rest) = self.tree.rest {
            self.error(rest, "a limits file is one document", "move what follows to a file of its own");
        }
        let Some(root) = self.tree.root else {
            self.error(start, "there are no limits in the file", "begin with '- namespace: <name>'");
            return Vec::new();
        };
        let Kind::List(items) = self.kind(root) else {
            self.error(self.at(root), "a limits file is a list of limits", "begin each with '- namespace: <name>'");
            return Vec::new();
        };
        if items.len() > MAX_LIMITS {
            self.error(self.at(root), format!("more than {MAX_LIMITS} limits"), "split the file by namespaces");
            return Vec::new();
        }
        items.iter().filter_map(|item| self.limit(*item)).collect()
    }

    fn limit(&mut self, item: NodeId) -> Option<ForeignLimit> {
        let at = self.at(item);
        let Kind::Map(entries) = self.kind(item) else {
            self.error(at, "a limit is a map", "begin it with 'namespace: <name>'");
            return None;
        };
        let mut values: [Option<NodeId>; FIELDS.len()] = [None; FIELDS.len()];
        let before = self.problems.len();
        for &(key, value) in entries {
            let key_at = self.at(key);
            let Kind::Scalar(Scalar { text, .. }) = self.kind(key) else {
                self.error(key_at, "a field's name is a plain word", format!("the fields are {}", FIELDS.join(", ")));
                continue;
            };
            match FIELDS.iter().position(|field| field == text) {
                Some(field) if values[field].is_some() => {
                    self.error(key_at, format!("'{text}' is written twice"), "leave one of them out");
                }
                Some(field) => values[field] = Some(value),
                None => {
                    let help = match suggest(text, FIELDS.into_iter()) {
                        Some(meant) => format!("did you mean '{meant}'? limitador ignores what it does not know"),
                        None => format!("the fields are {}; limitador ignores others", FIELDS.join(", ")),
                    };
                    self.error(key_at, format!("unknown field '{}'", shorten(text)), help);
                }
            }
        }
        let [namespace, id, name, max_value, seconds, conditions, variables] = values;
        let namespace = self.text("namespace", namespace, at);
        if namespace.is_none() && self.problems.len() == before {
            self.error(at, "namespace is missing", "write the domain that Envoy sends: 'namespace: <name>'");
        }
        let max_value = self.number("max_value", max_value, at, "limitador takes that for 0, which denies everything");
        let seconds = self.number("seconds", seconds, at, "write the length of the window");
        if seconds.is_some_and(|(seconds, _)| seconds == 0) {
            let at = seconds.map_or(at, |(_, at)| at);
            self.error(at, "seconds is 0, so nothing would ever be counted", "write at least 1");
        }
        let limit = ForeignLimit {
            at: self.origin(at),
            id: self.text("id", id, at),
            name: self.text("name", name, at),
            conditions: self.texts("conditions", conditions),
            variables: self.texts("variables", variables),
            namespace: namespace?,
            max_value: max_value?.0,
            seconds: seconds?.0,
        };
        (self.problems.len() == before).then_some(limit)
    }

    fn kind(&self, id: NodeId) -> &'t Kind<'a> {
        &self.tree.node(id).kind
    }

    fn at(&self, id: NodeId) -> Mark {
        self.tree.node(id).at
    }

    fn origin(&self, at: Mark) -> Origin {
        Origin { file: self.file, line: at.line, column: at.column }
    }

    fn error(&mut self, at: Mark, message: impl Into<String>, help: impl Into<String>) {
        let (origin, message, help) = (self.origin(at), message.into(), Some(help.into()));
        self.problems.push(Problem { severity: Severity::Error, origin, message, help });
    }

    /// A text, not empty.
    fn text(&mut self, field: &str, value: Option<NodeId>, limit: Mark) -> Option<Text> {
        let value = value?;
        match self.kind(value) {
            Kind::Scalar(Scalar { meaning: Meaning::Null, .. }) => None,
            Kind::Scalar(scalar) if scalar.text.is_empty() => {
                self.error(limit, format!("{field} is empty"), "write a name, or leave it out if it is optional");
                None
            }
            Kind::Scalar(scalar) => Some(Text { text: scalar.text.to_string(), at: self.origin(self.at(value)) }),
            Kind::List(_) | Kind::Map(_) => {
                self.error(self.at(value), format!("{field} is a text"), "write it behind the colon");
                None
            }
        }
    }

    /// A whole number in decimal notation, which every version of YAML reads alike.
    fn number(&mut self, field: &str, value: Option<NodeId>, limit: Mark, missing: &str) -> Option<(u64, Mark)> {
        let Some(value) = value else {
            self.error(limit, format!("{field} is missing"), missing);
            return None;
        };
        let at = self.at(value);
        if let Kind::Scalar(Scalar { text, meaning: Meaning::Int(_) }) = self.kind(value)
            && (&**text == "0" || !text.starts_with('0'))
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(number) = text.parse()
        {
            return Some((number, at));
        }
        self.error(at, format!("{field} is a whole number"), "write decimal digits, without quotation marks");
        None
    }

    /// A list of texts; nothing is an empty one.
    fn texts(&mut self, field: &str, value: Option<NodeId>) -> Vec<Text> {
        let Some(value) = value else { return Vec::new() };
        let items = match self.kind(value) {
            Kind::List(items) => items,
            Kind::Scalar(Scalar { meaning: Meaning::Null, .. }) => return Vec::new(),
            _ => {
                self.error(self.at(value), format!("{field} is a list"), "begin each expression with '- '");
                return Vec::new();
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for &item in items {
            match self.kind(item) {
                Kind::Scalar(scalar)
                    if !matches!(scalar.meaning, Meaning::Null | Meaning::Int(_) | Meaning::Bool(_)) =>
                {
                    texts.push(Text { text: scalar.text.to_string(), at: self.origin(self.at(item)) });
                }
                _ => self.error(self.at(item), format!("{field} holds texts"), "put the expression in quotation marks"),
            }
        }
        texts
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain("...".chars()).collect()
}

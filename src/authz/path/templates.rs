//! Templates of paths, in a tree by segment: `/users/{id}` and `/files/{*rest}`.
//!
//! Segment by segment, a literal goes before a variable, and a variable before `{*rest}`, so `/files/{id}` may stand
//! beside `/files/{*rest}`. Only templates that fit the very same paths are refused. A walk that leads nowhere is taken
//! back, and no part of the tree is walked twice, so that a path costs no more than the templates that begin like it.
//!
//! The tree is ours because routers give one match, the best: a list has to go on to the next where an entry has ended.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::{is_separator, normalise, read};

/// The longest template, in bytes.
const MAX_LENGTH: usize = 4096;
/// The most segments of a template. The tree is walked by recursion.
const MAX_SEGMENTS: usize = 64;

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template {index}: {reason}")]
pub struct TemplateError {
    /// Which one, from 0.
    pub index: usize,
    /// What is wrong with it, and what to write.
    pub reason: String,
}

/// Why one more template is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::authz) enum Refusal {
    /// It is no template; with the reason.
    Malformed(String),
    /// It fits the very same paths as the one of this index.
    Taken(usize),
}

/// Templates, ready to be found by paths. Those that differ only in the names of their variables are one.
#[derive(Debug, Default)]
pub struct Templates {
    templates: Vec<Template>,
    root: Node,
}

#[derive(Debug)]
struct Template {
    text: String,
    /// Names of its variables, in their order.
    variables: Vec<String>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<[u8]>, Self, RandomState>,
    variable: Option<Box<Self>>,
    /// The template that ends here.
    end: Option<usize>,
    /// The template whose `{*rest}` begins here.
    rest: Option<usize>,
}

enum Segment<'t> {
    Literal(Box<[u8]>),
    Variable(&'t str),
    Rest(&'t str),
}

/// The template that a path fits.
#[derive(Debug)]
pub struct Match<'t, 'p> {
    index: usize,
    template: &'t Template,
    values: Values<'p>,
}

type Values<'p> = SmallVec<[&'p [u8]; 4]>;

impl Templates {
    /// Reads templates. Each is a path of literal segments, `{name}` for exactly one segment, and perhaps `{*name}` at
    /// its end for all further ones, or none: `/files/{*rest}` fits `/files`, too. Literals are normalised as paths are;
    /// with `ignore_case`, paths must be normalised so as well.
    ///
    /// # Errors
    /// The first template that is malformed, or fits the very same paths as one before it.
    pub fn new(templates: &[String], ignore_case: bool) -> Result<Self, TemplateError> {
        let mut all = Self::default();
        for (index, template) in templates.iter().enumerate() {
            all.insert(template, ignore_case).map_err(|refusal| TemplateError {
                index,
                reason: match refusal {
                    Refusal::Malformed(reason) => reason,
                    Refusal::Taken(other) => format!(
                        "{template:?} fits the same paths as template {other}, {:?}; leave one of them out",
                        templates[other]
                    ),
                },
            })?;
        }
        Ok(all)
    }

    /// Takes one more template; returns its index.
    pub(in crate::authz) fn insert(&mut self, template: &str, ignore_case: bool) -> Result<usize, Refusal> {
        let segments = segments(template, ignore_case).map_err(Refusal::Malformed)?;
        let mut node = &mut self.root;
        let mut variables = Vec::new();
        let mut rest = false;
        for segment in segments {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text).or_default(),
                Segment::Variable(name) => {
                    variables.push(name.to_owned());
                    node = node.variable.get_or_insert_default();
                }
                Segment::Rest(name) => {
                    variables.push(name.to_owned());
                    rest = true;
                }
            }
        }
        let place = if rest { &mut node.rest } else { &mut node.end };
        if let Some(other) = *place {
            return Err(Refusal::Taken(other));
        }
        let index = self.templates.len();
        *place = Some(index);
        self.templates.push(Template { text: template.to_owned(), variables });
        Ok(index)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.templates.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// Whether a template has a variable of that name.
    #[must_use]
    pub fn has_variable(&self, name: &str) -> bool {
        self.templates.iter().any(|template| template.variables.iter().any(|variable| variable == name))
    }

    /// The template that a path fits, of several the most literal from its start. The path is normalised.
    #[must_use]
    pub fn find<'p>(&self, normalised: &'p [u8]) -> Option<Match<'_, 'p>> {
        self.find_where(normalised, |_| true)
    }

    /// As [`Self::find`], passing over templates that `accept` refuses by their index.
    #[must_use]
    pub fn find_where<'p>(&self, normalised: &'p [u8], accept: impl Fn(usize) -> bool) -> Option<Match<'_, 'p>> {
        let path = normalised.strip_prefix(b"/").unwrap_or(normalised);
        let mut values = Values::new();
        let index = self.root.find(path, &mut values, &accept)?;
        Some(Match { index, template: &self.templates[index], values })
    }
}

impl Node {
    /// `path` is what is left of it, without the slash before its next segment. `values` are those of the variables on
    /// the way; they are left as they were when nothing is found.
    fn find<'p>(&self, path: &'p [u8], values: &mut Values<'p>, accept: &impl Fn(usize) -> bool) -> Option<usize> {
        if path.is_empty() {
            if let Some(index) = self.end.filter(|index| accept(*index)) {
                return Some(index);
            }
        } else {
            let (segment, further) = match memchr::memchr(b'/', path) {
                Some(slash) => (&path[..slash], &path[slash + 1..]),
                None => (path, &path[path.len()..]),
            };
            if let Some(literal) = self.literals.get(segment)
                && let Some(index) = literal.find(further, values, accept)
            {
                return Some(index);
            }
            if let Some(variable) = &self.variable {
                values.push(segment);
                if let Some(index) = variable.find(further, values, accept) {
                    return Some(index);
                }
                values.pop();
            }
        }
        let index = self.rest.filter(|index| accept(*index))?;
        values.push(path);
        Some(index)
    }
}

impl<'t, 'p> Match<'t, 'p> {
    /// Which template, from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The template as it was written.
    #[must_use]
    pub fn template(&self) -> &'t str {
        &self.template.text
    }

    /// What stands for a variable: one segment, or for `{*name}` any number of them, without the slash before. It is
    /// normalised, so still percent-encoded where need be.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&'p [u8]> {
        let position = self.template.variables.iter().position(|variable| variable == name)?;
        self.values.get(position).copied()
    }
}

/// What a template is made of; otherwise the reason why it is none.
fn segments(template: &str, ignore_case: bool) -> Result<Vec<Segment<'_>>, String> {
    if template.len() > MAX_LENGTH {
        return Err(format!("a template has at most {MAX_LENGTH} bytes, this one {}", template.len()));
    }
    let Some(path) = template.strip_prefix('/') else {
        return Err(format!("{template:?} must start with '/'"));
    };
    if template.contains(['?', '#']) {
        return Err(format!("{template:?} must end before '?' or '#': a template is of the path only"));
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments: Vec<Segment<'_>> = Vec::new();
    if path.is_empty() {
        return Ok(segments);
    }
    for text in path.split('/') {
        if matches!(segments.last(), Some(Segment::Rest(_))) {
            return Err(format!("{template:?}: nothing may follow '{{*name}}'"));
        }
        let segment = segment(text, ignore_case).map_err(|reason| format!("{template:?}: {reason}"))?;
        if let Segment::Variable(name) | Segment::Rest(name) = segment
            && segments.iter().any(|before| matches!(before, Segment::Variable(other) if *other == name))
        {
            return Err(format!("{template:?} has two variables of the name '{name}'"));
        }
        segments.push(segment);
    }
    if segments.len() > MAX_SEGMENTS {
        return Err(format!("a template has at most {MAX_SEGMENTS} segments, {template:?} has {}", segments.len()));
    }
    Ok(segments)
}

fn segment(text: &str, ignore_case: bool) -> Result<Segment<'_>, String> {
    if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        let (name, rest) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
            return Err(format!("'{text}' needs a name of letters, digits, '_', '-' and '.', as in '{{id}}'"));
        }
        return Ok(if rest { Segment::Rest(name) } else { Segment::Variable(name) });
    }
    if text.contains(['{', '}']) {
        return Err(format!(
            "a variable is a whole segment, as in '/{{id}}/', and '{text}' is not; '%7B' is the text '{{'"
        ));
    }
    // As a path of its own, so that it is written as it stands in paths.
    let normal = normalise(text.as_bytes(), ignore_case);
    let literal = &normal[1..];
    if literal.is_empty() || has_separator(text.as_bytes()) {
        return Err(format!(
            "'{text}' is no segment of a path: empty ones, '.', '..' and other slashes than '/' are resolved in paths; \
             write the path that they lead to"
        ));
    }
    Ok(Segment::Literal(literal.into()))
}

fn has_separator(mut text: &[u8]) -> bool {
    while let Some((byte, length)) = read(text) {
        if is_separator(byte) {
            return true;
        }
        text = &text[length..];
    }
    false
}

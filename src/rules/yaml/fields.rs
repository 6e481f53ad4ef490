//! Reading maps and scalars: which keys are there, and is each value of the right kind?

use super::keys::{Key, Place, suggest, suggest_key};
use super::problem::Problems;
use super::scalar::Meaning;
use super::tree::{Kind, Mark, NodeId, Scalar, Tree};

const KEYS: usize = Key::ALL.len();

/// A key that was written, and its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) key_at: Mark,
    pub(super) value: NodeId,
    /// It came by `<<` and gives way to what is written.
    merged: bool,
}

/// The keys of a map, or of several that are read together.
#[derive(Debug)]
pub(super) struct Fields {
    slots: [Option<Field>; KEYS],
    /// Earlier values of `rate_limit` and `metadata`, in order: a second map adds to the first, as in yaml.v2.
    earlier: Vec<(Key, NodeId)>,
    /// A key could not be understood, so one that seems to be missing may just be misspelled.
    pub(super) flawed: bool,
}

impl Fields {
    const fn new() -> Self {
        Self { slots: [None; KEYS], earlier: Vec::new(), flawed: false }
    }

    pub(super) const fn get(&self, key: Key) -> Option<Field> {
        self.slots[key as usize]
    }

    /// Every value of a key, the last one last.
    pub(super) fn all(&self, key: Key) -> Vec<NodeId> {
        let earlier = self.earlier.iter().filter(|(earlier, _)| *earlier == key).map(|(_, value)| *value);
        earlier.chain(self.get(key).map(|field| field.value)).collect()
    }
}

/// One document being read.
pub(super) struct Reader<'t, 'a> {
    pub(super) tree: &'t Tree<'a>,
    pub(super) problems: Problems,
}

impl<'t, 'a> Reader<'t, 'a> {
    pub(super) fn at(&self, id: NodeId) -> Mark {
        self.tree.node(id).at
    }

    pub(super) fn kind(&self, id: NodeId) -> &'t Kind<'a> {
        &self.tree.node(id).kind
    }

    pub(super) fn is_null(&self, id: NodeId) -> bool {
        matches!(self.kind(id), Kind::Scalar(Scalar { meaning: Meaning::Null, .. }))
    }

    /// Whether a field is there, but says nothing.
    pub(super) fn is_blank(&self, field: Field) -> bool {
        match self.kind(field.value) {
            Kind::Scalar(scalar) => scalar.meaning == Meaning::Null || scalar.text.is_empty(),
            Kind::List(_) | Kind::Map(_) => false,
        }
    }

    /// Whether a node is `""`.
    fn is_quoted_nothing(&self, id: NodeId) -> bool {
        matches!(self.kind(id), Kind::Scalar(Scalar { text, meaning: Meaning::Text }) if text.is_empty())
    }

    /// Whether a key is missing: not there, though every key was understood, or without a value.
    pub(super) fn is_missing(&self, fields: &Fields, key: Key) -> bool {
        fields.get(key).map_or(!fields.flawed, |field| self.is_blank(field))
    }

    /// A short description of a node, for messages.
    pub(super) fn describe(&self, id: NodeId) -> String {
        match self.kind(id) {
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
            Kind::Scalar(scalar) => {
                let text = shorten(&scalar.text);
                match scalar.meaning {
                    Meaning::Null => "nothing".to_owned(),
                    Meaning::Bool(_) => format!("the boolean {text}"),
                    Meaning::Int(_) => format!("the number {text}"),
                    Meaning::Float(_) => format!("the floating-point number {text}"),
                    Meaning::Text | Meaning::Merge => format!("the text \"{text}\""),
                }
            }
        }
    }

    /// The keys of several maps that are read as one, later ones first in rank. Nodes that are no maps are reported.
    pub(super) fn fields(&mut self, maps: &[NodeId], place: Place) -> Fields {
        let mut fields = Fields::new();
        for (index, &map) in maps.iter().enumerate() {
            // That the last one overrules the others was said where they were found, if it needed saying.
            let overruled = index + 1 < maps.len();
            match self.kind(map) {
                Kind::Map(entries) => self.collect(entries, place, overruled, &mut fields),
                _ => {
                    fields.flawed = true;
                    let message = format!("{place} must be a map, not {}", self.describe(map));
                    self.problems.error(self.at(map), message, "write 'key: value' lines, indented below it");
                }
            }
        }
        fields
    }

    fn collect(&mut self, entries: &'t [(NodeId, NodeId)], place: Place, merged: bool, fields: &mut Fields) {
        for &(key_id, value) in entries {
            let Some(scalar) = self.key_scalar(key_id) else {
                fields.flawed = true;
                continue;
            };
            if scalar.meaning == Meaning::Merge {
                self.merge(value, |reader, entries| reader.collect(entries, place, true, fields));
                continue;
            }
            let key_at = self.at(key_id);
            let Some(key) = Key::from_name(&scalar.text) else {
                self.unknown_key(key_at, &scalar.text, Some(place));
                fields.flawed = true;
                continue;
            };
            if !key.places().contains(&place) {
                if key.is_reference() {
                    self.problems.warning(key_at, format!("'{key}' has no effect {}", place.within()), key.advice());
                    self.check_ignored(key, value);
                } else {
                    self.problems.error(key_at, format!("key '{key}' cannot stand {}", place.within()), key.advice());
                }
                continue;
            }
            self.put(fields, key, Field { key_at, value, merged });
        }
    }

    fn put(&mut self, fields: &mut Fields, key: Key, field: Field) {
        let slot = &mut fields.slots[key as usize];
        if let Some(before) = slot.replace(field) {
            let first = before.key_at.line;
            match (before.merged, field.merged) {
                (false, false) => self.problems.warning(
                    field.key_at,
                    format!("'{key}' is written twice; the last one counts"),
                    format!("it stands in line {first} already; leave one of them out"),
                ),
                (false, true) => self.problems.warning(
                    before.key_at,
                    format!("'{key}' is overruled by the '<<' below it"),
                    "write '<<' first in its map, so that what follows it counts",
                ),
                (true, _) => {}
            }
            if !before.merged {
                self.check_kind(key, before);
            }
            if matches!(key, Key::RateLimit | Key::Metadata) {
                // A second map adds to the first; nothing takes it away.
                if self.is_null(field.value) {
                    fields.earlier.retain(|(earlier, _)| *earlier != key);
                } else if !self.is_null(before.value) {
                    fields.earlier.push((key, before.value));
                }
            }
        }
    }

    /// The text of a key; anything else than text is reported.
    pub(super) fn key_scalar(&mut self, id: NodeId) -> Option<&'t Scalar<'a>> {
        let at = self.at(id);
        match self.kind(id) {
            Kind::Scalar(scalar) if matches!(scalar.meaning, Meaning::Text | Meaning::Merge) => Some(scalar),
            Kind::Scalar(scalar) => {
                let text = shorten(&scalar.text);
                let help = format!("quote it, \"{text}\", if it is meant to be a text");
                self.problems.error(at, format!("key is not of type string: {text}"), help);
                None
            }
            Kind::List(_) | Kind::Map(_) => {
                let message = format!("key is not of type string: {}", self.describe(id));
                self.problems.error(at, message, "write a plain word before the colon");
                None
            }
        }
    }

    /// Hands the entries of a `<<` to `then`: of one map, or of a list of maps, in which earlier ones win.
    pub(super) fn merge(&mut self, value: NodeId, mut then: impl FnMut(&mut Self, &'t [(NodeId, NodeId)])) {
        let maps = match self.kind(value) {
            Kind::List(items) => items.iter().rev().copied().collect(),
            _ => vec![value],
        };
        for map in maps {
            match self.kind(map) {
                Kind::Map(entries) => then(self, entries),
                _ => {
                    let message = format!("'<<' takes a map or a list of maps, not {}", self.describe(map));
                    self.problems.error(self.at(map), message, "write '<<: *name', with '&name' before a map");
                }
            }
        }
    }

    fn unknown_key(&mut self, at: Mark, written: &str, place: Option<Place>) {
        let help = suggest_key(written, place);
        self.problems.error(at, format!("unknown key '{}'", shorten(written)), help);
    }

    /// Reports a value that does not count, because its key is written again, when it is of the wrong kind:
    /// envoyproxy/ratelimit refuses it all the same.
    fn check_kind(&mut self, key: Key, field: Field) {
        let field = Some(field);
        match key {
            Key::Domain | Key::Entry | Key::Value | Key::Unit | Key::Name => {
                self.text(key, field);
            }
            Key::RequestsPerUnit => {
                // It has been reported, and nothing else is to be done.
                let _ = self.integer(key, field, u64::from(u32::MAX));
            }
            Key::ShadowMode
            | Key::QuotaMode
            | Key::DetailedMetric
            | Key::ValueToMetric
            | Key::ShareThreshold
            | Key::Unlimited => {
                self.boolean(key, field);
            }
            Key::Descriptors | Key::Replaces => {
                self.maps(key, field);
            }
            // Joined with the later one and read as a whole, or our own.
            _ => {}
        }
    }

    /// What envoyproxy/ratelimit checks even where it ignores the value: the spelling of keys, and that lists hold
    /// maps.
    fn check_ignored(&mut self, key: Key, value: NodeId) {
        if key == Key::Metadata {
            return;
        }
        match self.kind(value) {
            Kind::Scalar(_) => {
                self.refuse_float(key, value, "leave it out");
            }
            Kind::Map(entries) => {
                for &(key_id, value) in entries {
                    let Some(scalar) = self.key_scalar(key_id) else { continue };
                    match Key::from_name(&scalar.text) {
                        Some(key) => self.check_ignored(key, value),
                        None if scalar.meaning == Meaning::Merge => {}
                        None => self.unknown_key(self.at(key_id), &scalar.text, None),
                    }
                }
            }
            Kind::List(items) => {
                for &item in items {
                    if self.is_map(item) {
                        self.check_ignored(key, item);
                    }
                }
            }
        }
    }

    /// Whether an item of a list is a map; reported when not.
    fn is_map(&mut self, item: NodeId) -> bool {
        match self.kind(item) {
            Kind::Map(_) => true,
            kind => {
                let what = match kind {
                    Kind::Scalar(scalar) if scalar.meaning != Meaning::Null => shorten(&scalar.text),
                    _ => self.describe(item),
                };
                self.problems.error(
                    self.at(item),
                    format!("yaml file contains list of type other than map: {what}"),
                    "begin each item with '- key: value'",
                );
                false
            }
        }
    }

    /// The items of a list of maps. Anything else is reported and left out.
    pub(super) fn maps(&mut self, key: Key, field: Option<Field>) -> Vec<NodeId> {
        let Some(field) = field else { return Vec::new() };
        match self.kind(field.value) {
            Kind::List(items) => items.iter().copied().filter(|item| self.is_map(*item)).collect(),
            _ if self.is_null(field.value) => Vec::new(),
            _ => {
                let message = format!("{key} must be a list, not {}", self.describe(field.value));
                self.problems.error(self.at(field.value), message, "begin each item with '- '");
                Vec::new()
            }
        }
    }

    /// Reports a float, which envoyproxy/ratelimit refuses outside metadata. A whole number too large for an i64 is
    /// no number to it, either.
    fn refuse_float(&mut self, key: Key, value: NodeId, help: &str) -> bool {
        let Kind::Scalar(scalar) = self.kind(value) else { return false };
        let too_large = matches!(scalar.meaning, Meaning::Int(int) if int > i128::from(i64::MAX));
        if too_large || matches!(scalar.meaning, Meaning::Float(_)) {
            let message = format!("error checking config: {key} is {}", self.describe(value));
            self.problems.error(self.at(value), message, help);
            return true;
        }
        false
    }

    /// Reports a value of the wrong kind.
    fn wrong_kind(&mut self, key: Key, value: NodeId, expected: &str, help: &str) {
        let message = format!("{key} must be {expected}, not {}", self.describe(value));
        self.problems.error(self.at(value), message, help);
    }

    /// A text; numbers, booleans and dates are taken as they were written. Nothing is `None`, and so is `""`.
    pub(super) fn text(&mut self, key: Key, field: Option<Field>) -> Option<&'t str> {
        let field = field?;
        if self.refuse_float(key, field.value, "put it in quotation marks if it is meant to be a text") {
            return None;
        }
        match self.kind(field.value) {
            Kind::Scalar(scalar) => {
                (scalar.meaning != Meaning::Null && !scalar.text.is_empty()).then_some(&*scalar.text)
            }
            Kind::List(_) | Kind::Map(_) => {
                self.wrong_kind(key, field.value, "a text", "write the text behind the colon");
                None
            }
        }
    }

    /// A boolean, unquoted.
    pub(super) fn boolean(&mut self, key: Key, field: Option<Field>) -> Option<bool> {
        let field = field?;
        if self.refuse_float(key, field.value, "write true or false") {
            return None;
        }
        match self.kind(field.value) {
            Kind::Scalar(Scalar { meaning: Meaning::Bool(value), .. }) => Some(*value),
            Kind::Scalar(Scalar { meaning: Meaning::Null, .. }) => None,
            _ => {
                self.wrong_kind(key, field.value, "true or false", "write true or false, without quotation marks");
                None
            }
        }
    }

    /// A whole number from 0 to `max`, unquoted. `Err` when it was reported, `Ok(None)` when there is none.
    pub(super) fn integer(&mut self, key: Key, field: Option<Field>, max: u64) -> Result<Option<u64>, ()> {
        let Some(field) = field else { return Ok(None) };
        if self.refuse_float(key, field.value, &format!("write a whole number up to {max}")) {
            return Err(());
        }
        match self.kind(field.value) {
            Kind::Scalar(Scalar { meaning: Meaning::Int(int), .. }) => match u64::try_from(*int) {
                Ok(value) if value <= max => Ok(Some(value)),
                _ => {
                    let message = format!("{key} must be a whole number from 0 to {max}, not {int}");
                    self.problems.error(self.at(field.value), message, None);
                    Err(())
                }
            },
            Kind::Scalar(Scalar { meaning: Meaning::Null, .. }) => Ok(None),
            _ => {
                self.wrong_kind(key, field.value, "a whole number", "write the digits, without quotation marks");
                Err(())
            }
        }
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&mut self, key: Key, field: Option<Field>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key, field)?;
        let at = self.at(field?.value);
        self.one_of(&key.name().replace('_', " "), text, at, choices)
    }

    /// The choice of that name; another name is reported as an unknown `what`.
    pub(super) fn one_of<T: Copy>(&mut self, what: &str, text: &str, at: Mark, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names = || choices.iter().map(|(name, _)| *name);
            let help = match suggest(text, names()) {
                Some(meant) => format!("did you mean '{meant}'?"),
                None => format!("write one of {}", names().collect::<Vec<_>>().join(", ")),
            };
            self.problems.error(at, format!("unknown {what} '{}'", shorten(text)), help);
        }
        found
    }

    /// A list of texts, of which one in quotation marks may be empty. `None` when there is none.
    pub(super) fn texts(&mut self, key: Key, field: Option<Field>) -> Option<Vec<(&'t str, Mark)>> {
        let field = field?;
        match self.kind(field.value) {
            _ if self.is_null(field.value) => None,
            Kind::List(items) => Some(
                items
                    .iter()
                    .filter_map(|&item| {
                        let text = self.text(key, Some(Field { value: item, ..field }));
                        let text = text.or_else(|| self.is_quoted_nothing(item).then_some(""))?;
                        Some((text, self.at(item)))
                    })
                    .collect(),
            ),
            _ => {
                self.wrong_kind(key, field.value, "a list", "write the items in brackets, [a, b]");
                None
            }
        }
    }
}

/// A text for a message: not endless.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

//! A body of the operator's own: text with places for what a denial tells.

use std::fmt::Write as _;

use super::answer::Grounds;
use crate::server::headers::{LimitName, retry_after};

/// The longest text of a template, bytes.
const MAX_TEXT: usize = 64 * 1024;

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Too long.
    #[error("is {0} bytes long, at most {MAX_TEXT} are allowed")]
    TooLong(usize),
    /// A name that means nothing.
    #[error(
        "{{{0}}} is no placeholder; there are {{rule}}, {{domain}}, {{limit}}, {{window}}, {{remaining}}, \
         {{retry_after}} and {{status}}"
    )]
    Unknown(String),
}

/// What stands in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Rule,
    Domain,
    Limit,
    Window,
    Remaining,
    RetryAfter,
    Status,
}

impl Place {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rule" => Self::Rule,
            "domain" => Self::Domain,
            "limit" => Self::Limit,
            "window" => Self::Window,
            "remaining" => Self::Remaining,
            "retry_after" => Self::RetryAfter,
            "status" => Self::Status,
            _ => return None,
        })
    }
}

/// How values are written so that they stay values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    Json,
    Markup,
    None,
}

impl Escape {
    /// As a media type asks for it.
    fn of(media_type: &str) -> Self {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.rsplit_once(['/', '+']) {
            Some((_, "json")) => Self::Json,
            Some((_, "html" | "xml")) => Self::Markup,
            _ => Self::None,
        }
    }

    fn write(self, out: &mut String, value: &str) {
        match self {
            Self::None => out.push_str(value),
            Self::Json => {
                // A text has quotes around it, which the template brings itself.
                let quoted = serde_json::Value::from(value).to_string();
                out.push_str(quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default());
            }
            Self::Markup => {
                for character in value.chars() {
                    match character {
                        '&' => out.push_str("&amp;"),
                        '<' => out.push_str("&lt;"),
                        '>' => out.push_str("&gt;"),
                        '"' => out.push_str("&quot;"),
                        '\'' => out.push_str("&#39;"),
                        other => out.push(other),
                    }
                }
            }
        }
    }

    /// What stands for a number that there is none of.
    const fn no_number(self) -> &'static str {
        match self {
            Self::Json => "null",
            Self::Markup | Self::None => "",
        }
    }
}

/// The template, compiled.
#[derive(Clone, Debug)]
pub struct Template {
    /// Text, and the place after it; the last has none.
    parts: Vec<(Box<str>, Option<Place>)>,
    escape: Escape,
    media_type: Box<str>,
}

impl Template {
    /// Compiles `text`. A placeholder is a name in braces, letters and underscores; other braces are text.
    ///
    /// # Errors
    /// [`TemplateError`] when it is too long, or a placeholder unknown.
    pub fn new(text: &str, media_type: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEXT {
            return Err(TemplateError::TooLong(text.len()));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            literal.push_str(before);
            let name = after.split(|character: char| !(character.is_ascii_alphabetic() || character == '_')).next();
            match name.and_then(|name| Some((name, after.strip_prefix(name)?.strip_prefix('}')?))) {
                Some((name, after)) if !name.is_empty() => {
                    let place = Place::named(name).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
                    parts.push((std::mem::take(&mut literal).into(), Some(place)));
                    rest = after;
                }
                _ => {
                    literal.push('{');
                    rest = after;
                }
            }
        }
        literal.push_str(rest);
        parts.push((literal.into(), None));
        Ok(Self { parts, escape: Escape::of(media_type), media_type: media_type.into() })
    }

    /// The media type of what it makes.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The text of a denial with `status`. A list that turns away tells the status only: texts are empty, and numbers
    /// are nothing, or `null` in JSON.
    #[must_use]
    pub fn fill(&self, grounds: &Grounds<'_, '_>, status: u16) -> String {
        let decision = match grounds {
            Grounds::Decided { decision, .. } => Some(*decision),
            _ => None,
        };
        let deciding = decision.and_then(|decision| decision.deciding());
        let mut out = String::new();
        for (literal, place) in &self.parts {
            out.push_str(literal);
            let Some(place) = place else { continue };
            let number = match place {
                Place::Rule => {
                    let name = deciding.map(|(status, applied)| LimitName::of(status, applied).to_string());
                    self.escape.write(&mut out, &name.unwrap_or_default());
                    continue;
                }
                Place::Domain => {
                    let domain = decision.and_then(|decision| decision.domain);
                    self.escape.write(&mut out, domain.map_or("", |domain| &domain.name));
                    continue;
                }
                Place::Window => {
                    let window = deciding.map(|(_, applied)| applied.limit.window().to_string());
                    self.escape.write(&mut out, &window.unwrap_or_default());
                    continue;
                }
                Place::Limit => deciding.map(|(_, applied)| applied.limit.amount()),
                Place::Remaining => deciding.map(|(status, _)| status.remaining),
                Place::RetryAfter => decision.and_then(retry_after),
                Place::Status => Some(status.into()),
            };
            match number {
                // Writing to a String cannot fail.
                Some(number) => drop(write!(out, "{number}")),
                None => out.push_str(self.escape.no_number()),
            }
        }
        out
    }
}

//! Lists: the records in their order, leaving out at one leap what a filter rules out.

use std::ops::Bound;

use super::read::{Stamps, View};
use super::tables::{SubjectKey, key, kind_number, subject};
use crate::rules::repository::record::Kind;
use crate::rules::repository::{Content, Filter, MAX_PAGE, Page, Record, RepositoryError, Subject};

/// A page of the records that exist.
pub(super) fn list(view: &View, filter: &Filter, page: &Page<Subject>) -> Result<Vec<Record>, RepositoryError> {
    let size = page.size.clamp(1, MAX_PAGE);
    let mut found = Vec::new();
    let mut stamps = Stamps::default();
    let mut after = page.after.as_ref().map(|after| owned(key(after)));
    let mut from = Some((String::new(), 0, String::new()));
    while let Some(start) = from.take() {
        let start = match &after {
            Some(after) if *after >= start => Bound::Excluded(borrowed(after)),
            _ => Bound::Included(borrowed(&start)),
        };
        for there in view.records.range((start, Bound::Unbounded))? {
            let (key, value) = there?;
            match place(filter, key.value()) {
                Place::Within => {}
                Place::Leap(next) => {
                    from = Some(next);
                    break;
                }
                Place::End => return Ok(found),
            }
            let (.., Some(text)) = value.value() else { continue };
            // A tag stands in the text as it is written here.
            if filter.tag.as_ref().is_some_and(|tag| !text.contains(&serde_json::Value::from(&**tag).to_string())) {
                continue;
            }
            let record = view.record(subject(key.value())?, value.value(), &mut stamps)?;
            if says(filter, &record) {
                found.push(record);
                if found.len() == size {
                    return Ok(found);
                }
            }
        }
        after = None;
    }
    Ok(found)
}

type OwnedKey = (String, u8, String);

fn owned((domain, kind, path): SubjectKey<'_>) -> OwnedKey {
    (domain.to_owned(), kind, path.to_owned())
}

fn borrowed((domain, kind, path): &OwnedKey) -> SubjectKey<'_> {
    (domain, *kind, path)
}

/// Where a key stands to what a filter asks for.
enum Place {
    /// Asked for, by its key.
    Within,
    /// Nothing before this one is asked for.
    Leap(OwnedKey),
    /// Nor is anything from here on.
    End,
}

fn place(filter: &Filter, (domain, kind, path): SubjectKey<'_>) -> Place {
    let prefix = filter.path_prefix.as_deref().unwrap_or("");
    let first = filter.kind.map_or(0, kind_number);
    let last = filter.kind.map_or(kind_number(Kind::Override), kind_number);
    let leap = |domain: String, kind| Place::Leap((domain, kind, prefix.to_owned()));
    // The least text behind another is that one with a NUL.
    let next_domain = || match filter.domain {
        Some(_) => Place::End,
        None => leap(format!("{domain}\0"), first),
    };
    match &filter.domain {
        Some(only) if domain < only.as_str() => leap(only.clone(), first),
        Some(only) if domain > only.as_str() => Place::End,
        _ if kind < first => leap(domain.to_owned(), first),
        _ if kind > last => next_domain(),
        _ if path.starts_with(prefix) => Place::Within,
        _ if path < prefix => leap(domain.to_owned(), kind),
        _ if kind < last => leap(domain.to_owned(), kind + 1),
        _ => next_domain(),
    }
}

/// Whether a record's content is asked for. Only a rule that can be read has tags, and is enabled or not.
fn says(filter: &Filter, record: &Record) -> bool {
    if filter.tag.is_none() && filter.enabled.is_none() {
        return true;
    }
    let Some(Ok(Content::Rule(rule))) = &record.content else { return false };
    filter.tag.as_ref().is_none_or(|tag| rule.tags.contains(tag))
        && filter.enabled.is_none_or(|enabled| rule.disabled != enabled)
}

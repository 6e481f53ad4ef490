//! A record as a line of JSON: an array of its kind, domain, path, revision, whether it is deleted, when and by whom it
//! was made and changed last, and its content.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::rules::form::{self, DomainForm, OverrideForm, RuleForm};
use crate::rules::repository::record::{Content, Record, Revision, Stamp, Subject, Unreadable};

#[derive(Serialize)]
struct Written<'a>(
    &'static str,
    &'a str,
    Option<&'a str>,
    Revision,
    bool,
    Timestamp,
    &'a str,
    Timestamp,
    &'a str,
    Option<Said<'a>>,
);

#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    Domain(DomainForm),
    Rule(RuleForm),
    Override(OverrideForm),
    /// What nobody could read is passed on as it was found.
    Unreadable(&'a Value),
}

#[derive(Deserialize)]
struct Line<'a>(
    Named,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Option<Cow<'a, str>>,
    Revision,
    bool,
    Timestamp,
    #[serde(borrow)] Cow<'a, str>,
    Timestamp,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] &'a RawValue,
);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Named {
    Domain,
    Rule,
    Override,
}

/// Writes a record and an end of line.
pub(super) fn write(text: &mut Vec<u8>, record: &Record) -> Result<(), String> {
    let Record { subject, revision, content, created, updated } = record;
    let said = content.as_ref().map(|content| match content {
        Ok(Content::Domain(settings)) => Said::Domain(settings.into()),
        Ok(Content::Rule(rule)) => Said::Rule(rule.into()),
        Ok(Content::Override(over)) => Said::Override(over.into()),
        Err(Unreadable(_, found)) => Said::Unreadable(found),
    });
    let line = Written(
        subject.kind().name(),
        subject.domain(),
        subject.path().map(|path| path.as_str()),
        *revision,
        content.is_none(),
        created.at,
        &created.by,
        updated.at,
        &updated.by,
        said,
    );
    serde_json::to_writer(&mut *text, &line).map_err(|error| format!("{subject}: {error}"))?;
    text.push(b'\n');
    Ok(())
}

/// Reads a record.
pub(super) fn read(line: &str) -> Result<Record, String> {
    let Line(kind, domain, path, revision, deleted, created_at, created_by, updated_at, updated_by, said) =
        serde_json::from_str(line).map_err(|error| error.to_string())?;
    let domain = Box::from(domain);
    let path = path.map(|path| path.parse().map_err(|error| format!("'{path}': {error}"))).transpose()?;
    let subject = match (kind, path) {
        (Named::Domain, None) => Subject::Domain(domain),
        (Named::Rule, Some(path)) => Subject::Rule(domain, path),
        (Named::Override, Some(path)) => Subject::Override(domain, path),
        (Named::Domain, Some(path)) => return Err(format!("domain {domain} has a path, {path}")),
        (Named::Rule | Named::Override, None) => return Err(format!("domain {domain} has a rule without a path")),
    };
    let content = (!deleted).then(|| form::read_content_text(&subject, said.get()));
    let created = Stamp { at: created_at, by: created_by.into() };
    let updated = Stamp { at: updated_at, by: updated_by.into() };
    Ok(Record { subject, revision, content, created, updated })
}

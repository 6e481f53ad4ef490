//! How records and their versions are shown.

use axum::Json;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, ETAG};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::change::Made;
use super::preconditions::etag;
use crate::rules::form::write_content;
use crate::rules::repository::record::{Record, Subject, Version};

/// `kind`, `domain`, `path` and `descriptor`.
fn subject(subject: &Subject) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("kind".to_owned(), subject.kind().name().into());
    members.insert("domain".to_owned(), subject.domain().into());
    if let Some(path) = subject.path() {
        let entries = path.entries().iter().map(|entry| match &entry.value {
            Some(value) => json!({ "key": entry.key, "value": value }),
            None => json!({ "key": entry.key }),
        });
        members.insert("path".to_owned(), path.as_str().into());
        members.insert("descriptor".to_owned(), entries.collect());
    }
    members
}

/// A record: what it is of, the fields of its form, its revision, and who made it.
#[must_use]
pub fn document(record: &Record) -> Map<String, Value> {
    let mut members = subject(&record.subject);
    match &record.content {
        None => {
            members.insert("deleted".to_owned(), true.into());
        }
        Some(Err(unreadable)) => {
            members.insert("unreadable".to_owned(), unreadable.to_string().into());
        }
        Some(Ok(content)) => {
            if let Value::Object(fields) = write_content(content) {
                members.extend(fields);
            }
        }
    }
    members.insert("revision".to_owned(), record.revision.0.into());
    members.insert("created_at".to_owned(), record.created.at.to_string().into());
    members.insert("created_by".to_owned(), (*record.created.by).into());
    members.insert("updated_at".to_owned(), record.updated.at.to_string().into());
    members.insert("updated_by".to_owned(), (*record.updated.by).into());
    members
}

/// A version: what it is of, who wrote it, when and why, and what was there before and after.
#[must_use]
pub fn version(version: &Version) -> Map<String, Value> {
    let mut members = subject(&version.subject);
    members.insert("revision".to_owned(), version.revision.0.into());
    members.insert("at".to_owned(), version.stamp.at.to_string().into());
    members.insert("by".to_owned(), (*version.stamp.by).into());
    members.insert("reason".to_owned(), version.reason.as_deref().into());
    members.insert("before".to_owned(), version.before.clone().into());
    members.insert("after".to_owned(), version.after.clone().into());
    members
}

/// The answer that shows a record.
pub fn shown(record: &Record) -> Response {
    tagged(record, Json(document(record)).into_response())
}

/// The answer to a change: the record, and whether it is in force here already.
pub fn written(made: &Made, notes: &[String]) -> Response {
    let mut members = document(&made.record);
    members.insert("in_force".to_owned(), made.in_force.into());
    if !notes.is_empty() {
        members.insert("notes".to_owned(), notes.into());
    }
    let status = if made.created { StatusCode::CREATED } else { StatusCode::OK };
    tagged(&made.record, (status, Json(members)).into_response())
}

fn tagged(record: &Record, mut response: Response) -> Response {
    if record.content.is_some() {
        response.headers_mut().insert(ETAG, etag(record.revision));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

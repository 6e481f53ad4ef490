//! What each kind of route may answer besides what it is for.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

use super::super::problem::{Kind, Problem};

const READING: [Kind; 8] = [
    Kind::Malformed,
    Kind::Unauthorized,
    Kind::Forbidden,
    Kind::Timeout,
    Kind::Conflict,
    Kind::TooManyRequests,
    Kind::Internal,
    Kind::Unavailable,
];

fn and(more: &[Kind]) -> BTreeMap<String, RefOr<Response>> {
    Problem::documented(&[&READING, more].concat())
}

/// Of a decision.
pub struct Deciding;
/// Of lists.
pub struct Reading;
/// Of one record.
pub struct ReadingOne;
/// Of a change with a body.
pub struct Writing;
/// Of a deletion.
pub struct Deleting;

impl IntoResponses for Deciding {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        Problem::documented(&[
            Kind::Malformed,
            Kind::Unauthorized,
            Kind::Forbidden,
            Kind::Timeout,
            Kind::TooLarge,
            Kind::UnsupportedMediaType,
            Kind::Invalid,
            Kind::Unavailable,
        ])
    }
}

impl IntoResponses for Reading {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        and(&[])
    }
}

impl IntoResponses for ReadingOne {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        and(&[Kind::NotFound])
    }
}

impl IntoResponses for Writing {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        and(&[Kind::PreconditionFailed, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid])
    }
}

impl IntoResponses for Deleting {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        and(&[Kind::NotFound, Kind::PreconditionFailed, Kind::TooLarge, Kind::Invalid])
    }
}

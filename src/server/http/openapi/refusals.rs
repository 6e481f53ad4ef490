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

/// They are kept wherever rules come from.
const SEEING: [Kind; 7] = [
    Kind::Malformed,
    Kind::Unauthorized,
    Kind::Forbidden,
    Kind::Timeout,
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
/// Of anomalies.
pub struct Seeing;
/// Of one anomaly.
pub struct SeeingOne;
/// Of what a person says of an anomaly.
pub struct Reviewing;

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

impl IntoResponses for Seeing {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        Problem::documented(&SEEING)
    }
}

impl IntoResponses for SeeingOne {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        Problem::documented(&[&SEEING[..], &[Kind::NotFound]].concat())
    }
}

impl IntoResponses for Reviewing {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let more = [Kind::NotFound, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid];
        Problem::documented(&[&SEEING[..], &more].concat())
    }
}

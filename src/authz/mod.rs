//! What a request that Envoy describes is to the limiter: its client, its path, the descriptors that are made of it,
//! and whether a list speaks of it. Pure: no protocol, no I/O.
//!
//! [`policy::Policy`] is the `ext_authz` section, compiled; it reads [`attributes::Attributes`], which borrow from the
//! message that Envoy sent.

pub mod address;
pub mod attributes;
pub mod certificate;
pub mod encoded;
pub mod lists;
pub mod metadata;
pub mod path;
pub mod policy;
pub mod text;

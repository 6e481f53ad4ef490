//! The messages and stubs of `tidegate.admin.v1`, generated from `proto/`.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

tonic::include_proto!("tidegate.admin.v1");

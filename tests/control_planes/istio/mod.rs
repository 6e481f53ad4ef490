//! A mesh of one Envoy: istiod reads our files from the API server, and the Envoy limits what they say.

mod gateway;
mod mesh;
mod sidecar;
mod waypoint;

//! Reflection, so that `grpcurl` and the like know what is served without any file.

use tonic_reflection::server::{Builder, v1, v1alpha};

/// Descriptors of Envoy's rate limit, external authorization and access-log services, and our own administration.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reflection_descriptor.bin"));

/// Why reflection cannot be served: descriptors that are none.
pub type Error = tonic_reflection::server::Error;

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// `grpc.reflection.v1`.
///
/// # Errors
/// Never, in a binary that passed its tests.
pub fn v1() -> Result<v1::ServerReflectionServer<impl v1::ServerReflection>, Error> {
    builder().build_v1()
}

/// `grpc.reflection.v1alpha`, for older tools.
///
/// # Errors
/// Never, in a binary that passed its tests.
pub fn v1alpha() -> Result<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>, Error> {
    builder().build_v1alpha()
}

//! Compiles our own protocol with a compiler in pure Rust, so that no system `protoc` is needed.

use std::path::PathBuf;

/// Our own protocol, compiled to code.
const ADMIN: &str = "tidegate/admin/v1/admin.proto";
/// Envoy's, for reflection only.
const ENVOY: [&str; 3] = [
    "envoy/service/accesslog/v3/als.proto",
    "envoy/service/auth/v3/external_auth.proto",
    "envoy/service/ratelimit/v3/rls.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let all = protox::Compiler::new(["proto"])?
        .include_imports(true)
        .include_source_info(false)
        .open_files([ADMIN].into_iter().chain(ENVOY))?
        .encode_file_descriptor_set();
    std::fs::write(out.join("reflection_descriptor.bin"), all)?;
    tonic_prost_build::configure().compile_fds(protox::compile([ADMIN], ["proto"])?)?;
    Ok(())
}

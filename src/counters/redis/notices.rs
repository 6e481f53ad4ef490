//! temp
use bytes::Bytes;
/// temp
pub fn channel(prefix: &str) -> String {
    format!("{prefix}:forget")
}
/// temp
pub fn encode(space: u128, values: &[&[u8]]) -> Bytes {
    let _ = values;
    Bytes::copy_from_slice(&space.to_le_bytes())
}

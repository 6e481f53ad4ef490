//! temp
/// temp
#[derive(Debug)]
pub struct LiveReplicas(std::sync::atomic::AtomicU32);
impl LiveReplicas {
    /// temp
    pub fn new(expected: Option<u32>) -> Self {
        Self(expected.unwrap_or(1).into())
    }
    /// temp
    pub fn get(&self) -> u32 {
        self.0.load(std::sync::atomic::Ordering::Relaxed).max(1)
    }
}

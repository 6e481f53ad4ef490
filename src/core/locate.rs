//! Where addresses are, for those who cannot know it themselves.

use std::fmt::Debug;
use std::net::IpAddr;

/// Tells where addresses are. It answers at once, from memory.
pub trait Locate: Debug + Send + Sync {
    /// The country of an address, ISO 3166-1 alpha-2 in capital letters.
    fn country(&self, address: IpAddr) -> Option<[u8; 2]>;

    /// The autonomous system that announces an address.
    fn asn(&self, address: IpAddr) -> Option<u32>;
}

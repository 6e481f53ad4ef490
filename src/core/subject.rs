//! Whom an adjustment or a flag is about.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A client, or a group of them that look alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// A user, by the name that descriptors have.
    User(Arc<str>),
    /// A client's address; of IPv6 the network that tells clients apart.
    Address(IpAddr),
    /// All requests that have these attributes, in the order of [`Attribute`], each at most once; never empty.
    Group(SmallVec<[(Attribute, Arc<str>); 3]>),
}

/// What requests of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Attribute {
    /// The country of the address, ISO 3166-1 alpha-2.
    Country,
    /// The autonomous system of the address, `64496`.
    Asn,
    /// The template of the path.
    Path,
    /// The user agent.
    UserAgent,
    /// Whether requests name no user: `yes`.
    Anonymous,
    /// The client's address; of IPv6 the network that tells clients apart.
    Address,
}

impl Attribute {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Country, Self::Asn, Self::Path, Self::UserAgent, Self::Anonymous, Self::Address];
    /// The value of [`Attribute::Anonymous`].
    pub const YES: &str = "yes";

    /// As reports and metadata write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Country => "country",
            Self::Asn => "asn",
            Self::Path => "path",
            Self::UserAgent => "user_agent",
            Self::Anonymous => "anonymous",
            Self::Address => "ip_address",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user {name}"),
            Self::Address(address) => write!(f, "address {address}"),
            Self::Group(attributes) => {
                for (position, (attribute, value)) in attributes.iter().enumerate() {
                    let comma = if position > 0 { ", " } else { "" };
                    write!(f, "{comma}{} {value}", attribute.name())?;
                }
                Ok(())
            }
        }
    }
}

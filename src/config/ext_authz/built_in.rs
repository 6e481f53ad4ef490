//! The values that every request has a name for.

use std::fmt;

/// A value that needs no entry in `values`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// `remote_address`: the client's address, cut to the bits that tell clients apart.
    RemoteAddress,
    /// `path`: the template that the path fits.
    Path,
    /// `full_path`: the normalised path itself.
    FullPath,
    /// `method`, in upper case.
    Method,
    /// `host`: lower case, without port and final dot.
    Host,
    /// `scheme`: `http` or `https`.
    Scheme,
    /// `protocol`: `HTTP/1.1`, `HTTP/2`.
    Protocol,
    /// `principal`: the peer's identity by its certificate.
    Principal,
    /// `sni`: the server name of TLS.
    Sni,
    /// `request_size`: bytes of the body.
    RequestSize,
    /// `route`: the name of the route that matched.
    Route,
    /// `peer_certificate_sha256`: of the peer's certificate, hexadecimal.
    PeerCertificateSha256,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::RemoteAddress,
        Self::Path,
        Self::FullPath,
        Self::Method,
        Self::Host,
        Self::Scheme,
        Self::Protocol,
        Self::Principal,
        Self::Sni,
        Self::RequestSize,
        Self::Route,
        Self::PeerCertificateSha256,
    ];

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RemoteAddress => "remote_address",
            Self::Path => "path",
            Self::FullPath => "full_path",
            Self::Method => "method",
            Self::Host => "host",
            Self::Scheme => "scheme",
            Self::Protocol => "protocol",
            Self::Principal => "principal",
            Self::Sni => "sni",
            Self::RequestSize => "request_size",
            Self::Route => "route",
            Self::PeerCertificateSha256 => "peer_certificate_sha256",
        }
    }
}

impl fmt::Display for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

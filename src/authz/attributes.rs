//! What Envoy tells of a request. Texts are bytes: a client decides what stands in most of them.

use smallvec::SmallVec;

/// A request, as the gateway sees it. Everything borrows from the gateway's message; what it did not tell is empty.
#[derive(Clone, Debug, Default)]
pub struct Attributes<'a> {
    /// `GET`.
    pub method: &'a [u8],
    /// The request target as the client wrote it, query included; nothing decoded.
    pub path: &'a [u8],
    /// The `Host` header or `:authority`.
    pub host: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// `HTTP/2`.
    pub protocol: &'a [u8],
    /// The size of the body in bytes; `None` when it is not known.
    pub size: Option<u64>,
    /// Headers in the order of the message, names in lower case.
    pub headers: SmallVec<[(&'a [u8], &'a [u8]); 24]>,
    /// The address of the other end of the connection, as text.
    pub peer_address: &'a [u8],
    /// The peer's identity by its certificate: the URI SAN, else the DNS SAN, else the subject.
    pub peer_principal: &'a [u8],
    /// The peer's certificate, URL-encoded PEM; only when Envoy is told to include it.
    pub peer_certificate: &'a [u8],
    /// The server name that the client asked for in TLS; only when Envoy is told to include it.
    pub sni: &'a [u8],
    /// The route's `context_extensions`.
    pub context: SmallVec<[(&'a [u8], &'a [u8]); 4]>,
    /// Dynamic metadata by namespace; each a `google.protobuf.Struct` in its encoding, read when it is asked for.
    pub metadata: SmallVec<[(&'a [u8], &'a [u8]); 4]>,
}

impl<'a> Attributes<'a> {
    /// The first value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        find(&self.headers, name)
    }

    /// The struct of a namespace of the dynamic metadata; of several, the last.
    #[must_use]
    pub fn metadata(&self, namespace: &str) -> Option<&'a [u8]> {
        let mut all = self.metadata.iter().rev();
        all.find(|(name, _)| *name == namespace.as_bytes()).map(|(_, structure)| *structure)
    }

    /// An entry of the route's `context_extensions`.
    #[must_use]
    pub fn context(&self, key: &str) -> Option<&'a [u8]> {
        find(&self.context, key)
    }
}

fn find<'a>(pairs: &[(&'a [u8], &'a [u8])], name: &str) -> Option<&'a [u8]> {
    pairs.iter().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| *value)
}

//! Tokens as the issuer in `istio/request-authentication.yaml` would sign them.

#[path = "../envoy/ext_authz/tokens.rs"]
mod signing;

use serde_json::{Value, json};

/// The issuer that the file names.
pub const ISSUER: &str = "https://issuer.example.com";

/// The user that a service sees, by the answer of the backend's `/echo`; empty when it sees none.
pub fn user_seen(echo: &[u8]) -> String {
    let headers: Value = serde_json::from_slice(echo).unwrap();
    let Some(users) = headers.get("x-user-id") else { return String::new() };
    let [user] = &users.as_array().unwrap()[..] else { panic!("several users: {users}") };
    user.as_str().unwrap().to_owned()
}

/// An issuer with a key of its own.
pub struct Issuer(signing::Issuer);

impl Issuer {
    pub fn new() -> Self {
        Self(signing::Issuer::new())
    }

    /// The document that tells others the public key.
    pub fn jwks(&self) -> String {
        let [x, y] = self.0.coordinates();
        let key =
            json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "example", "x": x, "y": y });
        json!({ "keys": [key] }).to_string()
    }

    /// The value of an Authorization header.
    pub fn bearer(&self, subject: &str) -> String {
        self.0.bearer(json!({ "iss": ISSUER, "sub": subject }))
    }
}

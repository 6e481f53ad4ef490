//! Tokens, as an issuer of accounts would give them out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// Has a key of its own.
pub struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self { key, random }
    }

    /// The public key as members of a JWK: the coordinates of the point, after the byte that says they are whole.
    pub fn coordinates(&self) -> [String; 2] {
        let point = self.key.public_key().as_ref();
        [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part))
    }

    /// An `authorization` header with these claims, from `https://accounts.example.com` unless they name another issuer.
    pub fn bearer(&self, mut claims: Value) -> String {
        if claims.get("iss").is_none() {
            claims["iss"] = json!("https://accounts.example.com");
        }
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(json!({ "alg": "ES256", "kid": "example" })), part(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).unwrap();
        format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

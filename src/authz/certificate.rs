//! The peer's certificate, as Envoy hands it on: PEM, URL-encoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use super::encoded;
use super::text::Text;

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The longest that is looked at, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// The SHA-256 of the certificate's DER, hexadecimal; of several certificates, of the first. `None` when there is none.
#[must_use]
pub fn sha256(encoded: &[u8]) -> Option<Text<'static>> {
    if encoded.len() > MAX_BYTES {
        return None;
    }
    // In base64 a `+` is itself, whether or not it is encoded.
    let plus = encoded.iter().flat_map(|byte| if *byte == b'+' { &b"%2B"[..] } else { std::slice::from_ref(byte) });
    let plus: Vec<u8> = plus.copied().collect();
    let pem = encoded::decode(&plus);
    let start = memchr::memmem::find(&pem, BEGIN)? + BEGIN.len();
    let length = memchr::memmem::find(&pem[start..], END)?;
    let base64: Vec<u8> =
        pem[start..start + length].iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(base64).ok().filter(|der| !der.is_empty())?;
    Some(Text::hexadecimal("", digest::digest(&digest::SHA256, &der).as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_hashed_as_der() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap().self_signed(&key).unwrap();
        let der: &[u8] = certificate.der();
        let expected = Text::hexadecimal("", digest::digest(&digest::SHA256, der).as_ref());
        let pem = certificate.pem();
        let encoded: String = pem.bytes().fold(String::new(), |text, byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' => text + &char::from(byte).to_string(),
            other => text + &format!("%{other:02X}"),
        });
        for text in [&encoded, &pem, &format!("{encoded}{encoded}")] {
            assert_eq!(sha256(text.as_bytes()).unwrap()[..], expected[..]);
        }
        for none in ["", "x", "-----BEGIN CERTIFICATE-----", &encoded[..200], &encoded.replace("MII", "*II")] {
            assert!(sha256(none.as_bytes()).is_none(), "{none}");
        }
    }
}

//! A name for every request: the caller's own (`x-request-id`) if it is a sane one, else a random one. It is in the
//! answer's header, in problem documents and in the log of changes.

use std::future::Future;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name taken over.
const MAX_LENGTH: usize = 128;

tokio::task_local! {
    static CURRENT: HeaderValue;
}

/// Names the request, and the answer after it.
pub async fn assign(request: Request, next: Next) -> Response {
    let given = request.headers().get(HEADER).filter(|id| is_sane(id.as_bytes())).cloned();
    let id = given.unwrap_or_else(random);
    let mut response = CURRENT.scope(id.clone(), next.run(request)).await;
    response.headers_mut().insert(HEADER, id);
    response
}

/// The name of the request that this task answers.
pub fn current() -> Option<String> {
    CURRENT.try_with(|id| id.to_str().ok().map(str::to_owned)).ok().flatten()
}

/// Lets a task of its own know the name of the request that it is for.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let id = CURRENT.try_with(Clone::clone).unwrap_or_else(|_| random());
    CURRENT.scope(id, work)
}

fn is_sane(id: &[u8]) -> bool {
    let sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(sane)
}

fn random() -> HeaderValue {
    // Hexadecimal digits are always a header's value.
    HeaderValue::from_str(&format!("{:032x}", fastrand::u128(..))).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_break_a_log_is_no_name() {
        assert!(is_sane(b"8f14e45f-ceea-467f-a0e6-1f8b2c3d4e5f"));
        for id in [&b""[..], b"a b", b"a\nb", b"\xff", &[b'a'; 129]] {
            assert!(!is_sane(id));
        }
    }
}

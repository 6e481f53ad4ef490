//! Tokens.

use crate::ground::{fresh, token};
use jiff::Timestamp;
use tidegate::rules::repository::{RepositoryError, TokenRepository as _};

#[tokio::test]
async fn tokens_are_kept_until_they_are_revoked() {
    let (repository, _) = fresh().await;
    repository.create_token(token("ci", 1)).await.unwrap();
    repository.create_token(token("a", 2)).await.unwrap();
    assert_eq!(repository.tokens().await.unwrap(), [token("a", 2), token("ci", 1)]);
    assert_eq!(repository.create_token(token("ci", 3)).await, Err(RepositoryError::TokenExists("ci".into())));
    let now = Timestamp::from_second(1_850_000_000).unwrap();
    assert_eq!(repository.revoke_token("ci", now).await, Ok(true));
    assert_eq!(repository.revoke_token("ci", now).await, Ok(false));
    repository.create_token(token("ci", 3)).await.unwrap();
    let names: Vec<_> =
        repository.tokens().await.unwrap().into_iter().map(|token| (token.name, token.revoked)).collect();
    assert_eq!(names, [("a".into(), None), ("ci".into(), Some(now)), ("ci".into(), None)]);
}

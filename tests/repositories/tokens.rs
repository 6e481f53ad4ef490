//! Tokens of the API.

use jiff::{SignedDuration, Timestamp};
use tidegate::rules::repository::{RepositoryError, Scope, Stamp, Token, TokenRepository as _};

use crate::stand::Stand;

fn token(name: &str, second: i64) -> Token {
    let at = Timestamp::from_second(1_800_000_000 + second).unwrap();
    Token {
        name: name.into(),
        hash: [second as u8; 32],
        scopes: vec![Scope::Read, Scope::Operate],
        created: Stamp { at, by: "ada".into() },
        expires: None,
        revoked: None,
    }
}

fn every_scope() -> Vec<Scope> {
    vec![Scope::Read, Scope::WriteRules, Scope::ReadAnomalies, Scope::ReviewAnomalies, Scope::Operate]
}

pub async fn tokens_are_kept(stand: impl Stand) {
    let repository = stand.repository();
    let expires = Timestamp::from_microsecond(1_900_000_000_123_456).unwrap();
    let all = [
        Token { expires: Some(expires), scopes: vec![Scope::WriteRules], ..token("deploy", 1) },
        Token { hash: [255; 32], ..token("näme", 2) },
        Token { hash: [0; 32], scopes: every_scope(), ..token("A", 3) },
    ];
    assert_eq!(repository.tokens().await.unwrap(), []);
    for token in &all {
        repository.create_token(token.clone()).await.unwrap();
    }
    let [deploy, name, a] = all;
    assert_eq!(repository.tokens().await.unwrap(), [a, deploy, name]);
}

pub async fn names_are_unique_until_revoked(stand: impl Stand) {
    let repository = stand.repository();
    repository.create_token(token("deploy", 1)).await.unwrap();
    let again = repository.create_token(token("deploy", 2)).await;
    assert_eq!(again, Err(RepositoryError::TokenExists("deploy".into())));
    assert_eq!(repository.tokens().await.unwrap(), [token("deploy", 1)]);
    let now = token("deploy", 3).created.at;
    assert!(repository.revoke_token("deploy", now).await.unwrap());
    repository.create_token(token("deploy", 4)).await.unwrap();
    let first = Token { revoked: Some(now), ..token("deploy", 1) };
    assert_eq!(repository.tokens().await.unwrap(), [first, token("deploy", 4)]);
}

pub async fn revoked_tokens_stay_in_the_list(stand: impl Stand) {
    let repository = stand.repository();
    let expires = Some(token("", 0).created.at - SignedDuration::from_hours(1));
    let made = Token { expires, ..token("old", 1) };
    repository.create_token(made.clone()).await.unwrap();
    let now = token("", 5).created.at;
    assert!(!repository.revoke_token("other", now).await.unwrap());
    assert!(repository.revoke_token("old", now).await.unwrap(), "an expired one, too");
    let later = token("", 6).created.at;
    assert!(!repository.revoke_token("old", later).await.unwrap(), "only once");
    assert_eq!(repository.tokens().await.unwrap(), [Token { revoked: Some(now), ..made }]);
}

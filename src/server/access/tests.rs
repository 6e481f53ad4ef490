use super::*;
use crate::core::clock::SystemClock;
use crate::rules::repository::Embedded;
use crate::rules::repository::record::Stamp;
use crate::rules::repository::secret::Secret;
use crate::rules::repository::token::Token;

const ALL: [Need; 4] = [Need::Decide, Need::Read, Need::WriteRules, Need::Operate];

fn repository() -> Arc<Repository> {
    Arc::new(Repository::Embedded(Embedded::in_memory(SystemClock::new()).unwrap()))
}

fn somebody() -> Peer {
    Peer::Network("192.0.2.1:1".parse().unwrap())
}

/// Who may do what without a token.
fn open(access: &Access) -> [Result<(), Denied>; 4] {
    ALL.map(|need| access.allow(None, &somebody(), need).map(drop))
}

async fn token(repository: &Repository, scopes: &[Scope]) -> HeaderValue {
    let secret = Secret::generate().unwrap();
    let created = Stamp { at: Timestamp::now(), by: "test".into() };
    let (name, scopes) = ("token".into(), scopes.to_vec());
    let token = Token { name, hash: secret.hash(), scopes, created, expires: None, revoked: None };
    repository.create_token(token).await.unwrap();
    HeaderValue::from_str(&format!("bearer {}", secret.reveal())).unwrap()
}

#[tokio::test]
async fn what_is_open_depends_on_whether_there_has_been_a_token() {
    let repository = repository();
    let access = Access::new(Some(Arc::clone(&repository)), false);
    let wait = || Err(Denied::NotKnown);
    assert_eq!(open(&access), [Ok(()), wait(), wait(), wait()], "nothing is known");
    access.refresh().await.unwrap();
    let none = || Err(Denied::NoTokensYet);
    assert_eq!(open(&access), [Ok(()), Ok(()), none(), none()], "no token yet");
    let header = token(&repository, &[Scope::WriteRules]).await;
    access.refresh().await.unwrap();
    let needed = |need: Need| Err(Denied::NoToken(need.scope()));
    assert_eq!(open(&access), ALL.map(needed), "a token");
    assert_eq!(access.allow(Some(&header), &somebody(), Need::WriteRules), Ok(Caller("token".into())));
    let lacks = Denied::Scope { name: "token".into(), scope: Scope::Read };
    assert_eq!(access.allow(Some(&header), &somebody(), Need::Read), Err(lacks));
    assert!(repository.revoke_token("token", Timestamp::now()).await.unwrap());
    access.refresh().await.unwrap();
    assert_eq!(open(&access), ALL.map(needed), "one that is revoked opens nothing again");
    assert_eq!(access.allow(Some(&header), &somebody(), Need::WriteRules), Err(Denied::Revoked));
}

#[tokio::test]
async fn nobody_is_checked_before_anything_is_known() {
    let access = Access::new(Some(repository()), false);
    let theirs = HeaderValue::from_static("Bearer of-a-client");
    assert!(access.allow(Some(&theirs), &somebody(), Need::Decide).is_ok());
    assert_eq!(access.allow(Some(&theirs), &somebody(), Need::Read), Err(Denied::NotKnown));
}

#[test]
fn the_owner_and_whoever_asked_for_it_need_no_token() {
    let access = Access::new(Some(repository()), false);
    for need in ALL {
        assert_eq!(access.allow(None, &Peer::Owner { uid: 7 }, need), Ok(Caller("(uid 7)".into())));
    }
    assert_eq!(access.allow(None, &Peer::Stranger, Need::WriteRules), Err(Denied::NotKnown));
    let everybody = Access::new(Some(repository()), true);
    assert_eq!(open(&everybody), [Ok(()), Ok(()), Ok(()), Ok(())]);
    let files = Access::new(None, false);
    let none = || Err(Denied::NoTokensHere);
    assert_eq!(open(&files), [Ok(()), Ok(()), none(), none()]);
}

//! What roles may do.

use crate::ground::{announced, commit, limit, limit_spec, put, repository, rule, settings, token};
use crate::postgres_support::Options;
use jiff::Timestamp;
use tidegate::core::spec::{DomainSettings, EffectSpec};
use tidegate::rules::repository::{
    Change, Content, Expected, Filter, Override, Page, RepositoryError, Revision, RuleRepository as _, Subject,
    TokenRepository as _,
};

#[tokio::test]
async fn roles_have_what_they_need_and_no_more() {
    let server = Options::new().start();
    let document = include_str!("../../docs/postgres.md").split_once("## Roles").unwrap().1;
    let blocks: Vec<&str> =
        document.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).take(2).collect();
    let owner = server.client("postgres").await;
    owner.batch_execute(blocks[0]).await.unwrap();
    let migrating = repository(&settings(&server.url("tidegate_migrate", "postgres")));
    migrating.migrate().await.unwrap();
    let owner =
        tokio_postgres::connect(&server.url("tidegate_migrate", "postgres"), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(owner.1);
    owner.0.batch_execute(blocks[1]).await.unwrap();

    let serving = repository(&settings(&server.url("tidegate_serve", "postgres")));
    let until = Timestamp::from_second(2_000_000_000).unwrap();
    let effect = EffectSpec::Limits(vec![limit_spec(1)]);
    let changes = vec![
        put(rule("a"), limit(1)),
        put(Subject::Domain("edge".into()), Content::Domain(DomainSettings::API)),
        put(Subject::Override("edge".into(), "a".parse().unwrap()), Content::Override(Override { effect, until })),
    ];
    commit(&serving, changes).await.unwrap();
    let delete = Change { subject: rule("a"), content: None, expected: Expected::Present };
    commit(&serving, vec![delete]).await.unwrap();
    commit(&serving, vec![put(rule("a"), limit(2))]).await.unwrap();
    announced(&serving, 3).await;
    serving.accept("ada", None).await.unwrap();
    serving.list(&Filter::default(), Page { after: None, size: 10 }).await.unwrap();
    serving.history(None, Page { after: None, size: 10 }).await.unwrap();
    serving.create_token(token("ci", 1)).await.unwrap();
    assert!(serving.revoke_token("ci", Timestamp::now()).await.unwrap());

    let connect = async |role: &str| {
        let (client, connection) =
            tokio_postgres::connect(&server.url(role, "postgres"), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let serve = connect("tidegate_serve").await;
    let read = connect("tidegate_read").await;
    for text in ["SELECT FROM rate_limit_rules", "SELECT FROM ai_ddos_detection", "SELECT FROM rate_limit_rule_history"]
    {
        read.execute(text, &[]).await.unwrap();
    }
    serve.execute("INSERT INTO ai_ddos_detection (user_id, anomaly_score) VALUES ('1', 0.9)", &[]).await.unwrap();
    let denied = [
        (&serve, "UPDATE rate_limit_rule_history SET reason = 'x'"),
        (&serve, "DELETE FROM rate_limit_rule_history"),
        (&serve, "UPDATE rule_set_head SET revision = 99"),
        (&serve, "ALTER TABLE rate_limit_rules DISABLE TRIGGER ALL"),
        (&serve, "CREATE TABLE mine ()"),
        (&serve, "DELETE FROM api_tokens"),
        (&read, "UPDATE rate_limit_rules SET enabled = false"),
        (&read, "SELECT FROM api_tokens"),
        (&read, "SELECT * FROM rule_set_lock()"),
        (&read, "SELECT * FROM rule_set_accept()"),
        (&read, "INSERT INTO ai_ddos_detection (user_id, anomaly_score) VALUES ('1', 0.9)"),
    ];
    for (client, text) in denied {
        let error = client.execute(text, &[]).await.expect_err(text);
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{text}: {error:?}");
    }
    let reading = repository(&settings(&server.url("tidegate_read", "postgres")));
    assert_eq!(reading.head().await.unwrap().revision, Revision(4));
    let refused = commit(&reading, vec![put(rule("b"), limit(1))]).await;
    assert!(matches!(&refused, Err(RepositoryError::Unusable(text)) if text.contains("role")), "{refused:?}");
}

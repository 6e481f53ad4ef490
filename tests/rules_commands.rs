//! `tidegate rules` and `tidegate token` against a running server, as one types them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod process;

use std::path::Path;

use process::{Server, tidegate};

/// A server with a repository in a file, and what asks it.
struct Stand {
    server: Server,
    directory: tempfile::TempDir,
}

impl Stand {
    /// Everybody may do everything.
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rules.redb");
        let server = Server::start_from(&["--allow-unauthenticated", "--repository", file.to_str().unwrap()], &[]);
        Self { server, directory }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Exit code, output and errors.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(arguments, &format!("http://{}", self.server.http), None)
    }

    /// The output of what succeeds.
    #[track_caller]
    fn say(&self, arguments: &[&str]) -> String {
        let (code, output, errors) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {output}{errors}");
        output
    }

    /// The complaint of what does not.
    #[track_caller]
    fn refuse(&self, arguments: &[&str]) -> String {
        let (code, output, errors) = self.run(arguments);
        assert_eq!(code, 1, "{arguments:?}: {output}{errors}");
        errors
    }
}

fn run(arguments: &[&str], api: &str, token: Option<&str>) -> (i32, String, String) {
    let mut command = tidegate();
    command.args(arguments).env("TIDEGATE_API", api);
    if let Some(token) = token {
        command.env("TIDEGATE_TOKEN", token);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_rule_is_made_changed_shown_and_taken_back() {
    let stand = Stand::open();
    let made = stand.say(&["rules", "set", "edge", "user_id=1", "--limit", "5/minute", "--reason", "Äpfel, 5 %"]);
    assert_eq!(made, "made user_id=1 of edge: 5/minute sliding_window_log (revision 1)\n");
    let several = ["--limit", "9/second", "--limit", "100/90s", "--algorithm", "token_bucket", "--tag", "trial"];
    let set = stand.say(&[&["rules", "set", "edge", "user_id=1"][..], &several].concat());
    assert_eq!(set, "set user_id=1 of edge: 9/second token_bucket, 100/90s token_bucket (revision 2)\n");
    assert_eq!(stand.say(&["rules", "list", "--tag", "trial"]).matches("revision 2").count(), 1);
    assert_eq!(stand.say(&["rules", "list", "--tag", "other"]), "");
    assert!(stand.say(&["rules", "get", "edge", "user_id=1"]).contains("\"requests_per_unit\": 100"));

    let stale = stand.refuse(&["rules", "delete", "edge", "user_id=1", "--if-revision", "1"]);
    assert!(stale.contains("is at revision 2") && stale.contains("it was changed meanwhile"), "{stale}");
    assert_eq!(stand.say(&["rules", "delete", "edge", "user_id=1"]), "deleted user_id=1 of edge\n");
    let back = stand.say(&["rules", "rollback", "edge", "user_id=1", "--to", "1"]);
    assert_eq!(back, "back to revision 1, as revision 4\n");
    let history = stand.say(&["rules", "history", "edge", "user_id=1"]);
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines.len(), 4, "{history}");
    assert!(lines[3].contains("made: 5/minute sliding_window_log") && lines[3].ends_with("(Äpfel, 5 %)"), "{history}");
    assert!(lines[1].contains("deleted"), "{history}");
}

#[test]
fn files_are_applied_and_what_is_exported_changes_nothing() {
    let stand = Stand::open();
    let rules =
        "domain: shop\ndescriptors:\n  - key: user_id\n    rate_limit: { unit: minute, requests_per_unit: 7 }\n";
    let file = stand.file("shop.yaml", rules);
    let (code, diff, _) = stand.run(&["rules", "diff", &file]);
    assert_eq!((code, diff.as_str()), (1, "+ domain shop\n+ rule shop user_id\n"));
    assert_eq!(stand.say(&["rules", "list"]), "", "a diff changes nothing");
    assert!(stand.say(&["rules", "apply", &file, "--reason", "first"]).ends_with("revision 1\n"));
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rules/quickstart.yaml");
    stand.say(&["rules", "apply", quickstart]);
    let exported = stand.directory.path().join("all.yaml");
    stand.say(&["rules", "export", "--output", exported.to_str().unwrap()]);
    let text = std::fs::read_to_string(&exported).unwrap();
    assert!(text.contains("domain: edge\n") && text.contains("---\ndomain: shop\n"), "{text}");
    let only = stand.say(&["rules", "export", "--domain", "shop"]);
    let shop = stand.file("again.yaml", &only);
    assert_eq!(stand.say(&["rules", "diff", &shop]), "no difference\n");
    assert_eq!(stand.say(&["rules", "rollback", "--to", "1"]), "back to revision 1, as revision 3\n");
    assert_eq!(stand.say(&["rules", "list"]).lines().count(), 1);

    let wrong = stand.file("wrong.yaml", &rules.replace("minute", "fortnight"));
    let complaint = stand.refuse(&["rules", "apply", &wrong]);
    assert!(
        complaint.contains("wrong.yaml:4:") && complaint.contains("invalid rate limit unit 'fortnight'"),
        "{complaint}"
    );
}

#[test]
fn an_override_holds_and_can_be_ended() {
    let stand = Stand::open();
    stand.say(&["rules", "set", "edge", "user_id=1", "--limit", "1/hour"]);
    let set = stand.say(&["rules", "override", "set", "edge", "user_id=1", "--unlimited", "--for", "2h"]);
    assert!(set.starts_with("made user_id=1 of edge: unlimited"), "{set}");
    let list = stand.say(&["rules", "override", "list"]);
    assert!(list.starts_with("edge  user_id=1  unlimited  until 20"), "{list}");
    let decide = || stand.server.rate_limit(r#"{"user_id": "1"}"#).status;
    assert_eq!([decide(), decide()], [200, 200]);
    stand.say(&["rules", "override", "delete", "edge", "user_id=1"]);
    assert_eq!([decide(), decide()], [200, 429]);
    assert_eq!(stand.say(&["rules", "override", "list"]), "");
}

#[test]
fn mistakes_are_told() {
    let stand = Stand::open();
    assert!(stand.refuse(&["rules", "set", "edge", "user_id=1"]).contains("write --limit 5/minute"));
    let window = stand.refuse(&["rules", "set", "edge", "user_id=1", "--limit", "5/fortnight"]);
    assert!(window.contains("rate_limit.window: 'fortnight' is no duration"), "{window}");
    assert!(stand.refuse(&["rules", "get", "edge", "user_id=1"]).contains("there is no rule user_id=1"));
    let path = stand.run(&["rules", "get", "edge", "user_id="]);
    assert!(path.0 == 2 && path.2.contains("entry 1 has an empty value"), "{path:?}");
    let nobody = run(&["rules", "list"], "http://127.0.0.1:1", None);
    assert!(nobody.0 == 1 && nobody.2.contains("is `tidegate serve` running"), "{nobody:?}");
}

#[test]
fn the_first_token_is_made_beside_the_server_and_the_others_through_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let settings =
        format!("rules: {{ repository_file: {} }}\nhttp: {{ unix_socket: {} }}\n", path("r.redb"), path("api"));
    std::fs::write(path("c.yaml"), settings).unwrap();
    let config = path("c.yaml");
    let all = ["--scope", "read", "--scope", "write-rules", "--scope", "operate"];
    let direct = [&["token", "create", "ops", "--direct", "--config", &config][..], &all].concat();
    let (code, first, errors) = run(&direct, "", None);
    assert!(code == 0 && first.starts_with("tg_"), "{errors}");

    let server = Server::start_from(&["--config", &config], &[]);
    let api = format!("http://{}", server.http);
    assert!(Path::new(&path("api")).exists());
    let refused = run(&["rules", "list"], &api, None);
    assert!(refused.0 == 1 && refused.2.contains("set TIDEGATE_TOKEN"), "{refused:?}");
    let ops = Some(first.trim());
    let set = run(&["rules", "set", "edge", "user_id=1", "--limit", "1/hour"], &api, ops);
    assert_eq!(set.0, 0, "{set:?}");
    let reader = run(&["token", "create", "reader", "--scope", "read", "--for", "90d"], &api, ops).1;
    assert!(run(&["rules", "list"], &api, Some(reader.trim())).1.contains("by ops"));
    let lacking = run(&["rules", "delete", "edge", "user_id=1"], &api, Some(reader.trim()));
    assert!(lacking.0 == 1 && lacking.2.contains("lacks the scope 'write-rules'"), "{lacking:?}");
    assert_eq!(run(&["token", "revoke", "reader"], &api, ops).1, "revoked reader\n");
    assert_eq!(run(&["rules", "list"], &api, Some(reader.trim())).0, 1);
    let socket = run(&["token", "list"], &format!("unix:{}", path("api")), None);
    assert!(socket.0 == 0 && socket.1.lines().count() == 2 && socket.1.contains("revoked 20"), "{socket:?}");
}

//! Whether this user may run scripts, and all that they call, on keys with our prefix.

use std::fmt::Write as _;

use super::link::{Answer, Link};
use crate::cli::doctor::report::Section;

/// Calls everything that the scripts of counters call, on a key that is gone afterwards and expires anyway. Returns
/// what Redis refused, line by line.
const PROBE: &str = include_str!("probe.lua");

/// The prefix of channels and keys, and a text whose slot the server owns.
pub fn probe_key(prefix: &str, tag: &str) -> String {
    format!("{prefix}:{{{tag}}}:doctor")
}

/// Tries a script, the way that the counters run theirs; whether it may be run at all.
pub async fn check(link: &Link, prefix: &str, tag: &str, section: &mut Section) -> bool {
    let key = probe_key(prefix, tag);
    let answer = match link.ask("EVAL", &[PROBE, "1", &key]).await {
        // Known by its hash from then on.
        Ok(_) => match link.ask("SCRIPT", &["LOAD", PROBE]).await {
            Ok(hash) => link.ask("EVALSHA", &[hash.text().unwrap_or_default(), "1", &key]).await,
            // The counters do without.
            Err(_) => link.ask("EVAL", &[PROBE, "1", &key]).await,
        },
        refused => refused,
    };
    match answer {
        Ok(refused) => {
            let refused: Vec<_> = refused.list().iter().filter_map(Answer::text).collect();
            if refused.is_empty() {
                section.ok("scripts", "allowed, and all that they call");
            } else {
                let mut commands = String::new();
                for line in &refused {
                    // Writing to a String cannot fail.
                    let _ = write!(commands, " +{}", line.split(':').next().unwrap_or_default().to_lowercase());
                }
                section.fail(
                    "scripts",
                    format!("what scripts call is refused: {}", refused.join("; ")),
                    format!("ACL SETUSER <user> ~{prefix}:*{commands}"),
                );
            }
            true
        }
        Err(error) => {
            let advice = if error.starts_with("NOPERM") {
                format!("ACL SETUSER <user> ~{prefix}:* &{prefix}:forget +eval +evalsha +script")
            } else {
                "let the server run scripts and take writes".to_owned()
            };
            section.fail("scripts", error, advice);
            false
        }
    }
}

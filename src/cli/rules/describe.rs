//! `tidegate rules describe`: the rules in force in a running server.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use crate::cli::client::{self, Listener};
use crate::cli::descriptor::plain;
use crate::cli::explain::describe_limit;
use crate::cli::print;
use crate::server::admin::proto::{DescribeRulesRequest, Rule};

/// Rules asked for at a time.
const PAGE: u32 = 1_000;

/// List the rules in force in a running server
///
/// One line a rule: its domain and descriptor path, its limits, and where it was written.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate rules describe
  tidegate rules describe --domain edge --server http://10.0.0.7:6070")]
pub struct Args {
    /// Only the rules of this domain
    #[arg(long)]
    domain: Option<String>,
    /// The server's administration listener
    #[arg(long, default_value = "http://127.0.0.1:6070", value_name = "URL")]
    server: String,
    /// The longest to wait for connection and each answer
    #[arg(long, default_value = "2s", value_parser = client::duration, value_name = "TIME")]
    timeout: Duration,
}

/// Asks page by page, and prints each.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    client::block_on(async {
        let mut server = client::admin(&args.server, args.timeout).await?;
        let mut request = DescribeRulesRequest {
            domain: args.domain.clone().unwrap_or_default(),
            page_size: PAGE,
            page_token: String::new(),
        };
        let mut revision = None;
        loop {
            let response = server.describe_rules(request.clone()).await;
            let response = response
                .map_err(|status| client::explain(&status, &args.server, Listener::Admin, args.timeout))?
                .into_inner();
            if *revision.get_or_insert(response.revision) != response.revision {
                bail!("the rules changed while they were listed; ask again");
            }
            print(&response.rules.iter().map(line).collect::<String>())?;
            if response.next_page_token.is_empty() {
                print(&format!("{} rules, revision {}\n", response.total, response.revision))?;
                return Ok(ExitCode::SUCCESS);
            }
            request.page_token = response.next_page_token;
        }
    })
}

fn line(rule: &Rule) -> String {
    let mut line = format!("{} {}  ", plain(&rule.domain), plain(&rule.path));
    if rule.unlimited {
        line.push_str("unlimited");
    }
    for (at, limit) in rule.limits.iter().enumerate() {
        let separator = if at == 0 { "" } else { "; " };
        // Writing to a String cannot fail.
        let _ = write!(line, "{separator}{}", plain(&describe_limit(limit)));
    }
    for (set, flag) in [(rule.shadow_mode, "shadow mode"), (rule.quota_mode, "quota mode"), (rule.protect, "protected")]
    {
        if set {
            let _ = write!(line, ", {flag}");
        }
    }
    let _ = writeln!(line, "  ({})", plain(&rule.origin));
    line
}

//! `tidegate counters get|reset`: the counters of one descriptor.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::client::{self, Listener};
use super::descriptor::{TypedDescriptor, plain};
use super::explain::{describe_counter, describe_limit};
use super::{Format, print};
use crate::server::admin::proto::{CountersRequest, CountersResponse, Entry};

/// Look at the counters of a descriptor, or reset them
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Tell how far the counters of a descriptor are
    #[command(after_long_help = GET_EXAMPLES)]
    Get(Args),
    /// Forget the counters of a descriptor, on every replica
    #[command(after_long_help = RESET_EXAMPLES)]
    Reset(Args),
}

const GET_EXAMPLES: &str = "\
Examples:
  tidegate counters get --domain edge user_id=alice
  tidegate counters get --domain edge user_id=alice,path=/login --limit hourly --format json";

const RESET_EXAMPLES: &str = "\
Examples:
  tidegate counters reset --domain edge user_id=alice

The client has its whole limit again at once. Replicas that remember it as over its limit are told to forget that, which
takes them about as long as a message through Redis does. Prints what the counters were. Needs a token with the scope
operate, in TIDEGATE_TOKEN or in the file that TIDEGATE_TOKEN_FILE names.";

/// Which counters.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The domain, as in the rules
    #[arg(long)]
    domain: String,
    /// The entries of one descriptor, in order
    #[arg(required = true, value_name = "KEY=VALUE[,KEY=VALUE]...")]
    entries: Vec<TypedDescriptor>,
    /// Only the limit of this name
    #[arg(long, value_name = "NAME")]
    limit: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// The server's administration listener
    #[arg(long, default_value = "http://127.0.0.1:6070", value_name = "URL")]
    server: String,
    /// The longest to wait for connection and answer
    #[arg(long, default_value = "2s", value_parser = client::duration, value_name = "TIME")]
    timeout: Duration,
}

/// Asks and prints.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    let (args, reset) = match command {
        Command::Get(args) => (args, false),
        Command::Reset(args) => (args, true),
    };
    let response = client::block_on(ask(&args, reset))?;
    match args.format {
        Format::Text => print(&text(&response, reset))?,
        Format::Json => print(&format!("{:#}\n", document(&response, reset)))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(args: &Args, reset: bool) -> anyhow::Result<CountersResponse> {
    let mut client = client::admin(&args.server, args.timeout).await?;
    let entries = args.entries.iter().flat_map(|descriptor| &descriptor.0);
    let entry = |(key, value): &(String, String)| Entry { key: key.clone().into(), value: value.clone().into() };
    let request = CountersRequest {
        domain: args.domain.clone(),
        entries: entries.map(entry).collect(),
        limit: args.limit.clone().unwrap_or_default(),
    };
    let answer = if reset { client.reset_counters(request).await } else { client.get_counters(request).await };
    match answer {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(client::explain(&status, &args.server, Listener::Admin, args.timeout)),
    }
}

// Writing to a String cannot fail, so its results are dropped below.

fn text(response: &CountersResponse, reset: bool) -> String {
    let rule = response.rule.clone().unwrap_or_default();
    let mut text = format!("rule {} of {}\n", plain(&rule.path), plain(&rule.domain));
    for counter in &response.counters {
        if let (Some(limit), Some(state)) = (&counter.limit, &counter.state) {
            let _ = writeln!(text, "  limit    {}", plain(&describe_limit(limit)));
            let what = if reset { "was" } else { "counter" };
            let _ = writeln!(text, "  {what:9}{}", describe_counter(state));
        }
        if !counter.key.is_empty() {
            let _ = writeln!(text, "  key      {}", plain(&counter.key));
        }
    }
    if reset {
        text.push_str("reset\n");
    }
    text
}

fn document(response: &CountersResponse, reset: bool) -> serde_json::Value {
    let rule = response.rule.clone().unwrap_or_default();
    let counters = response.counters.iter().map(|counter| {
        let (limit, state) = (counter.limit.clone().unwrap_or_default(), counter.state.unwrap_or_default());
        json!({
            "limit": {
                "name": limit.name,
                "amount": limit.amount,
                "window": limit.window,
                "algorithm": limit.algorithm,
                "capacity": limit.capacity,
            },
            "key": counter.key,
            "exists": state.exists,
            "level": state.level,
            "remaining": state.remaining,
            "would_allow": state.would_allow,
            "reset_after_us": state.reset_after_us,
            "retry_after_us": state.retry_after_us,
        })
    });
    json!({ "domain": rule.domain, "rule": rule.path, "reset": reset, "counters": counters.collect::<Vec<_>>() })
}

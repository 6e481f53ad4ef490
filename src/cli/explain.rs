//! `tidegate explain`: the walk of a descriptor through the rules of a running server.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use super::client::{self, Listener};
use super::descriptor::{TypedDescriptor, plain};
use super::print;
use crate::server::admin::proto::{Adjustment, CounterState, Entry, ExplainRequest, ExplainResponse, Limit, Rule};

/// Tell which rule of a running server applies to a descriptor, and why
///
/// Consumes nothing. The answer shows the branch taken at each entry of the descriptor and why, branches that were
/// passed over, the rule that applies, its limits and the present state of their counters.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate explain --domain edge user_id=alice
  tidegate explain --domain edge user_id=alice,path=/login
  tidegate explain --domain edge user_id=alice path=/login      the same descriptor

Write \\, for a comma and \\= for an equals sign within a key or value.")]
pub struct Args {
    /// The domain, as in the rules
    #[arg(long)]
    domain: String,
    /// The entries of one descriptor, in order
    #[arg(required = true, value_name = "KEY=VALUE[,KEY=VALUE]...")]
    entries: Vec<TypedDescriptor>,
    /// The server's administration listener
    #[arg(long, default_value = "http://127.0.0.1:6070", value_name = "URL")]
    server: String,
    /// The longest to wait for connection and answer
    #[arg(long, default_value = "2s", value_parser = client::duration, value_name = "TIME")]
    timeout: Duration,
}

/// Asks and prints.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let response = client::block_on(ask(&args))?;
    print(&text(&args.domain, &response))?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(args: &Args) -> anyhow::Result<ExplainResponse> {
    let mut client = client::admin(&args.server, args.timeout).await?;
    let entries = args.entries.iter().flat_map(|descriptor| &descriptor.0);
    let entry = |(key, value): &(String, String)| Entry { key: key.clone().into(), value: value.clone().into() };
    let request = ExplainRequest { domain: args.domain.clone(), entries: entries.map(entry).collect() };
    match client.explain(request).await {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(client::explain(&status, &args.server, Listener::Admin, args.timeout)),
    }
}

// Writing to a String cannot fail, so its results are dropped below.

fn text(domain: &str, response: &ExplainResponse) -> String {
    let mut text = format!("domain {}, revision {} of the rules\n", plain(domain), response.revision);
    for (depth, step) in response.steps.iter().enumerate() {
        let indent = "  ".repeat(depth + 1);
        let entry = step.entry.as_ref().map(show).unwrap_or_default();
        let branch = if step.matched.is_empty() { "(no branch)" } else { &step.matched };
        let _ = writeln!(text, "{indent}{entry} -> {}", plain(branch));
        let _ = writeln!(text, "{indent}    {}", step.reason);
        for other in &step.alternatives {
            let _ = writeln!(text, "{indent}    not {}: {}", plain(&other.branch), other.reason);
        }
    }
    let _ = writeln!(text, "{}", plain(&response.summary));
    if let Some(rule) = &response.rule {
        write_rule(&mut text, rule, &response.counters);
    }
    for adjustment in &response.adjustments {
        let _ = writeln!(text, "  adjusted {}", plain(&describe_adjustment(adjustment)));
    }
    text
}

fn write_rule(text: &mut String, rule: &Rule, counters: &[CounterState]) {
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:9}{}", plain(value));
        }
    };
    line("path", &rule.path);
    line("written", &rule.origin);
    line("replaces", &rule.replaces.join(", "));
    line("tags", &rule.tags.join(", "));
    if rule.shadow_mode {
        line("shadow", "counted, never denied");
    }
    if rule.quota_mode {
        line("quota", "denies only together with every other quota rule of the request");
    }
    if rule.unlimited {
        line("limit", "unlimited: always allowed, never counted");
    }
    for (at, limit) in rule.limits.iter().enumerate() {
        line("limit", &describe_limit(limit));
        if let Some(counter) = counters.get(at) {
            if counter.adjusted_amount > 0 {
                line("lowered", &format!("to {} per {} by an adjustment", counter.adjusted_amount, limit.window));
            }
            line("counter", &describe_counter(counter));
        }
    }
}

/// An adjustment in words.
fn describe_adjustment(adjustment: &Adjustment) -> String {
    let Adjustment { id, subject, effect, expires_us, shadow } = adjustment;
    let end = i64::try_from(*expires_us).ok().and_then(|end| jiff::Timestamp::from_microsecond(end).ok());
    let until = end.map_or_else(String::new, |end| format!(", until {end:.0}"));
    format!("by {id}: {subject}: {effect}{until}{}", if *shadow { "; only told, not enforced" } else { "" })
}

/// A limit in words.
pub(super) fn describe_limit(limit: &Limit) -> String {
    let name = if limit.name.is_empty() { String::new() } else { format!("'{}': ", limit.name) };
    let mut text = format!("{name}{} per {}, {}", limit.amount, limit.window, limit.algorithm);
    if limit.capacity != limit.amount {
        let _ = write!(text, ", bursts of {}", limit.capacity);
    }
    if limit.post_paid {
        text.push_str(", post-paid");
    } else if limit.over == "record" {
        text.push_str(", denied hits are counted");
    } else {
        text.push_str(", denied hits are not counted");
    }
    text
}

/// A counter in words.
pub(super) fn describe_counter(counter: &CounterState) -> String {
    if !counter.exists {
        return format!("none yet; {} left", counter.remaining);
    }
    let next = match (counter.would_allow, counter.retry_after_us) {
        (true, _) => "one more hit would pass".to_owned(),
        (false, 0) => "one more hit would never pass".to_owned(),
        (false, wait) => format!("one more hit would pass in {} s", wait.div_ceil(1_000_000)),
    };
    let reset = counter.reset_after_us.div_ceil(1_000_000);
    format!("{} used, {} left, as new in {reset} s; {next}", counter.level, counter.remaining)
}

fn show(entry: &Entry) -> String {
    let text = |bytes: &[u8]| plain(&String::from_utf8_lossy(bytes));
    format!("{}={}", text(&entry.key), text(&entry.value))
}

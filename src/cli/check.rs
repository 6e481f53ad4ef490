//! `tidegate check`: one decision of a running server, asked as Envoy would ask.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

use super::client::{self, Listener};
use super::descriptor::{TypedDescriptor, plain};
use super::{Format, print};
use crate::server::http::protojson;

/// Exit code of a denial.
const OVER_LIMIT: u8 = 3;

/// Ask a running server for a decision, as Envoy would
///
/// The hits are charged like those of any request, unless --peek is given. The exit code is 0 when the request is
/// allowed, 3 when it is over a limit, and 1 when there is no answer.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate check --domain edge remote_address=203.0.113.9
  tidegate check --domain edge user_id=alice,path=/login remote_address=203.0.113.9   two descriptors
  tidegate check --domain edge --hits 500 user_id=alice                               a request that costs 500
  tidegate check --domain edge --peek user_id=alice                                   consumes nothing

Write \\, for a comma and \\= for an equals sign within a key or value.")]
pub struct Args {
    /// The domain, as in the rules
    #[arg(long)]
    domain: String,
    /// Descriptors, each of one or more entries
    #[arg(required = true, value_name = "KEY=VALUE[,KEY=VALUE]...")]
    descriptors: Vec<TypedDescriptor>,
    /// What each descriptor costs; 0 consumes nothing
    #[arg(long, default_value_t = 1)]
    hits: u64,
    /// Only ask: consume nothing
    #[arg(long, conflicts_with = "hits")]
    peek: bool,
    /// The server's gRPC listener
    #[arg(long, default_value = "http://127.0.0.1:8081", value_name = "URL")]
    server: String,
    /// The longest to wait for connection and answer
    #[arg(long, default_value = "2s", value_parser = client::duration, value_name = "TIME")]
    timeout: Duration,
    /// Text, or the response message as JSON
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Asks, prints, and tells the answer by the exit code.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let response = client::block_on(ask(&args))?;
    match args.format {
        Format::Text => print(&text(&args.descriptors, &response))?,
        Format::Json => print(&format!("{:#}\n", protojson::response(&response)))?,
    }
    Ok(if response.overall_code() == Code::OverLimit { ExitCode::from(OVER_LIMIT) } else { ExitCode::SUCCESS })
}

async fn ask(args: &Args) -> anyhow::Result<RateLimitResponse> {
    let channel = client::connect(&args.server, Listener::Grpc, args.timeout).await?;
    let hits = if args.peek { 0 } else { args.hits };
    let request = RateLimitRequest {
        domain: args.domain.clone(),
        descriptors: args.descriptors.iter().map(|descriptor| message(descriptor, Some(hits))).collect(),
        hits_addend: 0,
    };
    match RateLimitServiceClient::new(channel).should_rate_limit(request).await {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(client::explain(&status, &args.server, Listener::Grpc, args.timeout)),
    }
}

/// The descriptor as Envoy would send it.
pub fn message(descriptor: &TypedDescriptor, hits: Option<u64>) -> RateLimitDescriptor {
    let entries = descriptor.0.iter();
    RateLimitDescriptor {
        entries: entries.map(|(key, value)| Entry { key: key.clone(), value: value.clone() }).collect(),
        hits_addend: hits.map(|value| envoy_types::pb::google::protobuf::UInt64Value { value }),
        ..RateLimitDescriptor::default()
    }
}

fn text(descriptors: &[TypedDescriptor], response: &RateLimitResponse) -> String {
    let mut text = String::new();
    let names: Vec<String> = descriptors.iter().map(ToString::to_string).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(60);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", response.overall_code().as_str_name());
    for (name, status) in names.iter().zip(&response.statuses) {
        let _ = writeln!(text, "  {name:width$}  {:10}  {}", status.code().as_str_name(), state(status));
    }
    for header in &response.response_headers_to_add {
        let _ = writeln!(text, "  {}: {}", plain(&header.key), plain(&header.value));
    }
    text
}

fn state(status: &DescriptorStatus) -> String {
    let Some(limit) = &status.current_limit else {
        let unlimited = status.limit_remaining == u32::MAX;
        return if unlimited { "unlimited".to_owned() } else { "no limit applies".to_owned() };
    };
    let unit = match limit.unit() {
        Unit::Unknown => "window".to_owned(),
        unit => unit.as_str_name().to_ascii_lowercase(),
    };
    let name = if limit.name.is_empty() { String::new() } else { format!(" ({})", plain(&limit.name)) };
    let reset = status.duration_until_reset.as_ref().map_or(0, |duration| duration.seconds);
    let until = if status.code() == Code::OverLimit { "retry after" } else { "reset in" };
    format!("{} per {unit}{name}, {} left, {until} {reset} s", limit.requests_per_unit, status.limit_remaining)
}

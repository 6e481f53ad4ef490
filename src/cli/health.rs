//! `tidegate health`: whether a server wants traffic; for containers whose image has nothing else to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use http::Method;

use super::api::{ApiArgs, Call};
use super::{client, print};
use crate::config::{Config, LoadOptions};

/// Ask whether a running server wants traffic; the exit code is 0 if it does, else 1
///
/// It asks for /readyz, which tells the same as gRPC health.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate health
  tidegate health --api http://127.0.0.1:9080
  HEALTHCHECK CMD [\"tidegate\", \"health\"]                in a Dockerfile")]
pub struct Args {
    /// The server's HTTP API: http://host:port, https://host:port, or unix:PATH; else where the settings have it
    #[arg(long, env = "TIDEGATE_API", value_name = "URL")]
    api: Option<String>,
    /// A YAML file with the server's settings, when they are not in the environment
    #[arg(long, value_name = "FILE", conflicts_with = "api")]
    config: Option<PathBuf>,
    /// Certificate authorities that the server's certificate is checked against, a PEM file; for https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The longest to wait for connection and answer
    #[arg(long, default_value = "2s", value_parser = client::duration, value_name = "TIME")]
    timeout: Duration,
}

/// Asks once.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let api = match args.api {
        Some(api) => api,
        None => url(&Config::load(&LoadOptions { file: args.config, ..LoadOptions::from_process() })?.config),
    };
    let answer = ApiArgs::new(api, args.ca, args.timeout).call(Call::new(Method::GET, "/readyz"))?;
    print(&format!("{}\n", String::from_utf8_lossy(&answer.body)))?;
    Ok(ExitCode::SUCCESS)
}

/// Where a server with these settings is asked from its own machine: its socket, if it has one, as that needs no
/// certificate.
fn url(config: &Config) -> String {
    let http = &config.http;
    if let Some(path) = &http.unix_socket {
        return format!("unix:{}", path.display());
    }
    let mut address = http.address;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    let scheme = if http.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_where_it_listens() {
        let mut config = Config::default();
        assert_eq!(url(&config), "http://127.0.0.1:8080");
        config.http.address = ([127, 0, 0, 5], 9080).into();
        assert_eq!(url(&config), "http://127.0.0.5:9080");
        config.http.address = (Ipv6Addr::UNSPECIFIED, 9080).into();
        assert_eq!(url(&config), "http://[::1]:9080");
        config.http.unix_socket = Some("/run/tidegate/api.sock".into());
        assert_eq!(url(&config), "unix:/run/tidegate/api.sock");
    }
}

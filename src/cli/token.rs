//! `tidegate token`: who may use a server's API.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::api::{ApiArgs, Call, segment};
use super::rules::wording::{table, text};
use super::{Format, client, print};
use crate::config::{Config, LoadOptions};
use crate::rules::repository::choice::Repository;
use crate::rules::repository::record::Stamp;
use crate::rules::repository::secret::Secret;
use crate::rules::repository::token::{Scope, Token, TokenRepository as _};
use crate::server::rules::kept;

/// Work with the tokens of a server's API
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a token; its text is shown this once
    Create(Create),
    /// List tokens
    List(List),
    /// Revoke a token
    Revoke(Revoke),
}

/// Make a token; its text is shown this once
///
/// The first one is made on the server's machine: through its Unix socket (http.unix_socket), or with --direct in the
/// repository itself.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  tidegate token create ops --scope read --scope write-rules --scope operate --direct --config tidegate.yaml
  tidegate token create ci --scope write-rules --for 90d
  tidegate token create ops --scope operate --api unix:/run/tidegate/api.sock")]
pub struct Create {
    /// Its name, and the author of what is done with it
    name: String,
    /// What it allows: read, write-rules, read-anomalies, review-anomalies, operate; may be repeated
    #[arg(long = "scope", required = true, value_enum)]
    scopes: Vec<ScopeArg>,
    /// For how long it is worth something; without it, until it is revoked
    #[arg(long = "for", value_name = "TIME", value_parser = client::duration)]
    period: Option<std::time::Duration>,
    #[command(flatten)]
    way: Way,
}

/// List tokens
#[derive(Debug, clap::Args)]
pub struct List {
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    way: Way,
}

/// Revoke a token
#[derive(Debug, clap::Args)]
pub struct Revoke {
    /// Its name
    name: String,
    #[command(flatten)]
    way: Way,
}

/// How the repository is reached.
#[derive(Debug, clap::Args)]
struct Way {
    /// Work in the repository itself, which the settings name, and not through a server
    #[arg(long)]
    direct: bool,
    /// A YAML file with the server's settings, for --direct
    #[arg(long, value_name = "FILE", requires = "direct")]
    config: Option<std::path::PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

/// A scope on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ScopeArg {
    /// See rules and history, and decide over HTTP
    Read,
    /// Change rules and overrides
    WriteRules,
    /// See anomalies
    ReadAnomalies,
    /// Confirm and dismiss anomalies
    ReviewAnomalies,
    /// Make tokens, reset counters, accept a replaced repository
    Operate,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Read => Self::Read,
            ScopeArg::WriteRules => Self::WriteRules,
            ScopeArg::ReadAnomalies => Self::ReadAnomalies,
            ScopeArg::ReviewAnomalies => Self::ReviewAnomalies,
            ScopeArg::Operate => Self::Operate,
        }
    }
}

/// Runs the subcommand.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(args) => create(&args),
        Command::List(args) => list(&args),
        Command::Revoke(args) => revoke(&args),
    }
}

fn create(args: &Create) -> anyhow::Result<ExitCode> {
    let mut scopes: Vec<Scope> = args.scopes.iter().map(|scope| (*scope).into()).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let now = Timestamp::now();
    let end = |period| now.checked_add(SignedDuration::try_from(period)?);
    let expires = args.period.map(end).transpose().context("--for: longer than time goes")?;
    let secret = if args.way.direct {
        let secret = Secret::generate()?;
        let created = Stamp { at: now, by: "(command line)".into() };
        let name = args.name.as_str().into();
        let token = Token { name, hash: secret.hash(), scopes, created, expires, revoked: None };
        args.way.direct(async |repository| Ok(repository.create_token(token).await?))?;
        secret.reveal().to_owned()
    } else {
        let body = json!({ "name": args.name, "scopes": scopes, "expires": expires.map(|time| time.to_string()) });
        let answer = args.way.api.call(Call::new(Method::POST, "/tokens").json(&body))?.json()?;
        answer.get("token").and_then(Value::as_str).context("the server's answer has no token")?.to_owned()
    };
    eprintln!("This is the only time that the token is shown:");
    print(&format!("{secret}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn list(args: &List) -> anyhow::Result<ExitCode> {
    let tokens = if args.way.direct {
        let tokens = args.way.direct(async |repository| Ok(repository.tokens().await?))?;
        tokens.iter().map(document).collect()
    } else {
        let mut answer = args.way.api.call(Call::new(Method::GET, "/tokens"))?.json()?;
        match answer.get_mut("tokens").map(Value::take) {
            Some(Value::Array(tokens)) => tokens,
            _ => bail!("the server's answer has no tokens"),
        }
    };
    match args.format {
        Format::Json => print(&format!("{:#}\n", Value::Array(tokens)))?,
        Format::Text => print(&table(&tokens.iter().map(row).collect::<Vec<_>>()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn document(token: &Token) -> Value {
    json!({
        "name": token.name,
        "scopes": token.scopes,
        "created_at": token.created.at.to_string(),
        "created_by": token.created.by,
        "expires": token.expires.map(|time| time.to_string()),
        "revoked": token.revoked.map(|time| time.to_string()),
    })
}

fn row(token: &Value) -> Vec<String> {
    let scopes = token.get("scopes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let end = match (text(token, "/revoked").as_ref(), text(token, "/expires").as_ref()) {
        ("-", "-") => String::new(),
        ("-", expires) => format!("until {expires}"),
        (revoked, _) => format!("revoked {revoked}"),
    };
    vec![
        text(token, "/name").into_owned(),
        scopes.collect::<Vec<_>>().join(","),
        format!("made {} by {}", text(token, "/created_at"), text(token, "/created_by")),
        end,
    ]
}

fn revoke(args: &Revoke) -> anyhow::Result<ExitCode> {
    if args.way.direct {
        let revoked =
            args.way.direct(async |repository| Ok(repository.revoke_token(&args.name, Timestamp::now()).await?))?;
        if !revoked {
            bail!("there is no token '{}' that is not revoked", args.name);
        }
    } else {
        args.way.api.call(Call::new(Method::DELETE, format!("/tokens/{}", segment(&args.name))))?;
    }
    print(&format!("revoked {}\n", args.name))?;
    Ok(ExitCode::SUCCESS)
}

impl Way {
    fn direct<T>(&self, work: impl AsyncFnOnce(&Repository) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let options = LoadOptions { file: self.config.clone(), ..LoadOptions::from_process() };
        let config = Config::load(&options)?.config;
        client::block_on(async {
            let repository = kept::repository(&config).await?;
            match repository {
                Some(repository) => work(&repository).await,
                None => bail!("the settings name no repository that lasts; set rules.repository_file or DATABASE_URL"),
            }
        })
    }
}

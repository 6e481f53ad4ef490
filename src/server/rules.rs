//! Rules, from where the settings say they are into the limiter.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Context, StartError};
use crate::config;
use crate::limiter::Description;
use crate::rules::files::{Loaded, Location, RuntimeRoot, Sources, embedded, load};
use crate::rules::report::Report;
use crate::rules::watch::{Options, Watcher, watch};

/// As good as never.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// The sources of rules that the settings name; `None` when they name none, and the built-in examples hold.
#[must_use]
pub fn sources(rules: &config::Rules) -> Option<Sources> {
    let paths = rules.paths.iter().map(|path: &PathBuf| Location::Path(path.clone()));
    let runtime = rules.runtime.iter().map(|runtime| {
        Location::Runtime(RuntimeRoot {
            root: runtime.root.clone(),
            subdirectory: runtime.subdirectory.clone(),
            app_directory: runtime.app_directory.clone(),
            watch_root: runtime.watch_root,
        })
    });
    let locations: Vec<_> = paths.chain(runtime).collect();
    (!locations.is_empty()).then(|| Sources {
        locations,
        ignore_dot_files: rules.runtime.as_ref().is_some_and(|runtime| runtime.ignore_dotfiles),
        merge_domains: rules.merge_domains,
        strict: rules.strict,
    })
}

/// Loads the rules that the settings name.
///
/// # Errors
/// Every mistake in them.
pub fn load_configured(rules: &config::Rules) -> Result<Loaded, Report> {
    sources(rules).map_or_else(embedded, |sources| load(&sources))
}

/// Loads the first rules. With `rules.start_without`, rules that do not load are told and left out.
///
/// # Errors
/// Every mistake in them.
pub fn load_first(context: &Context) -> Result<Option<Loaded>, StartError> {
    let settings = &context.config.rules;
    let read = load_configured(settings);
    context.reloads.record(&read, SystemTime::now());
    match read {
        Ok(loaded) => Ok(Some(loaded)),
        Err(report) if settings.start_without => {
            context.metrics.rule_loads().failed();
            tracing::error!("the first rules do not load; requests get an error until they do:\n{report}");
            Ok(None)
        }
        Err(report) => Err(StartError::Rules(report)),
    }
}

/// Puts rules in force, now and whenever their files change; nothing watches the built-in ones.
///
/// # Errors
/// When there is no thread to watch with.
pub fn keep_in_force(context: &Arc<Context>, first: Option<Loaded>) -> io::Result<Option<Watcher>> {
    let settings = &context.config.rules;
    let watcher = sources(settings)
        .map(|sources| {
            let poll = Some(settings.poll_interval).filter(|poll| !poll.is_zero()).unwrap_or(NEVER);
            let options = Options { quiet: settings.debounce, poll, ..Options::default() };
            let status = Arc::clone(&context.reloads);
            // Weak: the thread must not keep alive what it serves.
            let context = Arc::downgrade(context);
            watch(sources, options, first.as_ref(), status, move |read| {
                if let Some(context) = context.upgrade() {
                    changed(&context, read);
                }
            })
        })
        .transpose()?;
    if let Some(loaded) = first {
        publish(context, loaded);
    }
    Ok(watcher)
}

fn changed(context: &Context, read: Result<Loaded, Report>) {
    match read {
        Ok(loaded) => publish(context, loaded),
        Err(report) => {
            context.metrics.rule_loads().failed();
            tracing::error!("changed rules do not load; the ones in force stay:\n{report}");
        }
    }
}

fn publish(context: &Context, loaded: Loaded) {
    let rules = loaded.rules.rule_count();
    context.rule_files.store(Arc::new(loaded.files));
    let source = if sources(&context.config.rules).is_some() { "files" } else { "built in" };
    let revision = context.limiter.publish(loaded.rules, Description { source: source.into() });
    context.metrics.rule_loads().loaded(revision, rules);
    context.health.rules_loaded();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(revision, rules, "rules are in force");
}

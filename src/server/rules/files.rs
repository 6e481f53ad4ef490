//! Rules from files, now and whenever the files change.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::publish;
use crate::config;
use crate::rules::files::{Loaded, Location, RuntimeRoot, Sources, load};
use crate::rules::report::Report;
use crate::rules::watch::{Options, Watcher, watch};
use crate::server::{Context, StartError};

/// As good as never.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// The files of rules that the settings name; `None` when they name none, and rules are kept in a repository.
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

/// Loads the first rules. With `rules.start_without`, rules that do not load are told and left out.
///
/// # Errors
/// Every mistake in them.
pub fn load_first(context: &Context, sources: &Sources) -> Result<Option<Loaded>, StartError> {
    let settings = &context.config.rules;
    let read = load(sources);
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

/// Puts rules in force, now and whenever their files change.
///
/// # Errors
/// When there is no thread to watch with.
pub fn keep_in_force(context: &Arc<Context>, sources: Sources, first: Option<Loaded>) -> io::Result<Watcher> {
    let settings = &context.config.rules;
    let poll = Some(settings.poll_interval).filter(|poll| !poll.is_zero()).unwrap_or(NEVER);
    let options = Options { quiet: settings.debounce, poll, ..Options::default() };
    let status = Arc::clone(&context.reloads);
    // Weak: the thread must not keep alive what it serves.
    let served = Arc::downgrade(context);
    let watcher = watch(sources, options, first.as_ref(), status, move |read| {
        if let Some(context) = served.upgrade() {
            changed(&context, read);
        }
    })?;
    if let Some(loaded) = first {
        take(context, loaded);
    }
    Ok(watcher)
}

fn changed(context: &Context, read: Result<Loaded, Report>) {
    match read {
        Ok(loaded) => take(context, loaded),
        Err(report) => {
            context.metrics.rule_loads().failed();
            tracing::error!("changed rules do not load; the ones in force stay:\n{report}");
        }
    }
}

fn take(context: &Context, loaded: Loaded) {
    context.rule_files.store(Arc::new(loaded.files));
    publish(context, loaded.rules, "files");
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

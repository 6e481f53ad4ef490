//! Where the settings say that rules are.

use std::path::PathBuf;

use super::{Context, StartError};
use crate::config;
use crate::rules::files::{Loaded, Location, RuntimeRoot, Sources, embedded, load};
use crate::rules::report::Report;

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

/// Puts the first rules in force. With `rules.start_without`, rules that do not load are told and left out.
///
/// # Errors
/// Every mistake in them.
pub fn load_first(context: &Context) -> Result<(), StartError> {
    let settings = &context.config.rules;
    match load_configured(settings) {
        Ok(loaded) => {
            publish(context, loaded);
            Ok(())
        }
        Err(report) => {
            context.metrics.rule_loads().failed();
            if !settings.start_without {
                return Err(StartError::Rules(report));
            }
            tracing::error!("the first rules do not load; requests get an error until they do:\n{report}");
            Ok(())
        }
    }
}

/// Puts rules in force.
pub fn publish(context: &Context, loaded: Loaded) {
    let rules = loaded.rules.rule_count();
    let revision = context.limiter.publish(loaded.rules);
    context.metrics.rule_loads().loaded(revision, rules);
    context.health.rules_loaded();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(revision, rules, "rules are in force");
}

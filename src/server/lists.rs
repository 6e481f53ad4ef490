//! The lists of external authorization, now and whenever their files change.
//!
//! Both lists are made anew of the settings and of all files together, beside the ones in force, and take their place
//! at once. A mistake anywhere, and the ones in force stay.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};
use serde_json::{Value, json};

use crate::authz::lists::{Entry, EntryError, ListKind, Lists, ListsBuilder};
use crate::config::ext_authz::{ExtAuthz, List};
use crate::rules::files::{Fingerprint, Sources, Texts};
use crate::rules::report::{Diagnostic, Report, Severity};
use crate::rules::watch::{Followed, Options, Status, Watcher, follow};
use crate::telemetry::metrics::Metrics;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ListsError {
    /// The lists have mistakes.
    #[error("the lists of ext_authz do not load:\n{0}")]
    Mistakes(Report),
    /// There is no thread to follow files with.
    #[error("the files of ext_authz.lists cannot be followed: {0}")]
    Thread(#[from] io::Error),
}

/// The lists in force, and how loading them goes. Empty by default.
#[derive(Debug, Default)]
pub struct ListsHandle {
    lists: ArcSwap<Lists>,
    status: Arc<Status>,
}

impl ListsHandle {
    /// The lists in force. One request is decided by one guard, which is not kept for longer.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Lists>> {
        self.lists.load()
    }

    /// How loading goes, the first included.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// What health tells of them.
    #[must_use]
    pub fn document(&self) -> Value {
        let lists = self.load();
        json!({
            "deny": lists.len(ListKind::Deny),
            "allow": lists.len(ListKind::Allow),
            "loads": self.status.successes(),
            "failed_loads": self.status.failures(),
            // The lists in force are older than the files, which have mistakes.
            "outdated": self.status.failure().is_some(),
        })
    }

    /// Adds what is measured of them.
    pub fn register(self: &Arc<Self>, metrics: &Metrics) {
        let handle = Arc::clone(self);
        metrics.gauges("list_entries", "Entries of the lists in force, ended ones included", "list", move || {
            let lists = handle.load();
            let len = |kind| lists.len(kind) as f64;
            vec![("deny".to_owned(), len(ListKind::Deny)), ("allow".to_owned(), len(ListKind::Allow))]
        });
        let status = Arc::clone(&self.status);
        metrics.counters("list_reloads", "Lists put in force and refused, the first included", "outcome", move || {
            vec![("success".to_owned(), status.successes()), ("error".to_owned(), status.failures())]
        });
    }

    fn put(&self, lists: Lists) {
        let (deny, allow) = (lists.len(ListKind::Deny), lists.len(ListKind::Allow));
        self.lists.store(Arc::new(lists));
        tracing::info!(deny, allow, "lists are in force");
    }
}

/// Loads the lists and follows their files, as long as the watcher is kept; there is none without files.
///
/// # Errors
/// Every mistake in the lists.
pub fn open(settings: &ExtAuthz, options: Options) -> Result<(Arc<ListsHandle>, Option<Watcher>), ListsError> {
    let handle = Arc::new(ListsHandle::default());
    let lists = &settings.lists;
    if *lists == Default::default() {
        return Ok((handle, None));
    }
    let sources = Sources::files(lists.deny.files.iter().chain(&lists.allow.files));
    let known = load_first(&handle, settings, &sources)?;
    if sources.locations.is_empty() {
        return Ok((handle, None));
    }
    let status = Arc::clone(&handle.status);
    let followed = Followed { name: "lists", sources, options, known: Some(known), status };
    let settings = settings.clone();
    let served = Arc::clone(&handle);
    let watcher = follow(
        followed,
        move |texts| make(&settings, &texts),
        move |made| match made {
            Ok(lists) => served.put(lists),
            Err(report) => tracing::error!("changed lists do not load; the ones in force stay:\n{report}"),
        },
    )?;
    Ok((handle, Some(watcher)))
}

fn load_first(handle: &ListsHandle, settings: &ExtAuthz, sources: &Sources) -> Result<Fingerprint, ListsError> {
    let texts = if sources.locations.is_empty() { Texts::default() } else { Texts::read(sources) };
    let made = make(settings, &texts);
    handle.status.record(&made, SystemTime::now());
    handle.put(made.map_err(ListsError::Mistakes)?);
    Ok(texts.fingerprint)
}

/// Lists of the settings and of what their files say.
fn make(settings: &ExtAuthz, texts: &Texts) -> Result<Lists, Report> {
    let mut report = texts.report.clone();
    // A file that is named twice would be on one list only.
    report.make_strict();
    let mut builder = ListsBuilder::new(settings.paths.ignore_case);
    let (deny, allow) = (&settings.lists.deny, &settings.lists.allow);
    for (kind, name, list) in [(ListKind::Deny, "deny", deny), (ListKind::Allow, "allow", allow)] {
        add_settings(&mut builder, kind, name, list, &mut report);
    }
    for (path, text) in &texts.files {
        let kind = if deny.files.contains(path) { ListKind::Deny } else { ListKind::Allow };
        if let Some(text) = text {
            add_file(&mut builder, kind, path, text, &mut report);
        }
    }
    if builder.has_users() && settings.user.is_none() {
        let message = "users are listed, and nobody says which value is the user";
        report.push(Diagnostic::file_error("", message, Some("set ext_authz.user".to_owned())));
    }
    if report.errors() > 0 { Err(report) } else { Ok(builder.build()) }
}

/// Entries that stand in the settings themselves.
fn add_settings(builder: &mut ListsBuilder, kind: ListKind, name: &str, list: &List, report: &mut Report) {
    let networks = list.networks.iter().map(|text| ("networks", Entry::network(text)));
    let users = list.users.iter().map(|text| ("users", Entry::user(text)));
    let paths = list.paths.iter().map(|text| ("paths", Ok(Entry::path(text))));
    let mut index = 0;
    let mut before = "";
    for (field, entry) in networks.chain(users).chain(paths) {
        index = if field == before { index + 1 } else { 0 };
        before = field;
        if let Err(error) = entry.and_then(|entry| builder.add(kind, &entry)) {
            let message = format!("ext_authz.lists.{name}.{field}[{index}]: {error}");
            report.push(Diagnostic::file_error("", message, error.help()));
        }
    }
}

fn add_file(builder: &mut ListsBuilder, kind: ListKind, path: &Path, text: &str, report: &mut Report) {
    /// More of a line than is ever shown.
    const LONGEST: usize = 10_000;
    builder.add_text(kind, text, |line, source, error: EntryError| {
        report.push(Diagnostic {
            severity: Severity::Error,
            file: path.display().to_string(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: 0,
            message: error.to_string(),
            help: error.help(),
            source: (source.len() <= LONGEST).then(|| source.to_owned()),
        });
    });
}

//! Rules are read again when their files change.
//!
//! inotify tells that something changed, and a slow poll finds what inotify missed (network file systems, too few
//! watches). Neither tells whether the change is complete. So a set is read only when it has been quiet for a moment,
//! no rule file is open for writing as far as the events tell, and every file looks the same from outside before and
//! after reading. What was read in between is thrown away.
//!
//! A set that cannot be used is reported and never replaces the one in force; the next change is looked at again.
//!
//! [`watch`] does so for rules; [`follow`] for whatever else is made of files.

mod events;
mod status;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::files::{Fingerprint, Listing, Loaded, Sources, Texts, load_texts};
use super::report::Report;
use crate::threads;

use events::{Events, Signal, Waker, Writing};
pub use status::Status;

/// How changes are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long nothing must change before the files are read: one burst of changes is one load.
    pub quiet: Duration,
    /// The longest that a burst can put off reading.
    pub patience: Duration,
    /// How often the files are looked at when no change was told.
    pub poll: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(150), patience: Duration::from_secs(3), poll: Duration::from_secs(10) }
    }
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Stops, and waits until a load that is under way has ended.
    pub fn stop(mut self) {
        self.waker.stop();
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked but in the callback, and then there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.waker.stop();
    }
}

/// Watches the sources on a thread of its own and calls `then` with each set that was read, good or bad. `initial` is
/// what has been loaded already; without it, the sources are read at once. When this returns, the watches are in place.
///
/// # Errors
/// When no thread can be started. Trouble with inotify is logged, and polling goes on.
pub fn watch(
    sources: Sources,
    options: Options,
    initial: Option<&Loaded>,
    status: Arc<Status>,
    then: impl FnMut(Result<Loaded, Report>) + Send + 'static,
) -> io::Result<Watcher> {
    let known = initial.map(|loaded| loaded.fingerprint.clone());
    let read_as = sources.clone();
    let read = move |texts| load_texts(&read_as, texts);
    follow(Followed { name: "rules", sources, options, known, status }, read, then)
}

/// Files that are followed.
#[derive(Debug)]
pub struct Followed {
    /// What they are, in the name of the thread and in the log.
    pub name: &'static str,
    /// Where they are.
    pub sources: Sources,
    /// How changes are noticed.
    pub options: Options,
    /// How they looked when they were read first; without it, they are read at once.
    pub known: Option<Fingerprint>,
    /// How reading goes.
    pub status: Arc<Status>,
}

/// Follows files on a thread of its own: `read` makes something of them whenever they have changed, and `then` takes
/// it, unless they changed meanwhile. When this returns, the watches are in place.
///
/// # Errors
/// When no thread can be started. Trouble with inotify is logged, and polling goes on.
pub fn follow<T: 'static>(
    followed: Followed,
    mut read: impl FnMut(Texts) -> Result<T, Report> + Send + 'static,
    then: impl FnMut(Result<T, Report>) + Send + 'static,
) -> io::Result<Watcher> {
    start(followed, move |listing| read(Texts::of(listing)), then)
}

/// Like [`follow`], for files that are no text: `read` reads them itself.
///
/// # Errors
/// As [`follow`].
pub fn follow_binary<T: 'static>(
    followed: Followed,
    mut read: impl FnMut() -> Result<T, Report> + Send + 'static,
    then: impl FnMut(Result<T, Report>) + Send + 'static,
) -> io::Result<Watcher> {
    start(followed, move |_| read(), then)
}

fn start<T: 'static>(
    followed: Followed,
    read: impl FnMut(Listing) -> Result<T, Report> + Send + 'static,
    then: impl FnMut(Result<T, Report>) + Send + 'static,
) -> io::Result<Watcher> {
    let (events, waker) = Events::new();
    let handler = events.handler();
    let Followed { name, sources, options, known, status } = followed;
    let notifier = notify::recommended_watcher(handler)
        .inspect_err(|error| tracing::warn!(%error, "cannot watch files of {name}; polling them instead"))
        .ok();
    let mut engine = Engine {
        sources,
        options,
        status,
        read,
        then,
        events,
        notifier,
        watched: HashMap::new(),
        watch_trouble: false,
        writing: Writing::default(),
        known,
        due: None,
    };
    // Whatever changed since the first load is found by a first look, once the watches are in place.
    engine.look();
    let thread = thread::Builder::new().name(format!("{name}-watch")).spawn(move || {
        threads::give_way();
        engine.run();
    })?;
    Ok(Watcher { waker, thread: Some(thread) })
}

/// When to read.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// Nothing may have changed since a quiet period before.
    at: Instant,
    /// The first change of the burst.
    since: Instant,
    /// Also when the files look as before.
    forced: bool,
}

struct Engine<R, F> {
    sources: Sources,
    options: Options,
    status: Arc<Status>,
    read: R,
    then: F,
    events: Events,
    notifier: Option<RecommendedWatcher>,
    /// Watched directories, with device and inode: a path may come to be another directory.
    watched: HashMap<PathBuf, (u64, u64)>,
    /// Watching failed, and this was logged.
    watch_trouble: bool,
    writing: Writing,
    /// How the files looked when they were last read.
    known: Option<Fingerprint>,
    due: Option<Due>,
}

impl<T, R: FnMut(Listing) -> Result<T, Report>, F: FnMut(Result<T, Report>)> Engine<R, F> {
    fn run(mut self) {
        let mut next_poll = Instant::now() + self.options.poll;
        loop {
            let wake = self.due.map_or(next_poll, |due| due.at.min(next_poll));
            match self.events.next(wake.saturating_duration_since(Instant::now())) {
                Ok(signal) => self.signal(&signal),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.drain();
            if self.events.stopped() {
                return;
            }
            let now = Instant::now();
            if self.due.is_some_and(|due| due.at <= now) {
                self.settle(now);
            }
            if next_poll <= now {
                self.look();
                next_poll = Instant::now() + self.options.poll;
            }
        }
    }

    fn drain(&mut self) {
        while let Ok(signal) = self.events.next(Duration::ZERO) {
            self.signal(&signal);
        }
        if self.events.take_lost() {
            // An end of writing may be among what was lost; from here on, only the looks of the files tell.
            self.writing.clear();
            self.changed(Instant::now(), true);
        }
    }

    fn signal(&mut self, signal: &Signal) {
        self.writing.note(signal);
        if let Signal::Gone(path) = signal
            && self.watched.remove(path).is_some()
            && let Some(notifier) = &mut self.notifier
        {
            // It may have gone already, which is fine.
            let _ = notifier.unwatch(path);
        }
        self.changed(Instant::now(), false);
    }

    fn changed(&mut self, now: Instant, forced: bool) {
        let since = self.due.map_or(now, |due| due.since);
        let at = (now + self.options.quiet).min((since + self.options.patience).max(now));
        let forced = forced || self.due.is_some_and(|due| due.forced);
        self.due = Some(Due { at, since, forced });
    }

    /// A look at the files, without an event: do they look different?
    fn look(&mut self) {
        let mut listing = Listing::of(&self.sources);
        if self.sync_watches(&listing) {
            // What changed before the new watches were in place is found by looking again.
            listing = Listing::of(&self.sources);
        }
        if self.known.as_ref() != Some(&listing.fingerprint) && self.due.is_none() {
            self.changed(Instant::now(), false);
        }
    }

    /// Reads the files, if they changed and seem complete.
    fn settle(&mut self, now: Instant) {
        let Some(due) = self.due.take() else { return };
        let listing = Listing::of(&self.sources);
        let _ = self.sync_watches(&listing);
        if !due.forced && self.known.as_ref() == Some(&listing.fingerprint) {
            return;
        }
        if let Some(file) = listing.files.iter().find(|file| self.writing.contains(&file.real)) {
            // The end of writing is an event, too.
            tracing::debug!(file = %file.path.display(), "a file is being written; waiting for its end");
            self.status.wait_for(Some(file.path.clone()));
            return;
        }
        let (fingerprint, contents) = (listing.fingerprint.clone(), listing.contents.clone());
        let real: Vec<PathBuf> = listing.files.iter().map(|file| file.real.clone()).collect();
        let result = (self.read)(listing);
        self.drain();
        let after = Listing::of(&self.sources);
        if after.contents != contents || real.iter().any(|real| self.writing.contains(real)) {
            self.due = Some(Due { at: Instant::now() + self.options.quiet, ..due });
            return;
        }
        self.known = Some(fingerprint);
        self.status.wait_for(None);
        if now >= due.since + self.options.patience {
            // Not quiet at all: file times may be too coarse to show the next change, so read once more.
            self.changed(Instant::now(), true);
        }
        self.status.record(&result, SystemTime::now());
        (self.then)(result);
    }

    /// Watches the directories that matter now, and those only. Says whether there are new ones.
    fn sync_watches(&mut self, listing: &Listing) -> bool {
        let Some(notifier) = &mut self.notifier else { return false };
        let mut added = false;
        let identity = |path: &PathBuf| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        self.watched.retain(|path, watched| {
            let keep = listing.directories.contains(path) && identity(path).as_ref() == Some(watched);
            if !keep {
                // It may have gone already, which is fine.
                let _ = notifier.unwatch(path);
            }
            keep
        });
        for directory in &listing.directories {
            if self.watched.contains_key(directory) {
                continue;
            }
            match notifier.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    added = true;
                    self.writing.forget_below(directory);
                    self.watched.extend(identity(directory).map(|identity| (directory.clone(), identity)));
                }
                Err(error) if !self.watch_trouble => {
                    self.watch_trouble = true;
                    tracing::warn!(directory = %directory.display(), %error, "cannot watch; polling it instead");
                }
                Err(_) => {}
            }
        }
        added
    }
}

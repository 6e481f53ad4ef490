//! Which files there are, how they look from outside, and which directories to watch for changes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::rules::report::Diagnostic;

use super::{Location, MAX_FILES, RuntimeRoot, Sources, name};

/// At most so many directory entries are looked at, rule files or not.
const MAX_ENTRIES: usize = 100_000;
/// At most so many symbolic links in a row, as Linux has it.
const MAX_LINKS: usize = 40;

/// How all files look from outside: while it stays equal, nothing has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<Trace>);

impl Fingerprint {
    /// How the files of all sources look now.
    #[must_use]
    pub fn of(sources: &Sources) -> Self {
        Listing::of(sources).fingerprint
    }
}

/// How one file, or one symbolic link, looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trace {
    path: PathBuf,
    /// Where the links on the way lead.
    real: PathBuf,
    stat: Option<Stat>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    /// The last change of content, and of anything: seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Trace {
    fn new(path: &Path, real: PathBuf, metadata: Option<&Metadata>) -> Self {
        let stat = metadata.map(|metadata| Stat {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        });
        Self { path: path.to_owned(), real, stat }
    }
}

/// A rule file.
#[derive(Debug)]
pub(in crate::rules) struct RuleFile {
    /// As the user knows it.
    pub(in crate::rules) path: PathBuf,
    /// Where the links on the way lead.
    pub(in crate::rules) real: PathBuf,
}

/// What a look at the sources found.
#[derive(Debug, Default)]
pub(in crate::rules) struct Listing {
    /// In the order of reading.
    pub(in crate::rules) files: Vec<RuleFile>,
    /// What is wrong with them, seen from outside.
    pub(in crate::rules) diagnostics: Vec<Diagnostic>,
    /// Changes whenever the rules should be read again.
    pub(in crate::rules) fingerprint: Fingerprint,
    /// Changes whenever the files do, also where that alone is no reason to read them.
    pub(in crate::rules) contents: Fingerprint,
    /// Existing directories in which a change shows, without links in their paths.
    pub(in crate::rules) directories: BTreeSet<PathBuf>,
}

impl Listing {
    /// Looks at the sources.
    pub(in crate::rules) fn of(sources: &Sources) -> Self {
        let mut walk = Walk { ignore_dot_files: sources.ignore_dot_files, ..Walk::default() };
        for location in &sources.locations {
            walk.location(location);
        }
        if walk.listing.files.is_empty() && walk.listing.diagnostics.is_empty() {
            let places: Vec<String> = sources.locations.iter().map(|location| name(&location.path())).collect();
            let message = format!("there are no rule files in {}", places.join(", "));
            let help = "rule files end in .yaml, .yml or .json".to_owned();
            walk.listing.diagnostics.push(Diagnostic::file_error("", message, Some(help)));
        }
        walk.listing
    }
}

impl Location {
    /// The file or directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Path(path) | Self::File(path) => path.clone(),
            Self::Runtime(RuntimeRoot { root, subdirectory, app_directory, .. }) => {
                join(&join(root, subdirectory), app_directory)
            }
        }
    }
}

/// Joins as text: a leading slash does not lead out of the base, nor does an empty part leave a trailing slash.
fn join(base: &Path, below: &Path) -> PathBuf {
    let mut path = base.to_owned();
    path.extend(below.components().filter(|component| matches!(component, Component::Normal(_))));
    path
}

#[derive(Default)]
struct Walk {
    listing: Listing,
    ignore_dot_files: bool,
    entries: usize,
    /// Files already listed, by device and inode: the same file is not read twice through two links.
    seen: HashMap<(u64, u64), PathBuf>,
    directories: HashSet<(u64, u64)>,
    full: bool,
}

impl Walk {
    fn location(&mut self, location: &Location) {
        let path = location.path();
        let before = self.listing.contents.0.len();
        match location {
            Location::Path(_) | Location::File(_) => {
                match fs::metadata(&path) {
                    Ok(metadata) if metadata.is_dir() && matches!(location, Location::File(_)) => {
                        let help = Some("write the path of each file".to_owned());
                        self.problem(Diagnostic::file_error(name(&path), "this is a directory, not a file", help));
                    }
                    _ => self.path(&path, true),
                }
                self.watch_way_to(&path);
                let traces = self.listing.contents.0[before..].to_vec();
                self.listing.fingerprint.0.extend(traces);
            }
            Location::Runtime(runtime) => {
                let known = self.listing.directories.clone();
                self.runtime(runtime, &path);
                let links = links(&runtime.root);
                if runtime.watch_root && !links.is_empty() {
                    self.listing.directories = known;
                    self.watch_way_to(&runtime.root);
                    for link in links {
                        let target = fs::read_link(&link).unwrap_or_default();
                        let metadata = fs::symlink_metadata(&link).ok();
                        self.listing.fingerprint.0.push(Trace::new(&link, target, metadata.as_ref()));
                    }
                } else {
                    self.watch_way_to(&path);
                    let traces = self.listing.contents.0[before..].to_vec();
                    self.listing.fingerprint.0.extend(traces);
                }
            }
        }
    }

    /// With `watch_root`, envoyproxy/ratelimit also reads whatever is called `<app_directory>.*` beside the directory.
    fn runtime(&mut self, runtime: &RuntimeRoot, path: &Path) {
        let mut beside = Vec::new();
        if let (true, Some(parent), Some(app_directory)) = (runtime.watch_root, path.parent(), path.file_name()) {
            let prefix = [app_directory.as_bytes(), b"."].concat();
            beside = self.sorted_entries(parent).unwrap_or_default();
            beside.retain(|entry| entry.as_bytes().starts_with(&prefix));
            beside.iter_mut().for_each(|entry| *entry = parent.join(&*entry).into());
        }
        if beside.is_empty() || path.exists() {
            self.path(path, false);
        }
        for entry in beside {
            self.entry(Path::new(&entry));
        }
    }

    /// A file or directory that was named; a file then may have any name.
    fn path(&mut self, path: &Path, may_be_file: bool) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.directory(path, &metadata),
            Ok(metadata) if may_be_file => self.file(path, &metadata),
            Ok(_) => {
                let help = Some("RUNTIME_ROOT/RUNTIME_SUBDIRECTORY/RUNTIME_APPDIRECTORY names a directory".to_owned());
                self.problem(Diagnostic::file_error(name(path), "this is not a directory", help));
            }
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.listing.contents.0.push(Trace::new(path, PathBuf::new(), None));
        self.problem(Diagnostic::file_error(name(path), format!("cannot read it: {error}"), None));
    }

    fn problem(&mut self, diagnostic: Diagnostic) {
        self.listing.diagnostics.push(diagnostic);
    }

    fn sorted_entries(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)?.take(MAX_ENTRIES + 1) {
            let name = entry?.file_name();
            let bytes = name.as_bytes();
            // The inside of a mounted ConfigMap: `..data` and `..2024_05_01_...`, whose files are linked beside it.
            let hidden = bytes.starts_with(b"..") || (self.ignore_dot_files && bytes.starts_with(b"."));
            if !hidden {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn directory(&mut self, path: &Path, metadata: &Metadata) {
        if !self.directories.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        self.watch(path);
        match self.sorted_entries(path) {
            Ok(names) => names.iter().for_each(|name| self.entry(&path.join(name))),
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn entry(&mut self, path: &Path) {
        self.entries += 1;
        if self.full || self.entries > MAX_ENTRIES {
            if !std::mem::replace(&mut self.full, true) {
                let message = format!("more than {MAX_ENTRIES} files and directories");
                let help = Some("give the rules a directory of their own".to_owned());
                self.problem(Diagnostic::file_error(name(path), message, help));
            }
            return;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.directory(path, &metadata),
            Ok(metadata) if metadata.is_file() && is_rule_file(path) => self.file(path, &metadata),
            Ok(_) if is_leftover(path) => {}
            Ok(_) => {
                let help = Some("rule files end in .yaml, .yml or .json; move anything else away".to_owned());
                self.problem(Diagnostic::file_warning(name(path), "this is no rule file and was not read", help));
            }
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) {
        if let Some(first) = self.seen.get(&(metadata.dev(), metadata.ino())) {
            let help = Some(format!("it is the same file as {}; remove one of the links", name(first)));
            self.problem(Diagnostic::file_warning(name(path), "this file was read already", help));
            return;
        }
        if self.listing.files.len() >= MAX_FILES {
            if !std::mem::replace(&mut self.full, true) {
                let message = format!("there are more than {MAX_FILES} rule files");
                let help = Some("put several domains' rules together, or merge files".to_owned());
                self.problem(Diagnostic::file_error(name(path), message, help));
            }
            return;
        }
        self.seen.insert((metadata.dev(), metadata.ino()), path.to_owned());
        let real = fs::canonicalize(path).unwrap_or_default();
        // A pipe looks different each time it is read; it is read once.
        let stat = metadata.is_file().then_some(metadata);
        self.listing.contents.0.push(Trace::new(path, real.clone(), stat));
        if path.is_symlink() {
            self.watch_way_to(path);
        }
        self.listing.files.push(RuleFile { path: path.to_owned(), real });
    }

    fn watch(&mut self, directory: &Path) {
        self.listing.directories.extend(fs::canonicalize(directory));
    }

    /// Watches where each link on the way to `path` stands, and the directory of `path`, or whichever of its
    /// ancestors exists.
    fn watch_way_to(&mut self, path: &Path) {
        let links = links(path);
        let real = fs::canonicalize(path);
        for path in links.iter().map(PathBuf::as_path).chain([path]).chain(real.as_deref().ok()) {
            let here = |path: &'_ Path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() };
            if let Some(existing) = path.ancestors().skip(1).map(here).find(|ancestor| ancestor.is_dir()) {
                self.watch(&existing);
            }
        }
    }
}

/// Every symbolic link on the way to a path, in the order in which they are followed.
fn links(path: &Path) -> Vec<PathBuf> {
    let mut links = Vec::new();
    let mut done = PathBuf::new();
    let mut rest: Vec<OsString> = path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
    while let Some(part) = rest.pop() {
        done.push(&part);
        if links.len() >= MAX_LINKS {
            break;
        }
        if let Ok(target) = fs::read_link(&done) {
            links.push(done.clone());
            done.pop();
            rest.extend(target.components().rev().map(|part| part.as_os_str().to_owned()));
        }
    }
    links
}

fn is_rule_file(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// What editors leave lying about for a moment, or for ever.
fn is_leftover(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    name.starts_with(b".") || name.ends_with(b"~")
}

//! From inotify's events to what matters of them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind};

/// At most so many events wait; more are lost, which is known.
const QUEUE: usize = 4_096;
/// At most so many files are known to be written.
const MAX_WRITING: usize = 10_000;

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// A file was written to, and its writer has not closed it yet.
    Written(PathBuf),
    /// A file's writer closed it, or it came complete from elsewhere.
    Complete(PathBuf),
    /// A file or directory was removed or renamed.
    Gone(PathBuf),
    /// Something else, or only a reason to wake up.
    Other,
}

/// The events of all watched directories.
pub(super) struct Events {
    receiver: Receiver<Signal>,
    shared: Arc<Shared>,
    sender: SyncSender<Signal>,
}

#[derive(Debug, Default)]
struct Shared {
    lost: AtomicBool,
    stop: AtomicBool,
}

/// Ends the watching.
#[derive(Debug)]
pub(super) struct Waker {
    shared: Arc<Shared>,
    sender: SyncSender<Signal>,
}

impl Waker {
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        // A full queue wakes the receiver as well.
        let _ = self.sender.try_send(Signal::Other);
    }
}

impl Events {
    pub(super) fn new() -> (Self, Waker) {
        let (sender, receiver) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let waker = Waker { shared: Arc::clone(&shared), sender: sender.clone() };
        (Self { receiver, shared, sender }, waker)
    }

    /// What to give to notify.
    pub(super) fn handler(&self) -> impl FnMut(notify::Result<Event>) + Send + 'static {
        let (sender, shared) = (self.sender.clone(), Arc::clone(&self.shared));
        move |event| {
            let Ok(event) = event else {
                shared.lost.store(true, Ordering::Release);
                let _ = sender.try_send(Signal::Other);
                return;
            };
            if event.need_rescan() {
                shared.lost.store(true, Ordering::Release);
            }
            if let Some(signal) = signal(event)
                && sender.try_send(signal).is_err()
            {
                shared.lost.store(true, Ordering::Release);
            }
        }
    }

    pub(super) fn next(&self, timeout: Duration) -> Result<Signal, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }

    /// Whether events were lost since the last call.
    pub(super) fn take_lost(&self) -> bool {
        self.shared.lost.swap(false, Ordering::AcqRel)
    }

    pub(super) fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }
}

/// Opening and reading, which we do ourselves, say nothing.
fn signal(event: Event) -> Option<Signal> {
    let Event { kind, mut paths, .. } = event;
    // Only a rename that was seen at both ends has two paths; its ends came as events of their own.
    let path = if paths.len() == 1 { paths.pop() } else { None };
    Some(match (kind, path) {
        (EventKind::Access(AccessKind::Close(AccessMode::Write)), Some(path)) => Signal::Complete(path),
        (EventKind::Access(_), _) => return None,
        (EventKind::Modify(ModifyKind::Data(_)), Some(path)) => Signal::Written(path),
        (EventKind::Create(CreateKind::File), Some(path)) if is_being_created(&path) => Signal::Written(path),
        (EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)), Some(path)) => {
            Signal::Complete(path)
        }
        (EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)), Some(path)) => Signal::Gone(path),
        _ => Signal::Other,
    })
}

/// A new file is open for writing, unless it is a link, which comes complete.
fn is_being_created(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
}

/// The files that somebody has open for writing, as far as the events tell.
#[derive(Debug, Default)]
pub(super) struct Writing(HashSet<PathBuf>);

impl Writing {
    pub(super) fn note(&mut self, signal: &Signal) {
        match signal {
            Signal::Written(path) if !self.0.contains(path) && self.0.len() < MAX_WRITING => {
                self.0.insert(path.clone());
            }
            Signal::Complete(path) | Signal::Gone(path) => {
                self.0.remove(path);
            }
            Signal::Written(_) | Signal::Other => {}
        }
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.0.contains(path)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What happened in a directory before it was watched is not known.
    pub(super) fn forget_below(&mut self, directory: &Path) {
        self.0.retain(|path| !path.starts_with(directory));
    }
}

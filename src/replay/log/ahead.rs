//! A log read on a thread of its own, some way ahead of whoever wants its entries.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::vec;

use super::{Entry, LogError, Lost, Progress, Reader};

/// Entries that travel together.
const BATCH: usize = 512;
/// Batches that wait to be taken.
const WAITING: usize = 8;

#[allow(clippy::vec_box, reason = "the boxes themselves are handed on and used again")]
type Entries = Vec<Box<Entry>>;

/// Entries, and what comes behind them.
struct Batch {
    entries: Entries,
    /// Lines read so far.
    lines: u64,
    /// Set at the end of the log.
    end: Option<End>,
}

/// What could not be used, and why the log could not be read on.
type End = (Lost, Option<LogError>);

/// Takes entries from the thread that reads. When this goes, the thread ends.
pub struct Ahead {
    batches: Receiver<Batch>,
    entries: vec::IntoIter<Box<Entry>>,
    used: Entries,
    spare: Sender<Entries>,
    progress: Progress,
    lines: u64,
    lost: Lost,
    /// Set at the end; an error is told once.
    end: Option<Option<LogError>>,
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Ahead {
    /// Begins to read.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn new(reader: Reader) -> io::Result<Self> {
        let (send, batches) = mpsc::sync_channel(WAITING);
        let (spare, returned) = mpsc::channel();
        let progress = reader.progress();
        thread::Builder::new().name("log".to_owned()).spawn(move || read(reader, &send, &returned))?;
        let (entries, used) = (Vec::new().into_iter(), Vec::with_capacity(BATCH));
        Ok(Self { batches, entries, used, spare, progress, lines: 0, lost: Lost::default(), end: None })
    }

    /// The next request.
    ///
    /// # Errors
    /// When the log cannot be read; at its end, also when nothing of it could be.
    pub fn read(&mut self) -> Result<Option<Box<Entry>>, LogError> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Ok(Some(entry));
            }
            if let Some(error) = &mut self.end {
                return error.take().map_or(Ok(None), Err);
            }
            // The last batch says that it is; without it the thread has died.
            let died = || io::Error::other("the thread that reads the log has died");
            let batch = self.batches.recv().map_err(|_| LogError::Io(died()))?;
            self.entries = batch.entries.into_iter();
            self.lines = batch.lines;
            if let Some((lost, error)) = batch.end {
                (self.lost, self.end) = (lost, Some(error));
            }
        }
    }

    /// Takes an entry back that is no longer needed, so that its memory serves another line.
    pub fn recycle(&mut self, entry: Box<Entry>) {
        self.used.push(entry);
        if self.used.len() == BATCH {
            // At the end nobody takes them any more.
            let _ = self.spare.send(std::mem::replace(&mut self.used, Vec::with_capacity(BATCH)));
        }
    }

    /// Lines so far, blank ones aside.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// How far the file has been read.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What could not be used; known at the end.
    #[must_use]
    pub fn lost(&self) -> Lost {
        self.lost.clone()
    }
}

fn read(mut reader: Reader, batches: &SyncSender<Batch>, returned: &Receiver<Entries>) {
    loop {
        returned.try_iter().flatten().for_each(|entry| reader.recycle(entry));
        let mut entries = Vec::with_capacity(BATCH);
        let end = loop {
            match reader.read() {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => break Some((reader.lost(), None)),
                Err(error) => break Some((reader.lost(), Some(error))),
            }
            if entries.len() == BATCH {
                break None;
            }
        };
        let is_last = end.is_some();
        if batches.send(Batch { entries, lines: reader.lines(), end }).is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};
    use std::sync::Arc;

    use super::*;

    /// Of how many entries the log consists, and what is lost.
    fn count(ahead: &mut Ahead) -> Result<(usize, Lost), LogError> {
        let (mut count, mut last) = (0, None);
        while let Some(entry) = ahead.read()? {
            assert!(last <= Some(entry.at));
            last = Some(entry.at);
            count += 1;
            ahead.recycle(entry);
        }
        Ok((count, ahead.lost()))
    }

    fn ahead(text: String) -> Ahead {
        Ahead::new(Reader::new(Cursor::new(text), None).unwrap()).unwrap()
    }

    #[test]
    fn everything_comes_in_order_and_once() {
        for lines in [1, BATCH - 1, BATCH, BATCH + 1, 3 * WAITING * BATCH] {
            let mut text: String = (0..lines).map(|at| format!("{{\"ts\":{at},\"user_id\":\"a\"}}\n")).collect();
            text.push_str("{}\n");
            let mut ahead = ahead(text);
            let (count, lost) = count(&mut ahead).unwrap();
            assert_eq!((count, lost.bad, ahead.lines()), (lines, 1, lines as u64 + 1));
            assert!(ahead.read().unwrap().is_none(), "the end stays the end");
        }
    }

    #[test]
    fn errors_come_behind_what_could_be_read() {
        assert!(matches!(count(&mut ahead(String::new())), Err(LogError::Empty)));
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("torn"))
            }
        }
        let start = Cursor::new("{\"ts\":1,\"user_id\":\"a\"}\n{\"ts\":9,\"user_id\":\"a\"}\n");
        let mut ahead = Ahead::new(Reader::new(start.chain(Broken), None).unwrap()).unwrap();
        assert!(ahead.read().unwrap().is_some() && ahead.read().unwrap().is_some());
        assert!(ahead.read().unwrap_err().to_string().contains("torn"));
        assert!(ahead.read().unwrap().is_none(), "it is told once");
    }

    #[test]
    fn nobody_reads_on_for_nobody() {
        /// Without end, until it is dropped.
        struct Endless(#[allow(dead_code, reason = "held")] Arc<()>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let line = b"{\"ts\":1,\"user_id\":\"a\"}\n";
                let whole = buffer.len() / line.len() * line.len();
                buffer[..whole].chunks_mut(line.len()).for_each(|place| place.copy_from_slice(line));
                Ok(whole)
            }
        }
        let alive = Arc::new(());
        let mut ahead = Ahead::new(Reader::new(Endless(Arc::clone(&alive)), None).unwrap()).unwrap();
        assert!(ahead.read().unwrap().is_some());
        drop(ahead);
        while Arc::strong_count(&alive) > 1 {
            thread::yield_now();
        }
    }
}

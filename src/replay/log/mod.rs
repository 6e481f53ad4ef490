//! Logs of requests: lines in one of two formats, read once, in order of time.
//!
//! A line that cannot be read is counted and told, and the rest of the log is read. Lines may be up to ten seconds out
//! of order, as servers write a line when the response ends; they are sorted in a bounded buffer.

mod ahead;
mod combined;
mod entry;
mod jsonl;
mod lines;
mod order;

use std::fs::File;
use std::io::{self, Chain, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use crate::core::locate::Locate;

pub use ahead::Ahead;
pub use entry::{Entry, LineError};
use lines::{Line, Lines};
use order::Sorter;
pub use order::TOLERANCE;

/// The longest line, bytes.
pub const MAX_LINE: usize = 64 * 1024;
/// Some editors begin a file with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How many bad lines are told of; the others are only counted.
pub const MAX_TOLD: usize = 5;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line.
    Jsonl,
    /// As nginx and Apache write it: `address - user [time] "request" status bytes "referer" "user agent"`. The last
    /// two may be missing.
    Combined,
}

impl Format {
    /// The format of a log with this line.
    fn of(line: &[u8]) -> Self {
        if line.trim_ascii_start().starts_with(b"{") { Self::Jsonl } else { Self::Combined }
    }

    fn parse(self, line: &[u8], entry: &mut Entry) -> Result<(), LineError> {
        match self {
            Self::Jsonl => jsonl::parse(line, entry),
            Self::Combined => combined::parse(line, entry),
        }
    }
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be.
    #[error("cannot read the log: {0}")]
    Io(#[from] io::Error),
    /// It has no lines.
    #[error("the log is empty")]
    Empty,
    /// None of its lines can be.
    #[error("none of the {lines} lines can be read as {format}; the first: {first}")]
    NothingReadable {
        /// How many there are.
        lines: u64,
        /// What was tried.
        format: &'static str,
        /// What is wrong with the first.
        first: BadLine,
    },
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub number: u64,
    /// What is wrong.
    pub error: LineError,
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.number, self.error)
    }
}

/// What became of the lines so far.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// Lines that cannot be read.
    pub bad: u64,
    /// The first of them.
    pub told: Vec<BadLine>,
    /// Lines left out because they were more than ten seconds out of order.
    pub late: u64,
}

/// Reads a log.
pub struct Reader {
    lines: Lines<Box<dyn Read + Send>>,
    /// Known from the first good line on.
    format: Option<Format>,
    tried: Format,
    sorter: Sorter,
    count: u64,
    good: u64,
    bad: u64,
    told: Vec<BadLine>,
    progress: Progress,
    ended: bool,
    /// Why the log could not be read to its end.
    broken: Option<io::Error>,
    locate: Option<Box<dyn Locate>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("format", &self.format).field("lines", &self.count).finish_non_exhaustive()
    }
}

impl Reader {
    /// Reads a file; `-` is standard input. Files that gzip made are unpacked. Without `format` the first good line tells.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, format: Option<Format>) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::new(io::stdin(), format);
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut reader = Self::new(file, format)?;
        reader.progress.size = metadata.is_file().then_some(metadata.len());
        Ok(reader)
    }

    /// Reads from `source`.
    ///
    /// # Errors
    /// When its beginning cannot be read.
    pub fn new(source: impl Read + Send + 'static, format: Option<Format>) -> io::Result<Self> {
        let progress = Progress::default();
        let source = unpacked(Counted { source, progress: progress.clone() })?;
        Ok(Self {
            lines: Lines::new(source),
            format,
            tried: format.unwrap_or(Format::Jsonl),
            sorter: Sorter::default(),
            count: 0,
            good: 0,
            bad: 0,
            told: Vec::new(),
            progress,
            ended: false,
            broken: None,
            locate: None,
        })
    }

    /// Adds the countries and autonomous systems of addresses, where the log does not tell them.
    #[must_use]
    pub fn with_locate(mut self, locate: impl Locate + 'static) -> Self {
        self.locate = Some(Box::new(locate));
        self
    }

    /// The next request.
    ///
    /// # Errors
    /// When the log cannot be read on, behind everything that could be; at its end, also when nothing of it could be.
    pub fn read(&mut self) -> Result<Option<Box<Entry>>, LogError> {
        loop {
            if let Some(entry) = self.sorter.pop() {
                return Ok(Some(entry));
            }
            if self.ended {
                return self.broken.take().map_or(Ok(None), |error| Err(error.into()));
            }
            let (number, line) = match self.lines.next() {
                Ok(Some(line)) => line,
                Ok(None) if self.good == 0 => return Err(self.nothing()),
                end => {
                    (self.ended, self.broken) = (true, end.err());
                    self.sorter.finish();
                    continue;
                }
            };
            self.count += 1;
            let mut entry = self.sorter.spare();
            let parsed = match line {
                Line::Text(text) => {
                    let text = if number == 1 { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) } else { text };
                    self.tried = self.format.unwrap_or_else(|| Format::of(text));
                    self.tried.parse(text, &mut entry)
                }
                Line::TooLong => Err(LineError::new("line", format!("longer than {MAX_LINE} bytes"))),
            };
            match parsed {
                Ok(()) => {
                    self.good += 1;
                    if let (Some(locate), Some(address)) = (&self.locate, entry.address) {
                        entry.country = entry.country.or_else(|| locate.country(address));
                        entry.asn = entry.asn.or_else(|| locate.asn(address));
                    }
                    self.format = Some(self.tried);
                    self.sorter.push(entry);
                }
                Err(error) => {
                    self.bad += 1;
                    if self.told.len() < MAX_TOLD {
                        self.told.push(BadLine { number, error });
                    }
                    self.sorter.recycle(entry);
                }
            }
        }
    }

    /// Takes an entry back that is no longer needed, so that its memory serves another line.
    pub fn recycle(&mut self, entry: Box<Entry>) {
        self.sorter.recycle(entry);
    }

    fn nothing(&self) -> LogError {
        match self.told.first() {
            None => LogError::Empty,
            Some(first) => LogError::NothingReadable {
                lines: self.bad,
                format: if self.tried == Format::Combined { "combined" } else { "jsonl" },
                first: first.clone(),
            },
        }
    }

    /// Lines so far, blank ones aside.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.count
    }

    /// How far the file has been read.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// What could not be used so far.
    #[must_use]
    pub fn lost(&self) -> Lost {
        Lost { bad: self.bad, told: self.told.clone(), late: self.sorter.late() }
    }
}

/// How far a file has been read; clones go on with it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    position: Arc<AtomicU64>,
    size: Option<u64>,
}

impl Progress {
    /// Bytes read of the file so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Bytes of the file, if it is one.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }
}

/// Counts what is read.
struct Counted<R> {
    source: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.progress.position.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The text of `source`, whether gzip packed it or not.
fn unpacked(mut source: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::with_capacity(2);
    source.by_ref().take(2).read_to_end(&mut start)?;
    let packed = start == [0x1f, 0x8b];
    let whole: Chain<_, _> = Cursor::new(start).chain(source);
    Ok(if packed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::anomaly::geo::Databases;
    use crate::config::anomaly::Geo as Settings;
    use crate::core::clock::Micros;

    fn read(text: impl Into<Vec<u8>>) -> Result<(Vec<u64>, Lost), LogError> {
        let mut reader = Reader::new(Cursor::new(text.into()), None).unwrap();
        let mut seconds = Vec::new();
        while let Some(entry) = reader.read()? {
            seconds.push(entry.at.0 / 1_000_000);
            reader.recycle(entry);
        }
        Ok((seconds, reader.lost()))
    }

    const THREE: &str = "{\"ts\":3,\"user_id\":\"a\"}\n{\"ts\":1,\"user_id\":\"b\"}\n{\"ts\":2,\"user_id\":\"c\"}\n";

    #[test]
    fn what_a_log_does_not_tell_of_addresses_is_looked_up() {
        let name = |name: &str| Some([env!("CARGO_MANIFEST_DIR"), "tests/data/geo", name].iter().collect());
        let settings = Settings {
            country_database: name("GeoLite2-Country-Test.mmdb"),
            asn_database: name("GeoLite2-ASN-Test.mmdb"),
        };
        let log = concat!(
            r#"{"ts":1,"ip_address":"89.160.20.113"}"#,
            "\n",
            r#"{"ts":2,"ip_address":"89.160.20.113","country":"NO"}"#,
            "\n",
            r#"{"ts":3,"user_id":"alice"}"#,
            "\n",
        );
        let reader = Reader::new(Cursor::new(log), None).unwrap();
        let mut reader = reader.with_locate(Databases::load(&settings).unwrap());
        let mut told = Vec::new();
        while let Some(entry) = reader.read().unwrap() {
            told.push((entry.country, entry.asn));
        }
        assert_eq!(told, [(Some(*b"SE"), Some(29_518)), (Some(*b"NO"), Some(29_518)), (None, None)]);
    }

    #[test]
    fn lines_come_in_the_order_of_time_and_entries_are_used_again() {
        assert_eq!(read(THREE).unwrap().0, [1, 2, 3]);
        let (seconds, lost) = read(THREE.repeat(10_000)).unwrap();
        assert_eq!((seconds.len(), lost.late), (30_000, 0));
        assert!(seconds.is_sorted());
    }

    #[test]
    fn the_first_good_line_tells_the_format() {
        let combined = "192.0.2.7 - - [01/Jan/1970:00:00:09 +0000] \"GET / HTTP/1.1\" 200 1\n";
        assert_eq!(read(format!("\n{combined}")).unwrap().0, [9]);
        let (seconds, lost) = read(format!("{combined}{THREE}")).unwrap();
        assert_eq!((seconds, lost.bad), (vec![9], 3));
        let (seconds, lost) = read(format!("\u{feff}{THREE}")).unwrap();
        assert_eq!((seconds.len(), lost.bad), (3, 0));
        let (seconds, lost) = read(format!("# a heading\n{THREE}")).unwrap();
        assert_eq!((seconds.len(), lost.bad), (3, 1));
    }

    #[test]
    fn gzip_is_unpacked() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(THREE.as_bytes()).unwrap();
        assert_eq!(read(packed.finish().unwrap()).unwrap().0, [1, 2, 3]);
        assert!(matches!(read(vec![0x1f, 0x8b, 8, 0, 0]), Err(LogError::Io(_))));
    }

    #[test]
    fn what_comes_before_a_break_is_read() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        packed.write_all(THREE.as_bytes()).unwrap();
        let mut packed = packed.finish().unwrap();
        packed.truncate(packed.len() - 4);
        let mut reader = Reader::new(Cursor::new(packed), None).unwrap();
        for second in 1..=3 {
            assert_eq!(reader.read().unwrap().unwrap().at, Micros::from_secs(second));
        }
        assert!(matches!(reader.read(), Err(LogError::Io(_))));
        assert!(reader.read().unwrap().is_none(), "it is told once");
    }

    #[test]
    fn bad_lines_are_counted_and_the_first_told() {
        let bad = "{\"ts\":true}\n".repeat(20);
        let (seconds, lost) = read(format!("{THREE}{bad}")).unwrap();
        assert_eq!((seconds.len(), lost.bad, lost.told.len()), (3, 20, MAX_TOLD));
        assert!(lost.told[0].to_string().starts_with("line 4: ts: invalid type: boolean"), "{}", lost.told[0]);
    }

    #[test]
    fn a_log_of_which_nothing_can_be_read_is_an_error() {
        assert_eq!(read("").unwrap_err().to_string(), "the log is empty");
        let error = read("one\ntwo words here\n").unwrap_err().to_string();
        assert_eq!(error, "none of the 2 lines can be read as combined; the first: line 1: line: has no fields");
    }
}

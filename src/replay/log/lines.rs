//! Lines of a file, each in place in one buffer.

use std::io::{self, Read};

use super::MAX_LINE;

/// Bytes read at a time, at least.
const CHUNK: usize = 256 * 1024;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Without its end.
    Text(&'a [u8]),
    /// Longer than [`MAX_LINE`], and skipped.
    TooLong,
}

/// Lines that are not blank.
pub(super) struct Lines<R> {
    source: R,
    buffer: Box<[u8]>,
    /// What has been read and not yet been taken.
    start: usize,
    end: usize,
    number: u64,
    /// Within a line that is too long.
    skipping: bool,
    finished: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        let buffer = vec![0; CHUNK + MAX_LINE].into();
        Self { source, buffer, start: 0, end: 0, number: 0, skipping: false, finished: false }
    }

    /// The next line, and its number, counted from 1.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        loop {
            let Some((start, end, too_long)) = self.take()? else { return Ok(None) };
            self.number += 1;
            if too_long || end - start > MAX_LINE {
                return Ok(Some((self.number, Line::TooLong)));
            }
            if !self.buffer[start..end].trim_ascii().is_empty() {
                let line = &self.buffer[start..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                return Ok(Some((self.number, Line::Text(line))));
            }
        }
    }

    /// Where the next line is, and whether it began before that.
    fn take(&mut self) -> io::Result<Option<(usize, usize, bool)>> {
        let mut searched = self.start;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..self.end]) {
                let (start, end) = (self.start, searched + at);
                self.start = end + 1;
                return Ok(Some((start, end, std::mem::take(&mut self.skipping))));
            }
            if self.finished {
                let (start, end) = (self.start, self.end);
                self.start = end;
                let skipping = std::mem::take(&mut self.skipping);
                return Ok((start < end || skipping).then_some((start, end, skipping)));
            }
            if self.end - self.start > MAX_LINE {
                self.skipping = true;
                self.start = self.end;
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            searched = self.end;
            let read = loop {
                match self.source.read(&mut self.buffer[self.end..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            self.end += read;
            self.finished = read == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            (&mut self.0).take(most as u64).read(buffer)
        }
    }

    fn all(text: &[u8], step: usize) -> Vec<(u64, Option<String>)> {
        let mut lines = Lines::new(Slow(text, step));
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            let text = match line {
                Line::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
                Line::TooLong => None,
            };
            all.push((number, text));
        }
        all
    }

    #[test]
    fn lines_have_numbers_and_blank_ones_are_left_out() {
        let wanted = vec![(1, Some("a".to_owned())), (3, Some("bc".to_owned())), (5, Some("d".to_owned()))];
        for step in [1, 2, 1000] {
            assert_eq!(all(b"a\r\n\nbc\n  \nd", step), wanted, "{step}");
            assert_eq!(all(b"a\r\n\nbc\n  \nd\n", step), wanted, "{step}");
        }
        assert_eq!(all(b"", 1), []);
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_others() {
        let long = "x".repeat(3 * (CHUNK + MAX_LINE));
        let longest = "y".repeat(MAX_LINE);
        let text = format!("{long}\n{longest}\nb\n{long}");
        let wanted = vec![(1, None), (2, Some(longest)), (3, Some("b".to_owned())), (4, None)];
        for step in [70_000, usize::MAX] {
            assert_eq!(all(text.as_bytes(), step), wanted);
        }
    }
}

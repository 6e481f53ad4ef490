//! Entries one behind the other, which many write and many read.

use std::time::Duration;

use bytes::Bytes;
use fred::clients::{Client, WithOptions};
use fred::interfaces::{HashesInterface as _, LuaInterface as _, StreamsInterface as _};
use fred::types::Value;

use super::envelope::Kind;
use super::keys::StreamKeys;
use super::{away, text};
use crate::anomaly::bus::{BusError, Position};

/// How long it is remembered, while nothing is written, where a stream ended.
const STATE: Duration = Duration::from_secs(86_400);
/// Entries that are read at once.
const PAGE: u64 = 16;
/// The most bytes that are read for one question, a page more or less, and the most pages.
const MOST_READ: usize = 4 << 20;
const MOST_PAGES: usize = 64;

/// One stream, and what it is kept within.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) keys: StreamKeys,
    pub(super) kind: Kind,
    pub(super) most_bytes: usize,
    pub(super) most_entries: usize,
    pub(super) most_age: Duration,
}

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Read {
    pub(super) entries: Vec<(Position, Bytes)>,
    pub(super) upto: Position,
    pub(super) gap: bool,
    /// Entries that are not Tidegate's.
    pub(super) foreign: u64,
}

impl Stream {
    /// Writes entries, all or none; `None` when the seat, by its key and holder, is another's.
    pub(super) async fn append(
        &self,
        client: &WithOptions<Client>,
        seat: Option<(&str, &str)>,
        entries: Vec<Bytes>,
    ) -> Result<Option<Position>, BusError> {
        let StreamKeys { stream, sizes, state } = &self.keys;
        let mut keys = vec![stream.as_str(), sizes, state];
        keys.extend(seat.map(|(key, _)| key));
        let mut args: Vec<Value> = vec![
            seat.map_or("", |(_, holder)| holder).into(),
            text(self.most_bytes),
            text(self.most_entries),
            text(self.most_age.as_millis()),
            text(STATE.as_millis()),
        ];
        args.extend(entries.into_iter().map(Value::Bytes));
        let last: Option<String> = client.eval(include_str!("scripts/append.lua"), keys, args).await.map_err(away)?;
        last.map(|last| position(&last).ok_or_else(|| self.damaged(&last))).transpose()
    }

    /// What is behind a position now.
    pub(super) async fn read(&self, client: &Client, since: Position) -> Result<Read, BusError> {
        let StreamKeys { stream, state, .. } = &self.keys;
        // Mostly there is nothing new, and this tells at little cost.
        let last: Option<String> = client.hget(state.as_str(), "last").await.map_err(away)?;
        let last = match last {
            None => Position::START,
            Some(last) => position(&last).ok_or_else(|| self.damaged(&last))?,
        };
        if last <= since {
            // It may have lost what it had.
            return Ok(Read { upto: last, gap: last < since, ..Read::default() });
        }
        let mut read = Reading::new(since);
        for _ in 0..MOST_PAGES {
            let Position { millis, number } = read.cursor;
            let page: Vec<(String, Vec<Bytes>)> =
                client.xrange(stream.as_str(), format!("({millis}-{number}"), "+", Some(PAGE)).await.map_err(away)?;
            let is_last = (page.len() as u64) < PAGE;
            if !page.into_iter().all(|(id, fields)| read.entry(&id, &fields)) || is_last || read.bytes >= MOST_READ {
                break;
            }
        }
        Ok(read.end())
    }

    fn damaged(&self, last: &str) -> BusError {
        let reason = format!("{last:?} is no position; delete the key");
        BusError::Damaged { key: self.keys.state.clone(), reason }
    }
}

/// Holds each entry to the one before it.
#[derive(Debug)]
struct Reading {
    /// The last entry, whoever's it is.
    cursor: Position,
    /// The last of ours; at first, what was asked for.
    before: Position,
    some: bool,
    bytes: usize,
    read: Read,
}

impl Reading {
    fn new(since: Position) -> Self {
        Self { cursor: since, before: since, some: false, bytes: 0, read: Read::default() }
    }

    /// Takes an entry; `false` when something is missing before it, so that it is for the next time.
    fn entry(&mut self, id: &str, fields: &[Bytes]) -> bool {
        let Some(at) = position(id) else { return true };
        let ours = match fields {
            [after, before, name, entry] if after == "after" && name == "entry" => {
                std::str::from_utf8(before).ok().and_then(position).map(|before| (before, entry))
            }
            _ => None,
        };
        self.bytes += fields.iter().map(Bytes::len).sum::<usize>();
        if let Some((before, entry)) = ours {
            if before != self.before {
                if self.some {
                    return false;
                }
                self.read.gap = true;
            }
            (self.before, self.some) = (at, true);
            self.read.entries.push((at, entry.clone()));
        } else {
            self.read.foreign += 1;
        }
        self.cursor = at;
        true
    }

    fn end(self) -> Read {
        // Where there is nothing but others' entries, they must not be in the way for ever.
        Read { upto: if self.some { self.before } else { self.cursor }, ..self.read }
    }
}

/// `milliseconds-number`
fn position(id: &str) -> Option<Position> {
    let (millis, number) = id.split_once('-')?;
    Some(Position { millis: millis.parse().ok()?, number: number.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Position {
        Position { millis, number: 0 }
    }

    /// Reads entries, each with the one that it names before it; `None` is somebody else's.
    fn read(since: u64, entries: &[(u64, Option<u64>)]) -> (Vec<u64>, u64, bool, u64) {
        let mut reading = Reading::new(at(since));
        entries.iter().all(|(id, after)| {
            let after = after.map(|after| Bytes::from(format!("{after}-0")));
            let fields = after.map_or(vec!["other".into(), "".into()], |after| {
                vec!["after".into(), after, "entry".into(), "x".into()]
            });
            reading.entry(&format!("{id}-0"), &fields)
        });
        let read = reading.end();
        (read.entries.iter().map(|(at, _)| at.millis).collect(), read.upto.millis, read.gap, read.foreign)
    }

    #[test]
    fn an_entry_that_does_not_follow_tells_a_gap() {
        assert_eq!(read(1, &[(2, Some(1)), (3, Some(2))]), (vec![2, 3], 3, false, 0));
        assert_eq!(read(1, &[(3, Some(2)), (4, Some(3))]), (vec![3, 4], 4, true, 0));
        assert_eq!(read(0, &[(3, Some(2))]), (vec![3], 3, true, 0), "the first is gone");
        assert_eq!(read(5, &[(7, Some(4))]), (vec![7], 7, true, 0), "what was asked for was lost");
        assert_eq!(read(1, &[(2, Some(1)), (4, Some(3))]), (vec![2], 2, false, 0), "the gap is for the next time");
        assert_eq!(read(2, &[(4, Some(3))]), (vec![4], 4, true, 0));
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        assert_eq!(read(1, &[(2, Some(1)), (3, None), (4, Some(2)), (5, None)]), (vec![2, 4], 4, false, 2));
        assert_eq!(read(1, &[(2, None), (3, None)]), (vec![], 3, false, 2));
    }

    #[test]
    fn positions_are_numbers() {
        assert_eq!(position("12-3"), Some(Position { millis: 12, number: 3 }));
        for wrong in ["", "12", "12-", "-3", "a-3", "99999999999999999999-0"] {
            assert_eq!(position(wrong), None, "{wrong}");
        }
    }
}

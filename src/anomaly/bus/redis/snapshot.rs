//! What is left in the place of what was left before: an envelope, cut into parts, and a head that names them.
//!
//! Parts carry a number of their own, at random, in their keys, and the envelope's seal is over all of them: what is read
//! was left as a whole. A head names what it replaced, too, so that whoever comes next ends its parts, should the one who
//! replaced it not have come to it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fred::clients::Client;
use fred::interfaces::{KeysInterface as _, LuaInterface as _};
use fred::types::{Expiration, Value};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;

use super::envelope::Kind;
use super::{away, off_runtime, text};
use crate::anomaly::bus::BusError;

/// The largest part.
const MOST_PART: usize = 1 << 20;
/// Parts under way at once; few, as decisions may ask the same server.
const AT_ONCE: usize = 2;
/// How long parts live until a head names them.
const UPLOAD: Duration = Duration::from_secs(60);
/// How long parts live that no head names any more, for whoever is reading them.
const READERS: Duration = Duration::from_secs(5);
/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often what changes while it is read is read again.
const ATTEMPTS: usize = 4;

/// One thing that is kept so.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) kind: Kind,
    /// The key of the head, in the seat's slot.
    pub(super) head: String,
    /// Before a part's name.
    pub(super) parts: String,
}

/// What a head names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Title {
    id: u128,
    bytes: usize,
}

impl Title {
    /// Of one line of a head, if that can be.
    fn read(line: &str, kind: Kind) -> Option<Self> {
        let (id, bytes) = line.split_once(' ')?;
        let title = Self { id: u128::from_str_radix(id, 16).ok()?, bytes: bytes.parse().ok()? };
        (title.bytes <= kind.most_sealed()).then_some(title)
    }

    fn keys(self, snapshot: &Snapshot) -> impl Iterator<Item = String> {
        (0..self.bytes.div_ceil(MOST_PART)).map(move |number| format!("{}:{:032x}:{number}", snapshot.parts, self.id))
    }
}

impl std::fmt::Display for Title {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x} {}", self.id, self.bytes)
    }
}

impl Snapshot {
    /// Leaves an envelope for so long, if the seat, by its key and holder, is still ours. `quick` has no long way to send
    /// through, `bulk` may.
    pub(super) async fn leave(
        &self,
        (quick, bulk): (&Client, &Client),
        seat: (&str, &str),
        sealed: &Bytes,
        lifetime: Duration,
    ) -> Result<(), BusError> {
        let title = Title { id: fastrand::u128(..), bytes: sealed.len() };
        let uploaded = timeout(DEADLINE, self.upload(bulk, title, sealed)).await.unwrap_or_else(|_| Err(late()));
        if let Err(error) = uploaded {
            self.expire(bulk, title, Duration::ZERO).await.unwrap_or_default();
            return Err(error);
        }
        let args: Vec<Value> = vec![seat.1.into(), text(title), text(lifetime.as_secs().max(1))];
        let script = include_str!("scripts/replace.lua");
        let replaced: Option<Vec<String>> =
            quick.eval(script, vec![self.head.as_str(), seat.0], args).await.map_err(away)?;
        let Some(replaced) = replaced else {
            self.expire(bulk, title, Duration::ZERO).await.unwrap_or_default();
            return Err(BusError::Unseated);
        };
        self.expire(bulk, title, lifetime).await?;
        for old in replaced.iter().flat_map(|head| head.lines()).filter_map(|line| Title::read(line, self.kind)) {
            if old != title {
                self.expire(bulk, old, READERS).await?;
            }
        }
        Ok(())
    }

    async fn upload(&self, bulk: &Client, title: Title, sealed: &Bytes) -> Result<(), BusError> {
        let parts =
            (0..sealed.len()).step_by(MOST_PART).map(|from| sealed.slice(from..sealed.len().min(from + MOST_PART)));
        let calls = title
            .keys(self)
            .zip(parts)
            .map(|(key, part)| bulk.set::<(), _, _>(key, part, Some(seconds(UPLOAD)), None, false));
        stream::iter(calls).buffer_unordered(AT_ONCE).try_collect().await.map_err(away)
    }

    async fn expire(&self, bulk: &Client, title: Title, lifetime: Duration) -> Result<(), BusError> {
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let calls = title.keys(self).map(|key| bulk.expire::<i64, _>(key, lifetime, None));
        let ended = stream::iter(calls).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>();
        timeout(DEADLINE, ended).await.map_err(|_| late())?.map_err(away).map(drop)
    }

    /// What was left last, as `open` reads it, which says what is wrong with it.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        (quick, bulk): (&Client, &Client),
        open: impl Fn(&[u8]) -> Result<T, String> + Clone + Send + 'static,
    ) -> Result<Option<T>, BusError> {
        let damaged = |reason| BusError::Damaged { key: self.head.clone(), reason };
        let mut tried: Option<(String, String)> = None;
        for _ in 0..ATTEMPTS {
            let head: Option<String> = quick.get(self.head.as_str()).await.map_err(away)?;
            let Some(head) = head else { return Ok(None) };
            // If it is still the same, it will not be any better.
            if let Some((_, reason)) = tried.take_if(|(before, _)| *before == head) {
                return Err(damaged(reason));
            }
            let reason = match head.lines().next().and_then(|line| Title::read(line, self.kind)) {
                None => "its head names nothing that can be".to_owned(),
                Some(title) => match timeout(DEADLINE, self.fetch(bulk, title)).await.map_err(|_| late())?? {
                    Err(reason) => reason,
                    Ok(sealed) => {
                        let open = open.clone();
                        match off_runtime(move || open(&sealed)).await? {
                            Ok(content) => return Ok(Some(content)),
                            Err(reason) => reason,
                        }
                    }
                },
            };
            tried = Some((head, reason));
        }
        Err(damaged("it changed whenever it was read".to_owned()))
    }

    async fn fetch(&self, bulk: &Client, title: Title) -> Result<Result<Bytes, String>, BusError> {
        // One byte more than there may be, which shows that there is.
        let calls = title.keys(self).map(|key| bulk.getrange::<Bytes, _>(key, 0, MOST_PART));
        let mut arriving = stream::iter(calls).buffered(AT_ONCE).enumerate();
        let mut sealed = BytesMut::new();
        while let Some((number, part)) = arriving.next().await {
            let part = part.map_err(away)?;
            let expected = MOST_PART.min(title.bytes - sealed.len());
            if part.len() != expected {
                let found = part.len();
                return Ok(Err(format!("its part {number} has {found} bytes instead of {expected}; was it evicted?")));
            }
            sealed.extend_from_slice(&part);
        }
        Ok(Ok(sealed.freeze()))
    }
}

fn late() -> BusError {
    BusError::Away(format!("no answer within {DEADLINE:?}"))
}

fn seconds(duration: Duration) -> Expiration {
    Expiration::EX(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_names_no_more_than_there_may_be() {
        let kind = Kind::Standing;
        let title = Title { id: 7, bytes: 3 << 20 };
        assert_eq!(Title::read(&title.to_string(), kind), Some(title));
        let most = kind.most_sealed();
        assert!(Title::read(&format!("7 {most}"), kind).is_some());
        for wrong in ["", "7", "7 ", "x 7", "7 -1", "7 99999999999999999999", &format!("7 {}", most + 1)] {
            assert_eq!(Title::read(wrong, kind), None, "{wrong}");
        }
    }
}

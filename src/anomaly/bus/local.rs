//! A bus within this process: where there is no Redis, and while a Redis is away.
//!
//! It keeps the last [`KEPT_BYTES`] of batches and [`MOST_DEEDS`] deeds; what it knows ends with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{Bus, BusError, Checkpoint, Deed, MOST_BATCH_BYTES, Part, Position, Standing};

/// So many bytes of batches are kept: about two hundred thousand observations.
pub const KEPT_BYTES: usize = 32 << 20;
/// So many deeds are kept.
pub const MOST_DEEDS: usize = 100_000;
/// So many bytes of batches are handed out at once.
const PART_BYTES: usize = 4 << 20;
/// How long the seat lasts without being taken again.
const LEASE: Duration = Duration::from_secs(1);

/// A member's end of a bus; [`LocalBus::member`] makes further ones.
#[derive(Debug)]
pub struct LocalBus {
    shared: Arc<Shared>,
    id: u64,
}

#[derive(Debug)]
struct Shared {
    content: Mutex<Content>,
    /// Counts what was sent or told, for those who wait.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Content {
    batches: Order<Bytes>,
    batch_bytes: usize,
    deeds: Order<Deed>,
    standing: Option<Standing>,
    checkpoint: Option<Checkpoint>,
    seat: Option<(u64, Instant)>,
    members: u64,
    interrupted: bool,
}

/// Things with their positions.
#[derive(Debug)]
struct Order<T> {
    items: VecDeque<(Position, T)>,
    last: u64,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), last: 0 }
    }
}

impl<T: Clone> Order<T> {
    fn push(&mut self, item: T) -> Position {
        self.last += 1;
        let position = Position { millis: 0, number: self.last };
        self.items.push_back((position, item));
        position
    }

    fn since(&self, since: Position, mut fits: impl FnMut(&T) -> bool) -> Part<T> {
        let first = self.items.partition_point(|(position, _)| *position <= since);
        let items: Vec<_> = self.items.iter().skip(first).take_while(|(_, item)| fits(item)).cloned().collect();
        let oldest = self.items.front().map_or(self.last + 1, |(position, _)| position.number);
        let upto = items.last().map_or(since, |(position, _)| *position);
        Part { items, upto, gap: since.number + 1 < oldest }
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        let shared = Shared { content: Mutex::default(), changes: watch::Sender::new(0) };
        Self { shared: Arc::new(shared), id: 0 }
    }
}

impl LocalBus {
    /// One where an engine has left what it knows, before there was anything else.
    #[must_use]
    pub fn knowing(engine: Bytes) -> Self {
        let bus = Self::default();
        bus.lock().checkpoint = Some(Checkpoint { observations: Position::START, deeds: Position::START, engine });
        bus
    }

    /// Another member of the same bus.
    #[must_use]
    pub fn member(&self) -> Self {
        let mut content = self.lock();
        content.members += 1;
        Self { shared: Arc::clone(&self.shared), id: content.members }
    }

    /// From now on the bus is as if it were away, or is back: for tests of what happens then.
    pub fn interrupt(&self, away: bool) {
        self.lock().interrupted = away;
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.shared.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn content(&self) -> Result<MutexGuard<'_, Content>, BusError> {
        let content = self.lock();
        if content.interrupted { Err(BusError::Away("it was interrupted".to_owned())) } else { Ok(content) }
    }

    fn has_seat(&self, content: &Content) -> bool {
        content.seat.is_some_and(|(holder, until)| holder == self.id && Instant::now() < until)
    }

    fn as_holder(&self) -> Result<MutexGuard<'_, Content>, BusError> {
        let content = self.content()?;
        if self.has_seat(&content) { Ok(content) } else { Err(BusError::Unseated) }
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn read<T>(
        &self,
        patience: Duration,
        read: impl Fn(&Content) -> Part<T> + Send,
    ) -> Result<Part<T>, BusError> {
        let mut changes = self.shared.changes.subscribe();
        let deadline = Instant::now() + patience;
        loop {
            changes.borrow_and_update();
            let part = read(&*self.content()?);
            let left = deadline.saturating_duration_since(Instant::now());
            if !part.items.is_empty() || part.gap || left.is_zero() {
                return Ok(part);
            }
            // The sender is ours, so the channel is open.
            if timeout(left, changes.changed()).await.is_err() {
                return Ok(part);
            }
        }
    }
}

impl Bus for LocalBus {
    async fn lead(&self) -> Result<bool, BusError> {
        let mut content = self.content()?;
        let now = Instant::now();
        if content.seat.is_some_and(|(holder, until)| holder != self.id && now < until) {
            return Ok(false);
        }
        content.seat = Some((self.id, now + LEASE));
        Ok(true)
    }

    async fn resign(&self) -> Result<(), BusError> {
        let mut content = self.content()?;
        content.seat.take_if(|(holder, _)| *holder == self.id);
        Ok(())
    }

    async fn send(&self, batch: Bytes) -> Result<(), BusError> {
        if batch.len() > MOST_BATCH_BYTES {
            return Err(BusError::TooLarge { bytes: batch.len(), most: MOST_BATCH_BYTES });
        }
        let mut content = self.content()?;
        content.batch_bytes += batch.len();
        content.batches.push(batch);
        while content.batch_bytes > KEPT_BYTES
            && let Some((_, oldest)) = content.batches.items.pop_front()
        {
            content.batch_bytes -= oldest.len();
        }
        drop(content);
        self.changed();
        Ok(())
    }

    async fn receive(&self, since: Position, patience: Duration) -> Result<Part<Bytes>, BusError> {
        self.read(patience, |content| {
            let mut room = PART_BYTES;
            content.batches.since(since, |batch| {
                let fits = room >= batch.len();
                room = room.saturating_sub(batch.len());
                fits
            })
        })
        .await
    }

    async fn tell(&self, deeds: Vec<Deed>) -> Result<Option<Position>, BusError> {
        let mut content = self.content()?;
        let of_holder = deeds.iter().any(|deed| matches!(deed, Deed::Event(_)));
        if of_holder && !self.has_seat(&content) {
            return Ok(None);
        }
        for deed in deeds {
            content.deeds.push(deed);
        }
        while content.deeds.items.len() > MOST_DEEDS {
            content.deeds.items.pop_front();
        }
        let last = Position { millis: 0, number: content.deeds.last };
        drop(content);
        self.changed();
        Ok(Some(last))
    }

    async fn deeds(&self, since: Position, patience: Duration) -> Result<Part<Deed>, BusError> {
        self.read(patience, |content| content.deeds.since(since, |_| true)).await
    }

    async fn leave_standing(&self, standing: &Standing) -> Result<(), BusError> {
        self.as_holder()?.standing = Some(standing.clone());
        Ok(())
    }

    async fn standing(&self) -> Result<Option<Standing>, BusError> {
        Ok(self.content()?.standing.clone())
    }

    async fn leave_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), BusError> {
        self.as_holder()?.checkpoint = Some(checkpoint.clone());
        Ok(())
    }

    async fn checkpoint(&self) -> Result<Option<Checkpoint>, BusError> {
        Ok(self.content()?.checkpoint.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::event::{Feedback, Verdict};
    use crate::core::clock::Micros;
    use crate::core::subject::Subject;

    fn feedback(incident: u64) -> Deed {
        Deed::Feedback(Feedback {
            at: Micros::SECOND,
            incident,
            domain: "edge".to_owned(),
            subject: Subject::User("alice".into()),
            verdict: Verdict::Dismissed,
        })
    }

    #[tokio::test]
    async fn what_is_no_longer_kept_is_a_gap() {
        let bus = LocalBus::default();
        for number in 0..MOST_DEEDS as u64 + 5 {
            bus.tell(vec![feedback(number)]).await.unwrap();
        }
        let all = bus.deeds(Position::START, Duration::ZERO).await.unwrap();
        assert!(all.gap && all.items.len() == MOST_DEEDS);
        let last = all.items.last().unwrap().0;
        let part = bus.deeds(all.items[MOST_DEEDS - 3].0, Duration::ZERO).await.unwrap();
        assert_eq!((part.gap, part.items.len()), (false, 2));
        assert_eq!(bus.deeds(last, Duration::ZERO).await.unwrap(), Part { items: Vec::new(), upto: last, gap: false });
    }

    #[tokio::test]
    async fn batches_are_bounded_by_their_bytes_and_handed_out_in_parts() {
        let bus = LocalBus::default();
        for _ in 0..160 {
            bus.send(Bytes::from(vec![7; MOST_BATCH_BYTES])).await.unwrap();
        }
        let part = bus.receive(Position::START, Duration::ZERO).await.unwrap();
        assert!(part.gap && part.items.len() == 16);
        assert_eq!(part.items[0].0.number, 33);
        let too_large = bus.send(Bytes::from(vec![7; MOST_BATCH_BYTES + 1])).await;
        assert!(matches!(too_large, Err(BusError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn one_has_the_seat_and_another_takes_it_when_its_time_is_over() {
        let (one, other) = (LocalBus::default(), LocalBus::default());
        assert!(one.lead().await.unwrap() && other.lead().await.unwrap(), "two buses");
        let other = one.member();
        assert!(one.lead().await.unwrap() && !other.lead().await.unwrap());
        let began = Instant::now();
        while !other.lead().await.unwrap() {
            assert!(began.elapsed() < 2 * LEASE, "the seat is not free");
            tokio::task::yield_now().await;
        }
        assert!(!one.lead().await.unwrap());
        other.resign().await.unwrap();
        assert!(one.lead().await.unwrap());
        one.interrupt(true);
        assert!(matches!(other.lead().await, Err(BusError::Away(_))));
    }
}

//! A history of rules: what every revision is follows from its number.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidegate::core::limit::{Algorithm, Limit, LimitParts, Over, Unit, Window};
use tidegate::core::spec::{EffectSpec, LimitSpec, RuleSpec};
use tidegate::rules::copies::codec::{CopyBuilder, LogEntry, RuleCopy, Seal};
use tidegate::rules::repository::{Changes, Content, Epoch, Head, Record, Revision, Stamp, Subject};

pub const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);
/// Rules at the first revision.
const RULES: u64 = 50;

/// Amounts by rule.
pub type State = BTreeMap<String, u64>;

pub fn head(revision: u64) -> Head {
    Head { epoch: Epoch(0x00c0_ffee), revision: Revision(revision), accepted: None }
}

/// Another history.
pub fn other(revision: u64) -> Head {
    Head { epoch: Epoch(0xbad), ..head(revision) }
}

pub fn rule(user: u64, revision: u64, amount: Option<u64>) -> Record {
    let spec = |amount| {
        let parts = LimitParts {
            amount,
            window: Window::Length(Unit::Minute.length()),
            algorithm: Algorithm::SlidingWindowLog,
            burst: None,
            over: Over::Drop,
            post_paid: false,
        };
        let limit = LimitSpec { limit: Limit::new(parts).unwrap(), name: None, replaces: Vec::new() };
        RuleSpec { effect: Some(EffectSpec::Limits(vec![limit])), ..RuleSpec::default() }
    };
    let stamp = || Stamp { at: NOW, by: "alice".into() };
    Record {
        subject: Subject::Rule("edge".into(), format!("user_id={user}").parse().unwrap()),
        revision: Revision(revision),
        content: amount.map(|amount| Ok(Content::Rule(spec(amount)))),
        created: stamp(),
        updated: stamp(),
    }
}

/// What a revision after the first changes: one rule, which every so often goes.
pub fn step(revision: u64) -> Record {
    let amount = Some(revision % 9_000).filter(|_| !revision.is_multiple_of(7));
    rule(revision * 31 % (RULES + 3), revision, amount)
}

/// What a revision is, as records.
pub fn records(revision: u64) -> Vec<Record> {
    let mut all: BTreeMap<_, _> =
        (0..RULES).map(|user| rule(user, 1, Some(1))).map(|rule| (rule.subject.clone(), rule)).collect();
    for revision in 2..=revision {
        let record = step(revision);
        all.insert(record.subject.clone(), record);
    }
    all.into_values().filter(|record| record.content.is_some()).collect()
}

pub fn state(revision: u64) -> State {
    let mut state = State::new();
    records(revision).into_iter().for_each(|record| apply(&mut state, record));
    state
}

/// What a reader makes of a record.
pub fn apply(state: &mut State, record: Record) {
    let name = record.subject.to_string();
    match record.content {
        None => drop(state.remove(&name)),
        Some(Ok(Content::Rule(RuleSpec { effect: Some(EffectSpec::Limits(limits)), .. }))) => {
            state.insert(name, limits[0].limit.amount());
        }
        other => panic!("{name}: {other:?}"),
    }
}

pub fn full(seal: &Seal, revision: u64) -> RuleCopy {
    full_at(seal, head(revision))
}

pub fn full_at(seal: &Seal, head: Head) -> RuleCopy {
    let mut builder = CopyBuilder::new(seal);
    records(head.revision.0).iter().for_each(|record| builder.push(record).unwrap());
    builder.finish(head, NOW).unwrap()
}

/// What leads to a revision from the one before.
pub fn entry(seal: &Seal, revision: u64) -> LogEntry {
    entry_at(seal, head(revision))
}

pub fn entry_at(seal: &Seal, head: Head) -> LogEntry {
    let Revision(revision) = head.revision;
    LogEntry::new(seal, Revision(revision - 1), &Changes { head, records: vec![step(revision)] }, NOW).unwrap()
}

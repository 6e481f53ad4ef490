//! One fault: load, the fault, its end, and what has to be true of all that.

use std::time::{Duration, Instant};

use tidegate::config::redis::Redis;
use tonic::Code;

use crate::load::{Answer, By, Flow, Load, Record};
use crate::redis_support::wait_until;
use crate::server_support::Server;
use crate::site;

/// Between two requests of one flow.
const EVERY: Duration = Duration::from_millis(20);
/// After the end of a fault, Redis has to be used again within the pause of a breaker and that of a client between
/// two attempts to connect (1.1 s, and once more if it was in the midst of one), and then a second for this machine.
pub const BACK_WITHIN: Duration = Duration::from_millis(480 + 2_200 + 1_000);
/// What is looked at to see how things are.
const LATELY: Duration = Duration::from_millis(400);
/// The first moments of a fault, in which it is not known yet.
const DETECTION: Duration = Duration::from_millis(250);

/// What a fault does to those who ask.
#[derive(Clone, Copy, Debug)]
pub struct Signs<'a> {
    /// Reasons of failed calls, one of which must be counted.
    pub reasons: &'a [&'a str],
}

/// A server under load, in all failure modes, and beside it one without Redis.
pub struct Drill {
    pub server: Server,
    _control: Server,
    load: Load,
    /// The flows of the control come last.
    flows: usize,
}

impl Drill {
    pub fn start(redis: Redis) -> Self {
        let (server, control) = (site::start(redis), site::control());
        let flow = |server: &Server, key, value: &str| Flow {
            server: site::address(server),
            key,
            value: value.to_owned(),
            every: EVERY,
        };
        let mut flows = ["a", "b", "c"].map(|value| flow(&server, "local", value)).to_vec();
        flows.extend(["open", "closed", "error"].map(|key| flow(&server, key, "x")));
        let count = flows.len();
        flows.extend(["a", "b"].map(|value| flow(&control, "local", value)));
        let load = Load::start(&flows);
        let drill = Self { server, _control: control, load, flows: count };
        drill.until_counted(Instant::now());
        drill
    }

    /// Waits until the counters answer, most of the time: this machine may take Redis' time away.
    pub fn until_counted(&self, since: Instant) {
        wait_until("the counters answer", || {
            let lately = self.load.since(since.max(Instant::now() - LATELY));
            let ours: Vec<_> = lately.iter().filter(|record| record.flow < self.flows).collect();
            let counted = ours.iter().filter(|record| self.is_counted(record)).count();
            ours.len() >= 50 && counted * 10 >= ours.len() * 9
        });
    }

    /// Begins a fault that takes Redis away, ends it, and holds all answers against what was promised.
    pub fn away(self, signs: Signs<'_>, begin: impl FnOnce(), end: impl FnOnce()) {
        let begun = Instant::now();
        begin();
        self.load.until("the breaker opens", begun, |_| site::is_broken(&self.server));
        let dark = Instant::now();
        self.load.until("everybody is answered without Redis", dark, |records| {
            (0..self.flows).all(|flow| records.iter().filter(|record| record.flow == flow).count() >= 40)
        });
        let state = site::counters(&self.server);
        assert!(site::nodes(&state).iter().any(|(_, breaker)| breaker != "closed"), "{state}");
        assert!(
            signs.reasons.iter().any(|reason| site::failures(&self.server, reason) > 0.0),
            "none of {:?} is counted; it was {:?}",
            signs.reasons,
            site::reasons(&self.server)
        );
        let ended = Instant::now();
        end();
        let healed = Instant::now();
        self.load.until("Redis is used again", healed, |records| records.iter().any(|record| self.is_counted(record)));
        self.load.until("the breaker closes", healed, |_| !site::is_broken(&self.server));
        self.until_counted(healed);

        let Self { load, flows, .. } = self;
        let records = load.stop();
        let back = records.iter().filter(|record| record.at >= healed && is_counted(record, flows));
        let back = back.map(|record| record.answered).min().unwrap() - healed;
        assert!(back <= BACK_WITHIN, "Redis was used again only after {back:?}");
        let in_the_dark = |record: &&Record| record.at >= dark && record.answered < ended;
        verify_dark(&records.iter().filter(in_the_dark).cloned().collect::<Vec<_>>(), flows);
        verify(&records, flows, begun);
    }

    /// A fault that Redis is not away for longer than a moment.
    pub fn flicker(self, fault: impl FnOnce(&Self)) -> (Vec<Record>, usize) {
        let begun = Instant::now();
        fault(&self);
        let healed = Instant::now();
        self.load.until("Redis is used", healed, |records| records.iter().any(|record| self.is_counted(record)));
        self.load.until("the breaker closes", healed, |_| !site::is_broken(&self.server));
        self.until_counted(healed);
        let Self { load, flows, .. } = self;
        let records = load.stop();
        let back = records.iter().filter(|record| record.at >= healed && is_counted(record, flows));
        let back = back.map(|record| record.answered).min().unwrap() - healed;
        assert!(back <= BACK_WITHIN, "Redis was used again only after {back:?}");
        verify(&records, flows, begun);
        (records, flows)
    }

    fn is_counted(&self, record: &Record) -> bool {
        is_counted(record, self.flows)
    }
}

fn is_counted(record: &Record, flows: usize) -> bool {
    record.flow < flows && record.answer.is_by(By::Counter)
}

/// Of answers while Redis was away all the time: the failure modes gave them.
fn verify_dark(records: &[Record], flows: usize) {
    for record in records.iter().filter(|record| record.flow < flows && record.answer != Answer::Late) {
        let right = match record.key {
            "local" => record.answer == Answer::Given { admitted: true, by: By::Local },
            "open" => record.answer == Answer::Given { admitted: true, by: By::Nobody },
            "closed" => record.answer == Answer::Given { admitted: false, by: By::Nobody },
            _ => matches!(record.answer, Answer::Error(Code::Unavailable, _)),
        };
        assert!(right, "while Redis was away: {record:?}");
    }
}

/// Of all answers: in time, and errors only where they are asked for.
fn verify(records: &[Record], flows: usize, begun: Instant) {
    for record in records {
        match (&record.answer, record.key) {
            (Answer::Error(code, text), "error") => assert_eq!(*code, Code::Unavailable, "{text}"),
            (Answer::Error(..), _) => panic!("an error: {record:?}"),
            (Answer::Given { admitted: false, by }, "closed") => assert_eq!(*by, By::Nobody, "{record:?}"),
            (Answer::Given { admitted, .. }, _) => assert!(admitted, "{record:?}"),
            (Answer::Late, _) => {}
        }
    }
    let known = |record: &&Record| record.at < begun || record.at >= begun + DETECTION;
    let ours = late(records.iter().filter(|record| record.flow < flows).filter(known));
    let control = slower_than(TOO_SLOW, records.iter().filter(|record| record.flow >= flows));
    let all = late(records.iter().filter(|record| record.flow < flows));
    if std::env::var_os("T").is_some() {
        let end = records.iter().map(|r| r.at).max().unwrap();
        let mut t = records.iter().map(|r| r.at).min().unwrap();
        while t < end {
            let n = t + Duration::from_millis(250);
            let of = |ours: bool| records.iter().filter(move |r| r.at >= t && r.at < n && (r.flow < flows) == ours);
            let c = of(true).filter(|r| r.answer.is_by(By::Counter)).count();
            println!(
                "{:>6.2}s n {} late {:.2} counted {} control {:.2} / >5 {:.2}",
                t.saturating_duration_since(begun).as_secs_f64(),
                of(true).count(),
                late(of(true)),
                c,
                late(of(false)),
                slower_than(TOO_SLOW, of(false))
            );
            t = n;
        }
    }
    println!(
        "late: {:.2} % of {}, {:.2} % with detection, control {:.2} %",
        ours * 100.0,
        records.len(),
        all * 100.0,
        control * 100.0
    );
    let allowed = 0.01 + 2.0 * control;
    assert!(ours <= allowed, "{:.2} % were late, of the control {:.2} % slow", ours * 100.0, control * 100.0);
}

/// What the control, which does nothing but count in memory, needs as long for was this machine's fault. (Of two
/// programs that wait for each other, each must be given the processor.)
pub const TOO_SLOW: Duration = Duration::from_millis(5);

/// The share of requests that were not answered in time.
pub fn late<'r>(records: impl Iterator<Item = &'r Record>) -> f64 {
    share(records, |record| record.answer == Answer::Late)
}

/// The share of requests that took longer.
pub fn slower_than<'r>(time: Duration, records: impl Iterator<Item = &'r Record>) -> f64 {
    share(records, |record| record.answered - record.at > time)
}

fn share<'r>(records: impl Iterator<Item = &'r Record>, is: impl Fn(&Record) -> bool) -> f64 {
    let (mut all, mut those) = (0_u32, 0_u32);
    for record in records {
        all += 1;
        those += u32::from(is(record));
    }
    f64::from(those) / f64::from(all.max(1))
}

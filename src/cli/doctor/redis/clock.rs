//! Clocks. Counters go by Redis' own clock, so a skew denies and admits nobody wrongly; but windows that begin with
//! the minute begin at Redis' minute, and a failover to a server whose clock differs moves them.

use std::time::{Duration, Instant, SystemTime};

use super::link::{Answer, Link};
use crate::cli::doctor::report::Section;
use crate::counters::redis::topology::NodeAddress;

/// How often the time is asked for; the quickest answer says most.
const SAMPLES: usize = 5;
/// From which skew on people notice.
const NOTICEABLE: f64 = 1.0;
const ADVICE: &str = "run NTP or chrony on both machines";

/// How far a server's clock is ahead of ours, in seconds, give or take.
#[derive(Clone, Debug, PartialEq)]
pub struct Skew {
    address: NodeAddress,
    ahead: f64,
    uncertain: f64,
}

/// Compares the server's clock with this machine's.
pub async fn check(link: &Link, address: &NodeAddress, section: &mut Section) -> Option<Skew> {
    let mut best: Option<Skew> = None;
    for _ in 0..SAMPLES {
        let (sent, local) = (Instant::now(), SystemTime::now());
        let time = match link.ask("TIME", &[]).await {
            Ok(time) => time,
            Err(error) => {
                section.fail("clock", format!("the server does not tell its time: {error}"), "let this user TIME");
                return None;
            }
        };
        let trip = sent.elapsed().as_secs_f64();
        let local = local.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let ahead = seconds(&time)? - (local + trip / 2.0);
        let skew = Skew { address: address.clone(), ahead, uncertain: trip / 2.0 };
        best = best.filter(|best| best.uncertain <= skew.uncertain).or(Some(skew));
    }
    let skew = best?;
    let shown =
        format!("{} {} this machine's", length(skew.ahead), if skew.ahead < 0.0 { "behind" } else { "ahead of" });
    if skew.ahead.abs() - skew.uncertain > NOTICEABLE {
        section.warn("clock", format!("{shown}; windows begin by Redis' clock"), ADVICE);
    } else {
        section.ok("clock", shown);
    }
    Some(skew)
}

/// Compares the servers' clocks with each other.
pub fn between(skews: &[Skew], section: &mut Section) {
    let first = skews.iter().min_by(|a, b| a.ahead.total_cmp(&b.ahead));
    let last = skews.iter().max_by(|a, b| a.ahead.total_cmp(&b.ahead));
    let (Some(first), Some(last)) = (first, last) else { return };
    let apart = last.ahead - first.ahead;
    if apart - first.uncertain - last.uncertain > NOTICEABLE {
        let message = format!("{} is {} ahead of {}", last.address, length(apart), first.address);
        section.warn("clocks", format!("{message}; a failover between them would move windows"), ADVICE);
    } else {
        section.ok("clocks", format!("within {} of each other", length(apart)));
    }
}

/// `TIME`: seconds and microseconds.
fn seconds(time: &Answer) -> Option<f64> {
    let [seconds, micros] = time.list() else { return None };
    Some(seconds.number()? as f64 + micros.number()? as f64 / 1e6)
}

fn length(seconds: f64) -> String {
    format!("{:.1?}", Duration::try_from_secs_f64(seconds.abs()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Level;

    #[test]
    fn servers_are_compared_with_each_other() {
        let skew = |port, ahead| Skew { address: NodeAddress { host: "r".into(), port }, ahead, uncertain: 0.01 };
        let judge = |skews: &[Skew]| {
            let mut section = Section::new("test");
            between(skews, &mut section);
            section.findings.remove(0)
        };
        assert_eq!(judge(&[skew(1, -0.4), skew(2, 0.5)]).level, Level::Ok);
        let found = judge(&[skew(1, 5.0), skew(2, 3.0), skew(3, 4.0)]);
        assert_eq!(found.level, Level::Warn);
        assert!(found.message.starts_with("r:1 is 2.0s ahead of r:2"), "{}", found.message);
    }
}

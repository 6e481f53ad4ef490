//! A log whose clients are judged second by second, without rules: for training and evaluation.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::anomaly::engine::Engine;
use crate::anomaly::event::Event;
use crate::anomaly::observation::Outcome;
use crate::config::anomaly::Anomaly;
use crate::config::{Config, LoadOptions};
use crate::core::client::network;
use crate::core::clock::Micros;
use crate::core::subject::Subject;
use crate::replay::log::{Entry, Format, Reader};

/// The only domain of such a log.
const DOMAIN: &str = "log";
/// What calm requests are labelled with.
const LEGIT: &str = "legit";
/// Silence that is longer than this is cut short.
const QUIET: Micros = Micros::from_secs(3_600);

/// Which log.
#[derive(Debug, clap::Args)]
pub struct Source {
    /// The log; - is standard input; may be packed by gzip
    #[arg(long, short, value_name = "FILE")]
    pub input: PathBuf,
    /// How its lines are written; auto looks at the first
    #[arg(long, value_enum, default_value_t)]
    pub format: Lines,
    /// A YAML file with settings, as of `tidegate serve`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum Lines {
    /// What the first line looks like
    #[default]
    Auto,
    /// A JSON object a line
    Jsonl,
    /// As nginx and Apache write it
    Combined,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    pub lines: u64,
    pub bad: u64,
    /// From the first request to the last, seconds.
    pub span: f64,
    pub last: Micros,
    pub labels: Labels,
}

impl Source {
    /// The settings that clients are judged by.
    pub fn settings(&self) -> anyhow::Result<Anomaly> {
        let options = LoadOptions { file: self.config.clone(), ..LoadOptions::from_process() };
        Ok(Config::load(&options)?.config.anomaly)
    }

    /// Reads the log through an engine; `second` is called at each second's end.
    pub fn read(&self, engine: &mut Engine, mut second: impl FnMut(&Engine, Vec<Event>)) -> anyhow::Result<Read> {
        let format = match self.format {
            Lines::Auto => None,
            Lines::Jsonl => Some(Format::Jsonl),
            Lines::Combined => Some(Format::Combined),
        };
        let name = || format!("--input {}", self.input.display());
        let mut reader = Reader::open(&self.input, format).with_context(name)?;
        let mut read = Read::default();
        let mut first = None;
        let mut next = Micros::ZERO;
        let interval = engine.interval();
        while let Some(entry) = reader.read().with_context(name)? {
            first.get_or_insert(entry.at);
            if next == Micros::ZERO || entry.at - next > QUIET {
                next = entry.at + interval;
            }
            while next <= entry.at {
                let events = engine.tick(next);
                second(engine, events);
                next = next + interval;
            }
            engine.observe(&entry.observation(DOMAIN, Outcome::Unknown));
            read.labels.note(&entry);
            read.last = entry.at;
            reader.recycle(entry);
        }
        let events = engine.tick(next);
        second(engine, events);
        (read.lines, read.bad) = (reader.lines(), reader.lost().bad);
        read.span = (read.last - first.unwrap_or(read.last)).0 as f64 / 1e6;
        Ok(read)
    }
}

/// What requests are labelled with, by who makes them.
#[derive(Debug, Default)]
pub struct Labels {
    of: HashMap<Subject, HashMap<String, u64>>,
    /// Addresses whose requests all have a user.
    behind: HashMap<Subject, HashMap<String, u64>>,
}

impl Labels {
    fn note(&mut self, entry: &Entry) {
        let Some(label) = entry.label() else { return };
        let mut count = |of: bool, subject: Subject| {
            let subjects = if of { &mut self.of } else { &mut self.behind };
            let labels = subjects.entry(subject).or_default();
            if let Some(count) = labels.get_mut(label) {
                *count += 1;
            } else {
                labels.insert(label.to_owned(), 1);
            }
        };
        if let Some(user) = entry.user() {
            count(true, Subject::User(user.into()));
        }
        if let Some(address) = entry.address {
            count(entry.user().is_none(), Subject::Address(network(address)));
        }
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty() && self.behind.is_empty()
    }

    /// What most of a client's requests are labelled with.
    pub fn get(&self, subject: &Subject) -> Option<&str> {
        let labels = self.of.get(subject).or_else(|| self.behind.get(subject))?;
        let most = labels.iter().max_by(|a, b| (a.1, b.0).cmp(&(b.1, a.0)));
        most.map(|(label, _)| label.as_str())
    }
}

/// Whether a label says that it is an attack.
pub fn is_attack(label: &str) -> bool {
    label != LEGIT
}

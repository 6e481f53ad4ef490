//! One request of a log.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use crate::anomaly::observation::{Observation, Outcome};
use crate::core::client::Client;
use crate::core::clock::Micros;

/// Wall times of logs are before the year 10000; a time in milliseconds is not.
const LATEST: f64 = 253_402_300_800.0;

/// The longest label, bytes.
const MAX_LABEL: usize = 100;

/// A part of an entry's text.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

/// A text that an entry may have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    User,
    Method,
    Path,
    UserAgent,
    Label,
}

/// One request, with all its texts in one piece of memory that is used again.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Wall time, microseconds since the Unix epoch.
    pub at: Micros,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The status of the response.
    pub status: Option<u16>,
    /// The size of the response.
    pub bytes: Option<u64>,
    /// The country of the address, ISO 3166-1 alpha-2.
    pub country: Option<[u8; 2]>,
    /// The autonomous system of the address. No log tells it.
    pub asn: Option<u32>,
    text: String,
    spans: [Option<Span>; 5],
}

impl Entry {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        let text = std::mem::take(&mut self.text);
        *self = Self { text, ..Self::default() };
    }

    /// Sets a text. An empty one is none.
    pub(super) fn set(&mut self, field: Field, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.spans[field as usize] = (!text.is_empty()).then_some(Span { start, end: self.text.len() });
    }

    /// Sets the path, without its query.
    pub(super) fn set_path(&mut self, target: &str) {
        let end = memchr::memchr2(b'?', b'#', target.as_bytes()).unwrap_or(target.len());
        self.set(Field::Path, &target[..end]);
    }

    /// Sets the status; where there was no response, 0 is logged.
    pub(super) fn set_status(&mut self, status: Option<u64>) -> Result<(), LineError> {
        let Some(status) = status.filter(|status| *status != 0) else { return Ok(()) };
        let wrong = || LineError::new("status", format!("{status} is not the status of a response"));
        self.status = Some(u16::try_from(status).ok().filter(|status| *status < 1_000).ok_or_else(wrong)?);
        Ok(())
    }

    /// Sets the address, in its canonical form. A port behind it is left out.
    pub(super) fn set_address(&mut self, field: &'static str, text: &str) -> Result<(), LineError> {
        match text.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip())) {
            Ok(address) => self.address = Some(address.to_canonical()),
            Err(_) => return Err(LineError::value(field, text, "an IPv4 or IPv6 address like 192.0.2.1")),
        }
        Ok(())
    }

    /// Sets the time from seconds since the Unix epoch.
    pub(super) fn set_seconds(&mut self, seconds: f64) -> Result<(), LineError> {
        if !(0.0..LATEST).contains(&seconds) {
            let reason = format!("{seconds} is not in the range of seconds since 1970; milliseconds must be divided");
            return Err(LineError::new("ts", reason));
        }
        self.at = Micros((seconds * 1e6).round() as u64);
        Ok(())
    }

    pub(super) fn set_label(&mut self, label: &str) -> Result<(), LineError> {
        if label.len() > MAX_LABEL {
            return Err(LineError::new("label", format!("longer than {MAX_LABEL} bytes")));
        }
        self.set(Field::Label, label);
        Ok(())
    }

    /// The memory that its texts hold.
    pub(super) const fn bytes_held(&self) -> usize {
        self.text.capacity()
    }

    fn get(&self, field: Field) -> Option<&str> {
        self.spans[field as usize].map(|Span { start, end }| &self.text[start..end])
    }

    /// Who is logged in.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.get(Field::User)
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.get(Field::Method)
    }

    /// The path, without query.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.get(Field::Path)
    }

    /// The user agent.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.get(Field::UserAgent)
    }

    /// `legit`, or the name of an attack.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.get(Field::Label)
    }

    /// Who makes the request.
    #[must_use]
    pub fn client(&self) -> Client<'_> {
        Client {
            user: self.user(),
            address: self.address,
            method: self.method().unwrap_or_default(),
            path: self.path().unwrap_or_default(),
            user_agent: self.user_agent(),
            country: self.country,
            asn: self.asn,
        }
    }

    /// What the worker sees of it.
    #[must_use]
    pub fn observation<'a>(&'a self, domain: &'a str, outcome: Outcome) -> Observation<'a> {
        let Client { user, address, method, path, user_agent, country, asn } = self.client();
        Observation {
            at: self.at,
            domain,
            user,
            address,
            method,
            path,
            user_agent,
            country,
            asn,
            status: self.status,
            bytes: self.bytes,
            duration: None,
            hits: 1,
            outcome,
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct LineError {
    /// The field.
    pub field: Cow<'static, str>,
    /// What is wrong with it.
    pub reason: String,
}

impl LineError {
    pub(super) fn new(field: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }

    /// `text` is not what was wanted.
    pub(super) fn value(field: &'static str, text: &str, wanted: &str) -> Self {
        let shown: String = text.chars().take(40).collect();
        Self::new(field, format!("{shown:?} is not {wanted}"))
    }
}

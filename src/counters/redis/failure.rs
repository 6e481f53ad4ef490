//! What can go wrong with a call, and what Redis' own errors mean.

use super::topology::NodeAddress;

/// Why a call has no answer. Whether it was carried out is unknown only with [`Failure::Timeout`] and
/// [`Failure::Disconnected`]; it is never sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// No answer in time.
    Timeout,
    /// No connection, or it was lost before the answer.
    Disconnected,
    /// The node's circuit breaker is open.
    BreakerOpen,
    /// As many hits are waiting as may.
    QueueFull,
    /// Nobody is known to own the slot, or the cluster is down.
    ClusterDown,
    /// The node is a replica.
    ReadOnly,
    /// The node reads its data from disk.
    Loading,
    /// The node has no memory left.
    OutOfMemory,
    /// The slot is on its way to another node, and not all of its keys are there.
    Migrating,
    /// Redis refuses us: authentication or permissions.
    Refused,
    /// An answer that makes no sense, or another error.
    Protocol,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Timeout,
        Self::Disconnected,
        Self::BreakerOpen,
        Self::QueueFull,
        Self::ClusterDown,
        Self::ReadOnly,
        Self::Loading,
        Self::OutOfMemory,
        Self::Migrating,
        Self::Refused,
        Self::Protocol,
    ];

    /// The name used in metrics and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::BreakerOpen => "breaker_open",
            Self::QueueFull => "queue_full",
            Self::ClusterDown => "cluster_down",
            Self::ReadOnly => "read_only",
            Self::Loading => "loading",
            Self::OutOfMemory => "out_of_memory",
            Self::Migrating => "migrating",
            Self::Refused => "refused",
            Self::Protocol => "protocol",
        }
    }

    /// Whether it says something about the node, so that its circuit breaker should know.
    #[must_use]
    pub const fn blames_the_node(self) -> bool {
        !matches!(self, Self::BreakerOpen | Self::QueueFull | Self::Migrating)
    }
}

/// What an error of Redis asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The script is not known there, and was not run.
    NoScript,
    /// The slot belongs to another node; nothing was run.
    Moved(u16, NodeAddress),
    /// The slot is on its way to another node, which has to be asked this once; nothing was run.
    Ask(u16, NodeAddress),
    /// Nothing to be done now.
    Failed(Failure),
}

/// Reads an error; `host` is the node's own, which Redis leaves out when it knows no name for it.
#[must_use]
pub fn complaint(error: &str, host: &str) -> Complaint {
    let mut words = error.split_ascii_whitespace();
    let failed = |failure| Complaint::Failed(failure);
    match words.next().unwrap_or_default() {
        "NOSCRIPT" => Complaint::NoScript,
        kind @ ("MOVED" | "ASK") => {
            let slot = words.next().and_then(|slot| slot.parse().ok());
            let node = words.next().and_then(|node| NodeAddress::parse(node, host));
            match slot.zip(node) {
                Some((slot, node)) if kind == "MOVED" => Complaint::Moved(slot, node),
                Some((slot, node)) => Complaint::Ask(slot, node),
                None => failed(Failure::Protocol),
            }
        }
        "CLUSTERDOWN" => failed(Failure::ClusterDown),
        "TRYAGAIN" => failed(Failure::Migrating),
        // `UNBLOCKED` is what calls hear that waited at a primary while it handed over.
        "READONLY" | "MASTERDOWN" | "NOREPLICAS" | "UNBLOCKED" => failed(Failure::ReadOnly),
        "LOADING" | "BUSY" => failed(Failure::Loading),
        "OOM" => failed(Failure::OutOfMemory),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => failed(Failure::Refused),
        // A script's own error carries the one that it met.
        _ if error.contains("OOM ") => failed(Failure::OutOfMemory),
        _ if error.contains("READONLY ") => failed(Failure::ReadOnly),
        _ => failed(Failure::Protocol),
    }
}

/// Reads an error of the client.
#[must_use]
pub fn client_failure(error: &fred::error::Error) -> Failure {
    use fred::error::ErrorKind;
    match error.kind() {
        ErrorKind::Timeout => Failure::Timeout,
        ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Routing | ErrorKind::Sentinel | ErrorKind::Tls => {
            Failure::Disconnected
        }
        ErrorKind::Auth => Failure::Refused,
        ErrorKind::Backpressure => Failure::QueueFull,
        _ => match complaint(error.details(), "") {
            Complaint::Failed(failure) => failure,
            _ => Failure::Disconnected,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_name_slot_and_node() {
        let node = |text| NodeAddress::parse(text, "10.0.0.9").unwrap();
        assert_eq!(complaint("MOVED 3999 10.0.0.1:6381", "h"), Complaint::Moved(3999, node("10.0.0.1:6381")));
        assert_eq!(complaint("ASK 7 :6381", "10.0.0.9"), Complaint::Ask(7, node("10.0.0.9:6381")));
        assert_eq!(complaint("MOVED x", "h"), Complaint::Failed(Failure::Protocol));
    }

    #[test]
    fn errors_are_told_apart() {
        let failure = |text| match complaint(text, "h") {
            Complaint::Failed(failure) => failure.name(),
            other => panic!("{text}: {other:?}"),
        };
        for (text, name) in [
            ("CLUSTERDOWN Hash slot not served", "cluster_down"),
            ("TRYAGAIN Multiple keys request during rehashing of slot", "migrating"),
            ("READONLY You can't write against a read only replica.", "read_only"),
            ("MASTERDOWN Link with MASTER is down", "read_only"),
            ("LOADING Redis is loading the dataset in memory", "loading"),
            ("BUSY Redis is busy running a script.", "loading"),
            ("OOM command not allowed when used memory > 'maxmemory'.", "out_of_memory"),
            ("ERR user_script:5: OOM command not allowed when used memory > 'maxmemory'.", "out_of_memory"),
            ("NOPERM this user has no permissions to run the 'evalsha' command", "refused"),
            ("NOAUTH Authentication required.", "refused"),
            ("ERR something else", "protocol"),
            ("", "protocol"),
        ] {
            assert_eq!(failure(text), name, "{text}");
        }
        assert_eq!(complaint("NOSCRIPT No matching script.", "h"), Complaint::NoScript);
    }
}

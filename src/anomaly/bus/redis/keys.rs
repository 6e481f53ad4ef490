//! The names of keys.

/// The names, behind one prefix. What changes together, or only while the seat is held, shares a slot.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
    pub(super) seat: String,
    pub(super) observations: StreamKeys,
    pub(super) deeds: StreamKeys,
    pub(super) standing: String,
    pub(super) checkpoint: String,
}

/// The names of one stream and what is kept about it.
#[derive(Clone, Debug)]
pub(super) struct StreamKeys {
    pub(super) stream: String,
    pub(super) sizes: String,
    pub(super) state: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let prefix = format!("{prefix}_anomaly");
        let seat = format!("{prefix}:{{seat}}");
        Self {
            observations: StreamKeys::new(format!("{prefix}:{{observations}}")),
            deeds: StreamKeys::new(format!("{seat}:deeds")),
            standing: format!("{seat}:standing"),
            checkpoint: format!("{seat}:checkpoint"),
            seat,
            prefix,
        }
    }

    /// Before the name and number of a part of what is kept in parts; each part is in a slot of its own.
    pub(super) fn parts(&self, of: &str) -> String {
        format!("{}:{of}", self.prefix)
    }
}

impl StreamKeys {
    fn new(stream: String) -> Self {
        Self { sizes: format!("{stream}:sizes"), state: format!("{stream}:state"), stream }
    }
}

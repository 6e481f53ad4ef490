//! The names of keys and channel.

use crate::rules::copies::codec::Title;

/// The names, behind one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
    pub(super) head: String,
    pub(super) log: String,
    pub(super) publisher: String,
    pub(super) channel: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let prefix = format!("{prefix}_rules");
        // Head and log change together, so they share a slot.
        Self {
            head: format!("{prefix}:{{head}}"),
            log: format!("{prefix}:{{head}}:log"),
            publisher: format!("{prefix}:{{head}}:publisher"),
            channel: format!("{prefix}:changed"),
            prefix,
        }
    }

    pub(super) fn part(&self, title: &Title, number: u32) -> String {
        let Title { id, head, .. } = title;
        format!("{}:{}:{}:{id:032x}:{number}", self.prefix, head.epoch, head.revision)
    }

    pub(super) fn head_and_log(&self) -> Vec<&str> {
        vec![&self.head, &self.log]
    }
}

//! Where the database is, by the name that platforms set.

use super::{Env, Reference};

const DATABASE_URL: &str = "DATABASE_URL";

/// `DATABASE_URL` is `database.url`.
pub(super) fn read(env: &Env<'_>, found: &mut Reference) {
    if let Some(url) = env.get(DATABASE_URL) {
        found.set("database.url", url, DATABASE_URL);
    }
}

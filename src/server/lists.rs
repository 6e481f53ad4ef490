//! The lists of external authorization, as they are at the moment.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::authz::lists::Lists;

/// The lists in force.
#[derive(Debug, Default)]
pub struct ListsHandle(ArcSwap<Lists>);

impl ListsHandle {
    /// Both lists; hold them for one request.
    pub fn load(&self) -> Guard<Arc<Lists>> {
        self.0.load()
    }
}

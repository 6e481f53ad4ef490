//! Counters in Redis: one server, a primary behind sentinels, or a cluster, shared by every replica of the service.
//!
//! **Exactness.** Scripts change counters, atomically each, by Redis' own clock ([`scripts`]). They answer with what
//! the counters were before, and the core's algorithms work the outcomes out from that ([`replay`]), so there is one
//! definition of every algorithm. A charge is sent at most once: if no answer comes, whether it was made is unknown,
//! and it is not made again.
//!
//! **The way there.** A request's hits go to the queue of its worker ([`lane`]); what is ready in one turn of the event
//! loop leaves as few calls ([`calls`]) in one pipeline per node ([`router`], [`node`]). Each worker has connections of
//! its own. Hits that are charged all or not at all go as one unit where their counters share a place; where they do
//! not, they are held and, if one is denied, released ([`joint`]).
//!
//! **Floods.** A counter known to be over its limit is answered from memory until a hit could pass again
//! ([`crate::counters::over_limit`]).
//!
//! **Failure.** A call has a deadline, a node a circuit breaker. A hit without an answer is answered by its rule's
//! failure mode ([`fallback`]): by default this process counts on its own, at its share of the limit.

pub mod backend;
mod calls;
pub mod failure;
pub mod fallback;
mod joint;
pub mod key;
pub mod lane;
mod log;
pub mod node;
pub mod notices;
pub mod program;
pub mod replay;
pub mod replicas;
pub mod router;
pub mod scripts;
pub mod shared;
mod store;
mod wire;

pub use crate::redis::{connect, topology};
pub use store::{Options, RedisStore};

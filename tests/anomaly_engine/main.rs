//! The anomaly engine on traffic of a small world.

mod goals;
mod stand;
mod world;

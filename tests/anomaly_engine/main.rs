//! The anomaly engine on the traffic of a small world.

mod faults;
mod figures;
mod goals;
mod stand;
mod travel;
mod world;

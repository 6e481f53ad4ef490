//! The anomaly engine on the traffic of a small world.

mod covers;
mod faults;
mod figures;
mod goals;
mod goes_on;
mod limits;
mod stand;
mod travel;
mod words;
mod world;

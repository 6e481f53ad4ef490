//! What is usual: of numbers over time ([`level`], by hour of the week [`season`]), and of clients ([`population`]).

pub mod level;
pub mod population;
pub mod season;

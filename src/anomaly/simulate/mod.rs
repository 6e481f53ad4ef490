//! Traffic that never was: seeded scenarios, for tests and demonstrations.

//! A log of requests, run through the engine in virtual time.

//! The scripts: Lua 5.1 as Redis 6.2 and later and Valkey run it, composed of the files in `scripts/`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;

use super::program::Call;

/// A script and its hash.
#[derive(Debug)]
pub struct Script {
    /// The source, for `SCRIPT LOAD` and `EVAL`.
    pub source: &'static str,
    /// The SHA-1 of the source in lower-case hexadecimal, for `EVALSHA`.
    pub sha1: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, source.as_bytes());
        let mut sha1 = String::with_capacity(40);
        for byte in digest.as_ref() {
            // Writing to a string never fails.
            let _ = write!(sha1, "{byte:02x}");
        }
        Self { source, sha1 }
    }
}

/// A script's source: what all have in common, a clock, and a driver.
macro_rules! source {
    ($clock:literal, $driver:literal) => {
        concat!(
            include_str!("scripts/prelude.lua"),
            include_str!($clock),
            "-- The functions of an algorithm: open, step, close. Made when they are needed, as that costs something.\n",
            "local function make(algorithm)\n",
            include_str!("scripts/lifetime.lua"),
            "if algorithm <= 2 then\n",
            include_str!("scripts/fixed_window.lua"),
            "return open, step, close\nelseif algorithm == 6 then\n",
            include_str!("scripts/sliding_window_log.lua"),
            "return open, step, close\nend\n",
            include_str!("scripts/muldiv.lua"),
            "if algorithm == 3 then\n",
            include_str!("scripts/sliding_window_counter.lua"),
            "return open, step, close\nend\n",
            include_str!("scripts/buckets.lua"),
            "return open, step, close, convert\nend\n",
            include_str!($driver),
        )
    };
}

/// Performs an [`super::program::Independent`] program.
pub static INDEPENDENT: LazyLock<Script> =
    LazyLock::new(|| Script::new(source!("scripts/clock.lua", "scripts/independent.lua")));

/// Performs a [`super::program::Joint`] program.
pub static JOINT: LazyLock<Script> = LazyLock::new(|| Script::new(source!("scripts/clock.lua", "scripts/joint.lua")));

/// Forgets a counter, and says so to everybody: `KEYS[1]` the counter, `ARGV[1]` channel, `ARGV[2]` notice. Returns
/// how many there were.
pub static RESET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/reset.lua")));

/// Says that a replica lives, and counts all of them; see [`super::replicas`].
pub static HEARTBEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/heartbeat.lua")));

/// The call that forgets a counter.
#[must_use]
pub fn reset(name: Bytes, channel: Bytes, notice: Bytes) -> Call {
    Call { script: &RESET, keys: vec![name], args: vec![channel, notice] }
}

/// The same scripts with injected time, for tests: microseconds since the Unix epoch, as decimal text in one more
/// argument.
pub mod injected {
    use super::{LazyLock, Script};

    /// [`super::INDEPENDENT`] with injected time.
    pub static INDEPENDENT: LazyLock<Script> =
        LazyLock::new(|| Script::new(source!("scripts/clock_test.lua", "scripts/independent.lua")));

    /// [`super::JOINT`] with injected time.
    pub static JOINT: LazyLock<Script> =
        LazyLock::new(|| Script::new(source!("scripts/clock_test.lua", "scripts/joint.lua")));
}

/// The arithmetic that products beyond 2^53 need, on its own, so that it can be tested.
pub const MULDIV: &str = include_str!("scripts/muldiv.lua");

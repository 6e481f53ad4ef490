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

    /// A script that changes counters: what all have in common, a clock, and a driver, which names where the pieces of
    /// the algorithms go.
    fn compose(clock: &str, driver: &str) -> Self {
        let driver = driver.replace("--[open]", OPEN).replace("--[step]", STEP).replace("--[close]", CLOSE);
        // Made once, and kept to the end.
        Self::new([PRELUDE, clock, SHARED, &driver].concat().leak())
    }
}

const PRELUDE: &str = include_str!("scripts/prelude.lua");
const CLOCK: &str = include_str!("scripts/clock.lua");
const CLOCK_TEST: &str = include_str!("scripts/clock_test.lua");
const SHARED: &str = concat!(
    include_str!("scripts/lifetime.lua"),
    include_str!("scripts/muldiv.lua"),
    "-- Made when they are needed.\nlocal look, ask\n"
);

/// Reads a counter: from its head (`algorithm`, `first`, `second`; `position` is behind it in `arg`) and its key to
/// `state`, which is answered, and what the steps work on: `x` and `y`, which they change, and `a` to `d`. No `x` when
/// there is no answer.
const OPEN: &str = concat!(
    "if algorithm == 6 then\nif not look then\n",
    include_str!("scripts/sliding_window_log/functions.lua"),
    "end\n",
    include_str!("scripts/sliding_window_log/open.lua"),
    "else\nstate = try('GET', key)\nif type(state) == 'table' then\nstate = '!' .. state.err\nelseif algorithm <= 2 then\n",
    include_str!("scripts/fixed_window/open.lua"),
    "elseif algorithm == 3 then\n",
    include_str!("scripts/sliding_window_counter/open.lua"),
    "else\n",
    include_str!("scripts/buckets/open.lua"),
    "end\nend\n",
);

/// Performs `code`, so many `times`, with the numbers `cost`, `cost_part`, `room` and `room_part`: changes `x` and `y`,
/// and says whether it is `allowed`, the last time, and whether anything has `changed`.
const STEP: &str = concat!(
    "if algorithm <= 2 then\n",
    include_str!("scripts/fixed_window/step.lua"),
    "elseif algorithm == 3 then\n",
    include_str!("scripts/sliding_window_counter/step.lua"),
    "elseif algorithm <= 5 then\n",
    include_str!("scripts/buckets/step.lua"),
    "else\n",
    include_str!("scripts/sliding_window_log/step.lua"),
    "end\n",
);

/// Writes `x` and `y`, when they are `dirty`.
const CLOSE: &str = concat!(
    "if algorithm <= 2 then\n",
    include_str!("scripts/fixed_window/close.lua"),
    "elseif algorithm == 3 then\n",
    include_str!("scripts/sliding_window_counter/close.lua"),
    "elseif algorithm <= 5 then\n",
    include_str!("scripts/buckets/close.lua"),
    "else\n",
    include_str!("scripts/sliding_window_log/close.lua"),
    "end\n",
);

const INDEPENDENT_DRIVER: &str = include_str!("scripts/independent.lua");
const JOINT_DRIVER: &str = concat!(include_str!("scripts/buckets/convert.lua"), include_str!("scripts/joint.lua"));

/// Performs an [`super::program::Independent`] program.
pub static INDEPENDENT: LazyLock<Script> = LazyLock::new(|| Script::compose(CLOCK, INDEPENDENT_DRIVER));

/// Performs a [`super::program::Joint`] program.
pub static JOINT: LazyLock<Script> = LazyLock::new(|| Script::compose(CLOCK, JOINT_DRIVER));

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
    use super::{CLOCK_TEST, INDEPENDENT_DRIVER, JOINT_DRIVER, LazyLock, Script};

    /// [`super::INDEPENDENT`] with injected time.
    pub static INDEPENDENT: LazyLock<Script> = LazyLock::new(|| Script::compose(CLOCK_TEST, INDEPENDENT_DRIVER));

    /// [`super::JOINT`] with injected time.
    pub static JOINT: LazyLock<Script> = LazyLock::new(|| Script::compose(CLOCK_TEST, JOINT_DRIVER));
}

/// The arithmetic that products beyond 2^53 need, on its own, so that it can be tested.
pub const MULDIV: &str = include_str!("scripts/muldiv.lua");

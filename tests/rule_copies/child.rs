//! This test executable once more, as another process: it runs one test of `disk`, told what to do by its environment.

use std::path::Path;
use std::process::Command;

/// Names the directory, for a test that acts only as a child.
const DIRECTORY: &str = "RULE_COPIES_CHILD";

/// The directory, in a child.
pub fn directory() -> Option<std::path::PathBuf> {
    std::env::var_os(DIRECTORY).map(Into::into)
}

/// Runs this test in a child.
pub fn run(test: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(DIRECTORY, directory);
    command
}

/// The same with files of at most so many blocks of 512 bytes.
pub fn run_with_small_files(test: &str, directory: &Path, blocks: u32) -> Command {
    let plain = run(test, directory);
    let mut command = Command::new("sh");
    // Writing more is then an error, not a signal.
    command.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")).arg(plain.get_program());
    command.args(plain.get_args()).env(DIRECTORY, directory);
    command
}

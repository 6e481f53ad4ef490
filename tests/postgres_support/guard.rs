//! Ends the servers of a test process that ended without doing so, or that has them in a `static`, which Rust never
//! drops.
//!
//! A shell reads which servers there are. When the process is gone, so is its end of the pipe: the shell ends those
//! that are left, so that they give their shared memory back, and removes their directories.

use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

const SCRIPT: &str = r#"
trap '' INT HUP TERM
left=" "
while read -r change server; do
    case "$change$left" in
    +*) left="$left$server " ;;
    *" $server "*) left="${left%% "$server" *} ${left#* "$server" }" ;;
    esac
done
for server in $left; do
    kill -CONT "${server%%:*}"
    kill -QUIT "${server%%:*}"
    tries=0
    while kill -0 "${server%%:*}" && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
    rm -rf "${server#*:}"
done
"#;

static GUARD: Mutex<Option<ChildStdin>> = Mutex::new(None);

/// A server that was started, and where it keeps its files.
pub fn started(pid: u32, directory: &Path) {
    tell('+', pid, directory);
}

/// A server that has ended; saying so again does nothing.
pub fn ended(pid: u32, directory: &Path) {
    tell('-', pid, directory);
}

fn tell(change: char, pid: u32, directory: &Path) {
    let mut guard = GUARD.lock().unwrap_or_else(PoisonError::into_inner);
    let shell = guard.get_or_insert_with(|| {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().expect("a shell").stdin.take().expect("its standard input")
    });
    // Without the guard, nothing but tidiness is lost.
    let _ = writeln!(shell, "{change} {pid}:{}", directory.display());
}

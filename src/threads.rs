//! How important a thread is.

/// The niceness of threads that no request waits for: a worker that wants the CPU gets nine tenths of it.
const BACKGROUND_NICENESS: i32 = 10;

/// Lets this thread give way to the workers. Called at the start of every background thread, so that a large rule set
/// can be compiled while requests are decided.
pub fn give_way() {
    // On Linux this sets the calling thread's niceness, not the whole process's. Where it is refused, nothing is lost
    // but smoothness.
    if let Err(error) = rustix::process::setpriority_process(None, BACKGROUND_NICENESS) {
        tracing::debug!(%error, "a background thread keeps its priority");
    }
}

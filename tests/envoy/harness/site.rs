//! Where a test lives: a loopback address of its own and a folder that goes with it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use tempfile::TempDir;

/// Linux answers on all of 127.0.0.0/8, so each test of each process can have its own address there, and its free ports
/// stay free: nothing else looks for ports on that address.
pub struct Site {
    ip: Ipv4Addr,
    folder: TempDir,
}

impl Site {
    pub fn new() -> Self {
        static SITES: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let ip = Ipv4Addr::new(127, 128 | high, low, SITES.fetch_add(1, Ordering::Relaxed));
        Self { ip, folder: tempfile::tempdir().unwrap() }
    }

    /// An address that nothing listens on.
    pub fn free_address(&self) -> SocketAddr {
        TcpListener::bind((self.ip, 0)).and_then(|listener| listener.local_addr()).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

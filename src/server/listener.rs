//! Sockets to listen on. A port that somebody else has is an error, never shared; a socket file that nobody listens on
//! any more is replaced, one that somebody does is an error.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: u32 = 1024;

/// Why a listener could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody has the port.
    #[error("{what} port {address} is taken by another process; stop it, or listen elsewhere ({setting})")]
    Taken {
        /// Which listener: gRPC, HTTP, admin.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The setting to change.
        setting: &'static str,
    },
    /// The port is reserved for root, or the like.
    #[error("{what} port {address} is not permitted to this user; use a port from 1024 on ({setting})")]
    NotPermitted {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The setting to change.
        setting: &'static str,
    },
    /// Anything else about an address.
    #[error("{what} cannot listen on {address} ({setting}): {source}")]
    Address {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The setting to change.
        setting: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Another process listens on the socket file.
    #[error("Unix socket {} is in use by another process; stop it, or use another path ({setting})", path.display())]
    SocketInUse {
        /// Where.
        path: PathBuf,
        /// The setting to change.
        setting: &'static str,
    },
    /// The path is not a socket, and not ours to delete.
    #[error("{} exists and is no socket; remove it, or use another path ({setting})", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
        /// The setting to change.
        setting: &'static str,
    },
    /// Anything else about a socket file.
    #[error("cannot listen on Unix socket {} ({setting}): {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// The setting to change.
        setting: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Binds a TCP port. Must be called where a tokio runtime is.
///
/// # Errors
/// [`BindError`], naming the listener `what` and the `setting` that chose the address.
pub fn bind_tcp(address: SocketAddr, what: &'static str, setting: &'static str) -> Result<TcpListener, BindError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Lets a restart take over from connections in TIME_WAIT; unlike SO_REUSEPORT it shares nothing.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { what, address, setting },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { what, address, setting },
        _ => BindError::Address { what, address, setting, source },
    })
}

/// A socket file that is listened on, and removed in the end.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: Option<u64>,
}

impl UnixSocket {
    /// Binds a socket file, in place of one that nobody listens on any more. Must be called where a tokio runtime is.
    ///
    /// # Errors
    /// [`BindError`] when the path is in use, or cannot be used, naming the `setting` that chose it.
    pub fn bind(path: &Path, setting: &'static str) -> Result<Self, BindError> {
        let failed = |source| BindError::Socket { path: path.to_owned(), setting, source };
        let in_use = || BindError::SocketInUse { path: path.to_owned(), setting };
        match fs::symlink_metadata(path) {
            Ok(existing) if !existing.file_type().is_socket() => {
                return Err(BindError::NotASocket { path: path.to_owned(), setting });
            }
            Ok(_) => match StdUnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(failed)?;
                }
                // A full backlog is a listener, too.
                Ok(_) => return Err(in_use()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(in_use());
                }
                Err(error) => return Err(failed(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let inode = fs::symlink_metadata(path).ok().map(|metadata| metadata.ino());
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    /// The same for this process's own user alone: mode 0600. Before it has that mode somebody else may have got in, so
    /// whoever serves looks at the peer, too.
    ///
    /// # Errors
    /// As [`UnixSocket::bind`].
    pub fn bind_private(path: &Path, setting: &'static str) -> Result<Self, BindError> {
        let socket = Self::bind(path, setting)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|source| BindError::Socket {
            path: path.to_owned(),
            setting,
            source,
        })?;
        Ok(socket)
    }

    /// The next connection.
    ///
    /// # Errors
    /// When the process has no file descriptors left, say.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // Not the successor's that may already have taken the path.
        let present = fs::symlink_metadata(&self.path).ok().map(|metadata| metadata.ino());
        if present.is_some() && present == self.inode {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where gRPC is listened for.
#[derive(Debug)]
pub enum GrpcListener {
    /// A port.
    Tcp(TcpListener),
    /// A socket file.
    Unix(UnixSocket),
}

/// A connection, on its way from the acceptor to its worker: of no runtime.
#[derive(Debug)]
pub enum Socket {
    /// From a port.
    Tcp(StdTcpStream),
    /// From a socket file.
    Unix(StdUnixStream),
}

impl GrpcListener {
    /// The next connection.
    ///
    /// # Errors
    /// When the process has no file descriptors left, say.
    pub async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer is one small write; it must not wait for company.
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream.into_std()?))
            }
            Self::Unix(socket) => Ok(Socket::Unix(socket.accept().await?.into_std()?)),
        }
    }

    /// The port, when it is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

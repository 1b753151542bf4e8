//! A port of the loopback that stays the test's own, and the ways in which a connection on it ends.

use rustix::net::{AddressFamily, Shutdown, SocketType, bind, connect_unspec, shutdown, socket, sockopt};
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By RST: the peer's next read or write fails. What it was sent last may be lost.
    Reset,
    /// By FIN: the peer reads to the end.
    Finish,
}

/// A port that nobody else gets, whether anybody listens on it or not.
pub struct Port {
    number: u16,
    /// Bound and never listening: the system gives the port to no other socket, refuses connections to it, and lets
    /// listeners that reuse addresses have it.
    _reservation: OwnedFd,
}

impl Port {
    pub fn reserve() -> Self {
        let reservation = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseaddr(&reservation, true).unwrap();
        bind(&reservation, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(&reservation).unwrap()).unwrap();
        Self { number: address.port(), _reservation: reservation }
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.number)
    }

    /// Opens the port.
    pub fn listen(&self) -> Listener {
        // The standard library's listeners reuse addresses.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.number)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Listener(listener)
    }
}

/// An open port. Dropping it closes the port and resets connections that were not accepted yet.
pub struct Listener(TcpListener);

impl Listener {
    /// A connection if there is one, for use without blocking and without delay.
    pub fn accept(&self) -> Option<TcpStream> {
        let (stream, _) = self.0.accept().ok()?;
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(stream)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Closing is not enough: another test may be starting a process, which holds a copy until it runs its program.
        let _ = shutdown(&self.0, Shutdown::Read);
    }
}

/// Ends a connection by RST.
pub fn reset(stream: &TcpStream) {
    // For the same reason not by closing with a linger of zero. It fails on a connection that has ended already.
    let _ = connect_unspec(stream);
}

/// Says by FIN that nothing more is sent. Closing now would reset the connection if the peer had said more; a
/// connection that is to end in order is read to its end first, with [`is_at_end`].
pub fn finish(stream: &TcpStream) {
    // It fails on a connection that has ended already.
    let _ = shutdown(stream, Shutdown::Write);
}

/// Throws away what has come, and says whether no more will.
pub fn is_at_end(mut stream: &TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

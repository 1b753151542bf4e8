// packhorse's addition to paho-mqtt-sys: connects can be abandoned without waiting for the library's lock.

use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::raw::c_int;
use std::time::Duration;

extern "C" {
    fn Attempt_abandonAll();
    fn Attempt_give(socket: c_int, seconds: c_int);
}

/// Gives a connected socket to the next connect that this thread asks for: no name is looked up for it, and no other connection
/// made. Over a proxy it is the connection to that. `remaining` is the time for the rest, in place of the connect timeout of the
/// options; the library rounds it up to seconds.
pub fn give(socket: OwnedFd, remaining: Duration) {
    let seconds = c_int::try_from(remaining.as_secs() + 1).unwrap_or(c_int::MAX);
    // It writes variables of this thread; the library closes the socket.
    unsafe { Attempt_give(socket.into_raw_fd(), seconds) }
}

/// Has all connects of this process fail that have begun and are not answered yet: no CONNECT is written for them any more.
/// Never blocks, even while the library holds its lock and looks a name up.
pub fn abandon_all() {
    // It writes an atomic variable.
    unsafe { Attempt_abandonAll() }
}

// packhorse's addition to paho-mqtt-sys: connects can be abandoned without waiting for the library's lock.

extern "C" {
    fn Attempt_abandonAll();
}

/// Has all connects of this process fail that have begun and are not answered yet: no CONNECT is written for them any more.
/// Never blocks, even while the library holds its lock and looks a name up.
pub fn abandon_all() {
    // It writes an atomic variable.
    unsafe { Attempt_abandonAll() }
}

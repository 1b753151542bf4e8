// packhorse's addition to paho-mqtt-sys: with which reason the server refused a message that a persistence is to forget.

use std::os::raw::c_int;

extern "C" {
    fn MQTTProtocol_refusal() -> c_int;
}

/// The reason code with which the server refused the message whose packet the calling persistence is to remove; `None`: it
/// took the message. What a former client had begun to send has no token that would tell.
pub fn refusal() -> Option<u8> {
    // It reads a variable of this thread.
    let reason = unsafe { MQTTProtocol_refusal() };
    u8::try_from(reason).ok().filter(|reason| *reason > 0)
}

// packhorse's addition to paho-mqtt-sys: why a connection failed or ended, which MQTTAsync does not tell its users.

use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_long};

/// Why a connection failed or ended. Text that others sent is printable ASCII, and shortened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Of TLS, with OpenSSL's words for it.
    Tls(TlsFailure),
    /// Of the WebSocket or its handshake: the whole sentence.
    WebSocket(String),
    /// Of the proxy on the way: the HTTP status that it answered, 0 where it did not, and the whole sentence.
    Proxy(i64, String),
    /// Of the server's MQTT: what it sent and must not.
    Protocol(String),
}

/// Why a TLS operation failed, with OpenSSL's words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFailure {
    /// The peer's certificate is not accepted; the code is one of OpenSSL's `X509_V_ERR_`.
    Certificate(i64, String),
    /// The peer's certificate is for another name.
    Name,
    /// The peer has sent an alert; its number (RFC 8446, section 6).
    Alert(i64, String),
    /// Anything else.
    Other(String),
}

// `Failure` of Failure.h.
#[repr(C)]
struct Noted {
    kind: c_int,
    code: c_long,
    text: [c_char; 256],
}

extern "C" {
    fn Failure_take(taken: *mut Noted);
}

/// Gives the last failure of any connection of this process, and forgets it.
pub fn take() -> Option<Failure> {
    let mut noted = Noted { kind: 0, code: 0, text: [0; 256] };
    // The library fills in the struct, under a lock, and ends the text with a zero.
    let text = unsafe {
        Failure_take(&mut noted);
        CStr::from_ptr(noted.text.as_ptr())
    };
    let text = text.to_string_lossy().into_owned();
    match noted.kind {
        1 => Some(Failure::Tls(TlsFailure::Certificate(noted.code as i64, text))),
        2 => Some(Failure::Tls(TlsFailure::Name)),
        3 => Some(Failure::Tls(TlsFailure::Alert(noted.code as i64, text))),
        4 => Some(Failure::Tls(TlsFailure::Other(text))),
        5 => Some(Failure::WebSocket(text)),
        6 => Some(Failure::Proxy(noted.code as i64, text)),
        7 => Some(Failure::Protocol(text)),
        _ => None,
    }
}

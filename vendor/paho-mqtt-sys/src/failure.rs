// packhorse's addition to paho-mqtt-sys: why a connection failed or ended, which MQTTAsync does not tell its users.

use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_long};

/// Why a connection failed or ended. Text that others sent is printable ASCII, and shortened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Of TLS, with OpenSSL's words for it.
    Tls(TlsFailure),
    /// Of the WebSocket or its handshake: the HTTP status that the server answered, 0 where it did not, and the whole sentence.
    WebSocket(i64, String),
    /// Of the proxy on the way: the HTTP status that it answered, 0 where it did not, and the whole sentence.
    Proxy(i64, String),
    /// Of the server's MQTT: what it sent and must not.
    Protocol(String),
    /// The other side ended the connection in order.
    Ended,
    /// The connection broke: the system's error number.
    Broken(i32),
    /// Nothing came in time.
    Silent,
    /// What answered speaks another protocol: its first line, where it is text.
    Foreign(String),
    /// What answered speaks TLS, and this connection is without.
    ExpectsTls,
}

/// How far a connect had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The connection to the server or its proxy was being made, or was over.
    Other,
    Proxy,
    Tls,
    WebSocket,
    /// CONNECT was sent.
    Connect,
}

/// Why a TLS operation failed, with OpenSSL's words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFailure {
    /// The peer's certificate is not accepted; the code is one of OpenSSL's `X509_V_ERR_`.
    Certificate(i64, String),
    /// The peer's certificate is for another name.
    Name,
    /// The peer's certificate has the right name as its common name alone.
    CommonName,
    /// The peer has sent an alert; its number (RFC 8446, section 6).
    Alert(i64, String),
    /// Anything else.
    Other(String),
}

// `Failure` of Failure.h.
#[repr(C)]
struct Noted {
    kind: c_int,
    stage: c_int,
    code: c_long,
    text: [c_char; 256],
}

extern "C" {
    fn Failure_take(taken: *mut Noted);
}

/// Gives the last failure of any connection of this process, and how far that had come, and forgets it.
pub fn take() -> Option<(Failure, Stage)> {
    let mut noted = Noted { kind: 0, stage: 0, code: 0, text: [0; 256] };
    // The library fills in the struct, under a lock, and ends the text with a zero.
    let text = unsafe {
        Failure_take(&mut noted);
        CStr::from_ptr(noted.text.as_ptr())
    };
    let text = text.to_string_lossy().into_owned();
    let failure = match noted.kind {
        1 => Failure::Tls(TlsFailure::Certificate(noted.code as i64, text)),
        2 if noted.code == 0 => Failure::Tls(TlsFailure::Name),
        2 => Failure::Tls(TlsFailure::CommonName),
        3 => Failure::Tls(TlsFailure::Alert(noted.code as i64, text)),
        4 => Failure::Tls(TlsFailure::Other(text)),
        5 => Failure::WebSocket(noted.code as i64, text),
        6 => Failure::Proxy(noted.code as i64, text),
        7 => Failure::Protocol(text),
        8 if noted.code == 0 => Failure::Ended,
        8 => Failure::Broken(noted.code as i32),
        9 => Failure::Silent,
        10 => Failure::Foreign(text),
        11 => Failure::ExpectsTls,
        _ => return None,
    };
    // The numbers are those of Clients.h.
    let stage = match noted.stage {
        2 => Stage::Tls,
        3 => Stage::WebSocket,
        4 => Stage::Connect,
        5 => Stage::Proxy,
        _ => Stage::Other,
    };
    Some((failure, stage))
}

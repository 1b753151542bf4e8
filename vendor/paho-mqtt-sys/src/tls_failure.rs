// packhorse's addition to paho-mqtt-sys: why TLS failed, which MQTTAsync does not tell its users.

use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_long};

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

// `SSLSocket_failure` of SSLSocket.h.
#[repr(C)]
struct Failure {
    kind: c_int,
    code: c_long,
    text: [c_char; 120],
}

extern "C" {
    fn SSLSocket_takeFailure(taken: *mut Failure);
}

/// Gives the last failure of any connection of this process, and forgets it.
pub fn take() -> Option<TlsFailure> {
    let mut failure = Failure { kind: 0, code: 0, text: [0; 120] };
    // The library fills in the struct, under a lock, and ends the text with a zero.
    let text = unsafe {
        SSLSocket_takeFailure(&mut failure);
        CStr::from_ptr(failure.text.as_ptr())
    };
    let text = text.to_string_lossy().into_owned();
    match failure.kind {
        1 => Some(TlsFailure::Certificate(failure.code as i64, text)),
        2 => Some(TlsFailure::Name),
        3 => Some(TlsFailure::Alert(failure.code as i64, text)),
        4 => Some(TlsFailure::Other(text)),
        _ => None,
    }
}

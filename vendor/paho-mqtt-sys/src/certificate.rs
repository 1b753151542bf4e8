// packhorse's addition to paho-mqtt-sys: looks at certificates and keys before they are needed.

use std::ffi::CStr;
use std::os::raw::{c_char, c_int};
use std::ptr;

/// What is wrong with certificates and a key. Numbers count the certificates of a file from 1; text is OpenSSL's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Unreadable(usize, String),
    KeyUnreadable(String),
    /// No certificate is the key's.
    OtherKey,
    /// The key's certificate is not the first one.
    NotFirst(usize),
    /// This certificate is not of the issuer of the one before it. Most servers take that.
    Disorder(usize),
    /// The key's certificate, or the authority's of this number, has expired; and when, in RFC 3339.
    Expired(usize, String),
    /// The key's certificate, or the authority's of this number, is not valid before this time, in RFC 3339.
    NotYetValid(usize, String),
    /// The key's certificate is not for clients, by its key usages.
    NotForClients,
    /// TLS does not take the certificate or the key.
    Refused(String),
}

// `CertificateReport` of Certificate.h.
#[repr(C)]
struct Report {
    verdict: c_int,
    number: c_int,
    text: [c_char; 128],
}

extern "C" {
    fn Certificate_check(pem: *const u8, length: usize, key: *const u8, key_length: usize, report: *mut Report);
}

/// Looks whether certificates in PEM can be used, with a key in PEM, or as authorities without one. Of several faults it gives one.
pub fn check(certificates: &[u8], key: Option<&[u8]>) -> Result<(), Fault> {
    let mut report = Report { verdict: 0, number: 0, text: [0; 128] };
    let (key, key_length) = key.map_or((ptr::null(), 0), |key| (key.as_ptr(), key.len()));
    // It reads the slices, fills in the struct, and ends the text with a zero.
    let text = unsafe {
        Certificate_check(certificates.as_ptr(), certificates.len(), key, key_length, &mut report);
        CStr::from_ptr(report.text.as_ptr())
    };
    let (number, text) = (usize::try_from(report.number).unwrap_or(0), text.to_string_lossy().into_owned());
    Err(match report.verdict {
        1 => Fault::Unreadable(number, text),
        2 => Fault::KeyUnreadable(text),
        3 => Fault::OtherKey,
        4 => Fault::NotFirst(number),
        5 => Fault::Disorder(number),
        6 => Fault::Expired(number, text),
        7 => Fault::Refused(text),
        8 => Fault::NotYetValid(number, text),
        9 => Fault::NotForClients,
        _ => return Ok(()),
    })
}

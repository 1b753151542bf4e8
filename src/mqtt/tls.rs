//! TLS: what the library is told of it, and what it says when it fails, in words that say what to do.

use super::pem::{self, Content, Unfit};
use crate::clock::rfc3339;
use crate::config::{Address, Tls};
use crate::foreign;
use paho_mqtt::{SslOptions, SslOptionsBuilder};
use paho_mqtt_sys::failure::TlsFailure;
use std::net::IpAddr;
use std::path::Path;

/// OpenSSL's numbers for what is wrong with a certificate (`x509_vfy.h`).
mod certificate {
    pub const NOT_YET_VALID: i64 = 9;
    pub const EXPIRED: i64 = 10;
    /// It is for other uses than this one.
    pub const PURPOSE: i64 = 26;
    /// No way leads from it to an authority that is trusted.
    pub const UNTRUSTED: [i64; 6] = [2, 18, 19, 20, 21, 27];
}

/// The numbers of alerts that are about our certificate (RFC 8446, section 6): bad, unsupported, revoked, expired,
/// unknown, unknown authority, access denied, signed by no known key, required. Servers of TLS 1.2 have no better word than
/// "handshake failure" for one that is required.
const ABOUT_OUR_CERTIFICATE: [i64; 10] = [40, 42, 43, 44, 45, 46, 48, 49, 51, 116];

/// What the library is told of TLS for an address that uses it. The files are looked at now, so that a certificate that
/// was renewed is used at once. `alpn`: the application protocol to ask for unless the configuration says another one.
///
/// # Errors
/// A file cannot be read, or does not hold what it should.
pub fn options(tls: &Tls, alpn: Option<&str>) -> Result<SslOptions, String> {
    let holds = |key: &str, path: &Path, content| {
        pem::check(path, content).map_err(|why| format!("broker.tls.{key}: `{}` {why}", path.display()))
    };
    let mut options = SslOptionsBuilder::new();
    options.verify(tls.verify).enable_server_cert_auth(tls.verify);
    match &tls.ca_file {
        Some(file) => {
            holds("ca_file", file, Content::Certificates)?;
            if let Err(Unfit::Useless(why)) = pem::check_authorities(file) {
                return Err(format!("broker.tls.ca_file: {why}"));
            }
            options.trust_store(file).map_err(|error| unusable("ca_file", &error))?;
        }
        None => trust_the_system(&mut options).map_err(|error| unusable("ca_file", &error))?,
    }
    if let Some(file) = &tls.cert_file {
        let both = if tls.key_file.is_some() { Content::Certificates } else { Content::Both };
        holds("cert_file", file, both)?;
        options.key_store(file).map_err(|error| unusable("cert_file", &error))?;
    }
    if let Some(file) = &tls.key_file {
        holds("key_file", file, Content::Key)?;
        options.private_key(file).map_err(|error| unusable("key_file", &error))?;
    }
    if let Some(file) = &tls.cert_file
        && let Err(Unfit::Useless(why)) = pem::check_pair(file, tls.key_file.as_ref().unwrap_or(file))
    {
        return Err(format!("broker.tls.cert_file: {why}"));
    }
    if let Some(protocol) = tls.alpn.as_deref().or(alpn) {
        options.alpn_protos(&[protocol]);
    }
    Ok(options.finalize())
}

/// The library takes paths as text, and ours come from a file of text.
fn unusable(key: &str, error: &paho_mqtt::Error) -> String {
    format!("broker.tls.{key} cannot be used: {error}")
}

/// The distribution's OpenSSL knows the distribution's certificates by itself.
#[cfg(not(feature = "vendored-tls"))]
#[expect(clippy::unnecessary_wraps, reason = "its twin can fail")]
fn trust_the_system(_: &mut SslOptionsBuilder) -> paho_mqtt::Result<()> {
    Ok(())
}

/// An OpenSSL of our own does not know where the distribution keeps its certificates.
#[cfg(feature = "vendored-tls")]
fn trust_the_system(options: &mut SslOptionsBuilder) -> paho_mqtt::Result<()> {
    let found = openssl_probe::probe();
    if let Some(file) = found.cert_file {
        options.trust_store(file)?;
    }
    if let Some(folder) = found.cert_dir.first() {
        options.ca_path(folder)?;
    }
    Ok(())
}

/// Whether the broker refuses us, and will again: it wants a certificate of ours, or another one.
pub fn refuses_us(failure: &TlsFailure) -> bool {
    matches!(failure, TlsFailure::Alert(number, _) if ABOUT_OUR_CERTIFICATE.contains(number))
}

/// An authority of ours that is out of its time, in a sentence: with it no broker's certificate is valid.
fn odd_authority(tls: &Tls) -> Option<String> {
    match pem::check_authorities(tls.ca_file.as_ref()?) {
        Err(Unfit::Odd(why)) => Some(why),
        Err(Unfit::Useless(_)) | Ok(()) => None,
    }
}

/// What went wrong, and what to do about it.
pub fn sentence(failure: &TlsFailure, tls: &Tls, address: &Address) -> String {
    let time = rfc3339(chrono::Utc::now().timestamp_millis());
    let host = &address.host_elsewhere();
    let shown = |text: &String| foreign::shown(text);
    match failure {
        TlsFailure::Certificate(certificate::EXPIRED | certificate::NOT_YET_VALID, _)
            if let Some(authority) = odd_authority(tls) =>
        {
            format!("`broker.tls.ca_file`: {authority}")
        }
        TlsFailure::Certificate(certificate::EXPIRED, _) => {
            format!(
                "the broker's certificate has expired; it needs a new one, unless this device's clock is wrong: {time}"
            )
        }
        TlsFailure::Certificate(certificate::NOT_YET_VALID, _) => {
            format!("the broker's certificate is not valid yet; this device's clock is probably wrong: {time}")
        }
        TlsFailure::Certificate(certificate::PURPOSE, text) => format!(
            "the broker's certificate is not for servers ({}); its extendedKeyUsage must have serverAuth",
            shown(text)
        ),
        TlsFailure::Certificate(number, text) if !certificate::UNTRUSTED.contains(number) => {
            format!("the broker's certificate is not accepted ({}); it needs another one", shown(text))
        }
        TlsFailure::Certificate(_, text) => {
            let file = tls.ca_file.as_ref().map_or_else(
                || "put the certificate of its authority into `broker.tls.ca_file`".to_owned(),
                |file| format!("`broker.tls.ca_file` ({}) must hold its authority's", file.display()),
            );
            format!("the broker's certificate is not trusted ({}); {file}", shown(text))
        }
        TlsFailure::Name => {
            format!(
                "the broker's certificate is not for `{host}`; `broker.url` must name the host as the certificate does"
            )
        }
        TlsFailure::CommonName if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => format!(
            "the broker's certificate has `{host}` as a name, which does not count for an address (RFC 9525); it needs it \
             as an IP address in its subjectAltName"
        ),
        TlsFailure::CommonName => format!(
            "the broker's certificate names `{host}` as its common name alone, which does not count (RFC 9525); it needs \
             the name as a subjectAltName"
        ),
        TlsFailure::Alert(number, text) if ABOUT_OUR_CERTIFICATE.contains(number) => match &tls.cert_file {
            None => {
                format!(
                    "the broker wants a certificate of ours ({}); set `broker.tls.cert_file` and `key_file`",
                    shown(text)
                )
            }
            Some(file) => {
                let odd = match pem::check_pair(file, tls.key_file.as_ref().unwrap_or(file)) {
                    Err(Unfit::Odd(why) | Unfit::Useless(why)) => format!(": {why}"),
                    Ok(()) => format!(" ({})", file.display()),
                };
                format!("the broker refuses our certificate ({}); look at `broker.tls.cert_file`{odd}", shown(text))
            }
        },
        TlsFailure::Alert(_, text) => format!("the broker ended TLS: {}", shown(text)),
        TlsFailure::Other(text) if address.port == 1883 || text.contains("wrong version number") => {
            let plain = address.scheme.without_tls();
            format!("the broker does not speak TLS on port {} ({}); `{plain}` goes without", address.port, shown(text))
        }
        TlsFailure::Other(text) => format!("TLS failed: {}", shown(text)),
    }
}

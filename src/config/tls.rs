//! The section about encrypted connections.

use super::Tls;
use super::host::Host;
use super::read::credential;
use super::section::{Role, Section};
use super::value;

/// Reads the section. `applies`: whether an address uses TLS.
pub(super) fn read(section: &mut Section<'_>, host: &Host, applies: bool) -> Tls {
    let ca_file = credential(section, host, "ca_file", Role::Certificates);
    let key_file = section.has("key_file");
    let role = if key_file { Role::Certificates } else { Role::CertificateAndKey };
    let cert_file = credential(section, host, "cert_file", role);
    let key_file = credential(section, host, "key_file", Role::Key);
    let verify = section.value("verify", value::truth);
    if verify == Some(false) && applies {
        let message = "is false: whoever answers at the broker's address gets the password and the messages";
        section.warning("verify", message);
    }
    let alpn = section.optional("alpn", |node| {
        let protocol = value::text(node)?;
        // The protocol's name has one byte for its length (RFC 7301, section 3.1).
        if protocol.len() > 255 || !protocol.is_ascii() {
            return value::allowed("a protocol's name, such as `x-amzn-mqtt-ca`");
        }
        Ok(protocol)
    });
    if key_file.is_some() && !section.has("cert_file") {
        section.problem("key_file", "needs `broker.tls.cert_file`, the certificate that the key is for");
    }
    for key in ["ca_file", "cert_file", "key_file", "alpn"] {
        if !applies && section.has(key) {
            section.problem(key, "is for encrypted connections, and no address begins with `mqtts://` or `wss://`");
        }
    }
    Tls { ca_file, cert_file, key_file, verify: verify.unwrap_or(true), alpn }
}

//! AWS IoT Core among the brokers: what it does not take, which its endpoints' names tell before it ends the connection.

use super::Tls;
use super::address::{Address, Scheme};
use super::section::Section;

/// Its name, for problems.
pub(super) const NAME: &str = "AWS IoT Core";

/// Whether one of the brokers is one of its endpoints.
pub(super) fn is_among(addresses: &[Address]) -> bool {
    addresses.iter().any(Address::is_aws_iot)
}

/// Checks what the broker's section says beside such an address.
pub(super) fn check(section: &mut Section<'_>, addresses: &[Address], tls: &Tls) {
    if !is_among(addresses) {
        return;
    }
    if addresses.iter().any(|address| address.is_aws_iot() && address.scheme != Scheme::Mqtts) {
        let key = if section.has("urls") { "urls" } else { "url" };
        section.problem(key, format!("names {NAME}, which takes devices by `mqtts://` alone, on port 8883 or 443"));
    }
    if tls.cert_file.is_none() && !section.has("username") {
        section.problem("tls", format!("lacks `cert_file`: {NAME} knows a device by its certificate"));
    }
}

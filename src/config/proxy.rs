//! The HTTP proxy on the way to the broker.

use super::address::{is_loopback, split_port};
use super::host::Host;
use super::read::credential;
use super::section::{Role, Section};
use super::tree::{Content, Node, Scalar};
use super::value::{self, Reading, Refusal, allowed, because};
use std::fmt;
use std::path::PathBuf;

const FORM: &str = "`http://HOST:PORT`";

/// An HTTP proxy that is asked for a connection to the broker (CONNECT; RFC 9110, section 9.3.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// A name, an IPv4 address, or an IPv6 address in brackets, which has a zone where it is link-local.
    pub host: String,
    pub port: u16,
    pub username: Option<String>,
    /// Resolved like the broker's. Read at every connection attempt. Only with a user name.
    pub password_file: Option<PathBuf>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// Reads the keys of the broker's section that are about a proxy.
pub(super) fn read(section: &mut Section<'_>, host: &Host) -> Option<Proxy> {
    let address = section.optional("proxy", address);
    let username = section.optional("proxy_username", username);
    let password_file = credential(section, host, "proxy_password_file", Role::ProxyPasswordFile);
    for key in ["proxy_username", "proxy_password_file"] {
        if section.has(key) && !section.has("proxy") {
            section.problem(key, "is for a proxy, and `broker.proxy` is not set");
        }
    }
    if password_file.is_some() && !section.has("proxy_username") {
        section.problem("proxy_password_file", "needs `broker.proxy_username`");
    }
    let (host, port) = address?;
    if password_file.is_some() && !is_loopback(&host) {
        let message = format!("the proxy's password goes unencrypted to {host}: whoever listens on the way learns it");
        section.warning("proxy_password_file", message);
    }
    Some(Proxy { host, port, username, password_file })
}

/// The error repeats nothing that may be a password.
fn address(node: &Node) -> Reading<(String, u16)> {
    let Content::Scalar { text, value: Scalar::Text } = &node.content else {
        return allowed(FORM);
    };
    let text = text.trim();
    if text.contains('@') {
        let place = "give these as `broker.proxy_username` and `broker.proxy_password_file`";
        return because(format!("holds a user name or a password before an `@`; {place}"));
    }
    let Some(authority) = text.strip_prefix("http://") else {
        return because(format!("is no address of an HTTP proxy to which we speak unencrypted; allowed is {FORM}"));
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let refuse = |why: &str| Refusal::Because(format!("{why}; allowed is {FORM}"));
    match split_port(authority).map_err(refuse)? {
        (host, Some(port)) => Ok((host.to_owned(), port)),
        (_, None) => Err(refuse("has no port, and proxies have no common one")),
    }
}

/// A user name for the scheme `Basic` (RFC 7617, section 2), which ends it by a colon.
fn username(node: &Node) -> Reading<String> {
    let username = value::text(node)?;
    if username.is_empty() || username.contains(':') || username.chars().any(char::is_control) {
        return allowed("text without colons and control characters");
    }
    Ok(username)
}

//! The address of a broker: how it is reached, and where.

use super::hints;
use super::tree::{Content, Node, Scalar, echo};
use super::value::{Reading, Refusal, allowed, because};
use crate::foreign;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

const FORM: &str = "allowed is `SCHEME://HOST` or `SCHEME://HOST:PORT` with `mqtt`, `mqtts`, `ws` or `wss`";

/// The WebSocket's path where none is given: what brokers listen on by custom, and the MQTT library's own default.
const WEBSOCKET_PATH: &str = "/mqtt";

/// How a broker is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Mqtt,
    /// Over TLS.
    Mqtts,
    /// Over a WebSocket.
    Ws,
    /// Over a WebSocket over TLS.
    Wss,
}

/// No address is longer, in bytes: servers take at least 8,000 in the line that asks for a path (RFC 9110, section 4.1).
const LONGEST: usize = 4096;

/// What stands in the place of a query where an address is shown.
const HIDDEN: &str = "?...";

/// The query of a WebSocket's address. It often carries a secret, and an address stands in every log: so it is not shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Query(String);

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: Scheme,
    /// A name, an IPv4 address, or an IPv6 address in brackets, which has a zone where it is link-local.
    pub host: String,
    pub port: u16,
    /// Of the WebSocket, with its first slash; empty for the other schemes.
    pub path: String,
    /// Of the WebSocket; empty where there is none.
    pub query: Query,
}

impl Scheme {
    fn parse(text: &str) -> Option<Scheme> {
        [Scheme::Mqtt, Scheme::Mqtts, Scheme::Ws, Scheme::Wss].into_iter().find(|scheme| scheme.name() == text)
    }

    fn name(self) -> &'static str {
        match self {
            Scheme::Mqtt => "mqtt",
            Scheme::Mqtts => "mqtts",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
        }
    }

    /// The port that IANA has for it.
    fn port(self) -> u16 {
        match self {
            Scheme::Mqtt => 1883,
            Scheme::Mqtts => 8883,
            Scheme::Ws => 80,
            Scheme::Wss => 443,
        }
    }

    /// Whether it goes over TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        match self {
            Scheme::Mqtts | Scheme::Wss => true,
            Scheme::Mqtt | Scheme::Ws => false,
        }
    }

    /// How the scheme without TLS is written.
    #[must_use]
    pub fn without_tls(self) -> &'static str {
        match self {
            Scheme::Mqtt | Scheme::Mqtts => "mqtt://",
            Scheme::Ws | Scheme::Wss => "ws://",
        }
    }

    /// The path behind the host, where the scheme has one.
    fn path(self, given: &str) -> Option<String> {
        match (self, given) {
            (Scheme::Mqtt | Scheme::Mqtts, "" | "/") => Some(String::new()),
            (Scheme::Mqtt | Scheme::Mqtts, _) => None,
            (Scheme::Ws | Scheme::Wss, "" | "/") => Some(WEBSOCKET_PATH.to_owned()),
            (Scheme::Ws | Scheme::Wss, path) => Some(path.to_owned()),
        }
    }
}

impl Address {
    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether it has a query, which often carries a secret.
    #[must_use]
    pub fn has_query(&self) -> bool {
        !self.query.0.is_empty()
    }

    /// The whole address, with its query: for the library alone. It has no zone, which means nothing to anybody else.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}{}", self.without_query(&self.host_elsewhere()), self.query.0)
    }

    /// The host as the broker knows it: without a zone.
    #[must_use]
    pub fn host_elsewhere(&self) -> String {
        self.host.split_once('%').map_or_else(|| self.host.clone(), |(address, _)| format!("{address}]"))
    }

    fn without_query(&self, host: &str) -> String {
        format!("{}://{host}:{}{}", self.scheme.name(), self.port, self.path)
    }
}

/// Whether a host, a name or an address, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.without_query(&self.host), if self.query.0.is_empty() { "" } else { HIDDEN })
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { HIDDEN })
    }
}

/// An address as it may be repeated: without a query, and without what stands before an `@`, which may be a password.
fn shown(text: &str) -> String {
    let (before, query) = text.split_at(text.find('?').unwrap_or(text.len()));
    let before = match before.rfind('@') {
        Some(at) => format!("...{}", &before[at..]),
        None if query.contains('@') => "...".to_owned(),
        None => before.to_owned(),
    };
    echo(&format!("{before}{}", if query.is_empty() { "" } else { HIDDEN }))
}

/// Reads an address.
pub(super) fn address(node: &Node) -> Reading<Address> {
    let Content::Scalar { text, value: Scalar::Text } = &node.content else {
        return allowed("an address such as `mqtt://localhost:1883`");
    };
    let text = text.trim();
    let shown = shown(text);
    if text.len() > LONGEST {
        return because(format!("has {} bytes; allowed are at most {LONGEST}", text.len()));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return because(format!("{shown} has no scheme; {FORM}"));
    };
    let Some(scheme) = Scheme::parse(scheme) else {
        let meant = hints::scheme(scheme).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        return because(format!("{shown} has an unknown scheme; {FORM}{meant}"));
    };
    if rest.contains('@') {
        let place = "give these as `broker.username` and `broker.password_file`, and write `%40` in a query";
        return because(format!("holds a user name or a password before an `@`; {place}"));
    }
    let (rest, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = split_port(authority).map_err(|why| Refusal::Because(format!("{shown} {why}; {FORM}")))?;
    let Some(path) = scheme.path(path) else {
        return because(format!("{shown} has a path behind the host, which only `ws` and `wss` have; {FORM}"));
    };
    if !query.is_empty() && path.is_empty() {
        return because(format!("{shown} has a query behind the host, which only `ws` and `wss` have; {FORM}"));
    }
    let is_allowed = |character: char| character.is_ascii_graphic() && character != '#';
    if !path.chars().all(is_allowed) || !query.chars().all(is_allowed) {
        return because(format!("{shown} has a path or a query with a character that is not allowed there; {FORM}"));
    }
    if query == HIDDEN {
        return because(format!("{shown} is how an address is shown without its query; write the query itself"));
    }
    if foreign::secret_at(&path).is_some() {
        return because("has a path that looks like a secret, and an address stands in every log");
    }
    Ok(Address {
        scheme,
        host: host.to_owned(),
        port: port.unwrap_or(scheme.port()),
        path,
        query: Query(query.to_owned()),
    })
}

/// Takes `HOST:PORT` apart. The error is the rest of a sentence about the address.
pub(super) fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match authority.find(']') {
        Some(end) if authority.starts_with('[') => (&authority[..=end], &authority[end + 1..]),
        _ => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if let Some(address) = host.strip_prefix('[') {
        check_ipv6(address.strip_suffix(']').ok_or("has a bracket without its other half")?)?;
    } else if authority.parse::<Ipv6Addr>().is_ok() {
        return Err("is an IPv6 address without brackets around it");
    } else if host.is_empty() {
        return Err("names no host");
    } else if !host.chars().all(|character| character.is_ascii_alphanumeric() || "-._".contains(character)) {
        return Err("holds a character that no host name has");
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => return Ok((host, None)),
        // `parse` alone would take a sign.
        Some(digits) if digits.chars().all(|digit| digit.is_ascii_digit()) => digits.parse().unwrap_or(0),
        _ => 0,
    };
    if port == 0 { Err("has no valid port, which is a number from 1 to 65535") } else { Ok((host, Some(port))) }
}

/// Looks at what stands between brackets: an IPv6 address, which has a zone where it is link-local (RFC 4007, section 11): the
/// same address may be on every network of this machine.
fn check_ipv6(text: &str) -> Result<(), &'static str> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let address = address.parse::<Ipv6Addr>().map_err(|_| "has no IPv6 address between its brackets")?;
    match zone {
        None if address.is_unicast_link_local() => {
            Err("is a link-local address and lacks its network interface, as in `[fe80::1%eth0]`")
        }
        None => Ok(()),
        Some(_) if !address.is_unicast_link_local() => {
            Err("has a network interface behind a `%`, which only link-local addresses (fe80::...) have")
        }
        // As in URLs by RFC 6874, which no tool of the network understands.
        Some(zone)
            if zone.strip_prefix("25").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic())) =>
        {
            Err("has `%25` where a `%` is enough, as in `[fe80::1%eth0]`")
        }
        Some(zone) if is_interface(zone) => Ok(()),
        Some(_) => Err("has no name of a network interface behind its `%`"),
    }
}

/// Whether it can be the name of a network interface: the kernel's are of at most 15 bytes (IFNAMSIZ in linux/if.h).
fn is_interface(zone: &str) -> bool {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || "-._".contains(character);
    (1..=15).contains(&zone.len()) && zone.chars().all(is_allowed) && !zone.starts_with('.')
}

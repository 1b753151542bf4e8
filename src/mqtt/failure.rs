//! Why a connection failed or ended, as the library's layers have it: TCP, TLS, WebSocket, proxy, MQTT.

use super::{dial, tls};
use crate::config::{Address, Broker, Scheme};
use crate::delivery::Lost;
use crate::foreign;
use paho_mqtt_sys::failure::{self, Failure, Stage};
use rustix::io::Errno;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A proxy's status codes for missing or wrong credentials: the right one (RFC 9110, section 15.5.8), and what tinyproxy answers
/// to wrong ones.
const AUTHENTICATION: [i64; 2] = [407, UNAUTHORIZED];
/// What a WebSocket's server answers without the right credentials, as in the address's query (RFC 9110, section 15.5.2).
const UNAUTHORIZED: i64 = 401;

/// Where a connection goes. It reads as the broker's address, with what its name stands for behind it.
pub struct Place<'a> {
    pub address: &'a Address,
    /// What a name has led to; `None`: nothing yet, or a proxy is between.
    pub peer: Option<SocketAddr>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.address.host.trim_matches(['[', ']']);
        let is_name = !host.contains(':') && host.parse::<IpAddr>().is_err();
        match self.peer {
            Some(peer) if is_name => write!(f, "{} ({})", self.address, peer.ip()),
            Some(_) | None => write!(f, "{}", self.address),
        }
    }
}

/// Forgets what former connections left behind: they fail as well, when a broker goes away.
pub fn forget() {
    failure::take();
}

/// Why no connection came about, where a layer below MQTT knows, since [`forget`].
pub fn of_connect(broker: &Broker, place: &Place) -> Option<Lost> {
    let (failure, stage) = failure::take()?;
    let is_refusal = match &failure {
        Failure::Tls(failure) => place.address.scheme.is_tls() && tls::refuses_us(failure),
        Failure::Proxy(status, _) => AUTHENTICATION.contains(status),
        Failure::WebSocket(status, _) => *status == UNAUTHORIZED,
        _ => false,
    };
    let text = format!("no connection to {place}: {}", sentence(failure, stage, broker, place.address)?);
    Some(if is_refusal { Lost::Refused(text) } else { Lost::Passing(text) })
}

fn sentence(failure: Failure, stage: Stage, broker: &Broker, address: &Address) -> Option<String> {
    let stage = begun(stage, address.scheme);
    Some(match failure {
        Failure::Tls(failure) if address.scheme.is_tls() => tls::sentence(&failure, &broker.tls, address),
        Failure::Tls(_) => return None,
        Failure::Proxy(status, text) if AUTHENTICATION.contains(&status) => {
            let text = foreign::shown(&text);
            format!("{text}; look at `broker.proxy_username` and `broker.proxy_password_file`")
        }
        Failure::WebSocket(_, text) | Failure::Proxy(_, text) => foreign::shown(&text),
        Failure::Protocol(what) if stage == Stage::Connect => format!("{}; is it an MQTT broker?", broken(&what)),
        Failure::Protocol(what) => broken(&what),
        Failure::Silent => silent(stage, broker, address),
        Failure::Ended => format!("the other side ended the connection {}", during(stage, broker, address)),
        Failure::Broken(errno) => format!("{} {}", system(errno), during(stage, broker, address)),
        Failure::Foreign(greeting) => {
            format!("what answers there is no MQTT broker; it says \"{}\"", foreign::shown(&greeting))
        }
        Failure::ExpectsTls => format!("port {} expects TLS; write `mqtts://` in `broker.url`", address.port),
    })
}

/// Why a connection ended, in a sentence; `text` where no layer knows better.
pub fn of_loss(place: &Place, text: &str) -> String {
    let why = match failure::take().map(|(failure, _)| failure) {
        Some(Failure::WebSocket(_, text)) => foreign::shown(&text),
        Some(Failure::Protocol(what)) => broken(&what),
        Some(Failure::Ended) => "the other side ended it".to_owned(),
        Some(Failure::Broken(errno)) => system(errno),
        Some(Failure::Silent) => "no answer to a ping".to_owned(),
        Some(Failure::Tls(_) | Failure::Proxy(..) | Failure::Foreign(_) | Failure::ExpectsTls) | None => {
            text.to_owned()
        }
    };
    format!("connection lost: {place}: {why}")
}

fn system(errno: i32) -> String {
    dial::reason(Errno::from_raw_os_error(errno))
}

/// What was under way, where the library has not said that it had begun: what comes first for the scheme. A proxy's own failures
/// say so.
fn begun(stage: Stage, scheme: Scheme) -> Stage {
    match (stage, scheme) {
        (Stage::Other | Stage::Proxy, Scheme::Mqtts | Scheme::Wss) => Stage::Tls,
        (Stage::Other | Stage::Proxy, Scheme::Ws) => Stage::WebSocket,
        (Stage::Other | Stage::Proxy, Scheme::Mqtt) => Stage::Connect,
        (Stage::Tls | Stage::WebSocket | Stage::Connect, _) => stage,
    }
}

fn silent(stage: Stage, broker: &Broker, address: &Address) -> String {
    let timeout = humantime::format_duration(broker.connect_timeout);
    match stage {
        Stage::Connect | Stage::Proxy | Stage::Other => format!("no answer to CONNECT within {timeout}"),
        Stage::Tls => format!(
            "no answer to the TLS handshake within {timeout}; does port {} speak TLS? `{}` goes without",
            address.port,
            address.scheme.without_tls()
        ),
        Stage::WebSocket => format!("no answer to the WebSocket's handshake within {timeout}"),
    }
}

/// When an attempt was interrupted, and what that suggests.
fn during(stage: Stage, broker: &Broker, address: &Address) -> String {
    let port = address.port;
    match stage {
        Stage::Connect | Stage::Proxy | Stage::Other if address.scheme.is_tls() => {
            // With TLS 1.3 that is seen after the handshake, and the alert may be lost with the connection.
            let advice = broker.tls.cert_file.as_ref().map(|file| {
                format!("; it may refuse our certificate: look at `broker.tls.cert_file` ({})", foreign::path(file))
            });
            format!("before it answered CONNECT{}", advice.unwrap_or_default())
        }
        Stage::Connect | Stage::Proxy | Stage::Other => {
            format!("before it answered CONNECT; does port {port} expect TLS (`mqtts://`)?")
        }
        Stage::Tls => format!(
            "during the TLS handshake; does port {port} speak TLS? `{}` goes without",
            address.scheme.without_tls()
        ),
        Stage::WebSocket => "during the WebSocket's handshake".to_owned(),
    }
}

fn broken(what: &str) -> String {
    format!("the broker broke the protocol: {}", foreign::shown(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::path::Path;

    #[test]
    fn an_end_before_the_answer_over_tls_may_be_about_our_certificate() {
        for (tls, advice) in [("", ""), ("tls: {cert_file: /c.pem, key_file: /c.key}", "(/c.pem)")] {
            let text = format!("broker: {{url: \"mqtts://h\", {tls}}}");
            let broker = config::parse(&text, Path::new("c")).unwrap().broker;

            let said = during(Stage::Connect, &broker, &broker.addresses[0]);

            assert!(said.starts_with("before it answered CONNECT") && said.ends_with(advice), "{said}");
            assert_eq!(said.contains("our certificate"), !advice.is_empty());
        }
    }
}

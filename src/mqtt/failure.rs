//! Why a connection failed or ended, as the library's layers have it: TLS, WebSocket, proxy, MQTT.

use super::tls;
use crate::config::{Address, Tls};
use crate::foreign;
use paho_mqtt_sys::failure::{self, Failure};

/// A proxy's status codes for missing or wrong credentials: the right one (RFC 9110, section 15.5.8), and what tinyproxy answers
/// to wrong ones.
const AUTHENTICATION: [i64; 2] = [407, 401];

/// Forgets what former connections left behind: they fail as well, when a broker goes away.
pub fn forget() {
    failure::take();
}

/// Why no connection came about, where a layer below MQTT knows, since [`forget`].
pub fn of_connect(tls: &Tls, address: &Address) -> Option<String> {
    match failure::take()? {
        Failure::Tls(failure) => address.scheme.is_tls().then(|| tls::sentence(&failure, tls, address)),
        Failure::Proxy(status, text) if AUTHENTICATION.contains(&status) => {
            let text = foreign::shown(&text);
            Some(format!("{text}; look at `broker.proxy_username` and `broker.proxy_password_file`"))
        }
        Failure::WebSocket(text) | Failure::Proxy(_, text) => Some(foreign::shown(&text)),
        Failure::Protocol(what) => Some(broken(&what)),
    }
}

/// Why a connection ended, in a sentence; `text` where no layer knows better.
pub fn of_loss(text: String) -> String {
    match failure::take() {
        Some(Failure::WebSocket(text)) => format!("connection lost: {}", foreign::shown(&text)),
        Some(Failure::Protocol(what)) => broken(&what),
        Some(Failure::Tls(_) | Failure::Proxy(..)) | None => text,
    }
}

fn broken(what: &str) -> String {
    format!("the broker broke the protocol: {}", foreign::shown(what))
}

//! Why a connection failed or ended, as the library's layers have it: TLS, WebSocket, proxy, MQTT.

use super::tls;
use crate::config::{Address, Tls};
use crate::foreign;
use paho_mqtt_sys::failure::{self, Failure};

/// Forgets what former connections left behind: they fail as well, when a broker goes away.
pub fn forget() {
    failure::take();
}

/// Why no connection came about, where a layer below MQTT knows, since [`forget`].
pub fn of_connect(tls: &Tls, address: &Address) -> Option<String> {
    match failure::take()? {
        Failure::Tls(failure) => address.scheme.is_tls().then(|| tls::sentence(&failure, tls, address)),
        Failure::WebSocket(text) | Failure::Proxy(text) => Some(foreign::shown(&text)),
        Failure::Protocol(what) => Some(broken(&what)),
    }
}

/// Why a connection ended, in a sentence; `text` where no layer knows better.
pub fn of_loss(text: String) -> String {
    match failure::take() {
        Some(Failure::WebSocket(text)) => format!("connection lost: {}", foreign::shown(&text)),
        Some(Failure::Protocol(what)) => broken(&what),
        Some(Failure::Tls(_) | Failure::Proxy(_)) | None => text,
    }
}

fn broken(what: &str) -> String {
    format!("the broker broke the protocol: {}", foreign::shown(what))
}

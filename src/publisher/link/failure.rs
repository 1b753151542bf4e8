//! Why a connection failed or ended, as the library's layers below MQTT have it: TLS, WebSocket, proxy.

use super::tls;
use crate::config::{Address, Tls};
use paho_mqtt_sys::failure::{self, Failure};

/// Forgets what former connections left behind: they fail as well, when a broker goes away.
pub fn forget() {
    failure::take();
}

/// Why no connection came about, where a layer below MQTT knows, since [`forget`].
pub fn of_connect(tls: &Tls, address: &Address) -> Option<String> {
    match failure::take()? {
        Failure::Tls(failure) => address.scheme.is_tls().then(|| tls::sentence(&failure, tls, address)),
        Failure::WebSocket(text) | Failure::Proxy(text) => Some(text),
    }
}

/// Why a connection ended, in a sentence.
pub fn of_loss() -> String {
    match failure::take() {
        Some(Failure::WebSocket(text)) => format!("connection lost: {text}"),
        Some(Failure::Tls(_) | Failure::Proxy(_)) | None => "connection lost".to_owned(),
    }
}

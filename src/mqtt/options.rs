//! What the library is told when it is to connect.

use super::session::Beginning;
use super::tls;
use super::translate::{connect_properties, version};
use crate::azure::Token;
use crate::config::{Address, AzureIotHub, Broker, BrokerProfile, Credentials, PASSWORD_MAX, Protocol, Proxy};
use crate::foreign;
use crate::named;
use paho_mqtt::{ConnectOptions, ConnectOptionsBuilder, Message};
use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// What is particular to one connection.
pub struct Attempt<'a> {
    pub address: &'a Address,
    pub beginning: Beginning,
    /// Whether the broker keeps a session of ours that must end.
    pub stale: bool,
    /// Publishes that the library may hold at a time.
    pub window: u16,
    pub will: Option<Message>,
}

/// The options of a connection, but for the time that it may take. Password, key and certificates are read now, so that new
/// ones are used at once.
///
/// # Errors
/// Why a file cannot be used.
pub fn options(broker: &Broker, profile: &BrokerProfile, attempt: Attempt) -> Result<ConnectOptions, String> {
    let mut options = ConnectOptionsBuilder::with_mqtt_version(version(broker.protocol));
    match broker.protocol {
        Protocol::V5 => {
            options.clean_start(attempt.beginning != Beginning::Resume);
            let session_expiry = (attempt.beginning != Beginning::Without).then_some(broker.session_expiry);
            options.properties(connect_properties(session_expiry));
        }
        // In 3.1.1 one flag says both: forget the former session, and forget this one at its end.
        Protocol::V311 => {
            options.clean_session(attempt.beginning == Beginning::Without || attempt.stale);
        }
    }
    // What a session resumes comes on top of the window, and the status message.
    options.keep_alive_interval(broker.keep_alive).max_inflight(2 * i32::from(attempt.window) + 1);
    if let Some(will) = attempt.will {
        options.will_message(will);
    }
    if let Some(username) = &broker.username {
        options.user_name(username.as_str());
    }
    match &profile.credentials {
        Credentials::OfHub(hub) => {
            if let Some(token) = token(hub)? {
                options.password(token.reveal());
            }
        }
        Credentials::AsConfigured => {
            if let Some(file) = &broker.password_file {
                options.password(password("password_file", file)?.as_slice());
            }
        }
    }
    if let Some(proxy) = &broker.proxy {
        let url = proxy_url(proxy)?;
        if attempt.address.scheme.is_tls() {
            options.https_proxy(url.as_str())
        } else {
            options.http_proxy(url.as_str())
        };
    }
    if attempt.address.scheme.is_tls() {
        options.ssl_options(tls::options(&broker.tls, profile.alpn)?);
    }
    Ok(options.finalize())
}

/// What a password's file holds; `key` is the file's in the broker's section.
fn password(key: &str, file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    named::read_password(file, PASSWORD_MAX).map_err(|why| format!("broker.{key}: `{}` {why}", foreign::path(file)))
}

/// The proxy's address with the credentials, as the library takes it.
fn proxy_url(proxy: &Proxy) -> Result<Zeroizing<String>, String> {
    let Some(username) = &proxy.username else { return Ok(proxy.to_string().into()) };
    let secret = match &proxy.password_file {
        Some(file) => percent_encoded(&password("proxy_password_file", file)?),
        None => Zeroizing::default(),
    };
    let username = percent_encoded(username.as_bytes());
    Ok(format!("http://{}:{}@{}:{}", username.as_str(), secret.as_str(), proxy.host, proxy.port).into())
}

/// Every byte but letters and digits in its percent encoding (RFC 3986, section 2.1).
fn percent_encoded(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(3 * bytes.len()));
    for byte in bytes {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to memory");
        }
    }
    text
}

/// A fresh token for a password; `None`: the device proves itself by its certificate.
fn token(hub: &AzureIotHub) -> Result<Option<Token>, String> {
    let failed = |why: String| format!("broker.azure_iot_hub: {why}");
    let string = hub.connection_string.read().map_err(|unusable| failed(unusable.to_string()))?;
    if string.device != hub.device {
        let origin = &hub.connection_string;
        return Err(failed(format!(
            "{origin} is of another device now; edit the configuration for that, or start packhorse anew"
        )));
    }
    // A clock before 1970 gives a token that the hub refuses, like any wrong clock.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(string.token(now, hub.token_lifetime))
}

//! What the library is told when it is to connect.

use super::event::Lost;
use super::tls;
use super::translate::{session_expiry, version};
use crate::config::{Address, Broker, Protocol};
use crate::publisher::session::Beginning;
use paho_mqtt::{ConnectOptions, ConnectOptionsBuilder, Message};

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

/// The options of a connection. Password and certificates are read now, so that new ones are used at once.
///
/// # Errors
/// [`Lost::Passing`]: a file cannot be read.
pub fn options(broker: &Broker, attempt: Attempt) -> Result<ConnectOptions, Lost> {
    let mut options = ConnectOptionsBuilder::with_mqtt_version(version(broker.protocol));
    match broker.protocol {
        Protocol::V5 => {
            options.clean_start(attempt.beginning != Beginning::Resume);
            if attempt.beginning != Beginning::Without {
                options.properties(session_expiry(broker.session_expiry));
            }
        }
        // In 3.1.1 one flag says both: forget the former session, and forget this one at its end.
        Protocol::V311 => {
            options.clean_session(attempt.beginning == Beginning::Without || attempt.stale);
        }
    }
    options
        .keep_alive_interval(broker.keep_alive)
        .connect_timeout(broker.connect_timeout)
        .max_inflight(i32::from(attempt.window) + 1);
    if let Some(will) = attempt.will {
        options.will_message(will);
    }
    if let Some(username) = &broker.username {
        options.user_name(username.as_str());
    }
    if let Some(file) = &broker.password_file {
        let password = std::fs::read(file)
            .map_err(|error| Lost::Passing(format!("broker.password_file: cannot read {}: {error}", file.display())))?;
        options.password(password.trim_ascii_end());
    }
    if attempt.address.scheme.is_tls() {
        options.ssl_options(tls::options(&broker.tls, attempt.address)?);
    }
    Ok(options.finalize())
}

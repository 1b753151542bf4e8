//! Between the MQTT library's words and ours.

use super::failure::Place;
use super::reasons::{self, Culprit, Meaning};
use crate::azure::Credential;
use crate::clock::{is_synchronised, rfc3339};
use crate::config::{Broker, Credentials, Limits, Protocol};
use crate::delivery::{Connected, Fault, Lost, Refusal, Scope};
use crate::foreign;
use crate::message::Qos;
use log::debug;
use paho_mqtt::{MqttVersion, Properties, PropertyCode, QoS, ReasonCode};
use std::time::Duration;

/// The largest packet that the broker may send, in bytes. The library ends a connection over a larger one, before it
/// reads it (`MQTTPACKET_MAX_INBOUND` in its `MQTTPacket.h`); MQTT 5 lets us say so in advance.
const INBOUND_PACKET_MAX: u32 = 256 * 1024;

/// What the broker said when it accepted the connection.
pub fn connected(response: &paho_mqtt::ServerResponse) -> Connected {
    let number = |code| response.properties().get_int(code);
    let receive_maximum = number(PropertyCode::ReceiveMaximum).and_then(|maximum| u16::try_from(maximum).ok());
    let packet_size = number(PropertyCode::MaximumPacketSize);
    let qos = number(PropertyCode::MaximumQos).and_then(|qos| u8::try_from(qos).ok());
    Connected {
        at_qos_2: false,
        session_present: response.connect_response().is_some_and(|response| response.session_present),
        limits: Limits {
            receive_maximum: receive_maximum.filter(|maximum| *maximum > 0).unwrap_or(u16::MAX),
            // The library reads four bytes as a signed number.
            packet_size: packet_size.map_or(usize::MAX, |size| size.cast_unsigned() as usize),
            qos: qos.and_then(|qos| Qos::try_from(qos).ok()).unwrap_or(Qos::ExactlyOnce),
            retain: number(PropertyCode::RetainAvailable) != Some(0),
        },
    }
}

/// What a reason says of the packet that the broker ended the connection over.
fn fault(reason: ReasonCode) -> Fault {
    if reason == ReasonCode::PacketTooLarge { Fault::Size } else { Fault::Other }
}

/// Whether a reason is about a topic.
fn scope(reason: ReasonCode) -> Scope {
    match reason {
        ReasonCode::NotAuthorized | ReasonCode::TopicNameInvalid => Scope::Topic,
        _ => Scope::Broker,
    }
}

/// What a DISCONNECT of the broker at this address means.
pub fn ended(reason: ReasonCode, properties: &Properties, address: &str) -> Lost {
    let (reason_text, elsewhere) = (reason_text(reason), elsewhere(properties));
    let text = format!("the broker ended the connection to {address}: {reason_text}{elsewhere}");
    match reasons::of_disconnect(reason) {
        Meaning::Retry | Meaning::Refused if reason == ReasonCode::SessionTakenOver => {
            Lost::Passing(format!("{text}; another client has connected with our client id (`broker.client_id`)"))
        }
        Meaning::Retry | Meaning::Refused => Lost::Passing(text),
        Meaning::Elsewhere => Lost::Moved(text),
        Meaning::Packet | Meaning::Will(_) => Lost::Blamed(fault(reason), text),
    }
}

/// Where the broker says that we should go. We do not: our credentials are for the brokers of the configuration.
fn elsewhere(properties: &Properties) -> String {
    let server = properties.get_string(PropertyCode::ServerReference);
    let server = server.map(|server| foreign::shown(&server));
    server.map(|server| format!("; it names \"{server}\", which can be given in `broker.urls`")).unwrap_or_default()
}

/// Why the broker at `place` did not accept the connection, and whether trying again can help.
pub fn refusal(error: &paho_mqtt::Error, place: &Place, broker: &Broker, client_id: &str) -> Lost {
    use paho_mqtt::Error;
    let (text, meaning) = match error {
        Error::ConnectReturn(code) => {
            let advice = advice(reasons::culprit_of_return_code(*code), broker, client_id);
            (format!("{code}{advice}"), reasons::of_return_code(*code))
        }
        Error::ReasonCode(code, properties) => {
            let advice = advice(reasons::culprit_of_connack(*code), broker, client_id);
            (format!("{}{}{advice}", reason_text(*code), elsewhere(properties)), reasons::of_connack(*code))
        }
        // The library has no more words for a code that the table does not have.
        Error::Failure if broker.protocol == Protocol::V311 => {
            ("with a code that MQTT 3.1.1 does not have".to_owned(), Meaning::Retry)
        }
        other => return Lost::Passing(format!("no connection to {place}: {}", foreign::shown(&other.to_string()))),
    };
    let text = format!("the broker refused the connection to {place}: {text}");
    match meaning {
        Meaning::Retry | Meaning::Packet => Lost::Passing(text),
        Meaning::Elsewhere => Lost::Moved(text),
        Meaning::Refused => Lost::Refused(text),
        Meaning::Will(fault) => Lost::Will(fault, text),
    }
}

/// What to look at when a broker refuses us, by the keys of the configuration.
fn advice(culprit: Culprit, broker: &Broker, client_id: &str) -> String {
    match culprit {
        // The hub's have advice of their own.
        Culprit::Credentials if broker.azure_iot_hub.is_some() => String::new(),
        Culprit::Credentials => match (&broker.username, &broker.password_file) {
            (None, None) => "; set `broker.username` and `broker.password_file`, if it wants them".to_owned(),
            (_, Some(file)) => {
                format!("; look at `broker.username` and `broker.password_file` ({})", foreign::path(file))
            }
            (Some(_), None) => "; look at `broker.username`; `broker.password_file` is not set".to_owned(),
        },
        Culprit::ClientId => format!("; look at `broker.client_id`, which is `{}`", foreign::shown(client_id)),
        Culprit::Protocol => match broker.protocol {
            Protocol::V5 => "; it may know MQTT 3.1.1 (`broker.protocol: 3.1.1`)".to_owned(),
            Protocol::V311 => "; it may know MQTT 5 (`broker.protocol: 5`)".to_owned(),
        },
        Culprit::Other => String::new(),
    }
}

/// What follows from the reason with which the broker refused a message.
pub fn not_taken(reason: ReasonCode) -> Refusal {
    match reason {
        ReasonCode::QuotaExceeded => Refusal::ForNow(reason_text(reason)),
        _ => Refusal::Flatly(scope(reason), reason_text(reason)),
    }
}

/// Adds what to look at when an IoT hub refuses us: it says no more than that it does. While the clock is wrong, a token
/// is refused for that, so trying again helps.
pub fn advised(lost: Lost, credentials: &Credentials) -> Lost {
    let (Lost::Refused(reason), Credentials::OfHub(hub)) = (&lost, credentials) else { return lost };
    let device = &hub.device;
    let advice = match device.credential {
        Credential::Token => {
            let clock = rfc3339(chrono::Utc::now().timestamp_millis());
            if !is_synchronised() {
                let why = "the time in our token may be wrong, for nothing has set this machine's clock yet";
                return Lost::Passing(format!("{reason}; {why}: {clock}"));
            }
            let origin = &hub.connection_string;
            format!("has the key in {origin}, and whether this machine's clock is right, which says {clock}")
        }
        Credential::Certificate => "knows the certificate in `broker.tls.cert_file`".to_owned(),
    };
    Lost::Refused(format!(
        "{reason}; check whether {} has a device `{}` that is enabled and {advice}",
        device.hub, device.id
    ))
}

/// A reason code in words and as the number that the specification lists.
pub fn reason_text(reason: ReasonCode) -> String {
    format!("{reason} (0x{:02x})", reason as u8)
}

/// The properties of a publish.
pub fn properties(content_type: &str, expiry: Option<Duration>, user: &[(&'static str, String)]) -> Properties {
    let mut properties = Properties::new();
    let mut push = || -> paho_mqtt::Result<()> {
        properties.push_string(PropertyCode::ContentType, content_type)?;
        if let Some(expiry) = expiry {
            properties
                .push_u32(PropertyCode::MessageExpiryInterval, u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX))?;
        }
        for (name, value) in user {
            properties.push_string_pair(PropertyCode::UserProperty, name, value)?;
        }
        Ok(())
    };
    if let Err(error) = push() {
        debug!("message property not set error={error}");
    }
    properties
}

/// The properties of a connect. `session_expiry`: how long the broker keeps our session.
pub fn connect_properties(session_expiry: Option<Duration>) -> Properties {
    let mut properties = Properties::new();
    let mut push = || -> paho_mqtt::Result<()> {
        properties.push_u32(PropertyCode::MaximumPacketSize, INBOUND_PACKET_MAX)?;
        if let Some(expiry) = session_expiry {
            // The largest number means for ever (MQTT 5, section 3.1.2.11.2).
            let seconds = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
            properties.push_u32(PropertyCode::SessionExpiryInterval, seconds)?;
        }
        Ok(())
    };
    if let Err(error) = push() {
        debug!("connect property not set error={error}");
    }
    properties
}

/// The protocol, for the library.
pub fn version(protocol: Protocol) -> MqttVersion {
    match protocol {
        Protocol::V311 => MqttVersion::V3_1_1,
        Protocol::V5 => MqttVersion::V5,
    }
}

/// The quality of service, for the library.
pub fn qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_a_broker_names_is_shown_short_and_in_one_line() {
        for (named, shown) in [
            ("elsewhere.example".to_owned(), "it names \"elsewhere.example\", which"),
            (format!("a\n{}", "b".repeat(65_000)), "it names \"a\\nbbb"),
            ("horse:hunter2@elsewhere".to_owned(), "it names \"(not shown: it looks like a secret)\", which"),
        ] {
            let mut properties = Properties::new();
            properties.push_string(PropertyCode::ServerReference, &named).unwrap();

            let lost = ended(ReasonCode::ServerMoved, &properties, "mqtt://b").to_string();

            assert!(lost.contains(shown) && lost.len() < 400 && !lost.contains("hunter2"), "{lost}");
        }
    }
}

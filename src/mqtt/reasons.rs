//! What follows from the codes with which a broker refuses or ends a connection: one table, which the README shows.
//!
//! `tests/agent/refusals.rs` goes through it row by row.

use crate::delivery::WillFault;
use paho_mqtt::{ConnectReturnCode, ReasonCode};

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Trying again may help: the back-off decides when.
    Retry,
    /// Trying another broker may help sooner.
    Elsewhere,
    /// The broker got a packet that it does not take: the message in it may be set aside, and trying again helps then.
    Packet,
    /// The broker does not take our last will: trying again with less of it helps.
    Will(WillFault),
    /// Trying again soon cannot help: credentials, client id or protocol version are wrong.
    Refused,
}

/// What of the configuration a broker refuses a connection for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Culprit {
    /// User name or password.
    Credentials,
    ClientId,
    Protocol,
    Other,
}

/// MQTT 3.1.1, table 3.1.
pub fn culprit_of_return_code(code: ConnectReturnCode) -> Culprit {
    match code {
        ConnectReturnCode::BadUserNameOrPassword | ConnectReturnCode::NotAuthorized => Culprit::Credentials,
        ConnectReturnCode::IdentifierRejected => Culprit::ClientId,
        ConnectReturnCode::UnacceptableProtocolVersion => Culprit::Protocol,
        ConnectReturnCode::Accepted | ConnectReturnCode::ServerUnavailable => Culprit::Other,
    }
}

/// CONNACK of MQTT 5, section 3.2.2.2.
pub fn culprit_of_connack(code: ReasonCode) -> Culprit {
    match code {
        ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized => Culprit::Credentials,
        ReasonCode::ClientIdentifierNotValid => Culprit::ClientId,
        ReasonCode::UnsupportedProtocolVersion => Culprit::Protocol,
        _ => Culprit::Other,
    }
}

/// MQTT 3.1.1, table 3.1.
pub fn of_return_code(code: ConnectReturnCode) -> Meaning {
    match code {
        ConnectReturnCode::UnacceptableProtocolVersion
        | ConnectReturnCode::IdentifierRejected
        | ConnectReturnCode::BadUserNameOrPassword
        | ConnectReturnCode::NotAuthorized => Meaning::Refused,
        ConnectReturnCode::Accepted | ConnectReturnCode::ServerUnavailable => Meaning::Retry,
    }
}

/// CONNACK of MQTT 5, section 3.2.2.2. Codes that a broker must not send there are tried again.
pub fn of_connack(code: ReasonCode) -> Meaning {
    match code {
        ReasonCode::UnsupportedProtocolVersion
        | ReasonCode::ClientIdentifierNotValid
        | ReasonCode::BadUserNameOrPassword
        | ReasonCode::NotAuthorized
        | ReasonCode::BadAuthenticationMethod
        | ReasonCode::Banned => Meaning::Refused,
        ReasonCode::UseAnotherServer | ReasonCode::ServerMoved => Meaning::Elsewhere,
        ReasonCode::RetainNotSupported => Meaning::Will(WillFault::Retain),
        ReasonCode::QosNotSupported => Meaning::Will(WillFault::Qos),
        _ => Meaning::Retry,
    }
}

/// DISCONNECT of MQTT 5, section 3.14.2.1. That something is not allowed says nothing against the connection itself:
/// CONNACK does. Codes that a broker must not send there are tried again.
pub fn of_disconnect(code: ReasonCode) -> Meaning {
    match code {
        ReasonCode::MalformedPacket
        | ReasonCode::ProtocolError
        | ReasonCode::NotAuthorized
        | ReasonCode::TopicNameInvalid
        | ReasonCode::PacketTooLarge
        | ReasonCode::PayloadFormatInvalid
        | ReasonCode::RetainNotSupported
        | ReasonCode::QosNotSupported => Meaning::Packet,
        ReasonCode::UseAnotherServer | ReasonCode::ServerMoved => Meaning::Elsewhere,
        _ => Meaning::Retry,
    }
}

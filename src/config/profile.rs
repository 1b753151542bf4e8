//! What a kind of broker takes, as one value: everything that differs between brokers and the clouds that speak MQTT.
//!
//! A kind is a constructor of [`BrokerProfile`], and [`Rules`] are the part of it that is known before the device is: the
//! schema checks by them. Everything else asks the profile, and names no cloud. Pure.

use super::address::{Address, Scheme};
use super::azure::Hub;
use super::section::Section;
use super::{AzureIotHub, Broker, Protocol, Tls};
use crate::azure::{self, Device};
use crate::message::Qos;
use crate::payload::Outgoing;
use std::time::Duration;

/// What a broker takes (MQTT 5, section 3.2.2.3; everything, when it does not say).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many publishes at a time.
    pub receive_maximum: u16,
    /// The largest packet, in bytes.
    pub packet_size: usize,
    /// The highest quality of service.
    pub qos: Qos,
    /// Whether messages may be retained.
    pub retain: bool,
}

impl Limits {
    /// The smallest limit on packets that is believed, in bytes: a message of ours is longer. One that is lower, by
    /// mistake or of somebody between, would have the whole backlog set aside as too large.
    pub const PACKET_SIZE_MIN: usize = 128;

    /// No limits.
    pub const NONE: Limits =
        Limits { receive_maximum: u16::MAX, packet_size: usize::MAX, qos: Qos::ExactlyOnce, retain: true };

    /// The narrower of each two.
    #[must_use]
    pub fn and(self, other: Limits) -> Limits {
        Limits {
            receive_maximum: self.receive_maximum.min(other.receive_maximum),
            packet_size: self.packet_size.min(other.packet_size),
            qos: self.qos.min(other.qos),
            retain: self.retain && other.retain,
        }
    }
}

/// What a kind of broker takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerProfile {
    /// What it takes at most, whatever it says.
    limits: Limits,
    /// What its CONNACK says about limits.
    connack: Connack,
    /// How many publishes it takes at a time where some are at QoS 2, and it cannot say so itself.
    pub exactly_once_at_a_time: u16,
    /// Whether sessions at it may be resumed.
    pub sessions: Sessions,
    /// Where messages go.
    topics: Topics,
    /// The application protocol to ask for over TLS (ALPN), unless the configuration says another one.
    pub alpn: Option<&'static str>,
    /// What we prove with who we are, beside certificates.
    pub credentials: Credentials,
    /// After how long the credentials of a connection are renewed; `None`: they do not expire.
    pub renewal: Option<Duration>,
}

/// What the limits in a CONNACK are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connack {
    Counts,
    /// It has none, so what is missing there does not mean that everything is taken.
    SaysNothing,
}

/// Whether sessions at a broker may be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    Resumed,
    Never,
}

/// The topics that a broker takes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Topics {
    /// Those of the configuration.
    AsConfigured,
    /// The one of a device of an IoT hub, with the message's properties at its end.
    OfDevice(Device),
}

/// What we prove with who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password of the configuration, if any.
    AsConfigured,
    /// The hub's connection string, from which the device signs a token unless it has a certificate.
    OfHub(AzureIotHub),
}

impl BrokerProfile {
    /// The profile of the broker at one of the addresses of a configuration.
    #[must_use]
    pub fn of(broker: &Broker, address: &Address) -> BrokerProfile {
        match &broker.azure_iot_hub {
            Some(hub) => Self::azure_iot_hub(hub),
            None if is_aws_iot(address) => Self::aws_iot_core(broker.protocol, address.port),
            None => Self::any(broker.protocol),
        }
    }

    /// A broker that says what it takes, as far as the protocol lets it.
    fn any(protocol: Protocol) -> Self {
        Self {
            limits: Limits::NONE,
            connack: Connack::Counts,
            exactly_once_at_a_time: match protocol {
                Protocol::V5 => u16::MAX,
                // Brokers do not say how many publishes they take at a time, and at QoS 2 they end the connection over
                // one more: this many is what mosquitto takes (`max_inflight_messages` in mosquitto.conf(5)).
                Protocol::V311 => 20,
            },
            sessions: Sessions::Resumed,
            topics: Topics::AsConfigured,
            alpn: None,
            credentials: Credentials::AsConfigured,
            renewal: None,
        }
    }

    fn azure_iot_hub(hub: &AzureIotHub) -> Self {
        Self {
            limits: Limits { packet_size: azure::MESSAGE_MAX, qos: AZURE_IOT_HUB.qos, retain: false, ..Limits::NONE },
            connack: Connack::SaysNothing,
            // What was accepted for QoS 2 is published at QoS 1. A session at another broker moves on without us, so it
            // must not be resumed later.
            sessions: Sessions::Never,
            topics: Topics::OfDevice(hub.device.clone()),
            credentials: Credentials::OfHub(hub.clone()),
            renewal: hub.device.renewal(hub.token_lifetime),
            ..Self::any(Protocol::V311)
        }
    }

    fn aws_iot_core(protocol: Protocol, port: u16) -> Self {
        Self {
            // The largest payload, "AWS IoT Core endpoints and quotas" in its reference. That the packet counts costs a few
            // messages less than it would take, and none that it ends the connection over.
            limits: Limits { packet_size: 128 * 1024, qos: AWS_IOT_CORE.qos, ..Limits::NONE },
            // On the port for HTTPS it wants to be asked for MQTT by this name ("Device communication protocols" in its
            // developer guide).
            alpn: (port == 443).then_some("x-amzn-mqtt-ca"),
            ..Self::any(protocol)
        }
    }

    /// What the broker takes, by what its CONNACK says.
    #[must_use]
    pub fn limits(&self, said: Limits) -> Limits {
        match self.connack {
            Connack::Counts => self.limits.and(said),
            Connack::SaysNothing => self.limits,
        }
    }

    /// A message as it is published to the broker: its topic, and whether it is retained.
    #[must_use]
    pub fn outgoing(&self, outgoing: Outgoing) -> Outgoing {
        match &self.topics {
            Topics::AsConfigured => outgoing,
            Topics::OfDevice(device) => outgoing.for_iot_hub(device),
        }
    }
}

/// A protocol's version as the configuration names it.
fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::V5 => "5",
        Protocol::V311 => "3.1.1",
    }
}

/// Whether an address is one of AWS IoT Core's endpoints, `ID.iot.REGION.amazonaws.com` ("AWS IoT Core endpoints and
/// quotas" in its reference).
fn is_aws_iot(address: &Address) -> bool {
    let host = address.host.to_ascii_lowercase();
    host.contains(".iot.") && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
}

/// What a configuration for a kind of broker must not say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// The kind's name, for problems.
    name: &'static str,
    /// The highest quality of service.
    qos: Qos,
    /// The only protocol that it knows.
    protocol: Option<Protocol>,
    keep_alive_max: Option<Duration>,
    /// The only way to reach it.
    scheme: Option<Scheme>,
    identity: Identity,
}

/// How a broker knows a device.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    /// By whatever the configuration has.
    AsConfigured,
    /// By its certificate, or by what stands in the user name.
    Certificate,
}

const ANY: Rules = Rules {
    name: "the broker",
    qos: Qos::ExactlyOnce,
    protocol: None,
    keep_alive_max: None,
    scheme: None,
    identity: Identity::AsConfigured,
};

const AZURE_IOT_HUB: Rules = Rules {
    name: "Azure IoT Hub",
    qos: Qos::AtLeastOnce,
    protocol: Some(Protocol::V311),
    keep_alive_max: Some(Duration::from_secs(azure::KEEP_ALIVE_MAX as u64)),
    ..ANY
};

const AWS_IOT_CORE: Rules = Rules {
    name: "AWS IoT Core",
    qos: Qos::AtLeastOnce,
    scheme: Some(Scheme::Mqtts),
    identity: Identity::Certificate,
    ..ANY
};

/// What other keys of the broker's section say.
pub(super) struct Beside<'a> {
    pub addresses: &'a [Address],
    pub protocol: Protocol,
    pub keep_alive: Duration,
    pub tls: &'a Tls,
}

impl Rules {
    /// The rules of the kind that one of these addresses is of, as far as they are known.
    pub fn of(hub: &Hub, addresses: &[Address]) -> &'static Rules {
        if hub.is_wanted() {
            &AZURE_IOT_HUB
        } else {
            addresses.iter().map(Self::at).find(|rules| **rules != ANY).unwrap_or(&ANY)
        }
    }

    fn at(address: &Address) -> &'static Rules {
        if is_aws_iot(address) { &AWS_IOT_CORE } else { &ANY }
    }

    /// The protocol where the configuration says none.
    pub fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or(Protocol::V5)
    }

    /// Checks the broker's section.
    pub fn check(&self, section: &mut Section<'_>, beside: &Beside) {
        let name = self.name;
        if self.protocol.is_some_and(|only| only != beside.protocol) {
            let (found, only) = (version(beside.protocol), version(self.protocol()));
            section.problem("protocol", format!("is {found}, and {name} knows {only} alone; leave it out"));
        }
        if let Some(most) = self.keep_alive_max.filter(|most| beside.keep_alive > *most) {
            let most = most.as_secs();
            section.problem("keep_alive", format!("is too long for {name}; allowed with it: at most {most}s"));
        }
        let is_closed = |address: &Address| Self::at(address).scheme.is_some_and(|only| only != address.scheme);
        if beside.addresses.iter().any(is_closed) {
            let key = if section.has("urls") { "urls" } else { "url" };
            section.problem(key, format!("names {name}, which takes devices by `mqtts://` alone, on port 8883 or 443"));
        }
        if self.identity == Identity::Certificate && beside.tls.cert_file.is_none() && !section.has("username") {
            section.problem("tls", format!("lacks `cert_file`: {name} knows a device by its certificate"));
        }
    }

    /// Reports a quality of service that the broker is known to refuse.
    pub fn check_qos(&self, section: &mut Section<'_>, qos: Option<Qos>) {
        let (name, most) = (self.name, self.qos);
        if let Some(qos) = qos.filter(|qos| *qos > most) {
            let allowed = if most == Qos::AtMostOnce { "0" } else { "0 or 1" };
            let qos = qos as u8;
            section
                .problem("qos", format!("is {qos}, on which {name} ends the connection; allowed with it: {allowed}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    fn profile(broker: &str) -> BrokerProfile {
        let broker = config(&format!("broker: {{{broker}}}\n")).broker;
        BrokerProfile::of(&broker, &broker.addresses[0])
    }

    #[test]
    fn a_broker_takes_what_it_says() {
        let said = Limits { receive_maximum: 7, packet_size: 1000, qos: Qos::AtMostOnce, retain: false };

        let broker = profile("url: mqtt://h");

        assert_eq!(broker.limits(said), said);
        assert_eq!(broker.limits(Limits::NONE), Limits::NONE);
        assert_eq!(broker.alpn, None);
        assert_eq!(broker.renewal, None);
        assert_eq!(broker.sessions, Sessions::Resumed);
    }

    #[test]
    fn over_mqtt_3_1_1_mosquitto_s_number_of_publishes_at_qos_2_holds() {
        assert_eq!(profile("url: mqtt://h, protocol: '3.1.1'").exactly_once_at_a_time, 20);
        assert_eq!(profile("url: mqtt://h").exactly_once_at_a_time, u16::MAX);
    }

    #[test]
    fn aws_iot_core_is_known_by_its_name() {
        let url = |host: &str| format!("url: 'mqtts://{host}', tls: {{cert_file: /c}}");
        for (host, alpn) in [
            ("a-ats.iot.eu-west-1.amazonaws.com:443", Some("x-amzn-mqtt-ca")),
            ("A-ATS.IOT.cn-north-1.amazonaws.com.cn", None),
        ] {
            let aws = profile(&url(host));

            let limits = aws.limits(Limits::NONE);
            assert_eq!((limits.packet_size, limits.qos, limits.retain), (131_072, Qos::AtLeastOnce, true), "{host}");
            assert_eq!(aws.limits(Limits { receive_maximum: 5, ..Limits::NONE }).receive_maximum, 5);
            assert_eq!(aws.alpn, alpn, "{host}");
        }
        for host in ["s3.amazonaws.com", "a.iot.example.com", "a.iot.amazonaws.com.example"] {
            assert_eq!(profile(&url(host)), profile("url: mqtt://h"), "{host}");
        }
    }

    #[test]
    fn each_broker_of_a_list_has_its_own_profile() {
        let urls = "urls: ['mqtts://h', 'mqtts://a.iot.x.amazonaws.com'], tls: {cert_file: /c}";
        let broker = config(&format!("broker: {{{urls}}}\n")).broker;

        let limits = broker.addresses.iter().map(|address| BrokerProfile::of(&broker, address).limits(Limits::NONE));

        assert_eq!(limits.map(|limits| limits.packet_size).collect::<Vec<_>>(), [usize::MAX, 131_072]);
    }

    #[test]
    fn an_iot_hub_cannot_say_what_it_takes() {
        let device = "HostName=h;DeviceId=pi-7;SharedAccessKey=AAEC".parse::<azure::ConnectionString>().unwrap().device;
        let connection_string = azure::Origin::Environment;
        let hub = AzureIotHub { connection_string, token_lifetime: Duration::from_secs(3600), device };
        let said = Limits { packet_size: 200, ..Limits::NONE };

        let profile = BrokerProfile::azure_iot_hub(&hub);

        let limits = Limits { receive_maximum: u16::MAX, packet_size: 262_144, qos: Qos::AtLeastOnce, retain: false };
        assert_eq!(profile.limits(said), limits);
        assert_eq!(profile.sessions, Sessions::Never);
        assert!(profile.renewal.is_some_and(|after| after < hub.token_lifetime));
    }
}

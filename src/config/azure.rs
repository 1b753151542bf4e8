//! Azure IoT Hub in place of a broker: its section, and what it leaves to the keys of other sections.
//!
//! The hub's address, the client id, the user name and the topic follow from the device's connection string. Whoever gives
//! another value for one of these means something else than what would happen, so that is a problem.

use super::AzureIotHub;
use super::address::{Address, Query, Scheme};
use super::host::Host;
use super::read::{SECOND, credential};
use super::section::{Role, Section};
use super::value::{self, LONGEST};
use crate::azure::{self, Credential, Device, Origin, Unusable};
use crate::foreign;
use std::time::Duration;

/// Whether messages go to an IoT hub.
pub(super) enum Hub {
    /// To a broker.
    No,
    /// Yes, but its device is not known. That has been reported, so nothing is said of what depends on it.
    Unknown,
    Yes(AzureIotHub),
}

impl Hub {
    /// Reads the section. Where there is one, the connection string is read, too.
    pub fn read(broker: &mut Section<'_>, host: &Host) -> Hub {
        let wanted = broker.has("azure_iot_hub");
        broker.section("azure_iot_hub", |section| {
            let file = credential(section, host, "connection_string_file", Role::ConnectionStringFile);
            let lifetime = section.value("token_lifetime", |node| value::whole_seconds(node, SECOND..=LONGEST));
            if !wanted {
                return Hub::No;
            }
            if file.is_none() && section.has("connection_string_file") {
                return Hub::Unknown;
            }
            let connection_string = file.map_or(Origin::Environment, Origin::File);
            match (host.connection_string)(&connection_string) {
                Ok(read) => Hub::Yes(AzureIotHub {
                    connection_string,
                    token_lifetime: lifetime.unwrap_or(Duration::from_secs(3600)),
                    device: read.device,
                }),
                Err(Unusable::Unset(_)) => {
                    let wanted = "name the file with the device's connection string, or set \
                                  $IOTHUB_DEVICE_CONNECTION_STRING";
                    section.missing("connection_string_file", wanted);
                    Hub::Unknown
                }
                Err(unusable) => {
                    section.problem("connection_string_file", unusable.to_string());
                    Hub::Unknown
                }
            }
        })
    }

    pub fn is_wanted(&self) -> bool {
        match self {
            Hub::No => false,
            Hub::Unknown | Hub::Yes(_) => true,
        }
    }

    /// Whether the device signs a password.
    pub fn signs(&self) -> bool {
        self.device().is_some_and(|device| device.credential == Credential::Token)
    }

    /// Our device, where it is known.
    fn device(&self) -> Option<&Device> {
        self.section().map(|hub| &hub.device)
    }

    /// The section, where its device is known.
    pub fn section(&self) -> Option<&AzureIotHub> {
        match self {
            Hub::No | Hub::Unknown => None,
            Hub::Yes(hub) => Some(hub),
        }
    }

    /// The hub's own address.
    pub fn address(&self) -> Option<Address> {
        let host = self.device()?.host().to_owned();
        Some(Address { scheme: Scheme::Mqtts, host, port: azure::PORT, path: String::new(), query: Query::default() })
    }

    /// What the device makes of a key: `follow`, which the file need not say and must not contradict. `given` is what
    /// it says.
    pub fn settle(
        &self,
        section: &mut Section<'_>,
        key: &'static str,
        given: Option<String>,
        follow: impl Fn(&Device) -> String,
    ) -> Option<String> {
        let Some(device) = self.device() else { return given };
        let followed = follow(device);
        if given.is_some_and(|given| given != followed) {
            section.problem(
                key,
                format!("follows from `broker.azure_iot_hub`, and is `{}`; leave it out", foreign::shown(&followed)),
            );
        }
        Some(followed)
    }

    /// Reports that a key is set which means nothing to the hub.
    pub fn has_no(&self, section: &mut Section<'_>, key: &'static str, is_set: bool, why: &str) {
        if self.is_wanted() && is_set {
            section.problem(key, format!("has no use with `broker.azure_iot_hub`: {why}; leave it out"));
        }
    }

    /// Checks what the other keys of the broker's section say beside this one.
    pub fn check(&self, section: &mut Section<'_>, beside: &Beside) {
        if !self.is_wanted() {
            return;
        }
        self.has_no(section, "password_file", beside.has_password, "the device signs its password itself");
        let Hub::Yes(hub) = self else { return };
        // A connection takes as long at most, so half of a token's life is left for messages.
        if hub.device.credential == Credential::Token && hub.token_lifetime < 2 * beside.connect_timeout {
            let least = humantime::format_duration(2 * beside.connect_timeout);
            let message = format!("`token_lifetime` is less than twice `broker.connect_timeout`; at least {least}");
            section.problem("azure_iot_hub", message);
        }
        if hub.device.credential == Credential::Certificate && !beside.has_certificate {
            let message =
                "lacks `cert_file`: the connection string says `x509=true`, so the device proves itself by it";
            section.problem("tls", message);
        }
    }
}

/// What other keys of the broker's section say.
pub(super) struct Beside {
    pub connect_timeout: Duration,
    pub has_password: bool,
    pub has_certificate: bool,
}

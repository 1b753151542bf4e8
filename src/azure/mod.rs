//! Azure IoT Hub, where it differs from other brokers: what a device's connection string says, the token that the device
//! signs for a password, and the topic that it publishes to. Pure, but for [`Origin::read`].
//!
//! Source of what it wants: Microsoft's "Communicate with an IoT hub using the MQTT protocol", and the Python SDK where
//! that is silent (how topics and tokens are encoded).
//!
//! Keys and tokens have no [`Display`](fmt::Display), their [`Debug`] shows no part of them, and no error repeats a value
//! of a connection string.

mod connection_string;
mod token;
mod topic;

pub use connection_string::{ConnectionString, Malformed};
pub use token::{Key, Token};
pub use topic::Bag;

use crate::foreign;
use crate::named::{self, Unreadable};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The environment variable that Microsoft's samples take the connection string from.
pub const VARIABLE: &str = "IOTHUB_DEVICE_CONNECTION_STRING";

/// The port of MQTT over TLS; the hub has none without.
pub const PORT: u16 = 8883;

/// The longest keep alive in seconds: the hub waits one and a half times as long, and never longer than 1767 s.
pub const KEEP_ALIVE_MAX: u16 = 1177;

/// The largest message in bytes. The hub counts properties and payload; that the packet counts keeps well below.
pub const MESSAGE_MAX: usize = 256 * 1024;

/// The version of the hub's interface, which is part of the user name.
const API_VERSION: &str = "2021-04-12";

/// Bytes of a connection string, which has some 200.
const SIZE_MAX: usize = 4096;

/// A device of a hub: all of its connection string but the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The hub's host name.
    pub hub: String,
    /// The host to connect to in place of the hub, such as an IoT Edge gateway.
    pub gateway: Option<String>,
    pub id: String,
    pub credential: Credential,
}

/// How a device proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// By a password that it signs with its key.
    Token,
    /// By the certificate of its TLS connection, and no password.
    Certificate,
}

impl Device {
    /// The host to connect to.
    #[must_use]
    pub fn host(&self) -> &str {
        self.gateway.as_deref().unwrap_or(&self.hub)
    }

    /// MQTT's user name. A gateway passes it on, so it names the hub.
    #[must_use]
    pub fn username(&self) -> String {
        format!("{}/{}/?api-version={API_VERSION}", self.hub, self.id)
    }
}

/// Where a connection string comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    /// The environment variable [`VARIABLE`].
    Environment,
}

impl Origin {
    /// The file, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        if let Origin::File(path) = self { Some(path) } else { None }
    }
}

/// Why there is no connection string.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("{0} {1}")]
    Unreadable(Origin, Unreadable),
    #[error("{0} is not set")]
    Unset(Origin),
    #[error("{0} {1}")]
    Malformed(Origin, Malformed),
}

impl Origin {
    /// Reads the connection string that is there now.
    ///
    /// # Errors
    /// [`Unusable`], in words that show nothing of what was read.
    pub fn read(&self) -> Result<ConnectionString, Unusable> {
        let text = match self {
            Origin::File(path) => {
                named::read_text(path, SIZE_MAX).map_err(|error| Unusable::Unreadable(self.clone(), error))?
            }
            Origin::Environment => std::env::var_os(VARIABLE)
                .filter(|text| !text.is_empty())
                .map(|text| Zeroizing::new(text.into_encoded_bytes()))
                .ok_or_else(|| Unusable::Unset(self.clone()))?,
        };
        let malformed = |why| Unusable::Malformed(self.clone(), why);
        std::str::from_utf8(&text).map_err(|_| malformed(Malformed::NotText))?.parse().map_err(malformed)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "`{}`", foreign::path(path)),
            Origin::Environment => write!(f, "`${VARIABLE}`"),
        }
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters. Never a `+` for a space: a topic must not hold one.
fn encode(text: &str) -> String {
    use fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("writing to memory"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Written for the tests, from RFC 3986.
    pub fn decode(text: &str) -> String {
        let mut bytes = text.bytes();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            decoded.push(match byte {
                b'%' => {
                    let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                _ => byte,
            });
        }
        String::from_utf8(decoded).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_encoded_can_be_decoded_and_holds_nothing_that_separates(text: String) {
            let encoded = encode(&text);

            prop_assert_eq!(decode(&encoded), text);
            prop_assert!(encoded.chars().all(|it| it.is_ascii_alphanumeric() || "-._~%".contains(it)), "{}", encoded);
        }
    }

    #[test]
    fn a_file_or_a_variable_that_is_no_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let [missing, broken, binary] = ["missing", "broken", "binary"].map(|name| folder.path().join(name));
        std::fs::write(&broken, "HostName=h;DeviceId=d;SharedAccessKey=hunter2").unwrap();
        std::fs::write(&binary, [0xC3, 0x28]).unwrap();

        for (path, why) in [
            (&missing, "cannot be read: No such file"),
            (&broken, "has a `SharedAccessKey` that is not Base64"),
            (&binary, "is no text in UTF-8"),
        ] {
            let error = Origin::File(path.clone()).read().unwrap_err();

            let [shown, debug] = [error.to_string(), format!("{error:?}")];
            assert!(shown.starts_with(&format!("`{}` {why}", path.display())), "{shown}");
            assert!(!shown.contains("hunter2") && !debug.contains("hunter2"), "{shown} {debug}");
        }
        assert!(
            Origin::Environment.read().unwrap_err().to_string().starts_with("`$IOTHUB_DEVICE_CONNECTION_STRING` is")
        );
    }

    #[test]
    fn a_gateway_is_connected_to_in_the_name_of_the_hub() {
        let string = "HostName=contoso.azure-devices.net;DeviceId=MyDevice01;SharedAccessKey=AAEC;GatewayHostName=edge";

        let device = string.parse::<ConnectionString>().unwrap().device;

        assert_eq!(device.host(), "edge");
        // The example of Microsoft's page.
        assert_eq!(device.username(), "contoso.azure-devices.net/MyDevice01/?api-version=2021-04-12");
    }
}

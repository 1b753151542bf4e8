//! A device's connection string as Azure's portal gives it: `HostName=...;DeviceId=...;SharedAccessKey=...`.

use super::{Credential, Device, Key};
use std::str::FromStr;

/// The longest device id in characters, and what it may hold beside letters and digits (Microsoft's "Understand the
/// identity registry"). A `;` is allowed there too, and has no place in a connection string.
const ID_MAX: usize = 128;
const ID_CHARACTERS: &str = "-:.+%_#*?!(),=@$'";

/// What a connection string says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionString {
    pub device: Device,
    /// Of a device that signs tokens.
    pub key: Option<Key>,
}

/// What is wrong with a connection string, as the rest of a sentence about it.
///
/// Names of fields are repeated only when they are known ones: where a separator is missing, anything may be the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("is no text in UTF-8")]
    NotText,
    #[error("is empty; it must hold the connection string of a device")]
    Empty,
    #[error(
        "has something for its field {0} that is not known; a connection string is \
         `HostName=...;DeviceId=...;SharedAccessKey=...`, with `x509=true` in place of a key for a device with a \
         certificate, and perhaps `GatewayHostName=...`"
    )]
    Unknown(usize),
    #[error("has two fields `{0}`")]
    Twice(&'static str),
    #[error("has no `{0}`; take the connection string of the device")]
    Missing(&'static str),
    #[error("has no host's name in its `{0}`")]
    Host(&'static str),
    #[error(
        "has a `DeviceId` that IoT Hub does not know; allowed are at most {ID_MAX} letters, digits and characters of \
         {ID_CHARACTERS}"
    )]
    Id,
    #[error("has a `SharedAccessKey` that is not Base64")]
    Key,
    #[error("has `x509=true` and a `SharedAccessKey`; a device has one or the other")]
    KeyAndCertificate,
    #[error("has neither `x509=true` nor `x509=false` in its field `x509`")]
    Certificate,
    #[error("is that of the hub, for it has a `SharedAccessKeyName`; take the connection string of the device")]
    Policy,
    #[error("is that of a module, for it has a `ModuleId`; packhorse is a device")]
    Module,
    #[error("holds a token (`SharedAccessSignature`), which could not be renewed; take one with a `SharedAccessKey`")]
    Signature,
}

/// The fields that connection strings have.
const FIELDS: [&str; 8] = [
    "HostName",
    "DeviceId",
    "SharedAccessKey",
    "GatewayHostName",
    "x509",
    "SharedAccessKeyName",
    "ModuleId",
    "SharedAccessSignature",
];

impl FromStr for ConnectionString {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let fields = split(text)?;
        let field = |name| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        for (name, problem) in [
            ("SharedAccessKeyName", Malformed::Policy),
            ("ModuleId", Malformed::Module),
            ("SharedAccessSignature", Malformed::Signature),
        ] {
            if field(name).is_some() {
                return Err(problem);
            }
        }
        let host =
            |name| field(name).map(|value| is_host(value).then(|| value.to_owned()).ok_or(Malformed::Host(name)));
        let hub = host("HostName").ok_or(Malformed::Missing("HostName"))??;
        let gateway = host("GatewayHostName").transpose()?;
        let id = field("DeviceId").ok_or(Malformed::Missing("DeviceId"))?;
        if !is_id(id) {
            return Err(Malformed::Id);
        }
        let certificate = match field("x509") {
            None => false,
            Some(value) => value.to_ascii_lowercase().parse().map_err(|_| Malformed::Certificate)?,
        };
        let key = field("SharedAccessKey").map(|key| Key::decode(key).ok_or(Malformed::Key)).transpose()?;
        let credential = match (certificate, &key) {
            (false, Some(_)) => Credential::Token,
            (true, None) => Credential::Certificate,
            (true, Some(_)) => return Err(Malformed::KeyAndCertificate),
            (false, None) => return Err(Malformed::Missing("SharedAccessKey")),
        };
        Ok(Self { device: Device { hub, gateway, id: id.to_owned(), credential }, key })
    }
}

/// The fields by their names, which may be written in any case, as Microsoft's SDKs take them.
fn split(text: &str) -> Result<Vec<(&'static str, &str)>, Malformed> {
    let mut fields: Vec<(&'static str, &str)> = Vec::new();
    for (index, part) in text.trim().split(';').enumerate() {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let unknown = Malformed::Unknown(index + 1);
        let Some((name, value)) = part.split_once('=') else { return Err(unknown) };
        let known = FIELDS.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim())).ok_or(unknown)?;
        if fields.iter().any(|(earlier, _)| *earlier == known) {
            return Err(Malformed::Twice(known));
        }
        fields.push((known, value.trim()));
    }
    if fields.is_empty() { Err(Malformed::Empty) } else { Ok(fields) }
}

fn is_host(text: &str) -> bool {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || "-._".contains(character);
    !text.is_empty() && text.len() <= 255 && text.chars().all(is_allowed)
}

fn is_id(text: &str) -> bool {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || ID_CHARACTERS.contains(character);
    !text.is_empty() && text.len() <= ID_MAX && text.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<ConnectionString, Malformed> {
        text.parse()
    }

    #[test]
    fn a_device_s_connection_string_is_read() {
        let read = parse("HostName=contoso.azure-devices.net;DeviceId=pi-7;SharedAccessKey=AAECAw==\n").unwrap();

        let (hub, id) = ("contoso.azure-devices.net".to_owned(), "pi-7".to_owned());
        assert_eq!(read.device, Device { hub, gateway: None, id, credential: Credential::Token });
        assert_eq!(read.key, Key::decode("AAECAw=="));
    }

    #[test]
    fn order_case_and_a_last_separator_do_not_matter() {
        let usual = parse("HostName=h;DeviceId=D;SharedAccessKey=AAEC").unwrap();

        assert_eq!(parse(" sharedaccesskey=AAEC ; DEVICEID=D ; hostname=h ; ").unwrap(), usual);
    }

    #[test]
    fn a_device_with_a_certificate_has_no_key() {
        let read = parse("HostName=h;DeviceId=d;x509=True").unwrap();

        assert_eq!((read.device.credential, read.key), (Credential::Certificate, None));
        assert_eq!(
            parse("HostName=h;DeviceId=d;x509=false;SharedAccessKey=AAEC").unwrap().device.credential,
            Credential::Token
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        use Malformed::{Certificate, Empty, Host, Id, Key, KeyAndCertificate, Missing, Module, Policy, Signature};
        use Malformed::{Twice, Unknown};
        for (text, problem) in [
            ("", Empty),
            (" \n;;", Empty),
            ("hunter2", Unknown(1)),
            ("HostName=h;hunter2=1", Unknown(2)),
            ("HostName=h;DeviceId=d;SharedAccessKeyhunter2", Unknown(3)),
            ("HostName=h;HostName=h", Twice("HostName")),
            ("DeviceId=d;SharedAccessKey=AAEC", Missing("HostName")),
            ("HostName=h;SharedAccessKey=AAEC", Missing("DeviceId")),
            ("HostName=h;DeviceId=d", Missing("SharedAccessKey")),
            ("HostName=h;DeviceId=d;x509=false", Missing("SharedAccessKey")),
            ("HostName=mqtts://h;DeviceId=d;x509=true", Host("HostName")),
            ("HostName=;DeviceId=d;x509=true", Host("HostName")),
            ("HostName=h;GatewayHostName=a b;DeviceId=d;x509=true", Host("GatewayHostName")),
            ("HostName=h;DeviceId=;x509=true", Id),
            ("HostName=h;DeviceId=a/b;x509=true", Id),
            ("HostName=h;DeviceId=\u{e9};x509=true", Id),
            ("HostName=h;DeviceId=d;SharedAccessKey=", Key),
            ("HostName=h;DeviceId=d;SharedAccessKey=hunter2!", Key),
            ("HostName=h;DeviceId=d;x509=true;SharedAccessKey=AAEC", KeyAndCertificate),
            ("HostName=h;DeviceId=d;x509=yes", Certificate),
            ("HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=AAEC", Policy),
            ("HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=AAEC", Module),
            ("HostName=h;DeviceId=d;SharedAccessSignature=SharedAccessSignature sr=h&sig=x&se=1", Signature),
        ] {
            assert_eq!(parse(text), Err(problem), "{text}");
        }
    }

    #[test]
    fn the_longest_id_is_taken_and_a_longer_one_is_not() {
        let with_id = |length| parse(&format!("HostName=h;x509=true;DeviceId={}", "a".repeat(length)));

        assert!(with_id(128).is_ok());
        assert_eq!(with_id(129), Err(Malformed::Id));
    }

    proptest! {
        #[test]
        fn whatever_it_says_is_read_back(
            hub in "[a-z0-9.-]{1,60}", id in "[a-zA-Z0-9:.+%_#*?!(),=@$'-]{1,128}",
            key in proptest::collection::vec(any::<u8>(), 1..64), gateway in proptest::option::of("[a-z0-9.]{1,20}"),
        ) {
            let encoded = openssl::base64::encode_block(&key);
            let edge = gateway.as_ref().map_or(String::new(), |gateway| format!(";GatewayHostName={gateway}"));

            let read = parse(&format!("HostName={hub};DeviceId={id};SharedAccessKey={encoded}{edge}")).unwrap();

            prop_assert_eq!(&read.device, &Device { hub, gateway, id, credential: Credential::Token });
            prop_assert_eq!(read.key, Key::decode(&encoded));
        }

        #[test]
        fn no_text_makes_it_panic_and_no_error_repeats_it(
            text in "\\PC{0,60}|(HostName|DeviceId|SharedAccessKey|x509|[=; ]|hunter2){0,12}",
        ) {
            if let Err(error) = parse(&text) {
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains("hunter2"), "{}", shown);
            }
        }
    }
}

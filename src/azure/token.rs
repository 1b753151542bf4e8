//! The token that a device gives for a password: its resource and an expiry, signed with its key.

use super::{ConnectionString, Credential, Device, encode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// The part of a token's life after which it is renewed. What is left is for what is in flight, and for clocks that
/// differ.
const RENEWAL: f64 = 0.9;

/// A device's key. Nothing shows it, and it is wiped in the end.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// The key as it stands in a connection string; `None`: that is not Base64, or nothing.
    #[must_use]
    pub fn decode(text: &str) -> Option<Key> {
        STANDARD.decode(text).ok().filter(|key| !key.is_empty()).map(|key| Key(Zeroizing::new(key)))
    }

    /// The HMAC-SHA256 of a text, in Base64.
    fn sign(&self, text: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// A password for some time. Nothing shows it but [`Token::reveal`], and it is wiped in the end.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token's text, for the broker alone.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl ConnectionString {
    /// A token that is valid from `now`, the time since 1970-01-01 UTC, for `lifetime`, rounded up to a whole second.
    /// `None`: the device has no key.
    #[must_use]
    pub fn token(&self, now: Duration, lifetime: Duration) -> Option<Token> {
        let resource = encode(&format!("{}/devices/{}", self.device.hub, self.device.id));
        let end = now.saturating_add(lifetime);
        let expiry = end.as_secs().saturating_add(u64::from(end.subsec_nanos() > 0));
        let signature = encode(&self.key.as_ref()?.sign(&format!("{resource}\n{expiry}")));
        let token = format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}");
        Some(Token(Zeroizing::new(token)))
    }
}

impl Device {
    /// For how long a connection is used whose token is valid for `lifetime`; `None`: it has none.
    #[must_use]
    pub fn renewal(&self, lifetime: Duration) -> Option<Duration> {
        match self.credential {
            Credential::Token => Some(lifetime.mul_f64(RENEWAL)),
            Credential::Certificate => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::decode;
    use super::*;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::sign::Signer;
    use proptest::prelude::*;

    #[test]
    fn the_token_is_the_one_that_python_made() {
        // hmac, hashlib, base64 and urllib.parse.quote(..., safe="") of Python 3, with the bytes 0 to 31 for a key.
        let string = "HostName=contoso.azure-devices.net;DeviceId=pi-7;\
                      SharedAccessKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let expected = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fpi-7\
                        &sig=3KW1OeJzyLYt6ySef2ni6gjlokQtDVcEl1ZDfdS4QlM%3D&se=1893456000";

        let string: ConnectionString = string.parse().unwrap();

        for now in [Duration::from_secs(1_893_452_400), Duration::from_millis(1_893_452_399_001)] {
            assert_eq!(string.token(now, Duration::from_secs(3600)).unwrap().reveal(), expected);
        }
    }

    #[test]
    fn a_device_with_a_certificate_has_no_token() {
        let string: ConnectionString = "HostName=h;DeviceId=d;x509=true".parse().unwrap();

        assert_eq!(string.token(Duration::ZERO, Duration::from_secs(3600)), None);
        assert_eq!(string.device.renewal(Duration::from_secs(3600)), None);
    }

    #[test]
    fn neither_key_nor_token_is_shown() {
        let string: ConnectionString = "HostName=h;DeviceId=d;SharedAccessKey=aHVudGVyMg==".parse().unwrap();
        let token = string.token(Duration::ZERO, Duration::ZERO).unwrap();

        let shown = format!("{string:?} {string:#?} {token:?} {token:#?}");

        assert_eq!(shown.matches("***").count(), 4, "{shown}");
        let numbers = format!("{:?}", b"hunter2");
        for secret in ["aHVudGVyMg", "hunter2", numbers.trim_matches(['[', ']']), "SharedAccessSignature", "sig="] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn openssl_finds_the_same_signature(
            id in "[a-zA-Z0-9:.+%_#*?!(),=@$'-]{1,40}", key in proptest::collection::vec(any::<u8>(), 1..100),
            now in 0u64..4_000_000_000, lifetime in 1u64..1_000_000,
        ) {
            let string = format!("HostName=hub.example;DeviceId={id};SharedAccessKey={}", openssl::base64::encode_block(&key));

            let token = string.parse::<ConnectionString>().unwrap();
            let token = token.token(Duration::from_secs(now), Duration::from_secs(lifetime)).unwrap();

            let fields = token.reveal().strip_prefix("SharedAccessSignature ").unwrap();
            let fields: Vec<(&str, &str)> = fields.split('&').map(|field| field.split_once('=').unwrap()).collect();
            let [("sr", resource), ("sig", signature), ("se", expiry)] = fields[..] else { panic!("{fields:?}") };
            prop_assert_eq!(decode(resource), format!("hub.example/devices/{id}"));
            prop_assert_eq!(expiry.parse::<u64>().unwrap(), now + lifetime);
            let key = PKey::hmac(&key).unwrap();
            let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
            signer.update(format!("{resource}\n{expiry}").as_bytes()).unwrap();
            let expected = openssl::base64::encode_block(&signer.sign_to_vec().unwrap());
            prop_assert_eq!(decode(signature), expected);
        }
    }
}

//! A PUBLISH packet as bytes, for the library to go on with after a restart. Pure.
//!
//! Source: MQTT 3.1.1 and 5.0, section 3.3.

use crate::config::Protocol;
use crate::message::Qos;
use crate::payload::Outgoing;

const PUBLISH: u8 = 3 << 4;
const CONTENT_TYPE: u8 = 0x03;
const MESSAGE_EXPIRY: u8 = 0x02;
const USER_PROPERTY: u8 = 0x26;

/// The packet, at QoS 1 or 2, without the DUP flag, which the library sets. `None`: it is larger than a packet may be.
pub fn publish(outgoing: &Outgoing, id: u16, protocol: Protocol) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(outgoing.topic.len() + outgoing.payload.len() + 128);
    put_text(&mut body, &outgoing.topic)?;
    body.extend_from_slice(&id.to_be_bytes());
    if protocol == Protocol::V5 {
        let mut properties = Vec::new();
        properties.push(CONTENT_TYPE);
        put_text(&mut properties, outgoing.content_type)?;
        if let Some(expiry) = outgoing.expiry {
            properties.push(MESSAGE_EXPIRY);
            properties.extend_from_slice(&u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
        }
        for (name, value) in &outgoing.user_properties {
            properties.push(USER_PROPERTY);
            put_text(&mut properties, name)?;
            put_text(&mut properties, value)?;
        }
        put_length(&mut body, properties.len())?;
        body.append(&mut properties);
    }
    body.extend_from_slice(&outgoing.payload);
    let mut packet = vec![PUBLISH | (outgoing.qos as u8) << 1 | u8::from(outgoing.retain)];
    put_length(&mut packet, body.len())?;
    packet.append(&mut body);
    Some(packet)
}

/// Bytes of the packet, at any QoS.
pub fn size(outgoing: &Outgoing, protocol: Protocol) -> usize {
    let id = if outgoing.qos == Qos::AtMostOnce { 0 } else { 2 };
    let mut body = 2 + outgoing.topic.len() + id + outgoing.payload.len();
    if protocol == Protocol::V5 {
        let texts = outgoing.user_properties.iter().map(|(name, value)| 5 + name.len() + value.len());
        let expiry = if outgoing.expiry.is_some() { 5 } else { 0 };
        let properties = 3 + outgoing.content_type.len() + expiry + texts.sum::<usize>();
        body += length_size(properties) + properties;
    }
    1 + length_size(body) + body
}

/// Bytes of a variable byte integer.
fn length_size(length: usize) -> usize {
    1 + usize::from(length >= 1 << 7) + usize::from(length >= 1 << 14) + usize::from(length >= 1 << 21)
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// A variable byte integer, at most four bytes of seven bits.
fn put_length(out: &mut Vec<u8>, mut length: usize) -> Option<()> {
    if length >= 1 << 28 {
        return None;
    }
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            return Some(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn outgoing() -> Outgoing {
        Outgoing {
            topic: "a/b".to_owned(),
            qos: Qos::ExactlyOnce,
            retain: true,
            content_type: "t",
            expiry: Some(Duration::from_secs(258)),
            user_properties: vec![("k", "v".to_owned())],
            payload: b"xyz".to_vec(),
            dated: true,
        }
    }

    #[test]
    fn mqtt_3_1_1_has_no_properties() {
        let packet = publish(&outgoing(), 0x1234, Protocol::V311).unwrap();

        assert_eq!(packet, b"\x35\x0a\x00\x03a/b\x12\x34xyz");
    }

    #[test]
    fn mqtt_5_has_all_properties() {
        let packet = publish(&outgoing(), 0x1234, Protocol::V5).unwrap();

        let properties = b"\x10\x03\x00\x01t\x02\x00\x00\x01\x02\x26\x00\x01k\x00\x01v";
        assert_eq!(packet, [b"\x35\x1b\x00\x03a/b\x12\x34", &properties[..], b"xyz"].concat());
    }

    #[test]
    fn the_size_is_known_before_the_packet_is_made() {
        for length in [0, 80, 127, 128, 20_000, 3_000_000] {
            for protocol in [Protocol::V311, Protocol::V5] {
                for expiry in [None, Some(Duration::from_secs(1))] {
                    let outgoing = Outgoing { payload: vec![0; length], expiry, ..outgoing() };

                    let packet = publish(&outgoing, 1, protocol).unwrap();

                    assert_eq!(size(&outgoing, protocol), packet.len());
                }
            }
        }
    }

    #[test]
    fn a_long_packet_has_a_long_length() {
        let packet = publish(&Outgoing { payload: vec![0; 200], ..outgoing() }, 1, Protocol::V311).unwrap();

        assert_eq!(&packet[..3], [0x35, 0x80 | (207 & 0x7f), 1]);
        assert_eq!(packet.len(), 3 + 207);
    }
}

//! The `json` format: one object that names device, source, stream, seq and time, with the sample under `data`.

use super::Time;
use crate::clock::rfc3339;
use crate::message::Message;
use std::io::Write;

/// The MQTT 5 content type.
pub const CONTENT_TYPE: &str = "application/json";

/// Bytes around the texts and the data: the keys, stream, seq, time and clock.
const FRAME: usize = 152;

/// Writes the payload. The data is JSON already and goes in as it is.
pub fn render(message: &Message, time: Time) -> Vec<u8> {
    let sample = &message.sample;
    let texts = sample.route.device.len() + sample.route.source.len();
    let mut payload = Vec::with_capacity(FRAME + texts + sample.data.len());
    write(&mut payload, message, time).expect("writing to memory does not fail");
    payload
}

fn write(payload: &mut Vec<u8>, message: &Message, time: Time) -> std::io::Result<()> {
    let sample = &message.sample;
    payload.write_all(b"{\"device\":")?;
    serde_json::to_writer(&mut *payload, &sample.route.device)?;
    payload.write_all(b",\"source\":")?;
    serde_json::to_writer(&mut *payload, &sample.route.source)?;
    write!(payload, ",\"stream\":\"{}\",\"seq\":{},", message.stream, message.seq)?;
    write!(payload, "\"time\":\"{}\",", rfc3339(time.wall))?;
    if !time.certain {
        payload.write_all(b"\"clock\":\"unsynchronised\",")?;
    }
    payload.write_all(b"\"data\":")?;
    payload.write_all(&sample.data)?;
    payload.write_all(b"}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Format, Qos, Route, Sample, Seq, Stamp, StreamId};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn message(device: &str, source: &str, stream: u32, seq: u64, data: &str) -> Message {
        let route = Arc::new(Route {
            device: device.to_owned(),
            source: source.to_owned(),
            topic: "t".to_owned(),
            qos: Qos::AtLeastOnce,
            retain: false,
            format: Format::Json,
            expiry: None,
        });
        let sample = Sample {
            route,
            taken: Stamp { wall: 0, boot: 0, boot_id: 0, synchronised: true },
            data: data.as_bytes().to_vec(),
        };
        Message { stream: StreamId(stream), seq: Seq(seq), sample }
    }

    #[test]
    fn the_payload_is_the_documented_one() {
        let data = r#"{"cpu_temperature_celsius":48.3,"load1":0.12}"#;
        let time = |certain| Time { wall: 1_795_230_901_234, certain };
        let message = message("gateway-7", "board", 0x3f9a_1c02, 1234, data);
        let [payload, uncertain] = [true, false].map(|certain| render(&message, time(certain)));

        let expected = r#"{"device":"gateway-7","source":"board","stream":"3f9a1c02","seq":1234,"time":"2026-11-21T03:15:01.234Z","data":{"cpu_temperature_celsius":48.3,"load1":0.12}}"#;
        assert_eq!(String::from_utf8(payload).unwrap(), expected);
        let marked = expected.replace("34Z\",", "34Z\",\"clock\":\"unsynchronised\",");
        assert_eq!(String::from_utf8(uncertain).unwrap(), marked);
    }

    proptest! {
        #[test]
        fn the_payload_is_json_whatever_the_values_are(
            device in "\\PC{0,20}|[\\x00-\\x7f]{0,20}", source: String, stream: u32, seq: u64, wall: i64, certain: bool,
            value: f64,
        ) {
            let data = json!({ "value": value }).to_string();

            let payload = render(&message(&device, &source, stream, seq, &data), Time { wall, certain });

            let parsed: Value = serde_json::from_slice(&payload).unwrap();
            prop_assert_eq!(&parsed["device"], &json!(device));
            prop_assert_eq!(&parsed["source"], &json!(source));
            prop_assert_eq!(&parsed["stream"], &json!(format!("{stream:08x}")));
            prop_assert_eq!(&parsed["seq"], &json!(seq));
            // As it was written, to the last digit.
            let ending = format!("\"data\":{data}}}");
            prop_assert!(payload.ends_with(ending.as_bytes()));
            prop_assert!(parsed["time"].as_str().unwrap().ends_with('Z'));
        }
    }
}

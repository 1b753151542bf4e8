//! `packhorse spool export`: the messages that wait, with their whole payloads, for other programs.

use super::choice::Choice;
use super::output::{Output, Target};
use super::progress::Progress;
use super::visit::{self, Look, Warnings};
use super::{Failure, counted};
use crate::cli::Code;
use crate::clock::rfc3339;
use crate::config::Config;
use crate::message::Message;
use crate::payload::{self, Time};
use crate::spool::Sight;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::time::Duration;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Jsonl,
    Csv,
}

/// The columns of comma-separated values.
const HEAD: &str = "stream,seq,time,time_is_certain,device,source,topic,qos,retain,encoding,payload\r\n";

/// Writes them.
///
/// # Errors
/// A folder that is not there or cannot be read; a file that cannot be written; messages that cannot be read: the others
/// are written all the same.
pub fn run(config: &Config, choice: &Choice, format: Format, target: Option<Target<'_>>) -> Result<(), Failure> {
    let Look { mut view, facts, times } = visit::open_for_a_list(config)?;
    let (mut output, mut warnings) = (Output::new(target)?, Warnings::default());
    let progress = if target.is_some() { Progress::of } else { Progress::beside_output };
    let (mut progress, mut written) = (progress(facts.waiting), 0);
    let mut flow = output.write(if format == Format::Csv { HEAD.as_bytes() } else { b"" })?;
    while flow.is_continue() {
        match view.look_on() {
            Ok(Sight::End) => break,
            Ok(Sight::Damage(damage)) => warnings.add(&damage),
            Ok(Sight::Message(message)) => {
                progress.step();
                let time = times.of(message.sample.taken);
                if choice.has(&message, time) {
                    flow = output.write(&line(&message, time, format))?;
                    written += 1;
                }
            }
            Err(error) => {
                output.abandon();
                return Err(visit::refused(&error, &config.spool.directory));
            }
        }
    }
    drop(progress);
    output.end()?;
    warnings.end();
    if target.is_some() {
        crate::cli::complain(&format!("packhorse: exported {}", counted(written)));
    }
    match warnings.lost {
        0 => Ok(()),
        lost => {
            let message = format!("{} cannot be read, and are not exported", counted(lost));
            Err(Failure { code: Code::Failed, message })
        }
    }
}

fn line(message: &Message, time: Time, format: Format) -> Vec<u8> {
    let payload = payload::outgoing(message, time, Duration::ZERO).payload;
    match format {
        Format::Jsonl => object(message, time, &payload),
        Format::Csv => row(message, time, &payload),
    }
}

/// One line of JSON. A payload that is JSON stands in it digit by digit; others are in Base64.
fn object(message: &Message, time: Time, payload: &[u8]) -> Vec<u8> {
    let route = &message.sample.route;
    let mut object = json!({
        "stream": message.stream.to_string(), "seq": message.seq.0, "time": rfc3339(time.wall),
        "time_is_certain": time.certain, "device": route.device, "source": route.source, "topic": route.topic,
        "qos": route.qos as u8, "retain": route.retain,
    });
    let is_json = std::str::from_utf8(payload).is_ok() && serde_json::from_slice::<IgnoredAny>(payload).is_ok();
    if !is_json {
        object["payload_base64"] = Value::from(STANDARD.encode(payload));
        return format!("{object}\n").into_bytes();
    }
    let mut line = object.to_string().into_bytes();
    line.pop();
    line.extend_from_slice(b",\"payload\":");
    // A line break in JSON stands between values, never in one.
    line.extend(payload.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    line.extend_from_slice(b"}\n");
    line
}

/// One record of comma-separated values (RFC 4180). A payload that is no text is in Base64, which `encoding` says.
fn row(message: &Message, time: Time, payload: &[u8]) -> Vec<u8> {
    let route = &message.sample.route;
    let (encoding, payload) = match std::str::from_utf8(payload) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("base64", STANDARD.encode(payload)),
    };
    let fields = [
        &message.stream.to_string(),
        &message.seq.to_string(),
        &rfc3339(time.wall),
        &time.certain.to_string(),
        &route.device,
        &route.source,
        &route.topic,
        &(route.qos as u8).to_string(),
        &route.retain.to_string(),
        &encoding.to_owned(),
        &payload,
    ];
    let fields: Vec<String> = fields.into_iter().map(|field| quoted(field)).collect();
    format!("{}\r\n", fields.join(",")).into_bytes()
}

/// A field as RFC 4180 has it: between quotes, where it has quotes, commas or line breaks in it.
fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Format as Payload, Qos, Route, Sample, Seq, Stamp, StreamId};
    use proptest::prelude::*;
    use std::sync::Arc;

    const TIME: Time = Time { wall: 1_700_000_000_000, certain: true };

    fn message(topic: &str) -> Message {
        let (device, source, topic) = ("d".to_owned(), "s".to_owned(), topic.to_owned());
        let (qos, format) = (Qos::AtLeastOnce, Payload::Json);
        let route = Arc::new(Route { device, source, topic, qos, retain: false, format, expiry: None });
        let taken = Stamp { wall: 0, boot: 0, boot_id: 0, synchronised: true };
        Message { stream: StreamId(7), seq: Seq(9), sample: Sample { route, taken, data: b"{}".to_vec() } }
    }

    /// The fields of one record, read by the grammar of RFC 4180.
    fn fields(record: &str) -> Vec<String> {
        let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
        let mut rest = record.strip_suffix("\r\n").expect("a line break").chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '"' if is_quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
                other => field.push(other),
            }
        }
        fields.push(field);
        fields
    }

    #[test]
    fn a_payload_that_is_json_is_a_value_with_all_its_digits_and_others_are_base64() {
        let text = |payload: &[u8]| String::from_utf8(object(&message("t"), TIME, payload)).unwrap();

        let value = text(b"{\"a\": 1.000000000000000000010,\n\r\"b\":[]}");
        assert_eq!(value.lines().count(), 1);
        assert!(value.contains(r#""payload":{"a": 1.000000000000000000010,  "b":[]}}"#), "{value}");
        for (payload, base64) in [(&b"\xff{"[..], "/3s="), (b"", ""), (b"{\"a\":\"\xff\"}", "eyJhIjoi/yJ9")] {
            let value: Value = serde_json::from_str(&text(payload)).unwrap();
            assert!(value["payload_base64"] == base64 && value.get("payload").is_none(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_payload_is_read_again_from_both_formats(topic in ".{0,20}", payload in any::<Vec<u8>>(), text in ".{0,40}") {
            for payload in [payload, text.into_bytes()] {
                let record = String::from_utf8(row(&message(&topic), TIME, &payload)).unwrap();
                let read = fields(&record);
                prop_assert_eq!(read.len(), HEAD.split(',').count());
                prop_assert_eq!(&read[6], &topic);
                let found = if read[9] == "base64" { STANDARD.decode(&read[10]).unwrap() } else { read[10].clone().into_bytes() };
                prop_assert_eq!(found, payload.clone());

                let line = object(&message(&topic), TIME, &payload);
                let value: Value = serde_json::from_slice(&line).unwrap();
                prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
                if let Some(base64) = value.get("payload_base64") {
                    prop_assert_eq!(STANDARD.decode(base64.as_str().unwrap()).unwrap(), payload);
                }
            }
        }
    }
}

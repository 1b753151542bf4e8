//! What a file in `rejected/` says: for people, and all that is needed to put the message back. Pure; what is read is
//! forged until its checksum says otherwise. `docs/requeue.md` has the keys.

use crate::message::{Format, Message, Qos, Route, Sample, Seq, Stamp};
use crate::payload::{self, Time};
use crate::spool::record::{Content, Decoded, RouteId, Seed, Settled, decode, encode_route};
use crate::spool::segment;
use crate::spool::writer::Writer;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Why a file cannot be put back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("an older version wrote it, which kept too little of the message")]
    Older,
    #[error("is no JSON object")]
    Json,
    #[error("its checksum is wrong: it is damaged, or was edited")]
    Checksum,
    #[error("`{0}` is missing or is not what packhorse writes")]
    Key(&'static str),
}

/// The file's text.
pub fn write(message: &Message, reason: &str) -> String {
    let Sample { route, taken, data } = &message.sample;
    let outgoing = payload::outgoing(message, Time::as_taken(*taken), Duration::ZERO);
    let Value::Object(mut file) = json!({
        "reason": reason,
        "topic": route.topic,
        "qos": route.qos as u8,
        "payload": String::from_utf8_lossy(&outgoing.payload),
        "retain": route.retain,
        "expiry_s": route.expiry.map(|expiry| expiry.as_secs()),
        "format": "json",
        "device": route.device,
        "source": route.source,
        "taken": {
            "wall_ms": taken.wall,
            "boot_ms": taken.boot,
            "boot_id": taken.boot_id,
            "synchronised": taken.synchronised,
        },
        "data": String::from_utf8_lossy(data),
    }) else {
        unreachable!("it is an object")
    };
    let sum = checksum(&file);
    file.insert("checksum".to_owned(), sum.into());
    Value::Object(file).to_string()
}

/// The sample that a file's text holds.
///
/// # Errors
/// [`Unusable`].
pub fn read(text: &[u8]) -> Result<Sample, Unusable> {
    let mut file: Map<String, Value> = serde_json::from_slice(text).map_err(|_| Unusable::Json)?;
    let Some(sum) = file.remove("checksum") else {
        let is_older =
            file.len() == 4 && ["reason", "topic", "qos", "payload"].iter().all(|key| file.contains_key(*key));
        return Err(if is_older { Unusable::Older } else { Unusable::Key("checksum") });
    };
    if sum.as_str() != Some(checksum(&file).as_str()) {
        return Err(Unusable::Checksum);
    }
    sample(&file)
}

fn sample(file: &Map<String, Value>) -> Result<Sample, Unusable> {
    let key = |key: &'static str| file.get(key).ok_or(Unusable::Key(key));
    let text = |name| key(name)?.as_str().map(str::to_owned).ok_or(Unusable::Key(name));
    let qos = key("qos")?.as_u64().and_then(|level| u8::try_from(level).ok());
    let expiry = match key("expiry_s")? {
        Value::Null => None,
        seconds => {
            let seconds =
                seconds.as_u64().and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
            Some(Duration::from_secs(seconds.ok_or(Unusable::Key("expiry_s"))?.into()))
        }
    };
    let route = Route {
        device: text("device")?,
        source: text("source")?,
        topic: text("topic")?,
        qos: qos.and_then(|level| Qos::try_from(level).ok()).ok_or(Unusable::Key("qos"))?,
        retain: key("retain")?.as_bool().ok_or(Unusable::Key("retain"))?,
        format: Some(Format::Json)
            .filter(|_| file.get("format") == Some(&json!("json")))
            .ok_or(Unusable::Key("format"))?,
        expiry,
    };
    if !can_be_kept(&route) {
        return Err(Unusable::Key("topic"));
    }
    let data = text("data")?.into_bytes();
    if serde_json::from_slice::<Map<String, Value>>(&data).is_err() {
        return Err(Unusable::Key("data"));
    }
    let sample = Sample { route: Arc::new(route), taken: taken(key("taken")?).ok_or(Unusable::Key("taken"))?, data };
    let fits = Writer::segment_size_for(&sample) <= segment::LARGEST;
    if fits { Ok(sample) } else { Err(Unusable::Key("data")) }
}

fn taken(taken: &Value) -> Option<Stamp> {
    Some(Stamp {
        wall: taken.get("wall_ms")?.as_i64()?,
        boot: taken.get("boot_ms")?.as_u64()?,
        boot_id: u32::try_from(taken.get("boot_id")?.as_u64()?).ok()?,
        synchronised: taken.get("synchronised")?.as_bool()?,
    })
}

/// Whether a record of this route would be read again as it is.
fn can_be_kept(route: &Route) -> bool {
    let fits = |text: &String| u16::try_from(text.len()).is_ok();
    if ![&route.device, &route.source, &route.topic].into_iter().all(fits) {
        return false;
    }
    let (mut bytes, seed) = (Vec::new(), Seed::of(Seq::FIRST));
    encode_route(&mut bytes, seed, Settled::Yes, RouteId::of(route), route);
    matches!(decode(&bytes, seed), Decoded::Record(frame)
        if matches!(&frame.content, Content::Route(_, read) if **read == *route))
}

/// Eight hexadecimal digits over everything else in the file, as it is written without spaces.
fn checksum(file: &Map<String, Value>) -> String {
    let text = serde_json::to_string(file).unwrap_or_default();
    format!("{:08x}", crc32c::crc32c(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::StreamId;
    use crate::spool::tests::samples;
    use proptest::prelude::*;

    fn any_message() -> impl Strategy<Value = Message> {
        (0u64..100, any::<bool>(), proptest::option::of(1u32..), any::<i64>(), any::<u64>(), "[a-z\u{e9}/ ]{1,20}")
            .prop_map(|(number, flag, expiry, wall, boot, topic)| {
                let sample = samples([number]).remove(0);
                let expiry = expiry.map(|seconds| Duration::from_secs(seconds.into()));
                let qos = if flag { Qos::ExactlyOnce } else { Qos::AtLeastOnce };
                let route = Arc::new(Route { retain: flag, qos, expiry, topic, ..(*sample.route).clone() });
                let taken = Stamp { wall, boot, boot_id: 7, synchronised: flag };
                Message { stream: StreamId(7), seq: Seq(number + 1), sample: Sample { route, taken, ..sample } }
            })
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(message in any_message()) {
            let text = write(&message, "not authorized");

            prop_assert_eq!(read(text.as_bytes()), Ok(message.sample));
        }

        #[test]
        fn a_changed_byte_is_noticed(message in any_message(), at: prop::sample::Index, flip in 1u8..) {
            let mut text = write(&message, "not authorized").into_bytes();
            let at = at.index(text.len());
            text[at] ^= flip;

            let found = read(&text);

            // What JSON says in two ways is no damage.
            prop_assert!(found.is_err() || found == Ok(message.sample));
        }

        #[test]
        fn nothing_that_a_file_says_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&text);
        }
    }

    #[test]
    fn a_file_of_an_older_version_is_known() {
        let text = br#"{"reason":"r","topic":"t","qos":1,"payload":"{}"}"#;

        assert_eq!(read(text), Err(Unusable::Older));
    }

    #[test]
    fn a_forged_route_is_refused() {
        let message = Message { stream: StreamId(7), seq: Seq(1), sample: samples([1]).remove(0) };
        for topic in ["", "a/#", &"x".repeat(70_000)] {
            let Ok(Value::Object(mut file)) = serde_json::from_str(&write(&message, "r")) else { panic!("an object") };
            file.remove("checksum");
            file.insert("topic".to_owned(), topic.into());
            let sum = checksum(&file);
            file.insert("checksum".to_owned(), sum.into());

            let text = Value::Object(file).to_string();

            assert_eq!(read(text.as_bytes()), Err(Unusable::Key("topic")));
        }
    }
}

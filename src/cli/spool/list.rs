//! `packhorse spool list`: the messages that wait, one a line.

use super::choice::{Choice, time_text};
use super::output::Output;
use super::visit::{self, Look, Warnings};
use super::{Failure, progress::Progress};
use crate::clock::rfc3339;
use crate::config::Config;
use crate::delivery::Times;
use crate::foreign;
use crate::message::Message;
use crate::payload;
use crate::spool::Sight;
use serde_json::json;
use std::time::Duration;

/// Characters of a payload that are shown.
const START: usize = 200;

/// Prints them. A message that cannot be read is named on standard error.
///
/// # Errors
/// A folder that is not there or cannot be read.
pub fn run(config: &Config, choice: &Choice, limit: Option<u64>, json: bool) -> Result<(), Failure> {
    let Look { mut view, facts, times } = visit::open_for_a_list(config)?;
    let (mut output, mut warnings) = (Output::new(None)?, Warnings::default());
    let (mut progress, mut left) = (Progress::beside_output(facts.waiting), limit.unwrap_or(u64::MAX));
    while left > 0 {
        match view.look_on().map_err(|error| visit::refused(&error, &config.spool.directory))? {
            Sight::End => break,
            Sight::Damage(damage) => warnings.add(&damage),
            Sight::Message(message) => {
                progress.step();
                if choice.has(&message, times.of(message.sample.taken)) {
                    left -= 1;
                    if output.write(line(&message, &times, json).as_bytes())?.is_break() {
                        break;
                    }
                }
            }
        }
    }
    drop(progress);
    output.end()?;
    warnings.end();
    Ok(())
}

fn line(message: &Message, times: &Times, json: bool) -> String {
    let route = &message.sample.route;
    let time = times.of(message.sample.taken);
    let outgoing = payload::outgoing(message, time, Duration::ZERO);
    let bytes = outgoing.payload.len();
    let start = foreign::shortened(&String::from_utf8_lossy(&outgoing.payload), START);
    let (source, topic, qos) = (foreign::shown(&route.source), foreign::shown(&route.topic), route.qos as u8);
    if json {
        let line = json!({
            "seq": message.seq.0, "time": rfc3339(time.wall), "time_is_certain": time.certain, "source": source,
            "topic": topic, "qos": qos, "bytes": bytes, "payload_start": start,
        });
        return format!("{line}\n");
    }
    let (seq, time) = (message.seq, time_text(times, message.sample.taken));
    format!("seq={seq} time={time} source={source} topic={topic} qos={qos} bytes={bytes} payload={start}\n")
}

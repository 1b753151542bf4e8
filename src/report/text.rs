//! The report as people read it: a row for each subject, within 80 columns, what is wrong first.

use super::numbers::{bytes, count, counted, rate, time};
use super::{Connection, Health, LastError, Report, Source, SourceState, State};
use crate::foreign;
use serde_json::Value;

/// Columns of a terminal that nobody has made larger.
pub const WIDTH: usize = 80;

/// Where the text of a row begins.
const INDENT: usize = 14;

/// The longest value of a source, in characters.
const VALUE: usize = 44;

/// The report in words; at most so many sources, those that do not work first.
#[must_use]
pub fn text(report: &Report, most_sources: usize) -> String {
    let mut rows = Rows::default();
    let agent = &report.agent;
    let health = match report.health {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
    };
    rows.add("", &format!("{}: {health}, running for {}", agent.device, time(agent.uptime_seconds)));
    report.reasons.iter().for_each(|reason| rows.add("problem", &reason.text));
    of_connection(report, &mut rows);
    of_messages(report, &mut rows);
    of_sources(report, most_sources, &mut rows);
    of_spool(report, &mut rows);
    let clock = if report.clock.is_synchronised { "set" } else { "not set by anything: times may be wrong" };
    rows.add("clock", &format!("{}, {clock}", report.time));
    let configuration = &report.configuration;
    rows.add("configuration", &format!("{}, since {}", configuration.file, configuration.since));
    rows.add("process", &format!("{}, packhorse {}, since {}", agent.process, agent.version, agent.since));
    rows.text
}

/// A sentence in lines that fit.
#[must_use]
pub fn wrapped(text: &str) -> String {
    lines(&foreign::hide(text), WIDTH).iter().map(|line| format!("{line}\n")).collect()
}

fn of_connection(report: &Report, rows: &mut Rows) {
    let Some(connection) = &report.connection else { return };
    let Connection { address, lasts_seconds, protocol, .. } = connection;
    let lasts = time(*lasts_seconds);
    let line = match connection.state {
        State::Connected => {
            let session = if connection.session_present == Some(true) { ", session resumed" } else { "" };
            let window = connection.window.unwrap_or_default();
            format!(
                "{address} for {lasts}, MQTT {protocol}{session}, {} of {} in flight",
                count(connection.in_flight),
                count(window)
            )
        }
        State::Connecting => format!("connecting to {address}, none for {lasts}"),
        State::Waiting | State::Refused => {
            let next = connection.next_attempt_seconds.map_or("soon".to_owned(), |next| format!("in {}", time(next)));
            let failures = counted(connection.failures, "failure");
            format!("none to {address} for {lasts}; next attempt {next}, after {failures}")
        }
        State::Closing => format!("{address}, being replaced"),
        State::Over => format!("none to {address} for {lasts}, and no further attempt"),
    };
    rows.add("connection", &line);
    if let Some(LastError { text, advice, age_seconds, .. }) = &connection.last_error {
        rows.add("last error", &format!("{} ago: {text}", time(*age_seconds)));
        advice.iter().for_each(|advice| rows.add("", advice));
    }
}

fn of_messages(report: &Report, rows: &mut Rows) {
    if let Some(waiting) = &report.waiting {
        let mut line = counted(waiting.messages, "message");
        if waiting.messages > 0 {
            line += &format!(", {}", bytes(waiting.bytes));
        }
        if let Some(age) = waiting.oldest_age_seconds {
            line += &format!(", the oldest {} old", time(age));
        }
        if let Some(end) = waiting.drained_in_seconds {
            line += &format!(", drained in about {}", time(end));
        }
        rows.add("waiting", &line);
    }
    if let Some(rates) = &report.rates {
        let [into, out] = [rates.in_per_second, rates.out_per_second]
            .map(|averages| [averages.one, averages.five, averages.fifteen].map(rate).join(", "));
        rows.add("a second", &format!("in {into}; out {out} (over 1, 5, 15 min)"));
    }
    let counters = &report.counters;
    let lost = [
        (counters.dropped_spool_full, "spool full"),
        (counters.dropped_max_age, "max_age"),
        (counters.dropped_expired, "expiry"),
        (counters.dropped_channel_full, "channel full"),
        (counters.rejected, "set aside"),
        (counters.damaged, "damaged"),
    ];
    let lost: Vec<String> =
        lost.iter().filter(|(n, _)| *n > 0).map(|(n, rule)| format!("{} {rule}", count(*n))).collect();
    let lost = if lost.is_empty() { "none".to_owned() } else { lost.join(", ") };
    let [accepted, acknowledged] = [counters.accepted, counters.acknowledged].map(count);
    rows.add("messages", &format!("{accepted} accepted, {acknowledged} acknowledged; dropped: {lost}"));
}

fn of_sources(report: &Report, most: usize, rows: &mut Rows) {
    let Some(sources) = &report.sources else { return };
    let mut shown: Vec<&Source> = sources.iter().collect();
    shown.sort_by_key(|source| matches!(source.state, SourceState::Works | SourceState::New));
    let mut head = "sources";
    for source in shown.iter().take(most) {
        rows.add(head, &of_source(source));
        head = "";
    }
    if sources.len() > most {
        rows.add(head, &format!("and {}; --json has all", counted((sources.len() - most) as u64, "more source")));
    }
}

fn of_source(source: &Source) -> String {
    let mut line = source.name.clone();
    let value = source.value.as_ref().map(value);
    match (source.state, &source.error) {
        (SourceState::New, _) => line += " has no sample yet",
        (SourceState::Works, _) => {}
        (SourceState::Hangs, _) => line += " hangs",
        (SourceState::Fails, error) => line += &format!(" fails: {}", error.as_deref().unwrap_or("no reason known")),
    }
    if let (Some(value), Some(age)) = (value, source.age_seconds) {
        line += &format!(": {value}, {} ago", time(age));
    }
    if source.failed_samples > 0 {
        line += &format!(", {}", counted(source.failed_samples, "failure"));
    }
    if source.missed_ticks > 0 {
        line += &format!(", {} late", counted(source.missed_ticks, "tick"));
    }
    line
}

/// A sample's data in short, as in `load1 0.12, temperature 48.3`.
fn value(value: &Value) -> String {
    let text = match value {
        Value::Object(data) => {
            data.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect::<Vec<_>>().join(", ")
        }
        other => plain(other),
    };
    foreign::shortened(&text, VALUE)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn of_spool(report: &Report, rows: &mut Rows) {
    let Some(spool) = &report.spool else { return };
    let [used, most] = [spool.bytes, spool.max_bytes].map(bytes);
    rows.add("spool", &format!("{}, {used} of {most}", spool.directory));
    if let (Some(free), Some(total)) = (spool.disk_free_bytes, spool.disk_total_bytes) {
        rows.add("disk", &format!("{} free of {}", bytes(free), bytes(total)));
    }
}

/// Rows of a head and a text; what does not fit into a row's first line stands below the beginning of the text.
#[derive(Default)]
struct Rows {
    text: String,
}

impl Rows {
    /// Adds a row. The very first one has no head and begins at the margin.
    fn add(&mut self, head: &str, text: &str) {
        let indent = if self.text.is_empty() { 0 } else { INDENT };
        let text = foreign::hide(text);
        for (number, line) in lines(&text, WIDTH - indent).iter().enumerate() {
            let head = if number == 0 { head } else { "" };
            self.text += format!("{head:indent$}{line}").trim_end();
            self.text.push('\n');
        }
    }
}

/// The text in lines of at most so many characters; a longer word is cut.
fn lines(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut length) = (Vec::new(), String::new(), 0);
    for word in text.split_whitespace() {
        let characters: Vec<char> = word.chars().collect();
        for (number, piece) in characters.chunks(width).enumerate() {
            let gap = usize::from(length > 0 && number == 0);
            if length + gap + piece.len() > width || number > 0 {
                lines.push(std::mem::take(&mut line));
                length = 0;
            } else if gap > 0 {
                line.push(' ');
                length += 1;
            }
            line.extend(piece);
            length += piece.len();
        }
    }
    lines.push(line);
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_line_is_wider_than_wanted_and_no_word_is_lost(
            words in proptest::collection::vec("[a-zé]{1,200}", 0..20), width in 10usize..100,
        ) {
            let text = words.join(" ");

            let lines = lines(&text, width);

            prop_assert!(lines.iter().all(|line| (1..=width).contains(&line.chars().count())), "{:?}", lines);
            prop_assert_eq!(lines.concat().replace(' ', ""), words.concat());
        }
    }
}

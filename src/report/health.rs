//! Whether an agent is healthy: what monitoring goes by. The table of `docs/looking-into.md` has the same rows.

use super::{Health, Reason, Report, Source, SourceState, State};

/// A message that was dropped, set aside or damaged makes an agent degraded for this long, in seconds: long enough for a
/// monitoring that asks every few minutes.
const LOSS_COUNTS: u64 = 900;

/// For how long a thread may be busy with one step, in seconds: an SD card that stalls comes back within it.
const SILENT: f64 = 10.0;

/// How full a spool that is still growing is worth a word, in percent of `spool.max_size`.
const NEARLY_FULL: u64 = 90;

/// Sources that one reason names.
const NAMES: usize = 5;

/// Every code that a reason may have.
pub const CODES: [&str; 11] = [
    "stopping",
    "thread_silent",
    "not_connected",
    "connection_refused",
    "source_hangs",
    "source_fails",
    "disk_fails",
    "spool_nearly_full",
    "messages_lost",
    "configuration",
    "messages_refused",
];

/// Writes into a report whether the agent is healthy, and if not, why.
pub fn judge(report: &mut Report) {
    let mut reasons = Vec::new();
    let mut add = |code: &str, text: String| reasons.push(Reason { code: code.to_owned(), text });
    if report.agent.is_stopping {
        add("stopping", "it was asked to stop".to_owned());
    }
    for thread in report.threads.iter().filter(|thread| thread.silent_seconds >= SILENT) {
        let text = format!("the {} thread has not come back for {:.0} s", thread.name, thread.silent_seconds);
        add("thread_silent", text);
    }
    of_connection(report, &mut add);
    of_sources(report, &mut add);
    of_spool(report, &mut add);
    if let Some(problem) = &report.configuration.problem {
        add("configuration", problem.clone());
    }
    report.health = if reasons.is_empty() { Health::Healthy } else { Health::Degraded };
    report.reasons = reasons;
}

fn of_connection(report: &Report, add: &mut impl FnMut(&str, String)) {
    let Some(connection) = &report.connection else {
        let is_told = report.agent.is_stopping || report.threads.iter().any(|thread| thread.silent_seconds >= SILENT);
        if !is_told {
            add("thread_silent", "the publisher thread does not answer".to_owned());
        }
        return;
    };
    match connection.state {
        State::Connected | State::Closing => {}
        State::Connecting | State::Waiting | State::Over => {
            add("not_connected", format!("no connection to {}", connection.address));
        }
        State::Refused => add("connection_refused", format!("no connection to {}: it is refused", connection.address)),
    }
    if let Some(refused) = &connection.refused {
        add("messages_refused", refused.clone());
    }
}

fn of_sources(report: &Report, add: &mut impl FnMut(&str, String)) {
    let sources = report.sources.iter().flatten();
    for (state, code, verb) in
        [(SourceState::Hangs, "source_hangs", "hang"), (SourceState::Fails, "source_fails", "fail")]
    {
        let names: Vec<&Source> = sources.clone().filter(|source| source.state == state).collect();
        if !names.is_empty() {
            add(code, named(&names, verb));
        }
    }
}

/// As `source board fails`, or `sources a, b and 5 more hang`.
fn named(sources: &[&Source], verb: &str) -> String {
    let shown: Vec<&str> = sources.iter().take(NAMES).map(|source| source.name.as_str()).collect();
    let names = shown.join(", ");
    match sources.len() {
        1 => format!("source {names} {verb}s"),
        count if count <= NAMES => format!("sources {names} {verb}"),
        count => format!("sources {names} and {} more {verb}", count - NAMES),
    }
}

fn of_spool(report: &Report, add: &mut impl FnMut(&str, String)) {
    let (Some(spool), Some(waiting)) = (&report.spool, &report.waiting) else { return };
    if spool.disk_fails {
        add("disk_fails", "the disk does not take what is to be written".to_owned());
    }
    let is_nearly_full = waiting.bytes.saturating_mul(100) >= spool.max_bytes.saturating_mul(NEARLY_FULL);
    if is_nearly_full {
        let percent = waiting.bytes.saturating_mul(100) / spool.max_bytes.max(1);
        add("spool_nearly_full", format!("what waits fills {percent} % of `spool.max_size`"));
    }
    if let Some(age) = spool.last_drop_seconds.filter(|age| *age < LOSS_COUNTS) {
        let text =
            format!("messages were dropped, set aside or damaged, the last {age} s ago; the counters say how many");
        add("messages_lost", text);
    }
}

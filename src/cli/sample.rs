//! `packhorse sample`: what would be published, without publishing it.

use super::{Code, Failure};
use crate::clock::Clock;
use crate::config::{self, BrokerProfile, Config, Protocol};
use crate::foreign;
use crate::message::{Message, Seq, StreamId};
use crate::payload::{self, Outgoing, Time};
use crate::sampler::{self, Scheduled};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// Names of sources that fit into a sentence.
const NAMES_MAX: usize = 20;

/// Takes one sample of each named source, of all when none is named, and prints it.
///
/// Nothing is accepted by this, so stream and seq are printed as zeros.
///
/// # Errors
/// A bad configuration, an unknown source, or a source that gives nothing; the others are printed all the same.
pub fn run(config: Option<&Path>, names: &[String]) -> Result<(), Failure> {
    let config = super::load(config)?.config;
    let unknown: Vec<&str> = names.iter().map(String::as_str).filter(|name| find(&config, name).is_none()).collect();
    if !unknown.is_empty() {
        let sources = config.telemetry.sources.iter();
        let known = sources.map(|source| source.name.as_str()).take(NAMES_MAX).collect::<Vec<_>>().join(", ");
        let more = config.telemetry.sources.len().saturating_sub(NAMES_MAX);
        let more = if more > 0 { format!(" and {more} more: `packhorse sample --list`") } else { String::new() };
        let unknown = foreign::shown(&unknown.join(", "));
        let message = format!("no source named {unknown}; the configuration has: {known}{more}");
        return Err(Failure { code: Code::Usage, message });
    }
    let chosen = config.telemetry.sources.iter().filter(|source| names.is_empty() || names.contains(&source.name));
    let profile = BrokerProfile::of(&config.broker, &config.broker.addresses[0]);
    let (mut failed, clock) = (Vec::new(), Clock::new());
    for source in chosen {
        let scheduled = Scheduled::new(source, &config.device, &config.spool.directory);
        match sampler::sample_once(scheduled, clock) {
            Ok(sample) => {
                let taken = sample.taken;
                let message = Message { stream: StreamId(0), seq: Seq(0), sample };
                let outgoing = payload::outgoing(&message, Time::as_taken(taken), Duration::ZERO);
                let outgoing = profile.outgoing(outgoing);
                super::print(&describe(&outgoing, config.broker.protocol))?;
            }
            Err(error) => failed.push(format!("source {} gives no sample: {error}", source.name)),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure { code: Code::Failed, message: failed.join("\npackhorse: ") }) }
}

/// Prints the names of the sources, one a line: what a shell completes.
///
/// # Errors
/// A bad configuration.
pub fn list(config: Option<&Path>) -> Result<(), Failure> {
    let config = super::load(config)?.config;
    let names = config.telemetry.sources.iter().map(|source| format!("{}\n", source.name));
    super::print(&names.collect::<String>())
}

fn find<'a>(config: &'a Config, name: &str) -> Option<&'a config::Source> {
    config.telemetry.sources.iter().find(|source| source.name == name)
}

/// The packet in words; properties where the protocol has them.
fn describe(outgoing: &Outgoing, protocol: Protocol) -> String {
    let mut text = format!("topic: {}\nqos: {}\nretain: {}\n", outgoing.topic, outgoing.qos as u8, outgoing.retain);
    let mut line = |name: &str, value: &str| writeln!(text, "{name}: {value}").expect("writing to memory");
    if protocol == Protocol::V5 {
        line("content type", outgoing.content_type);
        if let Some(expiry) = outgoing.expiry {
            line("message expiry", &format!("{} s", expiry.as_secs()));
        }
        for (name, value) in &outgoing.user_properties {
            line("user property", &format!("{name}={value}"));
        }
    }
    line("payload", &String::from_utf8_lossy(&outgoing.payload));
    text + "\n"
}

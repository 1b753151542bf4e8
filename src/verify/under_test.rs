//! The agent under test: this program once more, in a process that may be killed.

use super::load::{Load, Quota};
use super::report::Reporter;
use super::terms::Terms;
use super::trouble::Trouble;
use crate::agent::{self, Asked, Occasion, Outcome, Start};
use crate::config::Config;
use crate::logging::Logs;
use crate::sampler::Scheduled;
use crate::spool::Spool;
use crate::status::Counters;
use crate::systemd::Manager;
use crossbeam_channel::bounded;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Terms are no longer than a configuration and some words, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Runs the agent on the terms that standard input has, until it is asked to stop or its parent is gone.
///
/// # Errors
/// Why it could not start, or go on.
pub fn run(asked: &Asked) -> Result<(), Trouble> {
    let terms = read()?;
    die_with(terms.parent)?;
    let config = terms.config().map_err(|problems| Trouble::Config(problems.to_string()))?;
    // Trouble with the log files is no reason not to test.
    let (mut logs, _) = Logs::start(&config.logging).map_err(|error| Trouble::Bug(error.to_string()))?;
    let mut spool = Spool::open(&config.spool, &agent::routes(&Scheduled::all(&config)))
        .map_err(|error| Trouble::Spool(error.to_string()))?;
    let accepted = spool.next_seq().0 - 1;
    let quota = Quota::new(terms.count.saturating_sub(accepted), terms.until);
    let counters = Arc::new(Counters::default());
    let reporter = Arc::new(Reporter {
        stream: spool.stream().to_string(),
        accepted,
        waiting: spool.waiting(),
        when_full: config.spool.when_full,
        counters: Arc::clone(&counters),
        quota: Arc::clone(&quota),
    });
    // So that whoever listens knows the stream before a message of it arrives.
    reporter.tell(None).map_err(|error| Trouble::Bug(format!("nobody takes reports: {error}")))?;
    let teller = Arc::clone(&reporter);
    // The publisher tells by itself, and at once: what waits in this process would be lost in a kill.
    spool.tell_leaving(Box::new(move |messages| drop(teller.tell(Some(messages)))));
    let (alive, ended) = bounded(0);
    let reports = thread::spawn(move || reporter.run(&ended));
    let sources = sources(&config, &quota, terms.size);
    let housekeeping = |_: Occasion, now: Instant| (logs.tick(now), None);
    let start = Start { config, file: terms.path, sources, spool, counters };
    let outcome = agent::run(start, asked, Manager::default(), housekeeping);
    drop(alive);
    // It may have panicked; the outcome matters more.
    let _ = reports.join();
    match outcome {
        Outcome::Stopped => Ok(()),
        Outcome::GaveUp(reason) => Err(Trouble::Unreachable(reason)),
        Outcome::Refused(reason) => Err(Trouble::Refused(reason)),
        Outcome::Unsaved(error) => Err(Trouble::Spool(error)),
        Outcome::Panicked(thread) => Err(Trouble::Bug(format!("the {thread} thread panicked; please report this"))),
    }
}

fn read() -> Result<Terms, Trouble> {
    let mut text = Vec::new();
    let read = std::io::stdin().take(LONGEST).read_to_end(&mut text);
    let terms = read.map_err(|error| error.to_string());
    let terms = terms.and_then(|_| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    terms.map_err(|why| Trouble::Bug(format!("no terms on standard input: {why}")))
}

/// Ends with the parent, however that ends.
fn die_with(parent: u32) -> Result<(), Trouble> {
    let asked = set_parent_process_death_signal(Some(Signal::KILL));
    asked.map_err(|error| Trouble::Bug(format!("cannot end with the parent: {error}")))?;
    // It may have ended before that.
    let is_there = getppid().map(Pid::as_raw_nonzero).is_some_and(|pid| pid.get().cast_unsigned() == parent);
    if is_there { Ok(()) } else { Err(Trouble::Bug("the parent is gone".to_owned())) }
}

/// The configuration's sources, with the load in the place of what they sample.
fn sources(config: &Config, quota: &Arc<Quota>, size: usize) -> Vec<Scheduled> {
    let load = |scheduled| Scheduled { source: Box::new(Load::new(quota, size)), ..scheduled };
    Scheduled::all(config).into_iter().map(load).collect()
}

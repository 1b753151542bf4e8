//! `packhorse run`: the agent in the foreground.

use super::{Code, Failure};
use crate::agent::{self, Outcome};
use crate::sampler::Scheduled;
use crate::spool::Spool;
use crossbeam_channel::{Receiver, bounded};
use log::info;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs the agent until it is stopped or cannot go on.
///
/// # Errors
/// Why it could not start, or could not go on.
pub fn run(named: Option<&Path>) -> Result<(), Failure> {
    let config = super::load(named)?;
    let _logger = flexi_logger::Logger::try_with_str("debug, paho_mqtt=off").unwrap().log_to_stdout().format(flexi_logger::detailed_format).start().unwrap();
    info!("packhorse {} starting device={}", env!("CARGO_PKG_VERSION"), config.device);
    let stop = stop_signals()?;
    let source = |source| Scheduled::new(source, &config.device, &config.spool.directory);
    let sources: Vec<Scheduled> = config.telemetry.sources.iter().map(source).collect();
    let routes: Vec<_> = sources.iter().map(|source| Arc::clone(&source.route)).collect();
    let spool = Spool::open(&config.spool, &routes)
        .map_err(|error| Failure { code: Code::Spool, message: error.to_string() })?;
    let outcome = agent::run(config, sources, spool, &stop, |now: Instant| now + Duration::from_secs(1));
    match outcome {
        Outcome::Stopped => Ok(()),
        Outcome::GaveUp(reason) => Err(Failure { code: Code::GaveUp, message: format!("gave up: {reason}") }),
        Outcome::Refused(reason) => Err(Failure { code: Code::Refused, message: reason }),
        Outcome::Panicked(thread) => {
            Err(Failure { code: Code::Bug, message: format!("the {thread} thread panicked; please report this") })
        }
    }
}

/// A channel that is told of the first SIGINT, SIGTERM or SIGHUP. The second ends the process at once: what was
/// accepted is on the medium already.
fn stop_signals() -> Result<Receiver<()>, Failure> {
    let (tell, told) = bounded(1);
    let handler = move || {
        if tell.try_send(()).is_err() {
            std::process::exit(0);
        }
    };
    ctrlc::set_handler(handler)
        .map_err(|error| Failure { code: Code::Bug, message: format!("signals cannot be handled: {error}") })?;
    Ok(told)
}

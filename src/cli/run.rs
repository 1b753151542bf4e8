//! `packhorse run`: the agent in the foreground.

use super::edits::{Edits, Text};
use super::signals::Held;
use super::{Code, Failure, Loaded};
use crate::agent::{self, Edit, Occasion, Outcome, Start};
use crate::control::Server;
use crate::logging::Logs;
use crate::sampler::Scheduled;
use crate::spool::Spool;
use crate::systemd::Manager;
use log::{error, info, warn};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Runs the agent until it is stopped or cannot go on.
///
/// # Errors
/// Why it could not start, or could not go on.
pub fn run(named: Option<&Path>, held: Held) -> Result<(), Failure> {
    let Loaded { path, content, host_name, config, warnings } = super::load(named)?;
    let (mut logs, trouble) =
        Logs::start(&config.logging).map_err(|error| Failure { code: Code::Bug, message: error.to_string() })?;
    log_panics();
    info!("packhorse {} starting device={}", env!("CARGO_PKG_VERSION"), config.device);
    if let Some(trouble) = trouble {
        warn!("no log files for now; the log goes to the console: {trouble}");
    }
    super::edits::warn_of(&path, &warnings);
    let (mut server, questions) = Server::new(&config.spool.directory);
    let asked = held.listen(questions)?;
    let sources = Scheduled::all(&config);
    let spool = Spool::open(&config.spool, &agent::routes(&sources))
        .map_err(|error| failure(Code::Spool, error.to_string()))?;
    let mut manager = Manager::from_environment();
    // Not when the broker answers: what waits for us waits for samples to be safe, and a broker may be away for days.
    manager.ready();
    // The spool is ours by now, so whatever has this agent's socket was left by a former one.
    server.look();
    let mut edits = Edits::new(&path, Text { content, host_name }, config.clone(), Instant::now());
    let housekeeping = |occasion, now| {
        if occasion == Occasion::Asked {
            edits.ask(now);
        }
        let edit = edits.look(now);
        if let Some(Edit::Apply(config)) = &edit
            && let Some(trouble) = logs.change(&config.logging)
        {
            warn!("no log files for now; the log goes to the console: {trouble}");
        }
        server.look();
        let next = logs.tick(now);
        (edits.next().min(next), edit)
    };
    let start = Start { config, file: path.clone(), sources, spool, counters: Arc::default() };
    match agent::run(start, &asked, manager, housekeeping) {
        Outcome::Stopped => Ok(()),
        Outcome::GaveUp(reason) => Err(failure(Code::GaveUp, format!("gave up: {reason}"))),
        Outcome::Refused(reason) => Err(failure(Code::Refused, reason)),
        Outcome::Unsaved(error) => Err(failure(Code::Spool, format!("not everything is safe on the disk: {error}"))),
        Outcome::Panicked(thread) => {
            Err(failure(Code::Bug, format!("the {thread} thread panicked; please report this")))
        }
    }
}

/// A failure that the log files keep as well, for who looks there in the morning.
fn failure(code: Code, message: String) -> Failure {
    error!("exiting with code {}: {message}", code as u8);
    Failure { code, message }
}

/// Puts panics into the log files too; standard error may lead nowhere. Unlike the default, it does not wait for whoever reads that.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let text = format!("thread '{}' {panic}", thread.name().unwrap_or("unnamed"));
        error!("{text}");
        super::complain_in_passing(&text);
        // Where RUST_BACKTRACE asks for it.
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            super::complain_in_passing(&backtrace.to_string());
        }
    }));
}

//! The log: which records go to which file and to the console.
//!
//! flexi_logger filters by target and level; one writer behind it hands each record to the outputs that it belongs
//! in. The files rotate by themselves when they are large, and by [`Logs::tick`] when they are old: no thread is
//! started for that.
//!
//! With `logging.paho: off` the MQTT library's records go nowhere, and its C part writes no trace: what matters to a
//! user, the publisher reports in its own words.

mod console;
mod file;
mod line;
mod names;

use crate::config::Logging;
use crate::outlet;
use console::Console;
use file::RotatingFile;
use flexi_logger::writers::LogWriter;
use flexi_logger::{DeferredNow, FlexiLoggerError, LogSpecification, Logger, LoggerHandle};
use log::{LevelFilter, Record, warn};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The target of packhorse's own records, and the beginning of its modules'.
const OWN: &str = "packhorse";
/// The beginning of the MQTT library's targets: `paho_mqtt` and the C library's `paho_mqtt_c`.
const LIBRARY: &str = "paho_mqtt";
/// How often the files are looked after when none is due: a folder that disappears comes back within this time.
const CHECK: Duration = Duration::from_secs(5);

/// The log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("log folder {directory}: {source}")]
    Folder { directory: String, source: io::Error },
    #[error("the log cannot be started: {0}")]
    Logger(#[from] FlexiLoggerError),
}

/// The running log. Dropping it waits a short while for what the console has not taken.
pub struct Logs {
    config: Logging,
    outputs: Shared,
    logger: LoggerHandle,
    /// What was told of troubles with the files, and is not over.
    told: Vec<String>,
}

impl Logs {
    /// Starts logging to files and console. Where the files cannot be written, the log goes to the console until they
    /// can: that is no reason for telemetry to stop, so the second value tells what is wrong with them.
    ///
    /// # Errors
    /// [`Error::Logger`] when this process logs already.
    pub fn start(config: &Logging) -> Result<(Logs, Option<Error>), Error> {
        let (outputs, trouble) = outputs(config);
        let outputs = Arc::new(Mutex::new(Arc::new(outputs)));
        let logger = Logger::with(specification(config))
            .log_to_writer(Box::new(Writer(Arc::clone(&outputs))))
            .error_channel(flexi_logger::ErrorChannel::DevNull)
            .start()?;
        Ok((Logs { config: config.clone(), outputs, logger, told: Vec::new() }, trouble))
    }

    /// Goes on by another configuration; what is wrong with its files.
    ///
    /// The C library begins its trace with the process or never: there `paho` does not bring it later.
    pub fn change(&mut self, config: &Logging) -> Option<Error> {
        if *config == self.config {
            return None;
        }
        self.config = config.clone();
        let (outputs, trouble) = outputs(config);
        *lock(&self.outputs) = Arc::new(outputs);
        self.logger.set_new_spec(specification(config));
        trouble
    }

    /// Rotates what is due and prunes what is too much; when to call it next. Trouble with the files is logged once until it
    /// is over.
    pub fn tick(&mut self, now: Instant) -> Instant {
        let outputs = Arc::clone(&lock(&self.outputs));
        let (mut next, mut troubles, mut was_taken_away) = (now + CHECK, Vec::new(), false);
        for output in &outputs.files {
            let mut file = lock(&output.file);
            next = next.min(file.tick(now));
            was_taken_away |= file.take_taken_away();
            troubles.extend_from_slice(file.troubles());
        }
        troubles.sort();
        troubles.dedup();
        // No file is locked any more: these lines go there, too.
        let folder = self.config.directory.display();
        if was_taken_away {
            warn!("log files were taken away under the running agent; begun anew folder={folder}");
        }
        for trouble in troubles.iter().filter(|trouble| !self.told.contains(trouble)) {
            warn!("log files: {trouble}; lines are written all the same where there is a file folder={folder}");
        }
        self.told = troubles;
        next
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        outlet::output().flush();
    }
}

/// Which targets are logged at all, and up to which level. What no output wants is refused before it is formatted.
fn specification(config: &Logging) -> LogSpecification {
    let file = |wanted, level| if wanted { level } else { LevelFilter::Off };
    let shared = file(config.debug, LevelFilter::Debug).max(file(config.info, LevelFilter::Info)).max(config.console);
    LogSpecification::builder()
        .default(shared.min(LevelFilter::Warn))
        .module(OWN, shared.max(config.sample))
        .module(LIBRARY, config.paho)
        .build()
}

/// A kind of log file, and what belongs in it.
struct FileOutput {
    belongs: fn(&str) -> bool,
    level: LevelFilter,
    file: Mutex<RotatingFile>,
}

struct Outputs {
    files: Vec<FileOutput>,
    console: Console,
    console_level: LevelFilter,
}

/// The present outputs: another configuration puts others in their place.
type Shared = Arc<Mutex<Arc<Outputs>>>;

/// The outputs that the configuration asks for, and what kept the first of their files from beginning.
fn outputs(config: &Logging) -> (Outputs, Option<Error>) {
    let (files, trouble) = files(config);
    let directory = config.directory.display().to_string();
    let trouble = trouble.map(|source| Error::Folder { directory, source });
    (Outputs { files, console: Console::new(), console_level: config.console }, trouble)
}

/// The files that the configuration asks for, and what kept the first of them from beginning.
fn files(config: &Logging) -> (Vec<FileOutput>, Option<io::Error>) {
    let (mut files, mut trouble) = (Vec::new(), None);
    let mut begin = |kind, level, belongs: fn(&str) -> bool| {
        let (file, error) = RotatingFile::begin(kind, config);
        files.push(FileOutput { belongs, level, file: Mutex::new(file) });
        if trouble.is_none() {
            trouble = error;
        }
    };
    if config.debug {
        begin("debug.log", LevelFilter::Debug, |_| true);
    }
    if config.info {
        begin("info.log", LevelFilter::Info, |_| true);
    }
    if config.sample != LevelFilter::Off {
        begin("sample.log", config.sample, |target| target.split("::").next() == Some(OWN));
    }
    if config.paho != LevelFilter::Off {
        begin("paho.log", config.paho, |target| target.starts_with(LIBRARY));
    }
    (files, trouble)
}

/// What flexi_logger writes to.
struct Writer(Shared);

impl LogWriter for Writer {
    fn write(&self, now: &mut DeferredNow, record: &Record<'_>) -> io::Result<()> {
        let outputs = Arc::clone(&lock(&self.0));
        let Outputs { files, console, console_level } = &*outputs;
        let line = line::render(*now.now(), record);
        for output in files.iter().filter(|output| record.level() <= output.level && (output.belongs)(record.target()))
        {
            lock(&output.file).write(&line);
        }
        if record.level() <= *console_level {
            console.put(record, line);
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        // Every line is handed to the system when it is written to a file, and the console holds nobody up.
        Ok(())
    }
}

/// A thread that panicked while it logged leaves nothing behind that the next one could not use.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What the agent under test is to do: the user's configuration, but for what would touch the user's own agent.

use crate::config::{self, AtMax, Config, Detour, Logging, OnRefusal, Problems, Retry, Source, SourceKind, Status};
use crate::message::{Format, Qos};
use log::LevelFilter;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No delay between two attempts is longer: who tests does not wait hours for a broker that is back.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// Samples of one source in a second: the sampler takes them one after the other, at ticks of their own.
pub const SOURCE_RATE: f64 = 500.0;
/// The largest log file. There are as many as a long test may need to be understood.
const LOG_FILE: u64 = 4 * 1024 * 1024;
const LOG_FILES: usize = 8;

/// What the agent under test is told over its standard input. Nothing of it is written to a file, for the configuration
/// may have a secret in the query of an address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Terms {
    /// The process that it must not outlive.
    pub parent: u32,
    /// Where the configuration comes from, and what is in it.
    pub path: PathBuf,
    pub content: String,
    /// For spool and log.
    pub folder: PathBuf,
    pub topic: String,
    pub client_id: String,
    pub qos: u8,
    /// Messages in a second.
    pub rate: f64,
    /// Bytes of a payload at least.
    pub size: usize,
    /// Messages to be accepted in all.
    pub count: u64,
    /// By the monotonic clock, in microseconds: nothing is sampled from then on.
    pub until: Option<u64>,
    /// Host, port, and the relay that leads there.
    pub detours: Vec<(String, u16, SocketAddr)>,
}

impl Terms {
    /// The configuration of the agent under test.
    ///
    /// # Errors
    /// What is wrong with the user's.
    pub fn config(&self) -> Result<Config, Problems> {
        let config = config::inspect_bytes(self.content.as_bytes(), &self.path).outcome?;
        let detour = |(host, port, through): &(String, u16, SocketAddr)| Detour {
            host: host.clone(),
            port: *port,
            through: *through,
        };
        let detours = self.detours.iter().map(detour).collect();
        let broker = config::Broker { client_id: self.client_id.clone(), detours, ..config.broker };
        let qos = Qos::try_from(self.qos).unwrap_or(Qos::AtLeastOnce);
        let telemetry = config::Telemetry { qos, sources: self.sources(qos), ..config.telemetry };
        let retry = Retry {
            initial_delay: config.retry.initial_delay.min(LONGEST_DELAY),
            max_delay: config.retry.max_delay.min(LONGEST_DELAY),
            at_max: AtMax::Hold,
            on_refusal: OnRefusal::Exit,
            ..config.retry
        };
        let spool = config::Spool { directory: spool(&self.folder), ..config.spool };
        let status = Status { topic: None, ..config.status };
        let logging = logging(&self.folder, config.logging);
        Ok(Config { broker, retry, telemetry, spool, status, logging, ..config })
    }

    /// As many sources as the rate needs.
    fn sources(&self, qos: Qos) -> Vec<Source> {
        let count = (self.rate / SOURCE_RATE).ceil().max(1.0);
        let interval = Duration::from_secs_f64(count / self.rate);
        let source = |number: u32| Source {
            name: format!("verify-{number}"),
            kind: SourceKind::Simulated { seed: None },
            interval,
            timeout: Duration::from_secs(10),
            topic: self.topic.clone(),
            qos,
            retain: false,
            format: Format::Json,
            expiry: None,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the command line bounds the rate")]
        (1..=count as u32).map(source).collect()
    }
}

/// The spool of the agent under test.
#[must_use]
pub fn spool(folder: &Path) -> PathBuf {
    folder.join("spool")
}

/// Its standard output is for reports, and standard error for its last words.
fn logging(folder: &Path, logging: Logging) -> Logging {
    Logging {
        directory: folder.join("log"),
        keep_files: LOG_FILES,
        max_file_size: LOG_FILE,
        debug: false,
        info: true,
        sample: LevelFilter::Off,
        paho: LevelFilter::Off,
        console: LevelFilter::Off,
        ..logging
    }
}

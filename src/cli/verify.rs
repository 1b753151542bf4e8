//! `packhorse verify`: a load test of the whole path to the configured broker.

use super::signals::Held;
use super::{Code, Failure, Loaded};
use crate::message::Qos;
use crate::verify::{self, Judgement, Settings, Tested, Trouble, Wanted};
use bytesize::ByteSize;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Messages of a test that does not say.
const COUNT: u64 = 1000;
/// Messages of a test at most: what arrived is noted with a byte for each.
const COUNT_MAX: u64 = 100_000_000;
const RATE_MAX: f64 = 10_000.0;
/// The largest payload, in bytes.
const SIZE_MAX: u64 = 64 * 1024;
/// The longest prefix of a topic, in bytes.
const TOPIC_MAX: usize = 200;
/// No time is longer.
const TIME_MAX: Duration = Duration::from_secs(366 * 86_400);

/// What a test may be told.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Messages to be accepted [default: 1000, or as many as fit into --for]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    count: Option<u64>,

    /// Messages in a second
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = rate)]
    rate: f64,

    /// Quality of service, 1 or 2 [default: telemetry.qos]
    #[arg(long, value_name = "QOS", value_parser = clap::value_parser!(u8).range(1..=2))]
    qos: Option<u8>,

    /// About how large a payload is at least
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    size: usize,

    /// How long messages are made at most
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,

    /// Harms the connection this often: cuts it, holds it up, swallows what passes, by turns
    #[arg(long, value_name = "TIME", value_parser = time)]
    cut_every: Option<Duration>,

    /// Kills the agent under test this often, with SIGKILL
    #[arg(long, value_name = "TIME", value_parser = time)]
    kill_every: Option<Duration>,

    /// Keeps the broker out of the agent's reach for so long, once a third of the messages is made
    #[arg(long, value_name = "TIME", value_parser = time)]
    outage: Option<Duration>,

    /// Gives up when nothing has moved for so long
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time)]
    patience: Duration,

    /// Where the test has its topic, a level below; the broker has to allow reading and writing there
    #[arg(long, value_name = "TOPIC", default_value = "packhorse/verify", value_parser = topic)]
    topic: String,

    /// Where the test has its folder, for spool and log [default: the system's for temporary files]
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,

    /// What the test starts: the agent under test
    #[arg(long, hide = true)]
    agent: bool,
}

/// Runs a test, or the agent of one.
///
/// # Errors
/// Something was lost, or came twice at QoS 2; or why there is no verdict.
pub fn run(config: Option<&Path>, arguments: &Arguments, held: Held) -> Result<(), Failure> {
    let asked = held.listen(crossbeam_channel::never())?;
    if arguments.agent {
        return verify::run_agent(&asked).map_err(|trouble| failure(&trouble));
    }
    let settings = settings(super::load(config)?, arguments)?;
    let Tested { verdict, kept } = verify::run(&settings, &asked).map_err(|trouble| failure(&trouble))?;
    super::print(&verdict.to_string())?;
    if let Some(folder) = kept {
        super::print(&format!("spool and log of the agent under test: {}\n", folder.display()))?;
    }
    match verdict.judgement() {
        Judgement::Good => Ok(()),
        Judgement::Bad => Err(Failure { code: Code::Failed, message: "the test has failed".to_owned() }),
        Judgement::Open => Err(Failure { code: Code::GaveUp, message: "the test has come to no end".to_owned() }),
    }
}

fn settings(loaded: Loaded, arguments: &Arguments) -> Result<Settings, Failure> {
    let Loaded { path, content, config, .. } = loaded;
    let content = String::from_utf8(content)
        .map_err(|_| Failure { code: Code::Config, message: "the configuration is no UTF-8 text".to_owned() })?;
    let configured = if config.telemetry.qos == Qos::ExactlyOnce { Qos::ExactlyOnce } else { Qos::AtLeastOnce };
    Ok(Settings {
        path,
        content,
        count: arguments.count.unwrap_or_else(|| arguments.time.map_or(COUNT, |time| fitting(time, arguments.rate))),
        rate: arguments.rate,
        time: arguments.time,
        qos: arguments.qos.and_then(|qos| Qos::try_from(qos).ok()).unwrap_or(configured),
        size: arguments.size,
        topic: arguments.topic.clone(),
        directory: arguments.directory.clone().unwrap_or_else(std::env::temp_dir),
        patience: arguments.patience,
        faults: Wanted { cut_every: arguments.cut_every, kill_every: arguments.kill_every, outage: arguments.outage },
        config,
    })
}

/// How many messages fit into a time.
fn fitting(time: Duration, rate: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, and is bounded")]
    let messages = (time.as_secs_f64() * rate).ceil() as u64;
    messages.clamp(1, COUNT_MAX)
}

fn failure(trouble: &Trouble) -> Failure {
    let code = match trouble {
        Trouble::Usage(_) => Code::Usage,
        Trouble::Config(_) => Code::Config,
        Trouble::Unreachable(_) => Code::GaveUp,
        Trouble::Refused(_) => Code::Refused,
        Trouble::Spool(_) => Code::Spool,
        Trouble::Bug(_) => Code::Bug,
    };
    Failure { code, message: trouble.to_string() }
}

fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; allowed is a time such as `10s`"))?;
    let is_allowed = (Duration::from_millis(100)..=TIME_MAX).contains(&time);
    if is_allowed { Ok(time) } else { Err("allowed: 100ms to 366d".to_owned()) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok().filter(|rate| (0.01..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| format!("allowed: a number from 0.01 to {RATE_MAX}"))
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().map(|ByteSize(bytes)| bytes).filter(|bytes| *bytes <= SIZE_MAX);
    let size = size.and_then(|bytes| usize::try_from(bytes).ok());
    size.ok_or_else(|| format!("allowed: a size up to {SIZE_MAX} bytes, such as `1KiB`"))
}

fn topic(text: &str) -> Result<String, String> {
    let is_plain = !text.contains(['#', '+', '\0']) && !text.starts_with('$') && text.trim_end_matches('/') == text;
    if is_plain && (1..=TOPIC_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "allowed: a topic of 1 to {TOPIC_MAX} bytes without `#` and `+`, that neither begins with `$` nor ends in `/`"
    ))
}

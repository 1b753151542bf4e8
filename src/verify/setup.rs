//! What a test needs before it begins: a folder, a second connection that is passed what it subscribes to, a relay.

use super::faults::Wanted;
use super::folder::Folder;
use super::load::{self, microseconds};
use super::relay::Relay;
use super::terms::Terms;
use super::test::Test;
use super::trouble::Trouble;
use super::verdict::{Judgement, Verdict};
use crate::agent::Asked;
use crate::config::{self, BrokerProfile, Config, Limits};
use crate::delivery::Lost;
use crate::message::Qos;
use crate::mqtt::{Heard, Subscriber};
use crossbeam_channel::RecvTimeoutError;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a broker may take at least to pass on what it has taken.
const PASSES: Duration = Duration::from_secs(5);
/// What is published to see whether the broker passes on what the topic gets.
pub const PROBE: &[u8] = b"packhorse verify: does this come back?";
/// How long the broker keeps the sessions of the test, where the test cannot end them.
const SESSION: Duration = Duration::from_secs(600);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The user's configuration: where it comes from, what is in it, and what follows from that.
    pub path: PathBuf,
    pub content: String,
    pub config: Config,
    /// Messages to be accepted at most.
    pub count: u64,
    /// Messages in a second.
    pub rate: f64,
    /// How long messages are made at most.
    pub time: Option<Duration>,
    pub qos: Qos,
    /// Bytes of a payload at least.
    pub size: usize,
    /// The topic's beginning. The test has a level of its own below it.
    pub topic: String,
    /// Where the test has its folder.
    pub directory: PathBuf,
    /// How long nothing may move before the test gives up.
    pub patience: Duration,
    pub faults: Wanted,
}

/// What came of a test.
#[derive(Debug)]
pub struct Tested {
    pub verdict: Verdict,
    /// Where spool and log of the agent are, when somebody may want to look into them.
    pub kept: Option<PathBuf>,
}

/// Runs a test.
///
/// # Errors
/// [`Trouble`]: why there is no verdict.
pub fn run(settings: &Settings, asked: &Asked) -> Result<Tested, Trouble> {
    look_at_broker(settings)?;
    let name = format!("{:08x}", fastrand::u32(..));
    let folder = Folder::make(&settings.directory, &format!("packhorse-verify-{name}"))?;
    let topic = format!("{}/{name}", settings.topic);
    let [client_id, judge] = ["agent", "judge"].map(|who| format!("verify-{name}-{who}"));
    let broker = config::Broker { session_expiry: SESSION, ..settings.config.broker.clone() };
    let mut subscriber = Subscriber::start(&broker, &judge, &topic, settings.qos).map_err(trouble)?;
    let relay = settings.faults.harms_the_connection().then(|| Relay::start(targets(&broker)));
    let relay = relay.transpose().map_err(|error| Trouble::Bug(format!("no relay: {error}")))?;
    let terms = Terms {
        parent: std::process::id(),
        path: settings.path.clone(),
        content: settings.content.clone(),
        folder: folder.path().to_owned(),
        topic,
        client_id: client_id.clone(),
        qos: settings.qos as u8,
        rate: settings.rate,
        size: settings.size,
        count: settings.count,
        until: settings.time.map(|time| load::now().saturating_add(microseconds(time))),
        detours: relay.as_ref().map(|relay| relay.detours.clone()).unwrap_or_default(),
    };
    let judged = probe(&subscriber, &terms.topic, broker.connect_timeout)
        .and_then(|()| Test::begin(settings, terms, relay, &mut subscriber))
        .and_then(|mut test| {
            let end = test.run(asked)?;
            test.conclude(end)
        });
    subscriber.end(&[&client_id]);
    let verdict = judged?;
    let is_good = verdict.judgement() == Judgement::Good;
    Ok(Tested { verdict, kept: (!is_good).then(|| folder.keep()) })
}

/// What cannot be tested.
fn look_at_broker(settings: &Settings) -> Result<(), Trouble> {
    let broker = &settings.config.broker;
    if broker.azure_iot_hub.is_some() {
        let why = "Azure IoT Hub hands a device nothing back of what it publishes, so nothing can be verified there";
        return Err(Trouble::Config(why.to_owned()));
    }
    let most = |address| BrokerProfile::of(broker, address).limits(Limits::NONE).qos;
    match broker.addresses.iter().find(|address| most(address) < settings.qos) {
        Some(address) => {
            Err(Trouble::Usage(format!("{address} does not take QoS {}; allowed there: --qos 1", settings.qos as u8)))
        }
        None => Ok(()),
    }
}

/// What is dialed for each address.
fn targets(broker: &config::Broker) -> impl Iterator<Item = (String, u16)> {
    let dialed = broker.addresses.iter().map(|address| broker.dialed(address));
    dialed.map(|(host, port)| (host.to_owned(), port))
}

fn trouble(lost: Lost) -> Trouble {
    match lost {
        Lost::Refused(why) => Trouble::Refused(why),
        Lost::Unusable(why) => Trouble::Config(why),
        other => Trouble::Unreachable(other.to_string()),
    }
}

/// Whether the broker passes on what is published under the topic: an access list may let us subscribe, and keep it from us.
fn probe(subscriber: &Subscriber, topic: &str, patience: Duration) -> Result<(), Trouble> {
    subscriber.publish(PROBE).map_err(trouble)?;
    let deadline = Instant::now() + patience.max(PASSES);
    loop {
        match subscriber.heard().recv_deadline(deadline) {
            Ok(Heard::Message(arrival)) if arrival.payload() == PROBE => return Ok(()),
            Ok(Heard::Message(_)) => {}
            Ok(Heard::Lost) => {
                let why = "the broker ended the second connection over a message of its own";
                return Err(Trouble::Refused(format!("{why}; its access list may forbid `{topic}`")));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err(Trouble::Refused(format!(
                    "the broker took a message for `{topic}` and did not pass it on to its subscriber; its access list has \
                     to allow reading and writing there (`--topic` chooses another place)"
                )));
            }
        }
    }
}

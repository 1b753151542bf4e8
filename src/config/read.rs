//! The schema: every key, its default and its bounds, in the order of the shipped file.
//!
//! Reading goes on after a problem, with the default in place of what was refused, so that one run tells everything
//! that is wrong. A configuration made with such a stand-in is never handed out.
//!
//! Pure but for the text: what the host contributes is an argument.

use super::address::{Address, address};
use super::azure::{self, Hub};
use super::host::Host;
use super::profile::{self, Rules};
use super::proxy;
use super::section::{Findings, NamedFile, Role, Section};
use super::sources::{Inherited, TOPICS_MAX, sources};
use super::value::{self, LONGEST, Reading, Refusal};
use super::{
    AtMax, Broker, Channel, Config, Delivery, Logging, OnRefusal, Problem, Protocol, Retry, Spool, Status, Sync,
};
use super::{Telemetry, WhenFull, tls, tree};
use crate::azure::Device;
use crate::foreign;
use crate::message::{Format, Qos};
use bytesize::ByteSize;
use log::LevelFilter;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// MQTT's keep alive is a 16-bit number of seconds.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(u16::MAX as u64);

/// All that there is to say about a text.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Not to be used when there are problems.
    pub config: Config,
    pub problems: Vec<Problem>,
    /// What could be read of the files and folders that the configuration names.
    pub files: Vec<NamedFile>,
    /// What works, but is probably not meant.
    pub warnings: Vec<Problem>,
    /// Every key that the file may have, dotted, list items as `[]`.
    pub schema: BTreeSet<String>,
}

/// Reads `text`.
///
/// # Errors
///
/// The one problem that makes it no YAML at all.
pub(super) fn read(text: &str, host: &Host) -> Result<Outcome, Problem> {
    let (root, problems) = tree::grow(text)?;
    let refuse = |message: String| Problem { line: Some(root.line), key: String::new(), message };
    match &root.content {
        tree::Content::Mapping(_) => {}
        _ if root.is_nothing() => return Err(tree::empty()),
        _ => return Err(refuse(format!("the file holds {}; allowed are lines of `KEY: VALUE`", root.found()))),
    }
    let mut findings = Findings { problems, ..Findings::default() };
    let config = Section::read(&mut findings, String::new(), 1, Some(&root), |top| config(top, host));
    findings.place_strangers(super::keys);
    let Findings { problems, files, warnings, schema, .. } = findings;
    Ok(Outcome { config, problems, files, warnings, schema })
}

fn config(top: &mut Section<'_>, host: &Host) -> Config {
    let device = device(top, host);
    let (broker, hub) = top.section("broker", |section| broker(section, host, &device));
    let rules = Rules::of(&hub, &broker.addresses);
    // First, for no telemetry may go there.
    let status = top.section("status", |section| status(section, &device, &hub));
    let around = Around { device: &device, hub: &hub, rules, status: status.topic.as_deref() };
    let spool = top.section("spool", spool);
    Config {
        retry: top.section("retry", retry),
        telemetry: top.section("telemetry", |section| telemetry(section, &around)),
        channel: top.section("channel", channel),
        delivery: top.section("delivery", |section| delivery(section, broker.keep_alive)),
        shutdown_timeout: top
            .value("shutdown_timeout", |node| value::duration(node, Duration::ZERO..=LONGEST))
            .unwrap_or(Duration::from_secs(5)),
        logging: top.section("logging", |section| logging(section, &spool.directory)),
        spool,
        status,
        device,
        broker,
    }
}

fn device(top: &mut Section<'_>, host: &Host) -> String {
    let given = top.optional("device", |node| {
        let name = value::text(node)?;
        value::name(&name).map(|()| name)
    });
    if top.has("device") {
        return given.unwrap_or_default();
    }
    let Some(name) = &host.name else {
        top.problem("device", "is not set, and the host has no name to take instead; set it");
        return String::new();
    };
    if let Err(Refusal::Because(why) | Refusal::Allowed(why)) = value::name(name) {
        top.problem("device", format!("is not set, and the host's name cannot stand in: it {why}"));
        return String::new();
    }
    if host.is_unnamed() {
        let message =
            format!("is not set, and the host is named {}, as many are; set it, or name the host", tree::echo(name));
        top.warning("device", message);
    }
    name.clone()
}

fn broker(section: &mut Section<'_>, host: &Host, device: &str) -> (Broker, Hub) {
    let hub = Hub::read(section, host);
    let addresses = addresses(section, &hub);
    let rules = Rules::of(&hub, &addresses);
    let client_id = section.value("client_id", |node| {
        let client_id = value::text(node)?;
        // `{stream}` stays: only the spool knows it.
        let client_id = value::replace(&client_id, &[("device", device), ("stream", "{stream}")])?;
        value::mqtt_text(&client_id).map(|()| client_id)
    });
    let client_id = hub.settle(section, "client_id", client_id, |device| device.id.clone());
    let protocol =
        section.value("protocol", |node| value::choice(node, &[("5", Protocol::V5), ("3.1.1", Protocol::V311)]));
    let protocol = protocol.unwrap_or(rules.protocol());
    let keep_alive = section.value("keep_alive", |node| value::whole_seconds(node, SECOND..=KEEP_ALIVE_MAX));
    let connect_timeout = section.value("connect_timeout", |node| value::duration(node, SECOND..=LONGEST));
    let session_expiry = section.value("session_expiry", |node| value::whole_seconds(node, Duration::ZERO..=LONGEST));
    let username = section.optional("username", |node| {
        // AWS IoT Core takes a token in the user name.
        let username = value::any_text(node)?;
        value::mqtt_text(&username).map(|()| username)
    });
    let username = hub.settle(section, "username", username, Device::username);
    let password_file = credential(section, host, "password_file", Role::PasswordFile);
    if password_file.is_some() && protocol == Protocol::V311 && !section.has("username") && !hub.is_wanted() {
        let message = "needs `broker.username` with protocol 3.1.1, which knows no password without a user name";
        section.problem("password_file", message);
    }
    if password_file.is_some() && protocol == Protocol::V5 && !section.has("username") && !hub.is_wanted() {
        section.warning("password_file", "is given without `broker.username`, and most brokers ignore such a password");
    }
    let proxy = proxy::read(section, host);
    let encrypted = addresses.iter().any(|address| address.scheme.is_tls());
    let tls = section.section("tls", |section| tls::read(section, host, encrypted || addresses.is_empty()));
    let keep_alive = keep_alive.unwrap_or(Duration::from_secs(30));
    let connect_timeout = connect_timeout.unwrap_or(Duration::from_secs(10));
    let (has_password, has_certificate) = (password_file.is_some(), tls.cert_file.is_some());
    rules.check(section, &profile::Beside { addresses: &addresses, protocol, keep_alive, tls: &tls });
    hub.check(section, &azure::Beside { connect_timeout, has_password, has_certificate });
    warn_of_listeners(section, &addresses, has_password || hub.signs(), username.as_deref());
    let broker = Broker {
        addresses,
        client_id: client_id.unwrap_or_else(|| device.to_owned()),
        protocol,
        keep_alive,
        connect_timeout,
        session_expiry: session_expiry.unwrap_or(DAY),
        username,
        password_file,
        proxy,
        tls,
        azure_iot_hub: hub.section().cloned(),
        detours: Vec::new(),
    };
    (broker, hub)
}

/// A secret that goes over the network as it is.
fn warn_of_listeners(section: &mut Section<'_>, addresses: &[Address], has_password: bool, username: Option<&str>) {
    let has_secret = has_password || username.is_some_and(|username| foreign::secret_at(username).is_some());
    let is_open = |address: &&Address| !address.scheme.is_tls() && !address.is_loopback();
    if let Some(open) = addresses.iter().filter(is_open).find(|address| has_secret || address.has_query()) {
        let what = if has_secret { "the password" } else { "what stands behind the `?`" };
        let message = format!(
            "{what} goes unencrypted to {}: whoever listens on the way learns it; `mqtts://` or `wss://` ends that",
            open.host
        );
        section.warning(if section.has("urls") { "urls" } else { "url" }, message);
    }
}

/// The one address, or the list of them. Empty after a problem.
fn addresses(section: &mut Section<'_>, hub: &Hub) -> Vec<Address> {
    let several = section.items("urls", address);
    let one = if section.has("urls") || hub.is_wanted() {
        section.optional("url", address)
    } else {
        section.value("url", address)
    };
    match (section.has("url"), section.has("urls")) {
        (true, true) => section.problem("urls", "is given beside `broker.url`; give one of the two"),
        (false, true) if several.as_ref().is_some_and(Vec::is_empty) => {
            section.problem("urls", "is an empty list; give at least one address");
        }
        (false, false) if hub.is_wanted() => {}
        (false, false) => section.missing("url", "give the broker's address, such as `mqtt://localhost:1883`"),
        _ => {}
    }
    let given = one.map(|one| vec![one]).or(several);
    given.or_else(|| hub.address().map(|address| vec![address])).unwrap_or_default()
}

/// A file that may be one of the service manager's credentials.
pub(super) fn credential(section: &mut Section<'_>, host: &Host, key: &'static str, role: Role) -> Option<PathBuf> {
    let path = section.optional(key, value::path).map(|path| match &host.credentials {
        Some(folder) if !path.as_os_str().as_encoded_bytes().contains(&b'/') => folder.join(path),
        _ => path,
    });
    if let Some(path) = &path {
        section.names(key, role, path);
    }
    path
}

fn retry(section: &mut Section<'_>) -> Retry {
    let initial = section.value("initial_delay", |node| value::duration(node, MILLISECOND..=LONGEST));
    let factor = section.value("factor", |node| value::number(node, |factor| factor >= 1.0, "a number of at least 1"));
    let max = section.value("max_delay", |node| value::duration(node, MILLISECOND..=LONGEST));
    let at_max = section.value("at_max", |node| value::choice(node, &[("exit", AtMax::Exit), ("hold", AtMax::Hold)]));
    let on_refusal = section
        .value("on_refusal", |node| value::choice(node, &[("hold", OnRefusal::Hold), ("exit", OnRefusal::Exit)]));
    let jitter = section
        .value("jitter", |node| value::number(node, |jitter| (0.0..=1.0).contains(&jitter), "a number from 0 to 1"));
    let stable_after = section.optional("stable_after", |node| value::duration(node, MILLISECOND..=LONGEST));
    let initial_delay = initial.unwrap_or(2 * SECOND);
    let max_delay = max.unwrap_or(2 * HOUR);
    if initial_delay > max_delay {
        let key = if initial.is_some() { "initial_delay" } else { "max_delay" };
        let shown = |key, delay| section.written(key).unwrap_or_else(|| humantime::format_duration(delay).to_string());
        let (initial_shown, max_shown) = (shown("initial_delay", initial_delay), shown("max_delay", max_delay));
        let message =
            format!("`initial_delay` ({initial_shown}) is above `max_delay` ({max_shown}); allowed: at most that");
        section.problem(key, message);
    }
    Retry {
        initial_delay,
        factor: factor.unwrap_or(2.0),
        max_delay,
        at_max: at_max.unwrap_or(AtMax::Exit),
        on_refusal: on_refusal.unwrap_or(OnRefusal::Hold),
        jitter: jitter.unwrap_or(0.1),
        stable_after: stable_after.unwrap_or(initial_delay),
    }
}

/// What the keys of other sections say, for telemetry.
struct Around<'a> {
    device: &'a str,
    hub: &'a Hub,
    /// What the broker is known to refuse.
    rules: &'a Rules,
    /// The status message's topic.
    status: Option<&'a str>,
}

fn telemetry(section: &mut Section<'_>, around: &Around<'_>) -> Telemetry {
    let Around { device, hub, rules, status } = *around;
    let interval = section.value("interval", interval).unwrap_or(10 * SECOND);
    let topic = section.value("topic", |node| {
        let topic = value::text(node)?;
        // Checked here with a name that fits, so that a slip is reported once and not for every source.
        let replaced = value::replace(&topic, &[("device", device), ("source", "source")])?;
        value::topic(&replaced, &topic).map(|()| topic)
    });
    let topic = hub.settle(section, "topic", topic, |device| device.topic(&[]));
    let topic = topic.unwrap_or_else(|| "telemetry/{device}/{source}".to_owned());
    let qos = section.value("qos", qos);
    rules.check_qos(section, qos);
    let qos = qos.unwrap_or(Qos::AtLeastOnce);
    let format = section.value("format", format).unwrap_or(Format::Json);
    let room = Cell::new(TOPICS_MAX);
    let inherited = Inherited { device, interval, topic: &topic, qos, format, hub, rules, status, room };
    let sources = sources(section, &inherited);
    Telemetry { interval, topic, qos, format, sources }
}

pub(super) fn interval(node: &tree::Node) -> Reading<Duration> {
    value::duration(node, MILLISECOND..=LONGEST)
}

pub(super) fn qos(node: &tree::Node) -> Reading<Qos> {
    let level = value::integer(node, 0..=2_u8)?;
    Qos::try_from(level).map_err(|_| Refusal::Allowed("0, 1 or 2".to_owned()))
}

pub(super) fn format(node: &tree::Node) -> Reading<Format> {
    value::choice(node, &[("json", Format::Json)])
}

fn channel(section: &mut Section<'_>) -> Channel {
    let capacity = section.value("capacity", |node| value::integer(node, 1..=1_000_000_usize));
    Channel { capacity: capacity.unwrap_or(1024) }
}

fn spool(section: &mut Section<'_>) -> Spool {
    let directory = folder(section, Role::SpoolDirectory, "/var/lib/packhorse/spool");
    let max_size = section.value("max_size", |node| value::size(node, ByteSize::mib(1)));
    let max_age = section.optional("max_age", |node| value::duration(node, MILLISECOND..=LONGEST));
    let when_full = section.value("when_full", |node| {
        value::choice(node, &[("drop_oldest", WhenFull::DropOldest), ("drop_newest", WhenFull::DropNewest)])
    });
    let sync = section.value("sync", |node| {
        value::choice(node, &[("always", Sync::Always)])
            .or_else(|_| value::duration(node, MILLISECOND..=LONGEST).map(Sync::Every))
            .map_err(|_| Refusal::Allowed("`always`, or a duration of at least 1ms such as `10s`".to_owned()))
    });
    Spool {
        directory,
        max_size: max_size.unwrap_or(ByteSize::mib(256).as_u64()),
        max_age,
        when_full: when_full.unwrap_or(WhenFull::DropOldest),
        sync: sync.unwrap_or(Sync::Always),
    }
}

fn folder(section: &mut Section<'_>, role: Role, default: &str) -> PathBuf {
    let given = section.value("directory", value::folder);
    let directory = given.unwrap_or_else(|| PathBuf::from(default));
    section.names("directory", role, &directory);
    directory
}

fn delivery(section: &mut Section<'_>, keep_alive: Duration) -> Delivery {
    let window = section.value("window", |node| value::integer(node, 1..=u16::MAX));
    let ack_timeout = section.optional("ack_timeout", |node| value::duration(node, MILLISECOND..=LONGEST));
    let max_rate = section
        .optional("max_rate", |node| value::number(node, |rate| rate > 0.0, "a number of messages per second above 0"));
    Delivery { window: window.unwrap_or(100), ack_timeout: ack_timeout.unwrap_or(keep_alive * 3 / 2), max_rate }
}

fn logging(section: &mut Section<'_>, spool: &Path) -> Logging {
    let directory = folder(section, Role::LogDirectory, "/var/log/packhorse");
    if spool.starts_with(&directory) {
        let message = "holds the spool as well: whoever clears away old logs there takes unsent messages with them";
        section.warning("directory", message);
    }
    let rotate_every = section.value("rotate_every", |node| value::duration(node, SECOND..=LONGEST));
    let keep_files = section.value("keep_files", |node| value::integer(node, 1..=1_000_000_usize));
    let max_file_size = section.value("max_file_size", |node| value::size(node, ByteSize::kib(4)));
    Logging {
        directory,
        rotate_every: rotate_every.unwrap_or(HOUR),
        keep_files: keep_files.unwrap_or(6),
        max_file_size: max_file_size.unwrap_or(ByteSize::mib(16).as_u64()),
        debug: section.value("debug", value::truth).unwrap_or(true),
        info: section.value("info", value::truth).unwrap_or(false),
        sample: section.value("sample", value::level).unwrap_or(LevelFilter::Off),
        paho: section.value("paho", value::level).unwrap_or(LevelFilter::Off),
        console: section.value("console", value::level).unwrap_or(LevelFilter::Info),
    }
}

fn status(section: &mut Section<'_>, device: &str, hub: &Hub) -> Status {
    // `~` is a value here: it turns the status off.
    let topic = section.value("topic", |node| {
        if node.is_nothing() {
            return Ok(None);
        }
        let written = value::text(node)?;
        let topic = value::replace(&written, &[("device", device)])?;
        value::topic(&topic, &written).map(|()| Some(topic))
    });
    section.warn_of_none("topic");
    hub.has_no(section, "topic", topic.as_ref().is_some_and(Option::is_some), "the hub retains no messages");
    let default = if hub.is_wanted() { None } else { Some(format!("status/{device}")) };
    let interval = section.value("interval", interval);
    section.not_yet("prometheus_textfile");
    Status { topic: topic.unwrap_or(default), interval: interval.unwrap_or(MINUTE) }
}

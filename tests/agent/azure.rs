//! Azure IoT Hub: a scripted broker that admits who shows a valid token, and takes what a hub takes.

use crate::clock::Clockwork;
use crate::support::{
    Agent, Authority, Connect, Gateway, Judgement, Script, Scripted, Settings, TlsFront, log_files, wait_until,
};
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const KEY: &[u8] = b"the key that the hub knows";
const OTHER_KEY: &[u8] = b"a key that comes later";
const NOT_AUTHORIZED: u8 = 5;

/// A token as the hub sees it.
#[derive(Debug, Clone)]
struct Seen {
    /// When it came and when it expires, in seconds since 1970.
    came: f64,
    expires: f64,
    text: String,
}

/// What the hub knows and has seen.
struct Registry {
    keys: Vec<&'static [u8]>,
    seen: Vec<Seen>,
}

/// A hub with one device, `pi-7`, and the folder of that device's secrets.
struct Hub {
    broker: Scripted,
    registry: Arc<Mutex<Registry>>,
    secrets: TempDir,
}

impl Hub {
    fn start() -> Self {
        let registry = Arc::new(Mutex::new(Registry { keys: vec![KEY], seen: Vec::new() }));
        let asked = Arc::clone(&registry);
        let authorize = Box::new(move |connect: &Connect| admit(&mut asked.lock().unwrap(), connect));
        let acknowledge_after = Some(Duration::from_millis(30));
        let broker = Scripted::start(Script { authorize, acknowledge_after, ..Script::default() });
        let hub = Self { broker, registry, secrets: tempfile::tempdir().unwrap() };
        hub.write(&connection_string(KEY));
        hub
    }

    fn file(&self) -> PathBuf {
        self.secrets.path().join("connection-string")
    }

    /// What the device's file holds from now on.
    fn write(&self, connection_string: &str) {
        let new = self.secrets.path().join("new");
        fs::write(&new, connection_string).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    /// A gateway that takes this hub for its own. The address beside the connection string is the tests' only way in.
    fn gateway(&self, lifetime: &str, settings: &Settings) -> Gateway {
        let section = format!("{{connection_string_file: {}, token_lifetime: {lifetime}}}", self.file().display());
        gateway(&self.broker.url(), &section, settings)
    }

    fn seen(&self) -> Vec<Seen> {
        self.registry.lock().unwrap().seen.clone()
    }

    /// Everything that was accepted has arrived, in order, and as a hub wants it, but for what the agent said is left
    /// when it stopped.
    fn assert_delivered(&self, gateway: &Gateway) -> Judgement {
        assert_eq!(self.broker.violations(), Vec::<String>::new());
        let arrivals = self.broker.arrivals();
        for arrival in &arrivals {
            let (stream, seq) = arrival.identity();
            let expected = format!(
                "devices/pi-7/messages/events/%24.mid={stream}-{seq}&%24.ct=application%2Fjson&%24.ce=utf-8\
                 &stream={stream}&seq={seq}"
            );
            assert_eq!((arrival.topic.as_str(), arrival.qos, arrival.retained), (expected.as_str(), 1, false));
        }
        let same_topic = |mut arrival: crate::support::Arrival| {
            arrival.topic.truncate("devices/pi-7/messages/events/".len());
            arrival
        };
        let judgement = Judgement::of(&arrivals.into_iter().map(same_topic).collect::<Vec<_>>());
        assert_eq!(judgement.disorder, Vec::<String>::new());
        let log = log_files(&gateway.logs(), "info.log.").concat();
        let left = log.rsplit_once("stopped backlog=").and_then(|(_, rest)| rest.split_whitespace().next());
        let left: usize = left.expect("the agent says what is left").parse().unwrap();
        let (count, last) = (judgement.seqs.len(), judgement.seqs.last().copied());
        assert_eq!(last, u64::try_from(count).ok(), "a gap");
        assert!(count >= gateway.accepted_count() - left, "{count} arrived, {left} left");
        judgement
    }

    /// As above, and nothing twice.
    fn assert_delivered_once(&self, gateway: &Gateway) {
        self.assert_delivered(gateway).assert_no_duplicates();
    }
}

fn gateway(url: &str, section: &str, settings: &Settings) -> Gateway {
    let gateway = Gateway::new(url, settings);
    gateway.edit("protocol: 5,", &format!("azure_iot_hub: {section},"));
    gateway
}

fn connection_string(key: &[u8]) -> String {
    let key = openssl::base64::encode_block(key);
    format!("HostName=contoso.azure-devices.net;DeviceId=pi-7;SharedAccessKey={key}\n")
}

/// Whether the hub admits a device, by what Microsoft's documentation says of its CONNECT.
fn admit(registry: &mut Registry, connect: &Connect) -> u8 {
    let is_ours = connect.version == 4
        && connect.client_id == "pi-7"
        && connect.username.as_deref() == Some("contoso.azure-devices.net/pi-7/?api-version=2021-04-12")
        && !connect.has_will;
    let seen = connect.password.as_deref().and_then(|token| check(&registry.keys, token));
    registry.seen.extend(seen.clone());
    if is_ours && seen.is_some() { 0 } else { NOT_AUTHORIZED }
}

/// The token, when it is valid now.
fn check(keys: &[&[u8]], token: &str) -> Option<Seen> {
    let (signed, expiry) = token.strip_prefix("SharedAccessSignature sr=")?.split_once("&se=")?;
    let (resource, signature) = signed.split_once("&sig=")?;
    let is_signed = keys.iter().any(|key| {
        let key = PKey::hmac(key).unwrap();
        let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
        signer.update(format!("{resource}\n{expiry}").as_bytes()).unwrap();
        let encoded = openssl::base64::encode_block(&signer.sign_to_vec().unwrap());
        let expected = encoded.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        expected.len() == signature.len() && memcmp::eq(expected.as_bytes(), signature.as_bytes())
    });
    let (came, expires) = (now(), expiry.parse::<u32>().ok()?.into());
    let is_valid = resource == "contoso.azure-devices.net%2Fdevices%2Fpi-7" && is_signed && came < expires;
    is_valid.then(|| Seen { came, expires, text: token.to_owned() })
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn settings() -> Settings {
    Settings { window: 20, more: String::new(), ..Settings::default() }
}

/// Stops the agent; everything it said and wrote.
fn stop(agent: Agent, gateway: &Gateway) -> String {
    let mut everything = agent.output();
    assert_eq!(agent.stop().code(), Some(0));
    everything += &log_files(&gateway.logs(), "").concat();
    everything
}

#[test]
fn tokens_are_renewed_before_they_expire_and_nothing_is_lost_or_repeated() {
    let hub = Hub::start();
    // Some fifty messages are always in flight, and never none by chance.
    hub.broker.change(|script| script.acknowledge_after = Some(Duration::from_millis(250)));
    let gateway = hub.gateway("4s", &Settings { window: 100, ..settings() });

    let agent = gateway.start();
    wait_until("three tokens were renewed", || hub.seen().len() == 4);
    let count = hub.broker.deliveries().len();
    wait_until("messages flow with the fourth", || hub.broker.deliveries().len() > count + 100);
    let log = stop(agent, &gateway);

    hub.assert_delivered_once(&gateway);
    let seen = hub.seen();
    let lives: Vec<_> = seen.iter().map(|token| (token.came - seen[0].came, token.expires - seen[0].came)).collect();
    println!("{} messages, tokens from and to {lives:.1?} s", hub.broker.deliveries().len());
    for token in &seen {
        let left = token.expires - token.came;
        assert!((2.0..5.0).contains(&left), "made for this connection, it lasts 4 to 5 s: {left}");
    }
    for pair in seen.windows(2) {
        assert!(pair[1].came < pair[0].expires, "renewed before it expired: {pair:?}");
        assert_ne!(pair[0].text, pair[1].text);
    }
    assert_eq!(hub.broker.connects().len(), seen.len(), "no other connection");
    let lines = log_files(&gateway.logs(), "info.log.").concat();
    assert_eq!(lines.matches("renewing the SAS token; reconnecting").count(), 3, "{lines}");
    assert!(!log.contains("retrying in") && !log.contains("WARN  packhorse::publisher"), "{lines}");
}

#[test]
fn a_renewal_waits_for_a_silent_hub_no_longer_than_for_any_acknowledgement() {
    let hub = Hub::start();
    let gateway = hub.gateway("4s", &settings());

    let agent = gateway.start();
    wait_until("messages flow", || hub.broker.deliveries().len() > 100);
    // The renewal is due after 3.6 s, and the acknowledgements' patience is 2 s.
    std::thread::sleep(Duration::from_millis(2500));
    hub.broker.change(|script| script.acknowledge_after = None);
    agent.wait_for_output("renewing the SAS token");
    wait_until("it connects again", || hub.seen().len() == 2);
    hub.broker.change(|script| script.acknowledge_after = Some(Duration::ZERO));
    let count = hub.broker.deliveries().len();
    wait_until("messages flow again", || hub.broker.deliveries().len() > count + 100);
    let log = stop(agent, &gateway);

    assert!(log.contains("no acknowledgement for 2s; retrying in 0.0 s"), "{log}");
    let judgement = hub.assert_delivered(&gateway);
    let timeouts = log_files(&gateway.logs(), "debug.log.").concat().matches("no acknowledgement for 2s").count();
    assert!((1..=20 * timeouts).contains(&judgement.duplicates), "a window each time: {}", judgement.duplicates);
}

#[test]
fn an_agent_that_is_stopped_while_it_renews_a_token_stops_in_order() {
    let hub = Hub::start();
    let gateway = hub.gateway("4s", &settings());
    hub.broker.change(|script| script.acknowledge_after = Some(Duration::from_millis(700)));

    let agent = gateway.start();
    agent.wait_for_output("renewing the SAS token");
    stop(agent, &gateway);
    hub.broker.change(|script| script.acknowledge_after = Some(Duration::ZERO));
    let again = gateway.start();
    let count = gateway.accepted_count();
    wait_until("what was left has arrived", || hub.broker.deliveries().len() > count);
    stop(again, &gateway);

    hub.assert_delivered_once(&gateway);
}

#[test]
fn a_new_key_in_the_file_is_used_at_the_next_renewal() {
    let hub = Hub::start();
    let gateway = hub.gateway("4s", &settings());

    let agent = gateway.start();
    wait_until("the first key is used", || !hub.seen().is_empty());
    hub.registry.lock().unwrap().keys = vec![OTHER_KEY];
    hub.write(&connection_string(OTHER_KEY));
    wait_until("the second key is used", || hub.seen().len() == 2);
    let log = stop(agent, &gateway);

    hub.assert_delivered_once(&gateway);
    assert!(!log.contains("retrying in"), "{log}");
}

#[test]
fn a_file_that_goes_or_names_another_device_is_waited_for() {
    let hub = Hub::start();
    let gateway = hub.gateway("4s", &settings());

    let agent = gateway.start();
    wait_until("the first token is used", || !hub.seen().is_empty());
    hub.write(&connection_string(KEY).replace("pi-7", "pi-8"));
    agent.wait_for_output("is of another device now; edit the configuration for that");
    fs::remove_file(hub.file()).unwrap();
    agent.wait_for_output("file for the broker is gone");
    hub.write(&connection_string(KEY));
    wait_until("it connects again", || hub.seen().len() == 2);
    stop(agent, &gateway);

    hub.assert_delivered_once(&gateway);
}

#[test]
fn a_wrong_key_is_77_and_the_message_says_what_to_check() {
    let hub = Hub::start();
    hub.write(&connection_string(OTHER_KEY));
    let gateway = hub.gateway("1h", &settings());
    gateway.edit("at_max: hold", "at_max: hold, on_refusal: exit");
    let Some(clock) = Clockwork::of(gateway) else { return };
    clock.set("+0", "y");

    let agent = clock.start();
    agent.wait_for_output("packhorse: the broker refused");
    let output = agent.output();

    assert_eq!(agent.wait().code(), Some(77));
    assert!(hub.seen().is_empty() && hub.broker.connects().len() == 1);
    let place = hub.file().display().to_string();
    for part in ["Not Authorized", "contoso.azure-devices.net", "`pi-7`", "enabled", &place, "clock", "Z\n"] {
        assert!(output.contains(part), "{part}: {output}");
    }
    assert_nothing_secret(&output);
}

#[test]
fn a_token_from_a_clock_that_nobody_has_set_is_tried_again() {
    let hub = Hub::start();
    let Some(clock) = Clockwork::of(hub.gateway("1h", &settings())) else { return };
    clock.set("-2h", "n");

    let agent = clock.start();
    agent.wait_for_output("nothing has set this machine's clock yet");
    wait_until("it is refused again and again", || hub.broker.connects().len() > 3);
    assert!(hub.seen().is_empty());
    clock.set("+0", "y");
    wait_until("messages flow", || hub.broker.deliveries().len() > 100);
    stop(agent, &clock.gateway);

    hub.assert_delivered_once(&clock.gateway);
}

#[test]
fn the_connection_string_may_come_from_the_environment() {
    let hub = Hub::start();
    let gateway = gateway(&hub.broker.url(), "{}", &settings());

    let agent = gateway.start_with(&[("IOTHUB_DEVICE_CONNECTION_STRING", connection_string(KEY).trim())]);
    wait_until("messages flow", || hub.broker.deliveries().len() > 20);
    stop(agent, &gateway);

    hub.assert_delivered_once(&gateway);
}

#[test]
fn neither_key_nor_token_is_written_anywhere() {
    let hub = Hub::start();
    let more = "logging: {directory: LOGS, paho: trace, console: trace, sample: trace}".to_owned();
    let gateway = hub.gateway("4s", &Settings { more, interval: "100ms", ..settings() });

    let agent = gateway.start();
    wait_until("a token was renewed", || hub.seen().len() == 2);
    let everything = stop(agent, &gateway);

    assert!(everything.contains("Connect options") && everything.contains("TRACE"), "the library's records are there");
    assert_nothing_secret(&everything);
    for token in hub.seen() {
        let (text, signature) = (token.text.as_str(), token.text.split_once("&sig=").unwrap().1);
        assert!(!everything.contains(text) && !everything.contains(signature) && !everything.contains(&numbers(text)));
    }
}

fn assert_nothing_secret(text: &str) {
    for key in [KEY, OTHER_KEY] {
        let (plain, encoded) = (str::from_utf8(key).unwrap(), openssl::base64::encode_block(key));
        for secret in [plain, &encoded, &numbers(plain), &numbers(&encoded)] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
    assert!(!text.contains("sig=") && !text.contains("sig%3D"), "no token at all");
}

/// How a list of its bytes begins.
fn numbers(text: &str) -> String {
    let list = format!("{:?}", &text.as_bytes()[text.len().saturating_sub(20)..]);
    list.trim_matches(['[', ']']).to_owned()
}

#[test]
fn what_was_accepted_for_another_broker_goes_to_the_hub_as_it_takes_it() {
    let hub = Hub::start();
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings { qos: 2, ..settings() });
    gateway.edit("seed: 7", "seed: 7, retain: true");
    let agent = gateway.start();
    wait_until("there is a backlog", || gateway.accepted_count() > 50);
    stop(agent, &gateway);

    gateway.edit("protocol: 5,", &format!("azure_iot_hub: {{connection_string_file: {}}},", hub.file().display()));
    gateway.edit("mqtt://127.0.0.1:1", &hub.broker.url());
    gateway.edit("qos: 2", "qos: 1");
    gateway.edit(", retain: true", "");
    let agent = gateway.start();
    let count = gateway.accepted_count();
    wait_until("the backlog has arrived", || hub.broker.deliveries().len() > count);
    stop(agent, &gateway);

    hub.assert_delivered_once(&gateway);
    assert!(hub.broker.connects().iter().all(|connect| connect.clean), "no session is kept for QoS 1");
}

#[test]
fn over_tls_a_device_with_a_certificate_sends_no_password() {
    let authority = Authority::new();
    let [server, device] = [authority.sign("server", &["localhost"]), authority.sign("pi-7", &[])];
    let broker = Scripted::start(Script::default());
    let front = TlsFront::start(broker.port(), &authority, &server);
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("connection-string");
    fs::write(&file, "HostName=contoso.azure-devices.net;DeviceId=pi-7;x509=true").unwrap();
    let section = format!("{{connection_string_file: {}}}", file.display());
    let gateway = gateway(&format!("mqtts://localhost:{}", front.port()), &section, &settings());
    let (ca, certificate, key) = (authority.file(), device.certificate, device.key);
    let [ca, certificate, key] = [ca, certificate, key].map(|path| path.display().to_string());
    let tls = format!("keep_alive: 5s, tls: {{ca_file: {ca}, cert_file: {certificate}, key_file: {key}}}");
    gateway.edit("keep_alive: 5s", &tls);

    let agent = gateway.start();
    wait_until("messages flow", || broker.deliveries().len() > 100);
    stop(agent, &gateway);

    let [connect] = &broker.connects()[..] else { panic!("one connection") };
    let expected = ("pi-7", Some("contoso.azure-devices.net/pi-7/?api-version=2021-04-12"), None);
    assert_eq!((&connect.client_id[..], connect.username.as_deref(), connect.password.as_deref()), expected);
    assert_eq!(front.certified(), 1);
}

#[test]
fn over_tls_to_a_gateway_of_iot_edge_tokens_are_those_of_the_hub() {
    let authority = Authority::new();
    let server = authority.sign("server", &["localhost"]);
    let hub = Hub::start();
    let front = TlsFront::start(hub.broker.port(), &authority, &server);
    let string = connection_string(KEY);
    hub.write(&format!("{};GatewayHostName=localhost", string.trim()));
    let url = format!("mqtts://localhost:{}", front.port());
    let section = format!("{{connection_string_file: {}, token_lifetime: 4s}}", hub.file().display());
    let gateway = gateway(&url, &section, &settings());
    gateway.edit("keep_alive: 5s", &format!("keep_alive: 5s, tls: {{ca_file: {}}}", authority.file().display()));

    let agent = gateway.start();
    wait_until("a token was renewed", || hub.seen().len() == 2);
    let log = stop(agent, &gateway);

    hub.assert_delivered_once(&gateway);
    assert!(!log.contains("retrying in"), "{log}");
}

//! A broker that sends what no broker should: nothing it sends ends the agent, fills its memory, or makes it lose a message.
//!
//! Best against a binary with AddressSanitizer (`make asan`), which notices what would pass by chance otherwise. What is
//! played comes from a seed: `PACKHORSE_SEED` gives it again, but for what the agent sends meanwhile.

use crate::support::{
    Agent, Arrival, Authority, Certificate, Conduct, Front, Gateway, Judgement, PATIENCE, Script, Scripted, Settings,
    Transport, log_files, scale, seeded,
};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// What a sanitizer ends the process with.
const SANITIZER_EXIT: &str = "99";

/// Files and sockets that an agent may have open; it has 30 to 45.
const OPEN_FILES: usize = 100;

/// How long an agent that could connect may take to do so.
const HANG: Duration = Duration::from_secs(30);

/// One agent and its broker.
struct Lane<'a> {
    name: String,
    front: Front,
    broker: Scripted,
    gateway: Gateway,
    agent: Option<Agent>,
    findings: &'a Mutex<BTreeMap<String, String>>,
}

impl<'a> Lane<'a> {
    fn new(
        (transport, protocol, qos): (Transport, &'static str, u8),
        conduct: Conduct,
        seed: u64,
        (authority, certificate): (&Authority, &Certificate),
        findings: &'a Mutex<BTreeMap<String, String>>,
    ) -> Self {
        let name = format!("{}, MQTT {protocol}, QoS {qos}", transport.scheme());
        // Where one bit is to make a difference, several messages are in flight.
        let (delay, interval) = if conduct == Conduct::Flipping { (15, "3ms") } else { (0, "40ms") };
        let acknowledge_after = Some(Duration::from_millis(delay));
        let broker = Scripted::start(Script { acknowledge_after, ..Script::default() });
        let front = Front::start(transport, broker.port(), authority, certificate, seed);
        let retry = "{initial_delay: 1ms, factor: 1, max_delay: 5ms, at_max: hold, on_refusal: exit, jitter: 0}";
        let settings = Settings { protocol, qos, window: 20, interval, retry, ..Settings::default() };
        let gateway = Gateway::new(&front.url(), &settings);
        if transport.is_encrypted() {
            let tls = format!("keep_alive: 5s, tls: {{ca_file: {}}}", authority.file().display());
            gateway.edit("keep_alive: 5s", &tls);
        }
        Self { name, front, broker, gateway, agent: None, findings }
    }

    fn start(&mut self) {
        let options = format!("exitcode={SANITIZER_EXIT}:detect_leaks=0:quarantine_size_mb=16:handle_abort=1");
        let agent = self.gateway.start_with(&[("ASAN_OPTIONS", &options), ("UBSAN_OPTIONS", "print_stacktrace=1")]);
        self.agent = Some(agent);
    }

    /// Looks after the agent: one that has ended in order, for a broker that refuses it for good, is started again. So is
    /// one that has ended otherwise, which is a finding.
    fn tend(&mut self) {
        for violation in self.front.violations() {
            self.report(violation, String::new());
        }
        let Some(agent) = &mut self.agent else { return self.start() };
        let Some(status) = agent.has_ended() else {
            if self.front.last().elapsed() > HANG {
                let state = agent.threads();
                self.report(format!("no connection for {HANG:?}"), state);
                self.agent = None;
            }
            return;
        };
        let output = agent.output();
        if status.code() != Some(77) {
            let (title, text) = summary(&output);
            self.report(format!("the agent ended with {status}: {title}"), text);
        }
        self.start();
    }

    fn report(&self, title: String, text: String) {
        let transcript = self.front.transcripts();
        let text = format!("{}\n{text}\n{transcript}", self.name);
        let mut findings = self.findings.lock().unwrap();
        findings.entry(title).or_insert_with_key(|title| {
            println!("=== {title}\n{text}");
            text
        });
    }

    /// Plays until the time or the number of connections is up.
    fn play(&mut self, conduct: Conduct, is_over: impl Fn(&Front) -> bool) {
        self.front.conduct(conduct);
        self.start();
        while !is_over(&self.front) {
            self.tend();
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// From now on the broker keeps every rule: what was accepted arrives.
    fn settle(&mut self, qos: u8) {
        self.front.conduct(Conduct::Honest { piece: usize::MAX });
        self.tend();
        let before = self.broker.deliveries().len();
        self.wait("new messages arrive", |lane| {
            lane.tend();
            lane.broker.deliveries().len() > before
        });
        let open = self.agent.as_ref().map_or(0, Agent::open_files);
        if open > OPEN_FILES {
            self.report(format!("{open} files and sockets are open"), String::new());
        }
        self.stop();
        if qos > 0 {
            self.judge();
        }
    }

    /// Waits for what must come about; that it does not is a finding.
    fn wait(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            if Instant::now() > deadline {
                let output = self.agent.as_ref().map(Agent::output).unwrap_or_default();
                let tail: Vec<&str> = output.lines().rev().take(40).collect();
                let text = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
                return self.report(format!("waited in vain: {what}"), text);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self) {
        let Some(agent) = self.agent.take() else { return };
        agent.signal(Signal::TERM);
        self.agent = Some(agent);
        self.wait("the agent ends in order", |lane| lane.agent.as_mut().unwrap().has_ended().is_some());
        let mut agent = self.agent.take().unwrap();
        let status = agent.has_ended();
        if status.is_some_and(|status| status.code() != Some(0)) {
            let (title, text) = summary(&agent.output());
            self.report(format!("at the end: {title}"), text);
        }
    }

    fn judge(&mut self) {
        let accepted: BTreeSet<u64> = self.gateway.accepted().into_iter().flatten().collect();
        let finished = self.front.finished();
        let aside = set_aside(&self.gateway);
        self.start();
        let missing = |arrivals: &[Arrival]| -> Vec<u64> {
            let arrived: BTreeSet<u64> = arrivals.iter().map(|arrival| arrival.identity().1).collect();
            let is_missing = |seq: &&u64| ![&arrived, &finished, &aside].iter().any(|set| set.contains(seq));
            accepted.iter().filter(is_missing).copied().collect()
        };
        let newest = accepted.last().copied().unwrap_or(0);
        self.wait("the rest arrives", |lane| {
            lane.tend();
            let arrivals = lane.broker.arrivals();
            missing(&arrivals).is_empty() || arrivals.iter().any(|arrival| arrival.identity().1 > newest + 100)
        });
        let arrivals = self.broker.arrivals();
        let missing = missing(&arrivals);
        println!(
            "{}: {} connections, {} accepted, {} taken over by the hostile broker, {} set aside",
            self.name,
            self.front.connections(),
            accepted.len(),
            finished.len(),
            aside.len()
        );
        if !missing.is_empty() {
            let trails = missing.iter().map(|seq| format!("{seq}: {:?}\n", self.front.trail(*seq)));
            self.report(format!("messages lost ({})", self.name), trails.collect());
        }
        self.stop();
        Judgement::of(&arrivals);
    }
}

/// What a sanitizer found, in a line and in full.
fn summary(output: &str) -> (String, String) {
    let begin =
        ["==ERROR: AddressSanitizer", "runtime error:", "panicked at"].iter().find_map(|text| output.find(text));
    let text: String = output[begin.unwrap_or(output.len().saturating_sub(2000))..].chars().take(6000).collect();
    let is_ours = |line: &&str| line.trim_start().starts_with('#') && !line.contains("compiler-rt");
    let name = |line: &str| line.split_whitespace().nth(3).unwrap_or_default().to_owned();
    let frames: Vec<String> = text.lines().filter(is_ours).take(3).map(name).collect();
    // Addresses and values differ each time.
    let first: String =
        text.lines().next().unwrap_or_default().chars().filter(|it| !it.is_ascii_digit()).take(100).collect();
    let kind = first.split(" on ").next().unwrap_or_default().split(" address ").next().unwrap_or_default();
    (format!("{} in {}", kind.trim_start_matches("==ERROR: "), frames.join(" < ")), text)
}

/// What was set aside, by seq.
fn set_aside(gateway: &Gateway) -> BTreeSet<u64> {
    let seq = |line: &str| {
        let (_, rest) = line.split_once("message refused; set aside seq=")?;
        rest.split_whitespace().next()?.replace(',', "").parse().ok()
    };
    log_files(&gateway.logs(), "debug.log.")
        .iter()
        .flat_map(|text| text.lines().filter_map(seq).collect::<Vec<_>>())
        .collect()
}

/// Every transport, protocol and QoS at once.
fn play(conduct: Conduct, is_over: impl Fn(&Front) -> bool + Sync) {
    let authority = Authority::new();
    let certificate = authority.sign("broker", &["localhost"]);
    let (mut rng, findings) = (seeded(), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for transport in Transport::ALL {
            for protocol in ["3.1.1", "5"] {
                for qos in if conduct == Conduct::Hostile { 0..=2 } else { 1..=2 } {
                    let (seed, pair, findings, is_over) =
                        (rng.u64(..), (&authority, &certificate), &findings, &is_over);
                    scope.spawn(move || {
                        let mut lane = Lane::new((transport, protocol, qos), conduct, seed, pair, findings);
                        lane.play(conduct, is_over);
                        lane.settle(qos);
                    });
                }
            }
        }
    });
    let findings = findings.into_inner().unwrap();
    assert!(findings.is_empty(), "{:#?}", findings.keys());
}

/// How long the hostile broker plays where nothing says how many connections.
fn seconds() -> Duration {
    let seconds = std::env::var("PACKHORSE_HOSTILE_SECONDS").map_or(5, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

#[test]
fn nothing_that_a_broker_sends_ends_the_agent_or_loses_a_message() {
    let end = Instant::now() + seconds();
    let connections = scale(0, 20_000 / 24);
    play(Conduct::Hostile, |front| Instant::now() >= end && front.connections() >= connections);
}

#[test]
fn a_flipped_bit_of_what_the_broker_sends_loses_no_message() {
    let flips = scale(5, 2_000 / 16);
    play(Conduct::Flipping, |front| front.flips() >= flips);
}

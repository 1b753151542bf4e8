//! `packhorse verify`: it finds nothing where nothing is lost, whatever it does to the connection and the agent, and what is
//! lost or comes twice where it does. It leaves nothing behind.

use crate::support::{Authority, Broker, Gateway, Meddler, Meddling, PATIENCE, Settings, wait_for, wait_until};
use crate::tls::{Encrypted, ca, gateway};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A device, and a folder for what its tests leave behind.
struct Place {
    gateway: Gateway,
    temporary: TempDir,
}

impl Place {
    fn new(url: &str, settings: &Settings) -> Self {
        Self::of(Gateway::new(url, settings))
    }

    fn of(gateway: Gateway) -> Self {
        Self { gateway, temporary: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
        command.arg("--config").arg(self.gateway.config()).arg("verify").args(arguments);
        command.env("TMPDIR", self.temporary.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn verify(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let child = self.command(arguments).spawn().unwrap();
        said(wait(child))
    }

    /// Whether nothing is left of its tests, and nothing was done to the user's own spool.
    fn is_clean(&self) -> bool {
        self.temporary.path().read_dir().unwrap().count() == 0 && !self.gateway.spool().exists()
    }
}

/// Waits for the end of a test, for so long and no longer.
fn wait(mut child: Child) -> Output {
    let deadline = Instant::now() + 2 * PATIENCE;
    // What it prints fits into the pipes.
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    // It may have ended.
    let _ = child.kill();
    child.wait_with_output().unwrap()
}

fn said(output: Output) -> (Option<i32>, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), format!("{}{}", text(output.stderr), text(output.stdout)))
}

/// The processes that another one has started.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The fourth field, behind a name that may have anything in it (proc(5)).
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    })
    .collect()
}

fn is_running(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn where_nothing_is_lost_every_accepted_message_has_arrived() {
    let broker = Broker::start();
    for (protocol, qos) in [("5", "1"), ("5", "2"), ("3.1.1", "1"), ("3.1.1", "2")] {
        let place = Place::new(&broker.url(), &Settings { protocol, ..Settings::default() });

        let (code, said) = place.verify(&["--count", "200", "--rate", "400", "--qos", qos, "--size", "1KiB"]);

        assert_eq!(code, Some(0), "{said}");
        let figures = "accepted 200 = received 200 + waiting 0 + dropped by a rule 0 + lost 0\nlost 0, duplicated 0,";
        assert!(said.contains(figures), "{protocol} at QoS {qos}: {said}");
        assert!(said.contains("latency p50 ") && said.contains("all of 200 accepted messages arrived"), "{said}");
        assert!(place.is_clean());
    }
}

#[test]
fn a_test_may_last_for_a_time_instead() {
    let broker = Broker::start();
    let place = Place::new(&broker.url(), &Settings::default());

    let (code, said) = place.verify(&["--for", "1s", "--rate", "50"]);

    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Nothing was lost"), "{said}");
}

#[test]
fn cuts_kills_and_an_outage_lose_nothing_and_send_nothing_twice_at_qos_2() {
    let broker = Broker::start();
    let place = Place::new(&broker.url(), &Settings::default());

    let faults = ["--cut-every", "500ms", "--kill-every", "700ms", "--outage", "1s"];
    let (code, said) = place.verify(&[&["--count", "800", "--rate", "200", "--qos", "2"][..], &faults].concat());

    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("accepted 800 = received 800 +") && said.contains("duplicated 0,"), "{said}");
    for made in ["the agent is killed", "the connection is cut", "what passes is held back", "outages 1"] {
        assert!(said.contains(made), "{made}: {said}");
    }
    assert!(place.is_clean());
}

#[test]
fn over_tls_the_broker_s_name_is_checked_through_the_relay_as_well() {
    let authority = Authority::new();
    for (name, code) in [("localhost", 0), ("elsewhere.example", 69)] {
        let broker = Encrypted::start(&authority, &authority.sign("broker", &[name]), "");
        let place = Place::of(gateway(&broker.url("mqtts", "localhost"), &ca(&authority), &Settings::default()));

        let (found, said) = place.verify(&["--count", "300", "--rate", "200", "--cut-every", "300ms"]);

        assert_eq!(found, Some(code), "{said}");
        assert_eq!(said.contains("certificate is not for `localhost`"), code != 0, "{said}");
    }
}

#[test]
fn a_broker_that_acknowledges_and_drops_a_message_is_found_out() {
    let broker = Broker::start();
    for qos in ["1", "2"] {
        let meddler = Meddler::start(broker.port(), 17, Meddling::Vanishes);
        let place = Place::new(&meddler.url(), &Settings::default());

        let (code, said) = place.verify(&["--count", "100", "--rate", "200", "--qos", qos]);

        assert_eq!((code, meddler.done()), (Some(1), 1), "{said}");
        assert!(said.contains("accepted 100 = received 99 + waiting 0 + dropped by a rule 0 + lost 1\n"), "{said}");
        assert!(said.contains("LOST: 1 (seq 17) of 100"), "{said}");
        let folder = said.lines().find_map(|line| line.strip_prefix("spool and log of the agent under test: "));
        assert!(Path::new(folder.unwrap()).join("spool").exists(), "{said}");
    }
}

#[test]
fn a_message_that_comes_twice_is_found_out_and_fails_at_qos_2() {
    let broker = Broker::start();
    for (qos, expected) in [("1", 0), ("2", 1)] {
        let meddler = Meddler::start(broker.port(), 17, Meddling::ComesTwice);
        let place = Place::new(&meddler.url(), &Settings::default());

        let (code, said) = place.verify(&["--count", "100", "--rate", "200", "--qos", qos]);

        assert_eq!((code, meddler.done()), (Some(expected), 1), "{said}");
        assert!(said.contains("lost 0, duplicated 1 (seq 17), repeated by the broker 0"), "{said}");
    }
}

#[test]
fn what_the_broker_repeats_is_not_the_agent_s() {
    let broker = Broker::start();
    let meddler = Meddler::start(broker.port(), 17, Meddling::IsRepeated);
    let place = Place::new(&meddler.url(), &Settings::default());

    let (code, said) = place.verify(&["--count", "100", "--rate", "200", "--qos", "1"]);

    assert_eq!((code, meddler.done()), (Some(0), 1), "{said}");
    assert!(said.contains("duplicated 0, repeated by the broker 1"), "{said}");
}

#[test]
fn messages_that_a_rule_drops_are_not_lost() {
    let broker = Broker::start();
    let place = Place::new(&broker.url(), &Settings::default());
    place.gateway.edit("/spool}", "/spool, max_size: 1MiB}");

    let load = ["--count", "3000", "--rate", "2000", "--size", "1KiB"];
    let (code, said) = place.verify(&[&load[..], &["--outage", "3s", "--kill-every", "700ms"]].concat());

    assert_eq!(code, Some(0), "{said}");
    let dropped = said.split("dropped by a rule ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(dropped.parse::<u64>().unwrap() > 0, "{said}");
    assert!(said.contains("lost 0, "), "{said}");
}

#[test]
fn a_broker_that_is_away_is_an_error_that_says_so() {
    let broker = Broker::absent("allow_anonymous true");
    let place = Place::new(&broker.url(), &Settings::default());

    let (code, said) = place.verify(&[]);

    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&format!("cannot reach {}: connection refused", broker.url())), "{said}");
    assert!(place.is_clean());
}

#[test]
fn a_broker_that_does_not_pass_the_topic_on_is_named_with_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::write(&rules, "topic readwrite allowed/#\n").unwrap();
    let broker = Broker::with(&format!("allow_anonymous true\nacl_file {}", rules.display()));
    for protocol in ["5", "3.1.1"] {
        let place = Place::new(&broker.url(), &Settings { protocol, ..Settings::default() });

        let (refused, said) = place.verify(&["--count", "10"]);
        let (allowed, _) = place.verify(&["--count", "10", "--topic", "allowed/here"]);

        assert_eq!((refused, allowed), (Some(77), Some(0)), "{said}");
        assert!(said.contains("`packhorse/verify/"), "{said}");
        assert!(place.is_clean());
    }
}

#[test]
fn a_broker_that_goes_away_for_good_is_no_loss_and_no_success() {
    let mut broker = Broker::start();
    let place = Place::new(&broker.url(), &Settings::default());
    let child = place.command(&["--count", "300", "--rate", "200", "--patience", "3s"]).spawn().unwrap();
    wait_until("the agent runs", || !children(child.id()).is_empty());

    broker.kill();
    let (code, said) = said(wait(child));

    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("accepted 300 = received ") && said.contains("nothing has moved for 3s"), "{said}");
    assert!(said.contains("+ lost 0") && !said.contains("LOST"), "{said}");
}

#[test]
fn ctrl_c_gives_the_verdict_so_far_and_leaves_nothing_behind() {
    let broker = Broker::start();
    let place = Place::new(&broker.url(), &Settings::default());
    let child = place.command(&["--count", "100000", "--rate", "100"]).spawn().unwrap();
    let id = child.id();
    let agents = wait_for("the agent runs", PATIENCE, || Some(children(id)).filter(|agents| !agents.is_empty()));
    wait_until("it has a spool", || spools(place.temporary.path()) > 0);

    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, said) = said(wait(child));

    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("The test was stopped: this holds so far.") && said.contains("+ lost 0\n"), "{said}");
    assert!(!agents.into_iter().any(is_running));
    assert!(place.is_clean());
}

/// Spools that have something in them.
fn spools(folder: &Path) -> usize {
    let tests = folder.read_dir().unwrap().map(|entry| entry.unwrap().path().join("spool/journal"));
    tests.filter(|journal| journal.exists()).count()
}

#[test]
fn a_test_that_is_killed_leaves_no_agent_behind() {
    let broker = Broker::start();
    let place = Place::new(&broker.url(), &Settings::default());
    let mut child = place.command(&["--count", "100000", "--rate", "100"]).spawn().unwrap();
    let id = child.id();
    wait_until("the agent runs", || spools(place.temporary.path()) > 0);
    let agents = children(id);
    assert!(!agents.is_empty());

    child.kill().unwrap();
    child.wait().unwrap();

    wait_until("the agent has ended", || !agents.iter().copied().any(is_running));
}

#[test]
fn what_cannot_be_tested_is_refused() {
    let place = Place::new("mqtt://127.0.0.1:1", &Settings::default());
    for wrong in [
        &["--count", "0"][..],
        &["--rate", "0"],
        &["--rate", "nan"],
        &["--qos", "0"],
        &["--size", "1GiB"],
        &["--for", "soon"],
        &["--cut-every", "0s"],
        &["--topic", "a/#"],
        &["--topic", ""],
    ] {
        let (code, said) = place.verify(wrong);

        assert_eq!(code, Some(64), "{wrong:?}: {said}");
        assert!(said.contains("allowed") || said.contains("is not in"), "{wrong:?}: {said}");
    }
}

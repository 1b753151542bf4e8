//! `packhorse drain`: what it waits for, and how it ends.

use crate::support::{
    ALWAYS, Broker, Delivery, Gateway, PATIENCE, Response, Script, Scripted, Settings, Subscriber, wait_for,
};
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A gateway that would wait for an hour after its second failure.
fn patient(url: &str) -> Gateway {
    let retry = "{initial_delay: 1h, max_delay: 1h, at_max: hold}";
    Gateway::new(url, &Settings { retry, interval: "20ms", ..Settings::default() })
}

fn run(mut command: Command) -> (i32, String, String) {
    told(&command.output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn report(gateway: &Gateway) -> Value {
    serde_json::from_slice(&gateway.command(&["status", "--json"]).output().unwrap().stdout).unwrap()
}

fn wait_for_backlog(gateway: &Gateway, messages: u64) {
    let waits = || report(gateway)["waiting"]["messages"].as_u64() >= Some(messages);
    wait_for("a backlog", PATIENCE, || waits().then_some(()));
}

#[test]
fn it_returns_when_the_broker_has_what_was_accepted_before_it_began() {
    let mut broker = Broker::absent("allow_anonymous true");
    let gateway = patient(&broker.url());
    let agent = gateway.start();
    wait_for_backlog(&gateway, 50);
    broker.run();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let before = gateway.accepted_count();

    // The back-off of an hour is ended by the command itself.
    let (code, out, error) = run(gateway.command(&["drain", "--wait", "--timeout", "1m"]));

    assert!(code == 0 && out.starts_with("drained; ") && error.is_empty(), "{code} {out} {error}");
    let acknowledged = report(&gateway)["counters"]["acknowledged"].as_u64().unwrap() as usize;
    assert!(acknowledged >= before, "{acknowledged} of {before} were acknowledged when it returned");
    subscriber.wait_for_count(before);
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_time_that_passes_is_1_and_says_what_is_left() {
    let broker = Broker::absent("");
    let gateway = patient(&broker.url());
    let agent = gateway.start();
    wait_for_backlog(&gateway, 10);

    let begin = Instant::now();
    let (code, out, error) = run(gateway.command(&["drain", "--wait", "--timeout", "1s"]));

    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(code == 1 && out.is_empty(), "{code} {out}");
    assert!(error.contains("not drained within 1s: ") && error.contains("no connection to"), "{error}");
    let (code, out, _) = run(gateway.command(&["drain"]));
    assert!(code == 0 && out.contains("wait, no connection to"), "without --wait it returns at once: {out}");
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn what_the_broker_will_not_take_is_over_and_makes_it_1() {
    let is_poison = |publish: &Delivery| publish.topic.ends_with("poison");
    let broker = Scripted::start(Script::default().react(is_poison, Response::Answer(0x99), ALWAYS));
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "20ms", ..Settings::default() });
    gateway.add_text_source("poison", "poison", "20ms");
    let agent = gateway.start();
    wait_for("something is set aside", PATIENCE, || (!gateway.rejected().is_empty()).then_some(()));

    let (code, _, error) = run(gateway.command(&["drain", "--wait", "--timeout", "1m"]));

    assert!(code == 1 && error.contains("were dropped, set aside or damaged meanwhile"), "{code} {error}");
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn an_agent_that_ends_meanwhile_is_2() {
    let broker = Broker::absent("");
    let gateway = patient(&broker.url());
    let agent = gateway.start();
    wait_for_backlog(&gateway, 10);
    let mut command = gateway.command(&["drain", "--wait"]);
    let waits = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    agent.wait_for_output("asked not to wait");

    agent.kill();

    let (code, out, error) = told(&waits.wait_with_output().unwrap());
    let says_so = ["it was killed", "the agent ended before"].iter().any(|words| error.contains(words));
    assert!(code == 2 && out.is_empty() && says_so, "{code} {out} {error}");
    let (code, _, _) = run(gateway.command(&["drain", "--wait"]));
    assert_eq!(code, 2);
}

#[test]
fn a_wrong_timeout_is_a_wrong_command_line() {
    let gateway = patient("mqtt://127.0.0.1:1");
    for arguments in [&["drain", "--wait", "--timeout", "soon"][..], &["drain", "--timeout", "1s"]] {
        assert_eq!(run(gateway.command(arguments)).0, 64, "{arguments:?}");
    }
}

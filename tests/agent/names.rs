//! A name server that does not answer: the agent gives the attempt up, and nothing of it comes back later.

use crate::support::{Agent, Gateway, Script, Scripted, Settings, log_files, wait_for, wait_until};
use rustix::process::Signal;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Answers for the broker's name by what the folder holds that the environment names.
const RESOLVER: &str = include_str!("../resolver.c");

/// Attempts take 2 s, and the back-off little.
const PATIENCE: Duration = Duration::from_secs(30);

/// The environment of a process whose name server answers when the folder of the configuration has a file `answer`.
fn environment(gateway: &Gateway) -> [(&'static str, String); 2] {
    let file = |name: &str| gateway.config().with_file_name(name);
    let (source, library) = (file("resolver.c"), file("resolver.so"));
    fs::write(&source, RESOLVER).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(compiled.unwrap().success());
    let folder = gateway.config().parent().unwrap().to_owned();
    [("LD_PRELOAD", library), ("RESOLVER", folder)].map(|(name, path)| (name, path.to_str().unwrap().to_owned()))
}

/// An agent with that environment.
fn start(gateway: &Gateway) -> Agent {
    let environment = environment(gateway);
    let agent = gateway.start_with(&environment.each_ref().map(|(name, path)| (*name, path.as_str())));
    wait_until("the name is looked up", || gateway.config().with_file_name("asked").exists());
    agent
}

#[test]
fn an_attempt_that_was_given_up_does_not_connect_when_the_name_resolves_at_last() {
    let broker = Scripted::start(Script::default());
    let url = broker.url().replace("127.0.0.1", "broker.example");
    let gateway = Gateway::new(&url, &Settings::default());
    let file = |name: &str| gateway.config().with_file_name(name);

    let agent = start(&gateway);
    let debug = || log_files(&gateway.logs(), "debug.log.").concat();
    let reason = "cannot reach mqtt://broker.example:";
    wait_for("further attempts", PATIENCE, || {
        (debug().matches("no name server has answered within 2s").count() >= 3).then_some(())
    });
    assert!(debug().contains(reason), "{}", debug());
    // Meanwhile the samples are accepted, and nobody has asked again.
    let (accepted, asked) = (gateway.accepted_count(), fs::read(file("asked")).unwrap().len());
    fs::write(file("answer"), "").unwrap();
    wait_until("messages flow", || broker.deliveries().len() > 100);
    agent.stop();

    assert!(accepted > 0, "{accepted}");
    assert_eq!((asked, broker.connects().len(), broker.violations()), (1, 1, vec![]));
}

#[test]
fn a_stop_does_not_wait_for_the_name_server() {
    let gateway = Gateway::new("mqtt://broker.example:1883", &Settings::default());
    let agent = start(&gateway);

    agent.signal(Signal::TERM);
    let status = agent.wait_within(Duration::from_secs(2));

    assert_eq!(status.code(), Some(0));
}

#[test]
fn one_answer_is_for_all_brokers_of_a_host() {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let urls = listeners.each_ref().map(|listener| {
        let port = listener.local_addr().unwrap().port();
        format!("mqtt://broker.example:{port}")
    });
    let gateway = Gateway::with_brokers(&urls, &Settings::default());
    let file = |name: &str| gateway.config().with_file_name(name);

    let check = Command::new(env!("CARGO_BIN_EXE_packhorse"))
        .args(["--config", gateway.config().to_str().unwrap(), "check"])
        .envs(environment(&gateway))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the name is looked up", || file("asked").exists());
    fs::write(file("answer"), "").unwrap();
    let checked = check.wait_with_output().unwrap();

    let said = String::from_utf8(checked.stderr).unwrap();
    assert_eq!((checked.status.code(), said.matches("cannot reach").count()), (Some(0), 0), "{said}");
    assert_eq!(fs::read(file("asked")).unwrap().len(), 1);
}

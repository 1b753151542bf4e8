//! A name server that does not answer: the agent gives the attempt up, and nothing of it comes back later.

use crate::support::{Gateway, Script, Scripted, Settings, log_files, wait_for, wait_until};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Answers for the broker's name by what the folder holds that the environment names.
const RESOLVER: &str = include_str!("../resolver.c");

/// How long the agent waits for the library, on top of `connect_timeout` (`GRACE` in the agent), and more.
const GIVEN_UP: Duration = Duration::from_secs(100);

#[test]
fn an_attempt_that_was_given_up_does_not_connect_when_the_name_resolves_at_last() {
    let broker = Scripted::start(Script::default());
    let url = broker.url().replace("127.0.0.1", "broker.example");
    let gateway = Gateway::new(&url, &Settings::default());
    let file = |name: &str| gateway.config().with_file_name(name);
    let (source, library) = (file("resolver.c"), file("resolver.so"));
    fs::write(&source, RESOLVER).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(compiled.unwrap().success());
    let folder = gateway.config().parent().unwrap().to_owned();

    let agent =
        gateway.start_with(&[("LD_PRELOAD", library.to_str().unwrap()), ("RESOLVER", folder.to_str().unwrap())]);
    wait_until("the name is looked up", || file("asked").exists());
    let debug = || log_files(&gateway.logs(), "debug.log.").concat();
    wait_for("further attempts", GIVEN_UP, || {
        (debug().matches("a former attempt still waits for the name server").count() >= 2).then_some(())
    });
    // Meanwhile the samples are accepted, and nobody has asked again.
    let (accepted, asked) = (gateway.accepted_count(), fs::read(file("asked")).unwrap().len());
    fs::write(file("answer"), "").unwrap();
    wait_until("messages flow", || broker.deliveries().len() > 100);
    agent.stop();

    assert!(accepted > 0, "{accepted}");
    assert_eq!((asked, broker.connects().len(), broker.violations()), (1, 1, vec![]));
}

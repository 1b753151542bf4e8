//! `packhorse spool requeue`: what the broker would not take comes back in order, once, whatever happens in between.

use crate::support::{ALWAYS, Agent, Delivery, Gateway, Response, Script, Scripted, Settings, seeded, wait_until};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Quota exceeded is waited out; this is not: payload format invalid (MQTT 5, section 3.4.2.1).
const REFUSED: u8 = 0x99;

fn requeue(gateway: &Gateway, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
    command.args(["spool", "requeue", "--config"]).arg(gateway.config()).args(more);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// What is in `rejected/`, in the order of seq.
fn set_aside(gateway: &Gateway) -> Vec<PathBuf> {
    let mut paths = gateway.rejected();
    paths.sort();
    paths
}

/// A payload without what a new message has of its own.
fn content(mut payload: Value) -> Value {
    let keys = payload.as_object_mut().expect("an object");
    keys.remove("seq");
    keys.remove("stream");
    payload
}

/// A device whose messages of one source are refused, and its agent; so many are set aside.
fn refusing(count: usize) -> (Scripted, Gateway, Agent) {
    let is_poison = |publish: &Delivery| publish.topic.ends_with("poison");
    let broker = Scripted::start(Script::default().react(is_poison, Response::Answer(REFUSED), ALWAYS));
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "20ms", ..Settings::default() });
    gateway.edit("seed: 7}", "seed: 7}, {name: poison, type: simulated}");
    let agent = gateway.start();
    wait_until("messages are set aside", || set_aside(&gateway).len() >= count);
    (broker, gateway, agent)
}

fn contents(gateway: &Gateway) -> Vec<Value> {
    let payload = |path: PathBuf| {
        let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        content(serde_json::from_str(file["payload"].as_str().unwrap()).unwrap())
    };
    set_aside(gateway).into_iter().map(payload).collect()
}

/// All of these arrive, in order and once, when the broker takes them.
fn assert_they_arrive(broker: &Scripted, gateway: &Gateway, expected: &[Value]) {
    broker.change(|script| *script = Script::default());
    let agent = gateway.start();
    let arrived = || -> Vec<Value> {
        let arrivals = broker.arrivals().into_iter().map(|arrival| content(arrival.payload));
        arrivals.filter(|payload| expected.contains(payload)).collect()
    };
    wait_until("what was refused arrives", || arrived().len() >= expected.len());
    assert_eq!(agent.stop().code(), Some(0));
    assert_eq!(arrived(), expected);
}

#[test]
fn what_was_refused_arrives_in_order_and_once_after_a_requeue() {
    let (broker, gateway, agent) = refusing(10);
    let busy = requeue(&gateway, &[]).output().unwrap();
    assert!(busy.status.code() == Some(74) && said(&busy).contains("stop it first"), "{}", said(&busy));
    assert_eq!(agent.stop().code(), Some(0));
    let expected = contents(&gateway);

    let dry = requeue(&gateway, &["--dry-run"]).output().unwrap();
    let listed = said(&dry);
    assert!(listed.contains(&format!("would requeue {} messages, 0 left", expected.len())), "{listed}");
    assert_eq!((listed.lines().count(), set_aside(&gateway).len()), (expected.len() + 1, expected.len()), "{listed}");
    let done = requeue(&gateway, &[]).output().unwrap();

    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert_eq!(said(&done), format!("requeued {} messages, 0 left\n", expected.len()));
    assert!(set_aside(&gateway).is_empty());
    assert_they_arrive(&broker, &gateway, &expected);
}

#[test]
fn a_requeue_that_is_killed_again_and_again_neither_loses_nor_repeats() {
    let (broker, gateway, agent) = refusing(80);
    assert_eq!(agent.stop().code(), Some(0));
    let (expected, mut random) = (contents(&gateway), seeded());

    for _ in 0..20 {
        let mut process = requeue(&gateway, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.u64(0..40)));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let last = requeue(&gateway, &[]).output().unwrap();

    assert!(last.status.success() && set_aside(&gateway).is_empty(), "{}", said(&last));
    assert_they_arrive(&broker, &gateway, &expected);
}

#[test]
fn what_cannot_be_put_back_is_named_and_stays() {
    let (broker, gateway, agent) = refusing(3);
    assert_eq!(agent.stop().code(), Some(0));
    let expected = contents(&gateway);
    let name = |seq: u64| gateway.spool().join(format!("rejected/00000001-{seq:020}.json"));
    std::os::unix::fs::symlink(gateway.config(), name(1)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, name(2), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    fs::File::create(name(3)).unwrap().set_len(1 << 36).unwrap();
    fs::write(name(4), "{\"reason\": \"cut o").unwrap();
    fs::write(name(5), r#"{"reason":"r","topic":"t","qos":1,"payload":"{}"}"#).unwrap();

    let done = requeue(&gateway, &[]).output().unwrap();
    let output = said(&done);

    assert_eq!(done.status.code(), Some(1), "{output}");
    assert!(output.contains(&format!("requeued {} messages, 5 left", expected.len())), "{output}");
    (1..=5).for_each(|seq| assert!(output.contains(&format!("left {}: ", name(seq).display())), "{seq}: {output}"));
    assert!(output.contains("an older version wrote it"), "{output}");
    assert_eq!(set_aside(&gateway).len(), 5);
    assert_they_arrive(&broker, &gateway, &expected);
}

#[test]
fn the_group_without_a_command_shows_its_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_packhorse")).arg("spool").output().unwrap();

    assert_eq!(output.status.code(), Some(0));
    assert!(said(&output).contains("requeue"), "{}", said(&output));
}

#[test]
fn a_spool_that_may_not_be_looked_into_is_74_and_not_empty() {
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings::default());
    fs::create_dir_all(gateway.spool().join("rejected")).unwrap();
    fs::write(gateway.spool().join("rejected/3f9a1c02-7.json"), "{}").unwrap();
    fs::set_permissions(gateway.spool(), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(gateway.config().parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    let is_root = rustix::process::geteuid().is_root();

    for more in [&[][..], &["--dry-run"]] {
        let mut command = requeue(&gateway, more);
        if is_root {
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();

        assert_eq!(output.status.code(), Some(74), "{}", said(&output));
        assert!(said(&output).contains("Permission denied"), "{}", said(&output));
    }
    fs::set_permissions(gateway.spool(), Permissions::from_mode(0o700)).unwrap();
}

//! The exit codes, but 69, which the outages have; the panics have what becomes 70.

use crate::support::{Broker, Gateway, Settings, log_files};
use std::fs;
use std::process::Command;

#[test]
fn a_wrong_command_line_is_64() {
    for arguments in [&["--no-such-flag"][..], &["no-such-command"], &["run", "too-much"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_packhorse")).args(arguments).output().unwrap();

        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {error}");
        assert!(error.contains(arguments.last().unwrap()), "{error}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["run", "--help"],
        &["check", "--help"],
        &["sample", "--help"],
        &["status", "--help"],
        &["retry", "--help"],
        &["drain", "--help"],
        &["man", "--help"],
        &["spool", "--help"],
        &["spool", "requeue", "--help"],
        &["verify", "--help"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_packhorse")).args(arguments).output().unwrap();

        assert_eq!(output.status.code(), Some(0));
        let example = arguments.contains(&"--version") || String::from_utf8_lossy(&output.stdout).contains("Example:");
        assert!(example, "{arguments:?}");
    }
}

#[test]
fn a_spool_that_cannot_be_opened_is_74() {
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings::default());
    fs::write(gateway.spool(), "a file where the folder should be").unwrap();

    let agent = gateway.launch();
    agent.wait_for_output("packhorse: spool");
    let output = agent.output();
    let status = agent.wait();

    assert_eq!(status.code(), Some(74));
    assert!(output.contains(&gateway.spool().display().to_string()), "{output}");
}

#[test]
fn a_second_agent_on_one_spool_is_74_and_says_so() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let first = gateway.start();

    let second = gateway.launch();
    second.wait_for_output("another agent uses this folder");
    let output = second.output();
    let status = second.wait();

    assert_eq!(status.code(), Some(74));
    assert!(output.contains(&gateway.spool().display().to_string()), "{output}");
    assert_eq!(first.stop().code(), Some(0));
}

#[test]
fn who_uses_the_spool_already_is_a_warning_of_check_and_keeps_requeue_out() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
        let output = command.args(arguments).arg("--config").arg(gateway.config()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run(&["spool", "requeue"]).0, Some(0), "nobody uses it yet");
    let agent = gateway.start();
    agent.wait_for_output("connected to");

    for lock in ["there", "deleted"] {
        if lock == "deleted" {
            fs::remove_file(gateway.spool().join("lock")).unwrap();
        }
        let (code, said) = run(&["spool", "requeue"]);
        assert_eq!(code, Some(74), "{lock}: {said}");
        assert!(said.contains("an agent uses this folder; stop it first, then requeue"), "{lock}: {said}");
        let (code, said) = run(&["check"]);
        assert_eq!(code, Some(0), "{lock}: {said}");
        assert!(said.contains("spool.directory: warning: an agent runs with this spool (process "), "{lock}: {said}");
    }

    assert_eq!(agent.stop().code(), Some(0));
    assert!(!run(&["check"]).1.contains("an agent runs with this spool"));
}

fn refused(protocol: &'static str, words: &str) {
    let broker = Broker::with("allow_anonymous false");
    let gateway = Gateway::new(&broker.url(), &Settings { protocol, ..Settings::default() });
    gateway.edit("at_max: hold", "at_max: hold, on_refusal: exit");

    let status = gateway.start().wait();

    assert_eq!(status.code(), Some(77));
    let log = log_files(&gateway.logs(), "info.log.").concat();
    let refusal = format!("exiting with code 77: the broker refused the connection to {}{words}", broker.url());
    assert!(log.contains(&refusal), "{log}");
    assert_eq!(gateway.accepted().first().map(|range| *range.start()), Some(1), "what was sampled is on disk");
}

#[test]
fn refused_credentials_are_77_over_mqtt_5() {
    refused("5", ": Not authorized (0x87); set `broker.username` and `broker.password_file`");
}

#[test]
fn refused_credentials_are_77_over_mqtt_3_1_1() {
    refused("3.1.1", ": Not Authorized; set `broker.username` and `broker.password_file`");
}

#[test]
fn credentials_that_the_broker_knows_are_accepted_and_appear_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (users, password) = (folder.path().join("users"), folder.path().join("password"));
    fs::write(&password, "not-a-real-password\n").unwrap();
    fs::write(&users, "horse:not-a-real-password\n").unwrap();
    let hashed = Command::new("mosquitto_passwd").arg("-U").arg(&users).status();
    assert!(hashed.expect("mosquitto brings mosquitto_passwd").success());
    let broker = Broker::with(&format!("allow_anonymous false\npassword_file {}", users.display()));
    let more = "logging: {directory: LOGS, paho: trace, console: debug}\nstatus: {topic: ~}".to_owned();
    let gateway = Gateway::new(&broker.url(), &Settings { more, ..Settings::default() });
    gateway.edit("keep_alive: 5s", &format!("keep_alive: 5s, username: horse, password_file: {}", password.display()));

    let agent = gateway.start();
    agent.wait_for_output("connected to");
    let output = agent.output();
    agent.stop();

    let everything = output + &log_files(&gateway.logs(), "").concat();
    // The library's own record of its options writes a password as the numbers of its bytes.
    let numbers = format!("{:?}", b"not-a-real-password");
    assert!(everything.contains("Connect options"), "the library's records are there");
    assert!(!everything.contains("not-a-real-password") && !everything.contains(numbers.trim_matches(['[', ']'])));
}

#[test]
fn a_bad_configuration_is_78() {
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings { window: 0, ..Settings::default() });

    let agent = gateway.launch();
    agent.wait_for_output("delivery.window");

    assert_eq!(agent.wait().code(), Some(78));
    assert!(!gateway.spool().exists());
}

#[test]
fn the_code_is_right_though_nobody_can_read_the_error() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for command in ["run", "check"] {
        let mut packhorse = Command::new(env!("CARGO_BIN_EXE_packhorse"));
        let status = packhorse.args(["--config", "/no/such/file", command]).stdout(full()).stderr(full()).status();

        assert_eq!(status.unwrap().code(), Some(78), "{command}");
    }
}

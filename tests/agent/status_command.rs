//! `packhorse status` and `packhorse retry`, against agents in every state.

use crate::support::{
    Agent, Broker, Gateway, PATIENCE, Said, Settings, SmallDisk, ask, is_healthy, json, stays, wait_for,
    wait_for_report, wait_until,
};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The codes of what makes the agent degraded.
fn reasons(report: &Value) -> Vec<&str> {
    report["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect()
}

/// The sockets in a folder.
fn sockets(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    files.filter(|entry| entry.file_type().unwrap().is_socket()).map(|entry| entry.path()).collect()
}

fn stop(agent: Agent) {
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_healthy_agent_is_0_and_tells_all_there_is_to_know_within_80_columns() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "50ms", ..Settings::default() });
    let agent = gateway.start();
    let report = wait_for_report(&gateway, "it is healthy", |report| {
        is_healthy(report) && report["counters"]["acknowledged"].as_u64() > Some(20)
    });

    let said = ask(&gateway, &["status"]);
    assert_eq!((said.code, said.error.as_str()), (0, ""), "{said:?}");
    for words in ["gateway-7: healthy", &broker.url(), "MQTT 5", "accepted", "wind: wind_speed_metres_per_second"] {
        assert!(said.out.contains(words), "{words} in {}", said.out);
    }
    assert!(said.out.lines().all(|line| line.chars().count() <= 80), "{}", said.out);
    let connection = &report["connection"];
    assert_eq!((connection["state"].as_str(), connection["protocol"].as_str()), (Some("connected"), Some("5")));
    // mosquitto takes 20 at a time.
    assert_eq!((connection["address"].as_str(), connection["window"].as_u64()), (Some(&*broker.url()), Some(20)));
    assert_eq!(report["agent"]["process"].as_u64(), Some(agent.id().into()));
    assert_eq!(report["configuration"]["file"].as_str(), gateway.config().to_str());
    assert_eq!(report["spool"]["directory"].as_str(), gateway.spool().to_str());
    let source = &report["sources"][0];
    assert!(source["value"]["wind_speed_metres_per_second"].is_number() && source["state"] == "works", "{source}");
    let into = report["rates"]["in_per_second"]["1min"].as_f64().unwrap();
    assert!((5.0..30.0).contains(&into), "20 a second are sampled: {into}");
    assert!(report["spool"]["disk_free_bytes"].as_u64() > Some(0));
    stop(agent);

    assert_eq!(sockets(gateway.folder()), Vec::<PathBuf>::new(), "it takes its socket with it");
}

#[test]
fn an_agent_that_is_stopped_killed_or_was_never_there_is_2() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let is_not_running = |words: &str| {
        for command in [&["status"][..], &["status", "--json"], &["retry"]] {
            let said = ask(&gateway, command);
            assert!(said.code == 2 && said.error.contains(words), "{command:?}: {said:?}");
        }
        assert_eq!(json(&gateway)["health"], "not_running");
    };
    is_not_running("no agent runs with the spool");

    let agent = gateway.start();
    wait_for_report(&gateway, "it is healthy", is_healthy);
    agent.kill();
    is_not_running("it was killed, and left");

    // The next one takes the place of what is left.
    let agent = gateway.start();
    wait_for_report(&gateway, "the next one is healthy", is_healthy);
    assert_eq!(sockets(gateway.folder()).len(), 1);
    stop(agent);
    is_not_running("no agent runs with the spool");
}

#[test]
fn an_agent_that_hangs_is_2_in_time_and_answers_when_it_goes_on() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    wait_for_report(&gateway, "it is healthy", is_healthy);

    agent.signal(Signal::STOP);
    for command in ["status", "retry"] {
        let said = ask(&gateway, &[command]);
        assert!(said.code == 2 && said.error.contains("does not answer within 5s"), "{said:?}");
    }
    agent.signal(Signal::CONT);

    wait_for_report(&gateway, "it is healthy again", is_healthy);
    stop(agent);
}

#[test]
fn an_outage_is_1_with_its_reason_and_a_retry_ends_the_wait() {
    let mut broker = Broker::absent("allow_anonymous true");
    let retry = "{initial_delay: 1h, max_delay: 1h, at_max: hold}";
    let gateway = Gateway::new(&broker.url(), &Settings { retry, interval: "20ms", ..Settings::default() });
    let agent = gateway.start();
    let report = wait_for_report(&gateway, "it waits for the second attempt", |report| {
        report["connection"]["next_attempt_seconds"].as_f64() > Some(3000.0) && report["waiting"]["messages"] != 0
    });

    assert_eq!(reasons(&report), ["not_connected"]);
    let connection = &report["connection"];
    assert_eq!((connection["state"].as_str(), connection["failures"].as_u64()), (Some("waiting"), Some(2)));
    let text = connection["last_error"]["text"].as_str().unwrap();
    assert!(text.contains("connection refused"), "{text}");
    assert!(report["waiting"]["oldest_age_seconds"].is_number(), "before the first connection: {report}");
    let said = ask(&gateway, &["status"]);
    assert_eq!((said.code, said.error.as_str()), (1, ""));
    for words in ["degraded", "connection refused", "nothing listens there", "next attempt in"] {
        assert!(said.out.contains(words), "{words} in {}", said.out);
    }
    broker.run();
    let said = ask(&gateway, &["retry"]);
    assert!(said.code == 0 && said.out.contains("it would have waited for another 3"), "{said:?}");

    wait_for_report(&gateway, "it is healthy", is_healthy);
    let said = ask(&gateway, &["retry"]);
    assert!(said.code == 0 && said.out.contains("there is no wait to end"), "{said:?}");
    stop(agent);
}

#[test]
fn a_publisher_whose_disk_does_not_answer_is_named_at_once() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    gateway.put_spool_on(&disk, "4MiB");
    let agent = gateway.start();
    wait_for_report(&gateway, "it is healthy", is_healthy);

    let frozen = disk.freeze();
    let report = wait_for_report(&gateway, "the thread is named", |report| reasons(report) == ["thread_silent"]);
    let text = report["reasons"][0]["text"].as_str().unwrap();
    assert!(text.contains("publisher") && report["connection"].is_null(), "{report}");
    assert!(report["sources"][0]["value"].is_object(), "the sampler goes on: {report}");
    drop(frozen);

    wait_for_report(&gateway, "it is healthy again", is_healthy);
    stop(agent);
}

#[test]
fn clients_that_say_nothing_or_read_nothing_hold_up_nobody() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    wait_for_report(&gateway, "it is healthy", is_healthy);
    let socket = sockets(gateway.folder()).remove(0);

    let silent: Vec<UnixStream> = (0..30).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let before = gateway.accepted_count();
    let said = ask(&gateway, &["status"]);
    assert_eq!(said.code, 0, "{said:?}");
    wait_until("it samples and delivers meanwhile", || gateway.accepted_count() > before + 50);

    // Each is let go of.
    for mut client in silent {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(client.read(&mut [0; 16]).unwrap_or(0), 0);
    }
    let mut strange = UnixStream::connect(&socket).unwrap();
    std::io::Write::write_all(&mut strange, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    strange.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("does not know this question"), "{answer}");
    stop(agent);
}

#[test]
fn agents_beside_each_other_are_told_apart_by_their_spools() {
    let broker = Broker::start();
    let [one, two] = [(), ()].map(|()| Gateway::new(&broker.url(), &Settings::default()));
    let folder = one.folder().to_str().unwrap();
    let environment = [("RUNTIME_DIRECTORY", folder)];
    let [first, second] = [&one, &two].map(|gateway| gateway.start_with(&environment));
    let id = |gateway: &Gateway| {
        let output = gateway.command(&["status", "--json"]).env("RUNTIME_DIRECTORY", folder).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["agent"]["process"].as_u64()
    };

    wait_until("each answers for itself", || {
        [id(&one), id(&two)] == [Some(first.id().into()), Some(second.id().into())]
    });
    assert_eq!(sockets(one.folder()).len(), 2);
    stop(first);
    assert_eq!([id(&one), id(&two)], [None, Some(second.id().into())]);
    stop(second);
}

#[test]
fn another_user_may_not_ask_and_is_told_so() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        crate::support::skip("only root can be another user");
        return;
    }
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    fs::set_permissions(gateway.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let agent = gateway.start();
    wait_for_report(&gateway, "it is healthy", is_healthy);

    let mut command = gateway.command(&["status"]);
    let said = Said::from(command.uid(NOBODY).gid(NOBODY).output().unwrap());

    assert!(said.code == 3 && said.error.contains("this user may not ask the agent"), "{said:?}");
    stop(agent);
}

#[test]
fn what_has_the_socket_s_name_is_not_touched_and_stops_nothing() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    let socket = wait_for("there is a socket", PATIENCE, || sockets(gateway.folder()).pop());
    stop(agent);
    let victim = gateway.folder().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &socket).unwrap();

    let agent = gateway.start();
    agent.wait_for_output("`packhorse status` cannot ask this agent");
    agent.wait_for_output("connected to");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(socket.is_symlink());
    fs::remove_file(&socket).unwrap();

    wait_for_report(&gateway, "it can be asked within seconds", is_healthy);
    fs::remove_file(&socket).unwrap();
    wait_for_report(&gateway, "what is deleted is made again", is_healthy);
    stop(agent);
}

#[test]
fn a_socket_s_path_that_is_too_long_is_a_warning() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let long = gateway.folder().join("x".repeat(100));
    fs::create_dir(&long).unwrap();

    let agent = gateway.start_with(&[("RUNTIME_DIRECTORY", long.to_str().unwrap())]);

    agent.wait_for_output("a socket's path may have 107");
    agent.wait_for_output("connected to");
    stop(agent);
}

#[test]
fn an_edit_that_cannot_be_applied_is_1_and_the_agent_is_found_all_the_same() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    wait_for_report(&gateway, "it is healthy", is_healthy);

    gateway.edit("window: 100", "window: many");
    agent.signal(Signal::HUP);
    let report = wait_for_report(&gateway, "it is degraded", |report| reasons(report) == ["configuration"]);
    let problem = report["configuration"]["problem"].as_str().unwrap();
    assert!(problem.contains("delivery.window") && !problem.contains("many"), "{problem}");
    // Now it is not even YAML, and nothing tells where the spool is.
    let text = fs::read_to_string(gateway.config()).unwrap();
    fs::write(gateway.config(), "broker: {\n").unwrap();
    let said = ask(&gateway, &["status"]);
    assert!(said.code == 1 && said.out.contains("gateway-7: degraded"), "the only agent answers: {said:?}");
    fs::write(gateway.config(), text).unwrap();
    gateway.edit("window: many", "window: 10");
    agent.signal(Signal::HUP);

    wait_for_report(&gateway, "it is healthy", |report| is_healthy(report) && report["connection"]["window"] == 10);
    stop(agent);
}

#[test]
fn an_agent_that_stops_says_so_until_it_has() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "20ms", ..Settings::default() });
    gateway.edit("shutdown_timeout: 2s", "shutdown_timeout: 10s");
    gateway.edit("ack_timeout: 2s", "ack_timeout: 50s");
    let agent = gateway.start();
    wait_for_report(&gateway, "it is healthy", is_healthy);
    broker.pause();
    let accepted = gateway.accepted_count();
    wait_until("some more are accepted", || gateway.accepted_count() > accepted + 5);

    agent.signal(Signal::TERM);
    agent.wait_for_output("stopping in_flight");
    let said = ask(&gateway, &["status"]);

    assert!(said.code == 1 && said.out.contains("problem       it was asked to stop"), "{said:?}");
    broker.resume();
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn nobody_wakes_up_and_nothing_is_written_for_the_socket_while_nobody_asks() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "1h", ..Settings::default() });
    let agent = gateway.start();
    wait_for_report(&gateway, "it is healthy", is_healthy);
    let logged = agent.output();

    let wake_ups = agent.wake_ups_in(Duration::from_secs(3));

    let of_ours: Vec<_> = wake_ups.iter().filter(|(thread, _)| thread == "control" || thread == "answer").collect();
    assert_eq!(of_ours, [&("control".to_owned(), 0)], "{wake_ups:?}");
    for _ in 0..5 {
        json(&gateway);
    }
    stays("a question leaves no line in the log", Duration::from_millis(200), || agent.output() == logged);
    stop(agent);
}

#[test]
fn a_secret_in_an_address_or_a_sample_is_not_shown() {
    let gateway = Gateway::new("wss://127.0.0.1:1/mqtt?sig=not-a-real-secret", &Settings::default());
    gateway.add_text_source("note", "password=not-a-real-secret", "100ms");
    let agent = gateway.start();
    wait_for_report(&gateway, "there is an error and a sample", |report| {
        report["connection"]["last_error"].is_object() && !report["sources"][1]["value"].is_null()
    });

    for command in [&["status"][..], &["status", "--json"], &["retry"]] {
        let said = ask(&gateway, command);
        assert!(!format!("{said:?}").contains("not-a-real-secret"), "{said:?}");
    }
    stop(agent);
}

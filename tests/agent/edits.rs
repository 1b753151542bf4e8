//! The configuration file is edited while the agent runs: what is good is applied, what is not is reported, and nothing
//! is lost by either.

use crate::support::{
    Agent, Broker, DeadMount, Gateway, Judgement, Manager, PacketKind, Process, Proxy, Settings, Subscriber, count,
    log_files, scale, seeded, wait_until,
};
use rustix::process::Signal;
use std::fs;
use std::time::Duration;

/// A back-off that a test would notice.
const SLOW: &str = "{initial_delay: 1h, factor: 1, max_delay: 1h, at_max: hold}";

/// Waits until the agent has applied this many edits.
fn wait_for_changes(agent: &Agent, count: usize) {
    wait_until(&format!("{count} edits are applied"), || {
        agent.output().matches("configuration changed").count() >= count
    });
}

/// How often the agent connected; `None` where it lost a connection, as may happen on a busy machine.
fn connects(agent: &Agent) -> Option<usize> {
    let output = agent.output();
    (!output.contains("; retrying ")).then(|| output.matches("connected to ").count())
}

#[test]
fn another_source_and_interval_are_sampled_over_the_same_connection() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    subscriber.wait_for_count(50);

    gateway.edit("seed: 7}]", "seed: 7}, {name: rain, type: simulated, interval: 10ms}]");
    wait_for_changes(&agent, 1);
    subscriber.wait_until("the new source's messages arrive", |arrivals| {
        arrivals.iter().filter(|arrival| arrival.topic.ends_with("/rain")).count() > 50
    });
    gateway.edit("interval: 5ms", "interval: 1h");
    wait_for_changes(&agent, 2);
    let wind = || subscriber.arrivals().iter().filter(|arrival| arrival.topic.ends_with("/wind")).count();
    // A source on another grid begins with a sample.
    let (before, rain) = (wind(), subscriber.arrivals().len() - wind());
    subscriber.wait_until("the other source goes on", |arrivals| arrivals.len() > before + rain + 50);
    let after = wind();

    assert!(after <= before + 100, "{before} messages of the wind, then {after}");
    let connects = connects(&agent);
    assert!(connects.is_none_or(|connects| connects == 1), "{}", agent.output());
    assert_eq!(agent.stop().code(), Some(0));
    let judgement = Judgement::of_the_rest(&gateway, &subscriber);
    assert!(connects.is_none() || judgement.duplicates == 0);
}

/// Edits what needs another connection, over and over, while messages are in flight.
fn edits_amid_messages(qos: u8) {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings { qos, interval: "1ms", ..Settings::default() });
    let agent = gateway.start();
    let mut random = seeded();
    subscriber.wait_for_count(100);

    let (mut window, mut capacity) = (100, 1024);
    gateway.edit("shutdown_timeout", "channel: {capacity: 1024}\nshutdown_timeout");
    for edit in 1..=scale(3, 20) {
        // Never the window that it is.
        let (other, room) = ((window + random.u16(0..99)) % 100 + 1, random.u16(2000..5000));
        gateway.edit(&format!("window: {window}"), &format!("window: {other}"));
        gateway.edit(&format!("capacity: {capacity}"), &format!("capacity: {room}"));
        (window, capacity) = (other, room);
        wait_for_changes(&agent, edit);
        let before = subscriber.arrivals().len();
        subscriber.wait_for_count(before + 200);
    }

    let connects = connects(&agent);
    assert!(connects.is_none_or(|connects| connects == 1 + scale(3, 20)), "{}", agent.output());
    assert_eq!(agent.stop().code(), Some(0));
    let judgement = Judgement::of_the_rest(&gateway, &subscriber);
    assert!(qos == 1 && connects.is_none() || judgement.duplicates == 0, "{} duplicates", judgement.duplicates);
}

#[test]
fn nothing_is_lost_or_twice_over_edits_amid_messages_at_qos_1() {
    edits_amid_messages(1);
}

#[test]
fn nothing_is_lost_or_twice_over_edits_amid_messages_at_qos_2() {
    edits_amid_messages(2);
}

#[test]
fn what_was_in_flight_when_the_link_was_cut_is_gone_on_with_after_an_edit() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let proxy = Proxy::start(broker.port());
    let settings = Settings { qos: 2, interval: "4ms", retry: SLOW, ..Settings::default() };
    let gateway = Gateway::new(&proxy.url(), &settings);
    let agent = gateway.start();
    subscriber.wait_for_count(50);

    proxy.delay(Duration::from_millis(10));
    proxy.refuse();
    proxy.cut_before(PacketKind::Pubrec);
    agent.wait_for_output("retrying ");
    proxy.delay(Duration::ZERO);
    proxy.accept();
    gateway.edit("window: 100", "window: 50");
    wait_for_changes(&agent, 1);
    let waiting = gateway.accepted_count();
    subscriber.wait_for_count(waiting);

    let log = log_files(&gateway.logs(), "debug.log.").concat();
    let resumed = log.split_once("session resumed in_flight=").expect("the session is resumed").1;
    assert!(!resumed.starts_with("0\n"), "some were in flight");
    assert_eq!(agent.stop().code(), Some(0));
    Judgement::of_the_rest(&gateway, &subscriber).assert_no_duplicates();
}

/// What is noted after an edit reaches the medium at its own pace: after a power cut it must not look like an orderly end.
#[test]
fn an_edit_is_no_orderly_end_of_what_is_in_flight() {
    /// In the byte of flags of the file's header (docs/spool-format.md).
    const ENDED_IN_ORDER: u8 = 2;
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings { qos: 2, ..Settings::default() });
    let agent = gateway.start();
    subscriber.wait_for_count(50);
    let flags = || fs::read(gateway.spool().join("exchanges")).unwrap()[28];

    gateway.edit("window: 100", "window: 50");
    wait_for_changes(&agent, 1);
    let after_the_edit = flags();
    // A stop leaves a connection that is being made to itself, and notes nothing.
    wait_until("it is connected again", || agent.output().matches("connected to ").count() >= 2);
    assert_eq!(agent.stop().code(), Some(0));

    assert_eq!(after_the_edit & ENDED_IN_ORDER, 0);
    assert_eq!(flags() & ENDED_IN_ORDER, ENDED_IN_ORDER);
}

#[test]
fn another_quality_of_service_is_kept_from_the_next_message_on() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    subscriber.wait_for_count(50);

    gateway.edit("qos: 1", "qos: 2");
    wait_for_changes(&agent, 1);
    subscriber.wait_until("messages at QoS 2 arrive", |arrivals| {
        arrivals.iter().filter(|arrival| arrival.qos == 2).count() > 100
    });
    agent.kill();

    let judgement = Judgement::of_the_rest(&gateway, &subscriber);
    judgement.assert_no_duplicates();
}

#[test]
fn another_broker_gets_the_backlog_at_once_however_long_the_back_off() {
    let (away, broker) = (Broker::absent(""), Broker::start());
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&away.url(), &Settings { retry: SLOW, qos: 2, ..Settings::default() });
    let agent = gateway.start();
    wait_until("messages wait", || gateway.accepted_count() > 200);

    gateway.edit(&away.url(), &broker.url());
    wait_for_changes(&agent, 1);
    subscriber.wait_for_all(&gateway.accepted());

    assert_eq!(agent.stop().code(), Some(0));
    Judgement::of_the_rest(&gateway, &subscriber).assert_no_duplicates();
}

#[test]
fn an_edit_while_the_agent_connects_is_applied_when_the_attempt_ends() {
    let [silent, broker] = [Broker::start(), Broker::start()];
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    silent.pause();
    let gateway = Gateway::new(&silent.url(), &Settings { interval: "50ms", ..Settings::default() });
    // Longer than it takes to notice the edit.
    gateway.edit("connect_timeout: 2s", "connect_timeout: 12s");
    let agent = gateway.start();

    gateway.edit(&silent.url(), &broker.url());
    wait_for_changes(&agent, 1);
    subscriber.wait_for_all(&gateway.accepted());

    assert_eq!(agent.stop().code(), Some(0));
    Judgement::of_the_rest(&gateway, &subscriber).assert_no_duplicates();
}

#[test]
fn messages_go_from_one_broker_to_another_without_loss_or_repetition() {
    let brokers = [Broker::start(), Broker::start()];
    let subscribers = brokers.each_ref().map(|broker| Subscriber::start(&broker.url(), "telemetry/#"));
    let more = "status: {topic: \"status/{device}\"}".to_owned();
    let gateway = Gateway::new(&brokers[0].url(), &Settings { interval: "1ms", qos: 2, more, ..Settings::default() });
    let agent = gateway.start();
    subscribers[0].wait_for_count(100);

    gateway.edit(&brokers[0].url(), &brokers[1].url());
    subscribers[1].wait_for_count(100);
    let status = brokers.each_ref().map(|broker| retained(broker, "status/gateway-7")["status"].clone());
    assert_eq!(status, ["offline", "online"]);
    assert_eq!(agent.stop().code(), Some(0));

    let accepted = gateway.accepted();
    let agent = gateway.start();
    let arrivals = || subscribers.iter().flat_map(Subscriber::arrivals).collect::<Vec<_>>();
    wait_until("everything arrives", || arrivals().len() >= count(&accepted));
    agent.kill();
    let judgement = Judgement::of(&arrivals());
    judgement.assert_complete(&accepted);
    judgement.assert_no_duplicates();
}

/// The newest message on a topic, as its retained one.
fn retained(broker: &Broker, topic: &'static str) -> serde_json::Value {
    let subscriber = Subscriber::start(&broker.url(), topic);
    subscriber.wait_for_count(1);
    subscriber.arrivals()[0].payload.clone()
}

#[test]
fn a_status_topic_that_is_given_up_says_offline() {
    let broker = Broker::start();
    let more = "status: {topic: status/old}".to_owned();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "100ms", more, ..Settings::default() });
    let agent = gateway.start();
    agent.wait_for_output("connected to");

    gateway.edit("status/old", "status/new");
    wait_for_changes(&agent, 1);
    wait_until("connected again", || agent.output().matches("connected to ").count() >= 2);

    assert_eq!(retained(&broker, "status/old")["status"], "offline");
    assert_eq!(retained(&broker, "status/new")["status"], "online");
}

#[test]
fn a_bad_edit_is_reported_everywhere_and_changes_nothing_until_it_is_mended() {
    let (broker, manager) = (Broker::start(), Manager::start());
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let status = Subscriber::start(&broker.url(), "status/#");
    let more = "status: {topic: status/here}".to_owned();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "50ms", more, ..Settings::default() });
    let agent = gateway.start_with(&[("NOTIFY_SOCKET", &manager.socket())]);
    agent.wait_for_output("connected to");

    gateway.edit("window: 100", "window: 0");
    let complaint = "configuration not applied: line 9, delivery.window; the log says why";
    let (_, said) = manager.wait_for(complaint);
    status.wait_until("the status topic tells", |arrivals| {
        let told = &arrivals.last().unwrap().payload["configuration"]["problem"];
        told == complaint
    });
    let before = subscriber.arrivals().len();
    subscriber.wait_for_count(before + 10);

    assert!(said.starts_with("STATUS=connected to "), "{said}");
    let lines = agent.output().matches("configuration not applied, the former one stays: ").count();
    assert_eq!(lines, 1, "{}", agent.output());
    assert!(!agent.output().contains("configuration changed"));

    gateway.edit("window: 0", "window: 7");
    wait_for_changes(&agent, 1);
    status.wait_until("the status topic tells no more", |arrivals| {
        arrivals.last().unwrap().payload["configuration"]["problem"].is_null()
    });
    agent.wait_for_output("window=7");
    wait_until("the manager hears no more", || !manager.heard().last().unwrap().1.contains("not applied"));
    assert_eq!(agent.stop().code(), Some(0));
    Judgement::of_the_rest(&gateway, &subscriber).assert_no_duplicates();
}

#[test]
fn what_check_finds_in_the_files_keeps_an_edit_from_being_applied_until_they_are_right() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "100ms", ..Settings::default() });
    let agent = gateway.start();
    agent.wait_for_output("connected to");

    let password = gateway.config().with_file_name("password");
    gateway.edit("keep_alive", &format!("username: u, password_file: {}, keep_alive", password.display()));
    agent.wait_for_output("configuration not applied, the former one stays");
    assert!(agent.output().contains("broker.password_file"), "{}", agent.output());
    fs::write(&password, "for this test only\n").unwrap();
    wait_for_changes(&agent, 1);

    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn the_spool_does_not_move_while_the_agent_runs() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "100ms", ..Settings::default() });
    let agent = gateway.start();

    gateway.edit("/spool}", "/elsewhere}");
    agent.wait_for_output("spool.directory: cannot be another folder while messages are in");
    gateway.edit("/elsewhere}", "/spool}");
    agent.wait_for_output("configuration file is as applied again");

    assert!(!agent.output().contains("configuration changed"));
    assert!(!gateway.spool().with_file_name("elsewhere").exists());
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn another_log_folder_is_used_from_the_next_line_on() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "100ms", ..Settings::default() });
    let agent = gateway.start();
    let elsewhere = gateway.config().with_file_name("elsewhere");

    gateway.edit("/log, keep_files: 1000, info: true", "/elsewhere, keep_files: 1000, info: false");
    wait_for_changes(&agent, 1);
    wait_until("lines are there", || {
        elsewhere.is_dir() && log_files(&elsewhere, "debug.log.").concat().contains("accepted ")
    });

    assert!(!elsewhere.join("info.log").exists());
    assert_eq!(agent.stop().code(), Some(0));
}

/// A running agent whose configuration was edited to name a file that hangs. `None` where nothing can be made to.
fn judging(gateway: &Gateway, manager: &Manager) -> Option<(Agent, DeadMount)> {
    let folder = gateway.config().with_file_name("elsewhere");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("password");
    fs::write(&file, "1\n").unwrap();
    let dead = DeadMount::over(&folder)?;
    let agent = gateway.start_with(&[("NOTIFY_SOCKET", &manager.socket()), ("WATCHDOG_USEC", "2000000")]);
    gateway.edit("protocol: 5", &format!("protocol: 5, username: u, password_file: {}", file.display()));
    Some((agent, dead))
}

#[test]
fn an_edit_that_names_a_file_that_hangs_is_reported_and_applied_once_it_answers() {
    let (broker, manager) = (Broker::start(), Manager::start());
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "50ms", ..Settings::default() });
    let Some((agent, dead)) = judging(&gateway, &manager) else { return };

    agent.wait_for_output("password` does not answer: looking at it takes more than 10s");
    let fed = manager.saying("WATCHDOG=1").len();
    assert!(agent.output().contains("configuration not applied"), "{}", agent.output());
    assert!(fed >= 10, "fed {fed} times while the judgement hung");
    drop(dead);

    wait_for_changes(&agent, 1);
    assert_eq!(agent.stop().code(), Some(0));
}

/// The exit code of `packhorse check` and what it says, of a configuration with these edits and a file `DEAD/file` that hangs.
/// `None` where nothing can be made to.
fn checked_beside_a_file_that_hangs(edits: &[(&str, &str)]) -> Option<(Option<i32>, String)> {
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings::default());
    let folder = gateway.config().with_file_name("elsewhere");
    fs::create_dir(&folder).unwrap();
    let _dead = DeadMount::over(&folder)?;
    for (from, to) in edits {
        gateway.edit(from, &to.replace("DEAD", folder.to_str().unwrap()));
    }
    let mut check = Process::command(env!("CARGO_BIN_EXE_packhorse"));
    let checked = check.arg("--config").arg(gateway.config()).arg("check").output().unwrap();
    Some((checked.status.code(), String::from_utf8(checked.stderr).unwrap()))
}

const HANGING_SENSOR: (&str, &str) = ("seed: 7}]", "seed: 7}, {name: cabinet, type: file, path: DEAD/file}]");

#[test]
fn check_names_a_file_that_hangs_beside_other_problems_and_does_not_wait_for_it() {
    let hangs = ("protocol: 5", "protocol: 5, username: u, password_file: DEAD/file");
    let Some((code, said)) = checked_beside_a_file_that_hangs(&[hangs, ("qos: 1", "qos: 3")]) else { return };

    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("elsewhere/file` does not answer: looking at it takes more than 10s"), "{said}");
    assert!(said.contains("telemetry.qos: found `3`"), "{said}");
}

#[test]
fn check_warns_of_a_sensor_that_hangs() {
    let Some((code, said)) = checked_beside_a_file_that_hangs(&[HANGING_SENSOR]) else { return };

    assert_eq!(code, Some(0), "{said}");
    let warning = "path: warning: `";
    assert!(
        said.contains(warning) && said.contains("elsewhere/file` does not answer: looking at it takes more"),
        "{said}"
    );
}

#[test]
fn check_tells_every_problem_beside_a_sensor_that_hangs() {
    let missing = ("protocol: 5", "protocol: 5, username: u, password_file: /no/such/password");
    let edits = [HANGING_SENSOR, missing, ("qos: 1", "qos: 3")];
    let Some((code, said)) = checked_beside_a_file_that_hangs(&edits) else { return };

    assert_eq!(code, Some(78), "{said}");
    for part in ["warning: `", "/no/such/password` cannot be read", "qos: found `3`", " has 2 problems and "] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn a_stop_does_not_wait_for_a_judgement_that_hangs() {
    let (broker, manager) = (Broker::start(), Manager::start());
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "50ms", ..Settings::default() });
    let Some((agent, _dead)) = judging(&gateway, &manager) else { return };
    // Twice the time that the agent takes to notice an edit.
    let begun = std::time::Instant::now();
    wait_until("the edit is judged", || begun.elapsed() > Duration::from_secs(8));

    agent.signal(Signal::TERM);

    manager.wait_for("STOPPING=1");
    assert_eq!(agent.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(16), "stopped after {:?}", begun.elapsed());
}

#[test]
fn a_name_that_the_host_gets_later_becomes_the_device_s_and_nothing_is_lost() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "50ms", ..Settings::default() });
    gateway.edit("device: gateway-7\n", "");
    let Some(agent) = gateway.start_on("localhost") else { return };
    agent.wait_for_output("device: is not set, and the host is named `localhost`");
    subscriber.wait_for_count(10);

    agent.rename_host("gateway-8");
    subscriber.wait_until("telemetry has the new name", |arrivals| {
        arrivals.iter().any(|arrival| arrival.topic == "telemetry/gateway-8/wind")
    });

    assert!(agent.output().contains("the host's name has changed"), "{}", agent.output());
    assert_eq!(agent.stop().code(), Some(0));
    let arrivals = subscriber.arrivals();
    assert!(arrivals.iter().all(|arrival| arrival.payload["device"] == arrival.topic.split('/').nth(1).unwrap()));
    let judgement = Judgement::of(&arrivals);
    judgement.assert_complete(&gateway.accepted());
}

#[test]
fn who_asks_after_the_host_was_renamed_gets_an_answer_where_a_device_is_named() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "50ms", ..Settings::default() });
    let Some(agent) = gateway.start_on("localhost") else { return };
    agent.wait_for_output("connected to");

    agent.rename_host("gateway-8");
    agent.signal(Signal::HUP);
    agent.wait_for_output("configuration file is as applied");

    assert_eq!(agent.stop().code(), Some(0));
}

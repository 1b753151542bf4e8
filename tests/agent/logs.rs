//! The log files, as a user finds them in the morning.

use crate::support::{Broker, Gateway, Settings, Subscriber, log_files, wait_until};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn an_outage_leaves_a_readable_log() {
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let retry = "{initial_delay: 5ms, factor: 1, max_delay: 10ms, at_max: hold}";
    let gateway = Gateway::new(&broker.url(), &Settings { retry, ..Settings::default() });
    let agent = gateway.start();
    subscriber.wait_for_count(1);

    broker.stop();
    let debug = || log_files(&gateway.logs(), "debug.log.").concat();
    wait_until("a hundred attempts fail", || debug().matches("retrying in").count() >= 100);
    broker.run();
    let before = subscriber.arrivals().len();
    subscriber.wait_for_count(before + 50);
    agent.stop();

    let info = log_files(&gateway.logs(), "info.log.").concat();
    println!("{} attempts; info.log:\n{info}", debug().matches("retrying in").count());
    // A busy machine misses ticks, which is another story.
    assert!(info.lines().filter(|line| !line.contains("packhorse::sampler")).count() <= 12, "{info}");
    // Every reason is news once, however often it comes: here the loss, and that nobody answers any more.
    let reason = |line: &str| Some(line.split_once("; retrying in")?.0.split_once("connection ")?.1.to_owned());
    let reasons: Vec<String> = info.lines().filter_map(reason).collect();
    assert_eq!(reasons.iter().collect::<BTreeSet<_>>().len(), reasons.len(), "{info}");
    assert!((1..=3).contains(&reasons.len()), "{info}");
    assert_eq!(info.matches("connected to").count(), 2, "{info}");
}

#[test]
fn files_and_links_are_named_as_documented_and_pruned() {
    let broker = Broker::start();
    let more =
        "logging: {directory: LOGS, rotate_every: 1s, keep_files: 3, info: true, sample: debug, paho: debug}\nstatus: {topic: ~}".to_owned();
    let gateway = Gateway::new(&broker.url(), &Settings { more, ..Settings::default() });
    let agent = gateway.start();
    let names = || {
        let names =
            fs::read_dir(gateway.logs()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    };
    let first = names();

    wait_until("the first files are pruned", || {
        first.iter().filter(|name| name.contains("log.2")).all(|name| !names().contains(name))
    });
    agent.stop();

    for kind in ["debug.log", "info.log", "paho.log", "sample.log"] {
        let files: Vec<String> = names().into_iter().filter(|name| name.starts_with(&format!("{kind}."))).collect();
        assert_eq!(files.len(), 3, "{files:?}");
        // debug.log.2023-01-04_11-28-49
        let shape: String = files[0][kind.len()..].chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert!(shape.starts_with(".0000-00-00_00-00-00"), "{files:?}");
        let newest = fs::read_link(gateway.logs().join(kind)).unwrap();
        assert_eq!(newest.to_str(), files.last().map(String::as_str));
    }
    assert!(log_files(&gateway.logs(), "paho.log.").concat().contains("paho_mqtt_c"), "the C library's trace");
    let own = log_files(&gateway.logs(), "sample.log.").concat();
    assert!(own.contains("packhorse::") && !own.contains("paho_mqtt"));
}

#[test]
fn without_a_log_folder_the_agent_works_and_says_so() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    fs::write(gateway.logs(), "a file where the folder should be").unwrap();

    let agent = gateway.start();
    subscriber.wait_for_count(10);

    let output = agent.output();
    assert!(output.contains("no log files") && output.contains(&gateway.logs().display().to_string()), "{output}");
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn by_default_no_line_is_written_twice() {
    let broker = Broker::start();
    let more = "logging: {directory: LOGS}\nstatus: {topic: ~}".to_owned();
    let gateway = Gateway::new(&broker.url(), &Settings { more, ..Settings::default() });
    let agent = gateway.start();
    wait_until("messages are accepted", || gateway.accepted_count() >= 20);
    agent.stop();

    let entries = fs::read_dir(gateway.logs()).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let text: String = files.map(|entry| fs::read_to_string(entry.path()).unwrap()).collect();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.iter().any(|line| line.contains(" INFO ")) && lines.iter().any(|line| line.contains(" DEBUG ")));
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len(), "{text}");
}

#[test]
fn a_log_folder_that_is_taken_away_comes_back_with_a_warning_that_says_so() {
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings::default());
    let agent = gateway.start();

    fs::remove_dir_all(gateway.logs()).unwrap();
    agent.wait_for_output("log files were taken away under the running agent");

    assert!(log_files(&gateway.logs(), "info.log.").concat().contains("were taken away"));
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn without_links_log_files_are_pruned_and_one_warning_says_so() {
    let more = "logging: {directory: LOGS, rotate_every: 1s, keep_files: 2, info: true}\nstatus: {topic: ~}".to_owned();
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings { more, ..Settings::default() });
    // As on a file system without symbolic links: none can be made.
    for kind in ["debug.log", "info.log"] {
        fs::create_dir_all(gateway.logs().join(format!(".{kind}.new"))).unwrap();
    }
    let agent = gateway.start();
    let first = log_files(&gateway.logs(), "debug.log.").concat();
    let start = first.lines().next().unwrap_or_default().to_owned();

    wait_until("the first file is pruned", || !log_files(&gateway.logs(), "debug.log.").concat().contains(&start));

    assert!(log_files(&gateway.logs(), "debug.log.").len() <= 3);
    assert_eq!(agent.output().matches("no link can point to the newest file").count(), 1);
    agent.stop();
}

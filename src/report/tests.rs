//! The report as a whole: what is degraded, what the page says of it, and what is printed.

use super::*;
use crate::report::text::WIDTH;
use serde_json::json;

/// A healthy agent, with every key that there is.
fn healthy() -> Report {
    let averages = Averages { one: 2.0, five: 2.0, fifteen: 1.5 };
    let time = || "2026-11-21T03:15:01.234Z".to_owned();
    Report {
        health: Health::Healthy,
        reasons: Vec::new(),
        time: time(),
        agent: Agent {
            device: "gateway-7".to_owned(),
            version: "0.1.0".to_owned(),
            process: 612,
            since: time(),
            uptime_seconds: 11_100.0,
            is_stopping: false,
        },
        configuration: Configuration { file: "/etc/packhorse/config.yaml".to_owned(), since: time(), problem: None },
        clock: Clock { is_synchronised: true },
        threads: ["sampler", "publisher"].map(|name| Thread { name: name.to_owned(), silent_seconds: 0.0 }).into(),
        connection: Some(Connection {
            state: State::Connected,
            address: "mqtt://broker.example.com:1883".to_owned(),
            since: time(),
            lasts_seconds: 7200.0,
            protocol: "5".to_owned(),
            session_present: Some(false),
            window: Some(20),
            in_flight: 3,
            failures: 0,
            next_attempt: None,
            next_attempt_seconds: None,
            last_error: Some(LastError {
                text: "cannot reach mqtt://broker.example.com:1883: connection refused".to_owned(),
                advice: advice("connection refused").map(str::to_owned),
                time: time(),
                age_seconds: 7260.0,
            }),
            refused: None,
        }),
        waiting: Some(Waiting {
            messages: 1204,
            bytes: 300_000,
            oldest: Some(time()),
            oldest_age_seconds: Some(75.0),
            drained_in_seconds: Some(12.0),
        }),
        rates: Some(Rates { in_per_second: averages, out_per_second: averages }),
        spool: Some(Spool {
            directory: "/var/lib/packhorse/spool".to_owned(),
            stream: "3f9a1c02".to_owned(),
            oldest_seq: 1,
            next_seq: 1205,
            bytes: 1_048_576,
            max_bytes: 268_435_456,
            disk_fails: false,
            disk_free_bytes: Some(1 << 34),
            disk_total_bytes: Some(1 << 35),
            last_drop_seconds: None,
        }),
        sources: Some(vec![source("board", SourceState::Works)]),
        counters: CountersNow { sampled: 1207, accepted: 1204, ..CountersNow::default() },
    }
}

fn source(name: &str, state: SourceState) -> Source {
    Source {
        name: name.to_owned(),
        interval_seconds: 10.0,
        state,
        value: Some(json!({"load1": 0.12})),
        time: Some("2026-11-21T03:15:01.234Z".to_owned()),
        age_seconds: Some(1.5),
        samples: 3,
        failed_samples: 1,
        missed_ticks: 2,
        late_seconds: 0.001,
        error: Some("cannot read it".to_owned()),
    }
}

/// The codes of what makes this agent degraded.
fn codes(change: impl FnOnce(&mut Report)) -> Vec<String> {
    let mut report = healthy();
    change(&mut report);
    judge(&mut report);
    assert_eq!(report.health == Health::Healthy, report.reasons.is_empty());
    report.reasons.into_iter().map(|reason| reason.code).collect()
}

fn connection(report: &mut Report) -> &mut Connection {
    report.connection.as_mut().unwrap()
}

#[test]
fn each_thing_that_degrades_an_agent_has_its_code_and_nothing_else_does() {
    type Change = fn(&mut Report);
    let changes: [(&[&str], Change); 16] = [
        (&[], |_| {}),
        (&[], |report| connection(report).state = State::Closing),
        (&[], |report| report.clock.is_synchronised = false),
        (&[], |report| report.threads[0].silent_seconds = 5.0),
        (&[], |report| report.spool.as_mut().unwrap().last_drop_seconds = Some(1000)),
        (&["not_connected"], |report| connection(report).state = State::Waiting),
        (&["connection_refused"], |report| connection(report).state = State::Refused),
        (&["messages_refused"], |report| connection(report).refused = Some("no quota".to_owned())),
        (&["source_hangs"], |report| report.sources.as_mut().unwrap().push(source("s", SourceState::Hangs))),
        (&["source_fails"], |report| report.sources.as_mut().unwrap().push(source("s", SourceState::Fails))),
        (&["disk_fails"], |report| report.spool.as_mut().unwrap().disk_fails = true),
        (&["spool_nearly_full"], |report| report.waiting.as_mut().unwrap().bytes = 250_000_000),
        (&["messages_lost"], |report| report.spool.as_mut().unwrap().last_drop_seconds = Some(30)),
        (&["configuration"], |report| report.configuration.problem = Some("line 3".to_owned())),
        (&["thread_silent"], |report| (report.connection, report.waiting, report.spool) = (None, None, None)),
        (&["stopping"], |report| (report.agent.is_stopping, report.connection) = (true, None)),
    ];
    for (expected, change) in changes {
        assert_eq!(codes(change), expected);
        assert!(expected.iter().all(|code| CODES.contains(code)));
    }
}

#[test]
fn a_thread_that_is_known_to_hang_is_told_once() {
    let told = codes(|report| {
        report.threads[1].silent_seconds = 12.0;
        report.connection = None;
    });

    assert_eq!(told, ["thread_silent"]);
}

const PAGE: &str = include_str!("../../docs/looking-into.md");

#[test]
fn the_page_has_every_code_and_every_key() {
    let rows: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    for code in CODES {
        assert!(rows.contains(&code), "docs/looking-into.md has no row for {code}");
    }
    fn keys(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                found.push(key.clone());
                // The counters are in docs/status.md; a sample's data are the source's.
                if key != "counters" && key != "value" {
                    keys(value, found);
                }
            }),
            Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }
    let mut report = healthy();
    connection(&mut report).state = State::Waiting;
    judge(&mut report);
    let mut found = Vec::new();
    keys(&serde_json::to_value(&report).unwrap(), &mut found);
    assert!(found.len() > 60, "{found:?}");
    for key in found {
        let is_there = [format!("`{key}`"), format!("`{key}[]`")].iter().any(|quoted| PAGE.contains(quoted));
        assert!(is_there, "docs/looking-into.md does not name the key {key}");
    }
}

#[test]
fn the_report_survives_its_way_as_json() {
    let report = healthy();

    let json = serde_json::to_string(&report).unwrap();

    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn the_text_fits_whatever_is_in_it_and_names_what_does_not_work_first() {
    let mut report = healthy();
    let long = "x".repeat(300);
    report.spool.as_mut().unwrap().directory.clone_from(&long);
    connection(&mut report).address = format!("mqtts://{long}:8883");
    report.sources.as_mut().unwrap().extend((0..30).map(|number| source(&format!("s{number}"), SourceState::Works)));
    report.sources.as_mut().unwrap().push(source("broken", SourceState::Fails));
    judge(&mut report);

    let text = text(&report, 5);

    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    assert!(
        text.starts_with("gateway-7: degraded, running for 3 h 5 min\nproblem       source broken fails\n"),
        "{text}"
    );
    assert!(text.contains("\nsources       broken fails: cannot read it: load1 0.12, 1.5 s ago"), "{text}");
    assert!(text.contains("and 27 more sources"), "{text}");
    assert!(text.contains("waiting       1,204 messages, 293.0 KiB, the oldest 1 min 15 s old, drained in"), "{text}");
}

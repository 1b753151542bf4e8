//! What a user who slipped is told: what was probably meant.

use super::{MINIMAL, problem_of, problems};
use crate::config::load::inspect_text;
use std::path::Path;

#[test]
fn a_key_in_the_wrong_section_names_the_right_one() {
    for (lines, expected) in [
        ("url: mqtt://h", "2: url: unknown key here; it belongs to `broker`"),
        ("QoS: 1", "2: QoS: unknown key here; it belongs to `telemetry`, or to an item of `telemetry.sources`"),
        (
            "telemetry: {retain: true}",
            "2: telemetry.retain: unknown key here; it belongs to an item of `telemetry.sources`",
        ),
        ("spool: {keep-files: 3}", "2: spool.keep-files: unknown key here; it belongs to `logging`"),
        ("delivery: {max_size: 1MiB}", "2: delivery.max_size: unknown key here; it belongs to `spool`"),
        ("telemetry: {ca_file: /a}", "2: telemetry.ca_file: unknown key here; it belongs to `broker.tls`"),
        (
            "logging: {device: a}",
            "2: logging.device: unknown key here; it belongs to the top of the file, where nothing is indented",
        ),
    ] {
        assert_eq!(problem_of(lines), expected);
    }
}

#[test]
fn a_key_by_another_program_s_name_names_ours() {
    let broker = problems("broker: {host: h, port: 1883, id: a, ssl: {}}").join("\n");
    for (theirs, ours) in [("host", "url"), ("port", "url"), ("id", "client_id"), ("ssl", "tls")] {
        assert!(broker.contains(&format!("broker.{theirs}: unknown key; did you mean `{ours}`?")), "{broker}");
    }
    for (lines, ours) in [
        ("mqtt: {url: a}", "broker"),
        ("queue: {max_size: 1MiB}", "spool"),
        ("logging: {level: info}", "console"),
        ("telemetry: {sensors: []}", "sources"),
        ("telemetry: {sources: [{name: a, type: file, path: /a, file: /a}]}", "path"),
    ] {
        assert!(problem_of(lines).ends_with(&format!("unknown key; did you mean `{ours}`?")), "{}", problem_of(lines));
    }
}

#[test]
fn a_value_of_the_wrong_unit_or_type_says_how_to_write_it() {
    for (lines, ending) in [
        ("telemetry: {interval: 10}", "; the unit is missing, as in `10s`"),
        ("telemetry: {interval: 10 secondes}", "; the unit is unknown; units are `ms`, `s`, `m`, `h` and `d`"),
        ("telemetry: {interval: 30S}", "; the unit is unknown; units are `ms`, `s`, `m`, `h` and `d`"),
        ("telemetry: {interval: -5s}", "; it cannot be negative"),
        // Every month, where somebody means a minute.
        ("telemetry: {interval: 1M}", "; write `m` for minutes, or `months`"),
        ("spool: {max_age: 1h 5M}", "; write `m` for minutes, or `months`"),
        ("telemetry: {interval: \u{201c}10s\u{201d}}", "; `\u{201c}` is no quote to YAML; write `\"`, or no quotes"),
        (
            "retry: {factor: 1.5\u{a0}h}",
            "; it holds U+00A0, which looks like a space or like nothing; type a space there, or nothing",
        ),
        ("retry: {factor: '1,5'}", "; write a decimal point in place of the comma"),
        ("telemetry: {interval: '1,5h'}", "; write a decimal point in place of the comma"),
        ("spool: {max_size: '1,5GB'}", "; write a decimal point in place of the comma"),
        ("spool: {max_size: '1,024MiB'}", "; leave out the comma; a decimal point is `.`"),
        ("telemetry: {interval: '86,400s'}", "; leave out the comma; a decimal point is `.`"),
        ("delivery: {max_rate: '1,000'}", "; leave out the comma; a decimal point is `.`"),
        ("retry: {jitter: 50%}", "; it is no percentage; 1 is all of it: `0.5`"),
        // Here a share is no answer.
        ("retry: {jitter: 150%}", "allowed: a number from 0 to 1"),
        ("retry: {factor: 150%}", "allowed: a number of at least 1"),
        ("delivery: {max_rate: 50%}", "allowed: a number of messages per second above 0"),
        ("spool: {max_size: 80%}", "such as `64MiB` or a number of bytes"),
        ("telemetry: {interval: 10%}", "such as `10s` or `1h 30m`"),
        ("spool: {max_age: never}", "such as `10s` or `1h 30m`; or `~`, as if it were left out"),
        ("spool: {max_size: 1GiB# enough}", "; a comment needs a space before its `#`"),
        ("spool:\n  directory = /data", "`sync`; write `:` in place of `=`"),
        ("logging: {paho: true}", "allowed: `off`, `error`, `warn`, `info`, `debug`, `trace`"),
        ("spool: {max_size: 256}", "; without a unit it is that many bytes"),
        ("spool: /data", "; its keys: `directory`, `max_size`, `max_age`, `when_full`, `sync`"),
        ("spool:\n  directory:/data", "`sync`; is a space missing behind the `:`?"),
        ("broker_: {}", "did you mean `broker`?"),
    ] {
        assert!(problem_of(lines).ends_with(ending), "{}", problem_of(lines));
    }
    for (url, scheme) in [("tcp://h", "mqtt"), ("ssl://h:8883", "mqtts"), ("MQTT://h", "mqtt"), ("https://h", "wss")] {
        let told = problems(&format!("broker: {{url: \"{url}\"}}"));
        assert!(told[0].ends_with(&format!("; did you mean `{scheme}`?")), "{told:?}");
    }
    let address = problems("broker: mqtt://h:1883");
    assert!(!address[0].contains("space missing") && address[0].contains("`url`"), "{address:?}");
}

#[test]
fn a_word_for_none_that_is_taken_for_text_is_warned_of() {
    let warnings = |lines: &str| {
        let inspection = inspect_text(&format!("{MINIMAL}{lines}\n"), Path::new("test.yaml"), &super::host());
        assert!(inspection.outcome.is_ok(), "{lines}");
        let warnings = inspection.warnings.iter().map(|warning| warning.to_string());
        warnings.filter(|warning| warning.contains("the text")).collect::<Vec<_>>()
    };

    let expected = "2: status.topic: is the text `off`; where there should be none, write `~`";
    assert_eq!(warnings("status: {topic: off}"), [expected]);
    assert_eq!(warnings("device: None"), ["2: device: is the text `None`; where there should be none, write `~`"]);
    assert_eq!(warnings("status: {topic: ~}\nspool: {max_age: ~}\nlogging: {console: off}"), [""; 0]);
}

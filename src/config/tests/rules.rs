//! What single values and keys together may say.

use super::super::host::Host;
use super::super::load::inspect_text;
use super::super::{Protocol, ReadAs, SourceKind, Sync};
use super::{MINIMAL, config, config_of, outcome, problem_of, problems};
use log::LevelFilter;
use std::path::Path;
use std::time::Duration;

/// `KEY: VALUE` of `section`, as a line of flow YAML.
fn line(section: &str, rest: &str) -> String {
    if section.is_empty() { rest.to_owned() } else { format!("{section}: {{{rest}}}") }
}

#[test]
fn values_at_their_bounds_are_accepted() {
    for (section, good) in [
        ("device", ""),
        ("", "device: 0012"),
        ("", "shutdown_timeout: 0s"),
        ("", "shutdown_timeout: 0"),
        ("retry", "factor: 1"),
        ("retry", "jitter: 0"),
        ("retry", "jitter: 1.0"),
        ("retry", "initial_delay: 1ms, max_delay: 1ms"),
        ("retry", "stable_after: 1ms"),
        ("retry", "stable_after: ~"),
        ("telemetry", "interval: 1ms"),
        ("telemetry", "qos: 0"),
        ("telemetry", "qos: 2"),
        ("channel", "capacity: 1"),
        ("channel", "capacity: 1000000"),
        ("spool", "max_size: 1MiB"),
        ("spool", "max_size: 1048576"),
        ("spool", "sync: 10s"),
        ("spool", "max_age: 1h 30m"),
        ("delivery", "window: 65535"),
        ("delivery", "max_rate: 0.5"),
        ("delivery", "max_rate: ~"),
        ("logging", "keep_files: 1"),
        ("logging", "rotate_every: 1s"),
        ("logging", "max_file_size: 4KiB"),
        ("status", "topic: ~"),
    ] {
        let lines = if good.is_empty() { format!("{section}: ~") } else { line(section, good) };
        config_of(&lines);
    }
}

#[test]
fn numbers_and_truth_values_may_stand_between_quotes() {
    let plain = config(
        "broker: {url: mqtt://h, tls: {verify: false}}\ndelivery: {max_rate: 0.5}\nspool: {max_age: 1h 30m}\n\
         telemetry: {sources: [{name: a, type: file, path: /a, scale: 1e-3, offset: -2}, {name: b, type: simulated, seed: 7, \
         retain: true, expiry: 5s}]}\n",
    );
    let quoted = |line: &str| match line.rsplit_once(": ") {
        Some((key, value))
            if value.starts_with(|first: char| "-0123456789".contains(first) || value.parse::<bool>().is_ok()) =>
        {
            format!("{key}: \"{value} \"\n")
        }
        _ => format!("{line}\n"),
    };
    let text: String = plain.to_yaml().lines().map(quoted).collect();

    let read = config(&text);

    for value in ["\"false \"", "\"true \"", "\"0.5 \"", "\"100 \"", "\"7 \"", "\"-2.0 \"", "\"1h 30m \""] {
        assert!(text.contains(value), "{value} is not in {text}");
    }
    assert_eq!(read, plain);
    // What is text stays text.
    assert_eq!(config_of("device: \"true\"").device, "true");
    assert_eq!(config("broker: {url: \" mqtt://h \"}").broker.addresses[0].to_string(), "mqtt://h:1883");
}

#[test]
fn quotes_make_no_number_of_what_is_none() {
    for (lines, message) in [
        ("delivery: {window: '5 # of them'}", "2: delivery.window: found `5 # of them`; allowed: a whole number"),
        ("delivery: {window: '!!int 5'}", "2: delivery.window: found `!!int 5`; allowed: a whole number"),
        ("delivery: {window: ''}", "2: delivery.window: found ``; allowed: a whole number"),
        ("delivery: {ack_timeout: '5'}", "such as `10s` or `1h 30m`; the unit is missing"),
        ("logging: {debug: 'maybe'}", "2: logging.debug: found `maybe`; allowed: `true` or `false`"),
        ("spool: {directory: '~'}", "2: spool.directory: is `~` between quotes, which is a name"),
    ] {
        assert!(problem_of(lines).contains(message), "{}", problem_of(lines));
    }
}

#[test]
fn values_beyond_their_bounds_are_refused_by_key() {
    for (section, bad) in [
        ("", "device: a/b"),
        ("", "device: 'a#'"),
        ("", "device: '{source}'"),
        ("", "device: ''"),
        ("", "device: true"),
        ("", "device: \"a\\0b\""),
        ("", "device: \"a\\u2028b\""),
        ("", "shutdown_timeout: -1s"),
        ("", "shutdown_timeout: 5"),
        ("", "shutdown_timeout: ~"),
        ("", "shutdown_timeout: 200years"),
        ("", "shutdown_timeout: 99999999999999999999years"),
        ("retry", "factor: 0.99"),
        ("retry", "factor: .nan"),
        ("retry", "factor: .inf"),
        ("retry", "factor: two"),
        ("retry", "jitter: 1.01"),
        ("retry", "jitter: -0.1"),
        ("retry", "initial_delay: 0s"),
        ("retry", "initial_delay: 3h"),
        ("retry", "max_delay: 1s"),
        ("retry", "at_max: stop"),
        ("retry", "stable_after: 0s"),
        ("telemetry", "interval: 999us"),
        ("telemetry", "qos: 3"),
        ("telemetry", "qos: -1"),
        ("telemetry", "qos: 'one'"),
        ("telemetry", "format: xml"),
        ("telemetry", "topic: 'a/+'"),
        ("telemetry", "topic: 'a/#'"),
        ("telemetry", "topic: ''"),
        ("telemetry", "topic: 'a/{sauce}'"),
        ("telemetry", "topic: 'a/{stream}'"),
        ("telemetry", "topic: 'a/{device'"),
        ("telemetry", "topic: 'a/device}'"),
        ("telemetry", "topic: \"a\\0\""),
        ("telemetry", "sources: []"),
        ("telemetry", "sources: ~"),
        ("channel", "capacity: 0"),
        ("channel", "capacity: 1000001"),
        ("channel", "capacity: 1.5"),
        ("spool", "directory: ''"),
        ("spool", "directory: ~/spool"),
        ("spool", "directory: \"/a\\nb\""),
        ("spool", "max_size: 1023KiB"),
        ("spool", "max_size: -5"),
        ("spool", "max_size: 5 parsecs"),
        ("spool", "max_age: 0s"),
        ("spool", "when_full: drop"),
        ("spool", "sync: never"),
        ("spool", "sync: 0s"),
        ("delivery", "window: 0"),
        ("delivery", "window: 65536"),
        ("delivery", "ack_timeout: 0s"),
        ("delivery", "max_rate: 0"),
        ("delivery", "max_rate: .inf"),
        ("logging", "keep_files: 0"),
        ("logging", "rotate_every: 999ms"),
        ("logging", "max_file_size: 4095"),
        ("logging", "debug: yes"),
        ("logging", "console: loud"),
        ("logging", "console: true"),
        ("status", "topic: 'status/{source}'"),
        ("status", "interval: 0s"),
    ] {
        let key = bad.split(':').next().unwrap();
        let dotted = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };

        let problem = problem_of(&line(section, bad));

        assert!(problem.starts_with(&format!("2: {dotted}: ")), "{problem}");
    }
}

#[test]
fn a_connection_must_last_for_the_first_delay_unless_something_else_is_said() {
    for (retry, seconds) in [("{}", 2), ("{initial_delay: 5s}", 5), ("{initial_delay: 5s, stable_after: 9s}", 9)] {
        let stable_after = config_of(&format!("retry: {retry}")).retry.stable_after;
        assert_eq!(stable_after, Duration::from_secs(seconds), "{retry}");
    }
}

#[test]
fn levels_and_protocols_are_read_however_yaml_takes_them() {
    for off in ["off", "'off'", "false"] {
        assert_eq!(config_of(&format!("logging: {{console: {off}}}")).logging.console, LevelFilter::Off, "{off}");
    }
    for (written, protocol) in
        [("5", Protocol::V5), ("'5'", Protocol::V5), ("3.1.1", Protocol::V311), ("'3.1.1'", Protocol::V311)]
    {
        let text = format!("broker: {{url: mqtt://h, protocol: {written}}}");
        assert_eq!(config(&text).broker.protocol, protocol, "{written}");
    }
}

#[test]
fn placeholders_are_replaced_where_they_may_stand() {
    let text = "
device: pi
broker: {url: mqtt://h, client_id: '{device}-{stream}'}
telemetry:
  topic: a/{device}/{source}
  sources:
    - {name: one, type: system}
    - {name: two, type: simulated, seed: 7, topic: 'b/{source}/{device}'}
status: {topic: 's/{device}'}";

    let config = config(text);

    assert_eq!(config.broker.client_id, "pi-{stream}");
    assert_eq!(config.telemetry.sources[0].topic, "a/pi/one");
    assert_eq!(config.telemetry.sources[1].topic, "b/two/pi");
    assert_eq!(config.status.topic.as_deref(), Some("s/pi"));
}

#[test]
fn topics_longer_than_mqtt_allows_are_refused() {
    let name = "n".repeat(40_000);
    let topic = "t".repeat(30_000);

    let problem =
        problem_of(&format!("telemetry: {{topic: '{topic}{{source}}', sources: [{{name: {name}, type: system}}]}}"));

    assert!(problem.contains("telemetry.sources[0].topic: is taken from `telemetry.topic`"), "{problem}");
    assert!(problem.contains("70000 bytes"), "{problem}");
}

#[test]
fn sources_inherit_and_override() {
    let text = "telemetry: {interval: 5s, qos: 2, sources: [{name: a, type: system}, \
                {name: b, type: file, path: /b, scale: 0.001, interval: 1m, qos: 0, retain: true, expiry: 1h}]}";

    let sources = config_of(text).telemetry.sources;

    assert_eq!((sources[0].interval, sources[0].qos as u8), (Duration::from_secs(5), 2));
    assert_eq!((sources[1].interval, sources[1].qos as u8), (Duration::from_secs(60), 0));
    assert_eq!((sources[1].retain, sources[1].expiry), (true, Some(Duration::from_secs(3600))));
    let file = SourceKind::File { path: "/b".into(), read_as: ReadAs::Auto, scale: 0.001, offset: 0.0, unit: None };
    assert_eq!(sources[1].kind, file);
}

#[test]
fn wrong_sources_name_their_key() {
    for (source, problem) in [
        ("{type: system}", "telemetry.sources[0].name: is missing"),
        ("{name: a}", "telemetry.sources[0].type: is missing"),
        ("{name: a/b, type: system}", "telemetry.sources[0].name: `a/b` holds `/`"),
        (
            "{name: a, type: sytem}",
            "telemetry.sources[0].type: found `sytem`; allowed: `system`, `file`, `simulated`; did you",
        ),
        ("{name: a, type: gpio}", "telemetry.sources[0].type: found `gpio`; allowed: `system`, `file`, `simulated`"),
        ("{name: a, type: command}", "telemetry.sources[0].type: `command` is not supported yet"),
        ("{name: a, type: file}", "telemetry.sources[0].path: is missing"),
        (
            "{name: a, type: system, path: /a}",
            "telemetry.sources[0].path: belongs to type `file`; this source is of type `system`",
        ),
        ("{name: a, type: file, path: /a, as: text, scale: 2}", "telemetry.sources[0].as: is `text`, which cannot be"),
        ("{name: a, type: file, path: /a, seed: 1}", "telemetry.sources[0].seed: belongs to type `simulated`"),
        (
            "{name: a, type: simulated, seed: -1}",
            "telemetry.sources[0].seed: found `-1`; allowed: a whole number from 0",
        ),
        ("{name: a, type: system, expiry: 0s}", "telemetry.sources[0].expiry: found `0s`"),
        (
            "{name: a, type: system, expiry: 1500ms}",
            "telemetry.sources[0].expiry: found `1500ms`; allowed: whole seconds",
        ),
        ("{name: a, type: file, path: /a, scale: .inf}", "telemetry.sources[0].scale: found `.inf`; allowed: a number"),
        (
            "{name: a, type: system, intervall: 1s}",
            "telemetry.sources[0].intervall: unknown key; did you mean `interval`?",
        ),
        (
            "{name: b, type: system}\n    - {name: b, type: system}",
            "telemetry.sources[1].name: is the name of another source",
        ),
    ] {
        let found = problem_of(&format!("telemetry:\n  sources:\n    - {source}"));

        assert!(found.contains(problem), "{source}: {found}");
    }
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_lines() {
    let text = "retry:\n  factor: 0\nbroker:\n  url: http://h\n  keep_alive: x\nstatus: {intervall: 1s}\nchannel: {capacity: 0}\n";

    let lines: Vec<_> = outcome(text).unwrap_err().iter().map(|problem| problem.line).collect();

    assert_eq!(lines, [Some(2), Some(4), Some(5), Some(6), Some(7)]);
}

#[test]
fn the_acknowledgement_timeout_follows_the_keep_alive() {
    assert_eq!(config("broker: {url: mqtt://h, keep_alive: 21s}").delivery.ack_timeout, Duration::from_millis(31_500));
    assert_eq!(config_of("delivery: {ack_timeout: 4s}").delivery.ack_timeout, Duration::from_secs(4));
    assert_eq!(config_of("spool: {sync: 10s}").spool.sync, Sync::Every(Duration::from_secs(10)));
}

#[test]
fn the_host_names_the_device_unless_its_name_is_of_no_use() {
    let outcome = |name: Option<&str>, text| {
        let host = Host { name: name.map(str::to_owned), ..Host::default() };
        inspect_text(text, Path::new("test.yaml"), &host).outcome
    };
    let named = format!("{MINIMAL}device: pi\n");

    assert_eq!(outcome(Some("gateway-7"), MINIMAL).unwrap().device, "gateway-7");
    assert_eq!(outcome(Some("gate/way"), &named).unwrap().device, "pi");
    assert!(outcome(Some("gate/way"), MINIMAL).unwrap_err().to_string().starts_with("test.yaml:1: device: is not set"));
    assert!(outcome(None, MINIMAL).unwrap_err().to_string().contains("the host has no name"));
}

#[test]
fn what_a_broker_keeps_for_itself_is_no_topic_of_ours() {
    for (lines, key) in [
        ("telemetry: {topic: '$SYS/{source}'}", "telemetry.topic"),
        ("telemetry: {topic: '$share/group/{source}'}", "telemetry.topic"),
        ("telemetry: {topic: '$SYS'}", "telemetry.topic"),
        ("telemetry: {sources: [{name: a, type: system, topic: $SYS/a}]}", "telemetry.sources[0].topic"),
        ("telemetry: {topic: '{source}/a', sources: [{name: $share, type: system}]}", "telemetry.sources[0].topic"),
        ("status: {topic: $share/a/b}", "status.topic"),
    ] {
        let problem = problem_of(lines);
        assert!(problem.contains(&format!("{key}: ")) && problem.contains("cannot be published to"), "{problem}");
    }
    for lines in [
        "telemetry: {topic: '$aws/rules/rule/{source}'}",
        "status: {topic: $iothub/status}",
        "status: {topic: $SYSTEM}",
    ] {
        config_of(lines);
    }
}

#[test]
fn what_grows_is_bounded_before_it_has_grown() {
    let many = |count: usize| "{source}".repeat(count);
    let name = "n".repeat(60_000);
    let sources = |count, topic: &str| {
        let one = |index| format!("{{name: s{index}, type: system, topic: '{topic}'}}");
        (0..count).map(one).collect::<Vec<_>>().join(", ")
    };
    for (lines, wanted) in [
        (
            format!("telemetry: {{sources: [{{name: {name}, type: system, topic: '{}'}}]}}", many(20_000)),
            "has 1200000000 bytes",
        ),
        (format!("broker: {{client_id: '{}'}}\ndevice: {name}", "{device}".repeat(10_000)), "has 600000000 bytes"),
        (format!("telemetry: {{sources: [{}]}}", sources(1001, "a")), "has 1001 items; allowed are at most 1000"),
        (
            format!("device: {}\ntelemetry: {{sources: [{}]}}", "d".repeat(60_000), sources(100, "{device}")),
            "all of them have at most 1048576 bytes",
        ),
        (format!("x: &a [{}]\ny: [{}]", "1,".repeat(1000), "*a,".repeat(1000)), "the file holds too much"),
        (format!("x: {}{}", "[".repeat(40), "]".repeat(40)), "nested too deeply"),
    ] {
        let text = if lines.starts_with("broker") { lines.clone() } else { format!("{MINIMAL}{lines}") };
        let problems = problems(&text);
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted}: {:?}", problems.first());
    }
    let keys: Vec<String> = (0..20_000).map(|index| format!("key{index}: 1")).collect();
    assert_eq!(problems(&keys.join("\n")).len(), 1001);
}

#[test]
fn a_topic_of_several_kinds_of_messages_is_told() {
    for lines in [
        "status: {topic: 's/{device}'}\ntelemetry: {topic: 's/gateway-7'}",
        "telemetry: {sources: [{name: a, type: system, topic: 'status/{device}'}]}",
    ] {
        assert!(problem_of(lines).contains("is that of the status message"), "{}", problem_of(lines));
    }
    let text = format!(
        "{MINIMAL}telemetry:\n  topic: all\n  sources:\n  - {{name: a, type: system}}\n  - {{name: b, type: system}}\n  - {{name: c, type: system}}\n"
    );
    let warnings = inspect_text(&text, Path::new("test.yaml"), &super::host()).warnings;
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    let expected =
        "6: telemetry.sources[1].topic: is that of source `a` on line 5 as well: only the payload tells them apart";
    assert_eq!(warning.to_string(), expected);
}

#[test]
fn problems_quote_what_was_written() {
    for (lines, quoted) in [
        ("telemetry: {topic: 'plant/+/{source}'}", "`plant/+/{source}` holds `+`"),
        ("telemetry: {sources: [{name: a, type: system, topic: '#/{source}'}]}", "`#/{source}` holds `#`"),
        ("status: {topic: '$SYS/{device}'}", "`$SYS/{device}` begins with `$SYS`"),
        ("retry: {initial_delay: 7200s, max_delay: 60m}", "`initial_delay` (`7200s`) is above `max_delay` (`60m`)"),
    ] {
        let problems = problems(&format!("{MINIMAL}{lines}\n")).join("\n");
        assert!(problems.contains(quoted), "{problems}");
    }
    let bare = problem_of("status: {topic: {device}}");
    assert!(bare.contains("found `{device}` without quotes, which is a mapping in YAML; write \"{device}\""), "{bare}");
}

//! What single values and keys together may say.

use super::super::load::inspect_text;
use super::super::read::Host;
use super::super::{Protocol, SourceKind, Sync};
use super::{MINIMAL, config, config_of, host, outcome, problem_of, problems};
use crate::message::Qos;
use log::LevelFilter;
use std::path::{Path, PathBuf};
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
        ("retry", "factor: '2'"),
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
        ("telemetry", "qos: '1'"),
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
fn problems_of_the_broker_name_their_key() {
    for (bad, key) in [
        ("client_id: ''", "client_id"),
        ("client_id: '{source}'", "client_id"),
        ("protocol: 4", "protocol"),
        ("protocol: 5.0", "protocol"),
        ("keep_alive: 0s", "keep_alive"),
        ("keep_alive: 65536s", "keep_alive"),
        ("keep_alive: 1500ms", "keep_alive"),
        ("connect_timeout: 999ms", "connect_timeout"),
        ("session_expiry: 1s 1ms", "session_expiry"),
        ("session_expiry: 137years", "session_expiry"),
        ("username: \"a\\u0001\"", "username"),
        ("protocol: 3.1.1, password_file: /p", "password_file"),
        ("urls: [mqtt://a, mqtt://b]", "urls"),
        ("azure_iot_hub: 7", "azure_iot_hub"),
        ("tls: {ca_file: /a}", "tls.ca_file"),
        ("tls: {cert_file: /a}", "tls.cert_file"),
        ("tls: {alpn: mqtt}", "tls.alpn"),
        ("tls: {verify: maybe}", "tls.verify"),
    ] {
        let problems = problems(&format!("broker:\n  {{url: mqtt://localhost,\n  {bad}}}\n"));

        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("3: broker.{key}: ")), "{problems:?}");
    }
}

#[test]
fn an_address_gets_the_default_port() {
    for (url, effective) in [
        ("mqtt://broker", "mqtt://broker:1883"),
        ("mqtts://broker", "mqtts://broker:8883"),
        ("ws://broker", "ws://broker:80/mqtt"),
        ("wss://broker/", "wss://broker:443/mqtt"),
        ("wss://broker:9001/$iothub/websocket", "wss://broker:9001/$iothub/websocket"),
        ("wss://broker/a:b?token=a:b/c?d", "wss://broker:443/a:b?..."),
        ("wss://broker?token=a", "wss://broker:443/mqtt?..."),
        ("mqtt://broker/", "mqtt://broker:1883"),
        ("mqtt://10.0.0.1:8883", "mqtt://10.0.0.1:8883"),
        ("mqtt://[2001:db8::1]", "mqtt://[2001:db8::1]:1883"),
        ("mqtt://[::1]:65535", "mqtt://[::1]:65535"),
    ] {
        assert_eq!(config(&format!("broker: {{url: '{url}'}}")).broker.addresses[0].to_string(), effective);
    }
}

#[test]
fn several_addresses_are_a_list_in_order() {
    let several = config("broker: {urls: [mqtts://a, 'mqtt://b:1']}").broker.addresses;

    assert_eq!(several.iter().map(ToString::to_string).collect::<Vec<_>>(), ["mqtts://a:8883", "mqtt://b:1"]);
}

#[test]
fn a_wrong_list_of_addresses_says_why() {
    for (broker, problem) in [
        ("urls: []", "1: broker.urls: is an empty list; give at least one address"),
        ("urls: mqtt://a", "1: broker.urls: found `mqtt://a`; allowed: a list, each item behind a `-`"),
        ("urls: [mqtt://a, 7]", "1: broker.urls[1]: found `7`; allowed: an address such as `mqtt://localhost:1883`"),
        ("url: ~", "1: broker.url: found nothing; allowed: an address such as `mqtt://localhost:1883`"),
        ("url: mqtt://a, urls: [mqtt://a]", "1: broker.urls: is given beside `broker.url`; give one of the two"),
    ] {
        assert_eq!(problems(&format!("broker: {{{broker}}}")), [problem]);
    }
}

#[test]
fn what_aws_iot_core_does_not_take_is_told_before_it_does() {
    let url = "mqtts://a1b2-ats.iot.eu-west-1.amazonaws.com";
    for (broker, rest, problem) in [
        (
            format!("url: '{url}'"),
            "",
            "1: broker.tls: lacks `cert_file`: AWS IoT Core knows a device by its certificate",
        ),
        (
            format!("url: '{}', username: u", url.replace("mqtts", "wss")),
            "",
            "1: broker.url: names AWS IoT Core, which takes devices by `mqtts://` alone, on port 8883 or 443",
        ),
        (
            format!("urls: ['{url}:443'], tls: {{cert_file: /c}}"),
            "telemetry: {qos: 2}",
            "2: telemetry.qos: is 2, on which AWS IoT Core ends the connection; allowed with it: 0 or 1",
        ),
    ] {
        assert_eq!(problems(&format!("broker: {{{broker}}}\n{rest}\n")), [problem]);
    }
    assert_eq!(config(&format!("broker: {{url: '{url}', tls: {{cert_file: /c}}}}")).telemetry.qos, Qos::AtLeastOnce);
}

#[test]
fn a_connection_must_last_for_the_first_delay_unless_something_else_is_said() {
    for (retry, seconds) in [("{}", 2), ("{initial_delay: 5s}", 5), ("{initial_delay: 5s, stable_after: 9s}", 9)] {
        let stable_after = config_of(&format!("retry: {retry}")).retry.stable_after;
        assert_eq!(stable_after, Duration::from_secs(seconds), "{retry}");
    }
}

#[test]
fn a_key_needs_its_certificate() {
    let text = "broker: {url: mqtts://h, tls: {key_file: /a}}";

    let problem = "1: broker.tls.key_file: needs `broker.tls.cert_file`, the certificate that the key is for";
    assert_eq!(problems(text), [problem]);
}

#[test]
fn a_wrong_address_says_why() {
    for (url, why) in [
        ("broker", "has no scheme"),
        ("tcp://broker", "unknown scheme"),
        ("mqtts://broker/path", "only `ws` and `wss` have"),
        ("ws://broker/a b", "a character that is not allowed"),
        ("wss://broker/a#b", "a character that is not allowed"),
        ("wss://broker/a?b#c", "a character that is not allowed"),
        ("mqtt://broker?token=a", "a query behind the host"),
        ("wss://broker/mqtt?...", "write the query itself"),
        ("mqtt://", "names no host"),
        ("mqtt://:1883", "names no host"),
        ("mqtt://broker:0", "valid port"),
        ("mqtt://broker:65536", "valid port"),
        ("mqtt://broker:+1", "valid port"),
        ("mqtt://broker:", "valid port"),
        ("mqtt://2001:db8::1", "without brackets"),
        ("mqtt://[2001:db8", "without its other half"),
        ("mqtt://[broker]", "no IPv6 address"),
        ("mqtt://[::1]x", "valid port"),
        ("mqtt://broker/path", "path behind the host"),
        ("mqtt://bro ker", "no host name has"),
    ] {
        let problems = problems(&format!("broker: {{url: '{url}'}}"));

        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(why), "{url}: {problems:?}");
    }
}

#[test]
fn a_wrong_proxy_says_why_and_repeats_no_password() {
    for (keys, problem) in [
        ("proxy: proxy:3128", "proxy: is no address of an HTTP proxy to which we speak unencrypted"),
        ("proxy: 'https://proxy:3128'", "proxy: is no address of an HTTP proxy to which we speak unencrypted"),
        (
            "proxy: 'socks5://user:hunter2@proxy:1080'",
            "proxy: holds a user name or a password before an `@`; give these",
        ),
        ("proxy: 'http://user:hunter2@proxy:1'", "proxy: holds a user name or a password before an `@`; give these as"),
        ("proxy: 'http://proxy'", "proxy: has no port, and proxies have no common one; allowed is `http://HOST:PORT`"),
        ("proxy: 'http://proxy:0'", "proxy: has no valid port"),
        ("proxy: 'http://proxy:3128/path'", "proxy: has no valid port"),
        ("proxy: 'http://::1:3128'", "proxy: is an IPv6 address without brackets around it"),
        ("proxy: 3128", "proxy: found `3128`; allowed: `http://HOST:PORT`"),
        ("proxy_username: a", "proxy_username: is for a proxy, and `broker.proxy` is not set"),
        ("proxy: 'http://p:1', proxy_password_file: /a", "proxy_password_file: needs `broker.proxy_username`"),
        ("proxy: 'http://p:1', proxy_username: 'a:b'", "text without colons and control characters"),
    ] {
        let problems = problems(&format!("broker: {{url: mqtt://h, {keys}}}"));

        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(problem) && !problems[0].contains("hunter2"), "{keys}: {problems:?}");
    }
}

#[test]
fn a_query_is_for_the_library_alone() {
    let config = config("broker: {url: 'wss://broker/mqtt?token=hunter2'}");

    assert_eq!(config.broker.addresses[0].reveal(), "wss://broker:443/mqtt?token=hunter2");
    for text in [format!("{config:?}"), config.to_yaml()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn an_address_of_any_length_is_refused_in_few_words() {
    let problems = problems(&format!("broker: {{url: 'wss://broker/mqtt?{}'}}", "x".repeat(5000)));

    assert_eq!(problems, ["1: broker.url: has 5018 bytes; allowed are at most 4096"]);
}

#[test]
fn a_password_in_an_address_is_refused_and_never_repeated() {
    for text in [
        "broker: {url: 'mqtt://user:hunter2@broker'}",
        "broker: {url: 'mqtts://user:hunter2@broker'}",
        "broker: {url: 'tcp://user:hunter2@broker'}",
        "broker: {url: 'mqtt://user:hun@ter2@broker'}",
        "broker: {url: 'user:hunter2@broker'}",
        "broker: 'mqtt://user:hunter2@broker'",
        "'mqtt://user:hunter2@broker'",
        "broker: {urls: ['mqtt://user:hunter2@broker']}",
        "broker: {url: 'wss://user:hunter2@broker/mqtt?token=a'}",
        "broker: {url: 'wss://broker/mqtt?user=me@here&token=hunter2'}",
        "broker: {url: 'wss://user:hun?ter2@broker/mqtt'}",
        "broker: {url: 'http://broker/mqtt?token=hunter2'}",
        "broker: {url: 'broker/mqtt?token=hunter2'}",
        "broker: {url: 'mqtt://broker?token=hunter2'}",
        "broker: {url: 'mqtt://broker/path?token=hunter2'}",
        "broker: {url: 'wss://broker:x/mqtt?token=hunter2'}",
        "broker: {url: 'wss://broker/mqtt?token=hunter2#a'}",
        "broker: {url: mqtt://h, password: hunter2}",
    ] {
        let problems = problems(text).join("\n");

        assert!(!problems.contains("hun") && !problems.contains("ter2"), "{text}: {problems}");
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
    let file = SourceKind::File { path: "/b".into(), scale: 0.001, offset: 0.0, unit: None };
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
fn a_bare_password_file_is_a_credential_of_systemd() {
    let host = Host { credentials: Some(PathBuf::from("/run/credentials/packhorse")), ..host() };
    let password_file = |written: &str, host| {
        let text = format!("broker: {{url: mqtt://h, password_file: {written}}}");
        inspect_text(&text, Path::new("test.yaml"), host).outcome.unwrap().broker.password_file.unwrap()
    };

    assert_eq!(password_file("mqtt", &host), Path::new("/run/credentials/packhorse/mqtt"));
    assert_eq!(password_file("/etc/mqtt", &host), Path::new("/etc/mqtt"));
    assert_eq!(password_file("./mqtt", &host), Path::new("./mqtt"));
    assert_eq!(password_file("mqtt", &super::host()), Path::new("mqtt"));
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
fn a_secret_over_an_open_connection_and_a_broker_that_proves_nothing_are_warned_of() {
    let warnings = |text: &str| {
        let inspection = inspect_text(text, Path::new("test.yaml"), &host());
        assert!(inspection.outcome.is_ok(), "{inspection:?}");
        inspection.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (broker, warning) in [
        (
            "{url: mqtt://broker.example, username: u, password_file: /p}",
            Some("1: broker.url: the password goes unencrypted"),
        ),
        (
            "{urls: ['mqtts://a.example', 'ws://192.168.1.2'], password_file: /p}",
            Some("1: broker.urls: the password goes"),
        ),
        ("{url: mqtt://broker.example, username: 'a?token=b'}", Some("1: broker.url: the password goes unencrypted")),
        (
            "{url: 'ws://broker.example/mqtt?token=b'}",
            Some("1: broker.url: what stands behind the `?` goes unencrypted"),
        ),
        (
            "{url: mqtts://broker.example, proxy: 'http://10.0.0.1:3128', proxy_username: u, proxy_password_file: /p}",
            Some("1: broker.proxy_password_file: the proxy's password goes unencrypted to 10.0.0.1"),
        ),
        ("{url: mqtts://broker.example, tls: {verify: false}}", Some("1: broker.tls.verify: is false")),
        ("{url: 'wss://broker.example/mqtt?token=b'}", None),
        ("{url: mqtts://broker.example, proxy: 'http://[::1]:3128', proxy_username: u, proxy_password_file: /p}", None),
        ("{url: mqtt://broker.example, username: u}", None),
        ("{url: mqtts://broker.example, password_file: /p}", None),
        ("{url: mqtt://localhost, password_file: /p}", None),
        ("{url: 'ws://[::1]', password_file: /p}", None),
        ("{url: mqtt://127.8.8.8, password_file: /p}", None),
    ] {
        let warnings = warnings(&format!("broker: {broker}\n"));
        match warning {
            Some(warning) => assert!(warnings.len() == 1 && warnings[0].starts_with(warning), "{broker}: {warnings:?}"),
            None => assert!(warnings.is_empty(), "{broker}: {warnings:?}"),
        }
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

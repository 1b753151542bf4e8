//! What the section of the broker may say.

use super::super::host::Host;
use super::super::load::inspect_text;
use super::{config, host, problems};
use crate::message::Qos;
use std::path::{Path, PathBuf};

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
        ("mqtt://[fe80::1%eth0]", "mqtt://[fe80::1%eth0]:1883"),
        ("wss://[fe80::1%en-0.7]:444", "wss://[fe80::1%en-0.7]:444/mqtt"),
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
        ("mqtt://[fe80::1]", "lacks its network interface, as in `[fe80::1%eth0]`"),
        ("mqtt://[2001:db8::1%eth0]", "which only link-local addresses (fe80::...) have"),
        ("mqtt://[fe80::1%25eth0]", "has `%25` where a `%` is enough"),
        ("mqtt://[fe80::1%]", "no name of a network interface"),
        ("mqtt://[fe80::1%../../x]", "without its other half"),
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
            "{urls: ['mqtts://a.example', 'ws://192.168.1.2'], username: u, password_file: /p}",
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
        (
            "{url: mqtts://broker.example, password_file: /p}",
            Some("1: broker.password_file: is given without `broker.username`"),
        ),
        ("{url: mqtts://broker.example, tls: {verify: false}}", Some("1: broker.tls.verify: is false")),
        ("{url: 'wss://broker.example/mqtt?token=b'}", None),
        ("{url: mqtts://broker.example, proxy: 'http://[::1]:3128', proxy_username: u, proxy_password_file: /p}", None),
        ("{url: mqtt://broker.example, username: u}", None),
        ("{url: mqtts://broker.example, username: u, password_file: /p}", None),
        ("{url: mqtt://localhost, username: u, password_file: /p}", None),
        ("{url: 'ws://[::1]', username: u, password_file: /p}", None),
        ("{url: mqtt://127.8.8.8, username: u, password_file: /p}", None),
    ] {
        let warnings = warnings(&format!("broker: {broker}\n"));
        match warning {
            Some(warning) => assert!(warnings.len() == 1 && warnings[0].starts_with(warning), "{broker}: {warnings:?}"),
            None => assert!(warnings.is_empty(), "{broker}: {warnings:?}"),
        }
    }
}

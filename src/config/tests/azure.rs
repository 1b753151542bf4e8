//! What may stand beside `broker.azure_iot_hub`.

use super::super::host::Host;
use super::super::load::inspect_text;
use super::super::{Config, Problem, Protocol};
use super::host;
use crate::azure::{ConnectionString, Credential, Origin, Unusable};
use crate::message::Qos;
use std::path::Path;
use std::time::Duration;

/// The connection strings of files by these names, whatever their folders; the environment has none.
pub fn connection_string(origin: &Origin) -> Result<ConnectionString, Unusable> {
    let Origin::File(path) = origin else { return Err(Unusable::Unset(origin.clone())) };
    let text = match path.file_name().unwrap_or_default().to_str() {
        Some("pi-7") => "HostName=contoso.azure-devices.net;DeviceId=pi-7;SharedAccessKey=aHVudGVyMg==",
        Some("edge") => "HostName=contoso.azure-devices.net;DeviceId=pi-7;SharedAccessKey=AAEC;GatewayHostName=edge",
        Some("x509") => "HostName=contoso.azure-devices.net;DeviceId=pi-7;x509=true",
        _ => "HostName=h;DeviceId=d;SharedAccessKeyhunter2",
    };
    text.parse().map_err(|malformed| Unusable::Malformed(origin.clone(), malformed))
}

/// Reads a configuration whose file names the connection string `file`, with `keys` beside it in the broker's section.
fn outcome(file: &str, keys: &str, rest: &str) -> Result<Config, Vec<Problem>> {
    let text = format!("broker:\n  azure_iot_hub: {{connection_string_file: /run/{file}}}\n  {keys}\n{rest}\n");
    inspect_text(&text, Path::new("test.yaml"), &host()).outcome.map_err(Vec::from)
}

#[track_caller]
fn config(file: &str, keys: &str, rest: &str) -> Config {
    outcome(file, keys, rest).unwrap_or_else(|problems| panic!("{keys}\n{rest}\n{problems:#?}"))
}

#[test]
fn everything_follows_from_the_connection_string() {
    let Config { broker, telemetry, status, .. } = config("pi-7", "", "");

    assert_eq!(broker.addresses[0].to_string(), "mqtts://contoso.azure-devices.net:8883");
    assert_eq!(broker.client_id, "pi-7");
    assert_eq!(broker.username.as_deref(), Some("contoso.azure-devices.net/pi-7/?api-version=2021-04-12"));
    assert_eq!((broker.protocol, broker.password_file), (Protocol::V311, None));
    assert_eq!(broker.azure_iot_hub.unwrap().token_lifetime, Duration::from_secs(3600));
    assert_eq!(telemetry.sources[0].topic, "devices/pi-7/messages/events/");
    assert_eq!(telemetry.sources[0].qos, Qos::AtLeastOnce);
    assert_eq!(status.topic, None);
}

#[test]
fn an_address_beside_it_wins_over_the_hub_s_and_a_gateway_s() {
    for (file, keys, address) in [
        ("edge", "", "mqtts://edge:8883"),
        ("edge", "url: mqtts://localhost:1234", "mqtts://localhost:1234"),
        ("pi-7", "urls: ['wss://a/$iothub/websocket', mqtts://b]", "wss://a:443/$iothub/websocket"),
    ] {
        let broker = config(file, keys, "").broker;

        assert_eq!(broker.addresses[0].to_string(), address);
        assert_eq!(broker.username.as_deref(), Some("contoso.azure-devices.net/pi-7/?api-version=2021-04-12"));
    }
}

#[test]
fn what_follows_may_be_said_and_not_contradicted() {
    let same = "client_id: pi-7\n  username: contoso.azure-devices.net/pi-7/?api-version=2021-04-12";
    config("pi-7", same, "telemetry: {topic: devices/pi-7/messages/events/}\nstatus: {topic: ~}");

    for (keys, rest, problem) in [
        (
            "client_id: pi-8",
            "",
            "3: broker.client_id: follows from `broker.azure_iot_hub`, and is `pi-7`; leave it out",
        ),
        ("username: pi-7", "", "3: broker.username: follows from `broker.azure_iot_hub`, and is `contoso"),
        ("password_file: /p", "", "3: broker.password_file: has no use with `broker.azure_iot_hub`: the device signs"),
        ("protocol: 5", "", "3: broker.protocol: is 5, and Azure IoT Hub knows 3.1.1 alone"),
        (
            "keep_alive: 1178s",
            "",
            "3: broker.keep_alive: is too long for Azure IoT Hub; allowed with it: at most 1177s",
        ),
        ("connect_timeout: 31min", "", "2: broker.azure_iot_hub: `token_lifetime` is less than twice `broker.connect_"),
        ("", "telemetry: {qos: 2}", "4: telemetry.qos: is 2, on which Azure IoT Hub ends the connection; allowed with"),
        ("", "telemetry: {topic: a}", "4: telemetry.topic: follows from `broker.azure_iot_hub`, and is `devices/pi-7/"),
        (
            "",
            "telemetry: {sources: [{name: a, type: system, qos: 2}]}",
            "4: telemetry.sources[0].qos: is 2, on which Azure",
        ),
        (
            "",
            "telemetry: {sources: [{name: a, type: system, topic: a}]}",
            "4: telemetry.sources[0].topic: follows from `broker.azure_iot_hub`",
        ),
        (
            "",
            "telemetry: {sources: [{name: a, type: system, retain: true}]}",
            "4: telemetry.sources[0].retain: has no use with `broker.azure_iot_hub`: the hub retains no messages",
        ),
        ("", "status: {topic: s}", "4: status.topic: has no use with `broker.azure_iot_hub`: the hub retains no"),
    ] {
        let problems = outcome("pi-7", keys, rest).unwrap_err();

        assert_eq!(problems.len(), 1, "{keys}{rest}: {problems:#?}");
        assert!(problems[0].to_string().starts_with(problem), "{}", problems[0]);
    }
    config("pi-7", "keep_alive: 1177s\n  connect_timeout: 30min", "telemetry: {qos: 0}");
}

#[test]
fn a_device_with_a_certificate_needs_one() {
    let problems = outcome("x509", "", "").unwrap_err();
    let broker = config("x509", "tls: {cert_file: /c, key_file: /k}", "").broker;

    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].to_string().contains("broker.tls: lacks `cert_file`"), "{}", problems[0]);
    assert_eq!(broker.azure_iot_hub.unwrap().device.credential, Credential::Certificate);
}

#[test]
fn a_connection_string_that_is_no_use_is_one_problem_that_repeats_nothing() {
    let rest = "telemetry: {topic: a}\nstatus: {topic: ~}";
    let problems = outcome("broken", "client_id: a\n  username: b", rest).unwrap_err();

    assert_eq!(problems.len(), 1, "{problems:#?}");
    let problem = problems[0].to_string();
    assert!(
        problem.starts_with("2: broker.azure_iot_hub.connection_string_file: `/run/broken` has something"),
        "{problem}"
    );
    assert!(!problem.contains("hunter2"), "{problem}");
}

#[test]
fn without_a_file_the_environment_is_asked() {
    let outcome = |host: &Host, section| {
        let text = format!("broker: {{azure_iot_hub: {section}}}\n");
        inspect_text(&text, Path::new("test.yaml"), host).outcome.map_err(|problems| problems.to_string())
    };
    let from_environment = Host {
        connection_string: |origin| {
            assert_eq!(origin, &Origin::Environment);
            connection_string(&Origin::File("/pi-7".into()))
        },
        ..host()
    };

    let config = outcome(&from_environment, "{}").unwrap();
    assert_eq!(config.broker.azure_iot_hub.as_ref().unwrap().connection_string, Origin::Environment);
    assert!(config.to_yaml().contains("connection_string_file: null"), "{}", config.to_yaml());
    let missing = outcome(&host(), "{}").unwrap_err();
    assert!(missing.contains("1: broker.azure_iot_hub.connection_string_file: is missing; name the file"), "{missing}");
    assert!(missing.contains("or set $IOTHUB_DEVICE_CONNECTION_STRING") && missing.lines().count() == 1, "{missing}");
    let off = outcome(&from_environment, "~").unwrap_err();
    assert!(off.contains("broker.url: is missing"), "{off}");
}

#[test]
fn neither_the_effective_configuration_nor_its_debug_print_holds_the_key() {
    let config = config("pi-7", "", "");

    for shown in [config.to_yaml(), format!("{config:?}")] {
        assert!(shown.contains("contoso") && shown.contains("/run/pi-7"), "{shown}");
        assert!(!shown.contains("aHVudGVyMg") && !shown.contains("hunter2"), "{shown}");
    }
}

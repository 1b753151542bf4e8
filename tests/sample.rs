//! `packhorse sample` as its user meets it.

use std::fs;
use std::process::{Command, Output};
use tempfile::TempDir;

fn sample(folder: &TempDir, names: &[&str]) -> Output {
    let path = folder.path().display();
    let config = format!(
        "device: gateway-7\nbroker: {{url: \"mqtt://127.0.0.1:1\"}}\nspool: {{directory: {path}/spool}}\n\
         logging: {{directory: {path}/logs}}\ntelemetry:\n  sources:\n\
         \x20   - {{name: cabinet, type: file, path: {path}/temperature, scale: 0.001, unit: celsius, qos: 2, expiry: 60s}}\n\
         \x20   - {{name: gone, type: file, path: {path}/gone}}\n"
    );
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    fs::write(folder.path().join("temperature"), "48312\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
    command.arg("--config").arg(folder.path().join("config.yaml")).arg("sample").args(names).output().unwrap()
}

#[test]
fn it_prints_what_would_be_published_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();

    let output = sample(&folder, &["cabinet"]);

    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let (head, payload) = text.split_once("payload: ").unwrap();
    assert_eq!(
        head,
        "topic: telemetry/gateway-7/cabinet\nqos: 2\nretain: false\ncontent type: application/json\n\
         message expiry: 60 s\nuser property: stream=00000000\nuser property: seq=0\n"
    );
    let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
    assert_eq!(payload["device"], "gateway-7");
    assert_eq!(payload["data"], serde_json::json!({"value": 48.312, "unit": "celsius"}));
    assert!(!folder.path().join("spool").exists() && !folder.path().join("logs").exists());
}

#[test]
fn a_source_that_fails_is_named_and_the_others_are_printed() {
    let folder = tempfile::tempdir().unwrap();

    let output = sample(&folder, &[]);

    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(text.contains("\"source\":\"cabinet\""), "{text}");
    assert!(errors.contains("source gone gives no sample") && errors.contains("/gone"), "{errors}");
}

#[test]
fn an_unknown_source_is_a_wrong_command_line_and_the_known_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();

    let output = sample(&folder, &["cabinett"]);

    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{errors}");
    assert!(errors.contains("no source named cabinett") && errors.contains("cabinet, gone"), "{errors}");
}

#[test]
fn for_an_iot_hub_the_properties_stand_in_the_topic() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path().display(), folder.path().join("config.yaml"));
    let text = format!(
        "broker: {{azure_iot_hub: {{}}}}\nspool: {{directory: {path}/spool}}\nlogging: {{directory: {path}/logs}}\n\
         telemetry: {{sources: [{{name: wind, type: simulated}}]}}\n"
    );
    fs::write(&config, text).unwrap();
    let string = "HostName=contoso.azure-devices.net;DeviceId=pi-7;SharedAccessKey=aHVudGVyMg==";
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
    command.arg("--config").arg(config).arg("sample").env("IOTHUB_DEVICE_CONNECTION_STRING", string);

    let output = command.output().unwrap();

    let text = String::from_utf8(output.stdout).unwrap();
    let topic = "devices/pi-7/messages/events/%24.mid=00000000-0&%24.ct=application%2Fjson&%24.ce=utf-8\
                 &stream=00000000&seq=0";
    assert!(text.starts_with(&format!("topic: {topic}\nqos: 1\nretain: false\npayload: {{")), "{text}");
}

/// What the binary prints for a source that reads this file.
fn sample_of(folder: &TempDir, keys: &str) -> Output {
    let (path, config) = (folder.path().display(), folder.path().join("config.yaml"));
    let text = format!(
        "device: gateway-7\nbroker: {{url: \"mqtt://127.0.0.1:1\"}}\nspool: {{directory: {path}/spool}}\n\
         telemetry: {{sources: [{{name: a, type: file, path: {path}/sensor, timeout: 200ms{keys}}}]}}\n"
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
    command.arg("--config").arg(config).arg("sample").output().unwrap()
}

#[test]
fn what_is_not_scaled_is_printed_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    for (content, keys, expected) in [
        ("Raspberry Pi 4 Model B\0", "", r#""data":{"value":"Raspberry Pi 4 Model B"}"#),
        ("000000007e123456\n", "", r#""data":{"value":"000000007e123456"}"#),
        ("18446744073709551615\n", "", r#""data":{"value":18446744073709551615}"#),
        ("0.12345678901234567\n", "", r#""data":{"value":0.12345678901234567}"#),
        ("0042\n", ", as: number", r#""data":{"value":42}"#),
        ("42\n", ", as: text", r#""data":{"value":"42"}"#),
    ] {
        fs::write(folder.path().join("sensor"), content).unwrap();

        let output = sample_of(&folder, keys);

        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_source_that_hangs_is_given_up_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("mkfifo").arg(folder.path().join("sensor")).status().unwrap();
    assert!(made.success());

    let output = sample_of(&folder, "");

    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("source a gives no sample: it hangs: no reading within 200ms (`timeout`)"), "{errors}");
}

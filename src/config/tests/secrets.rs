//! What looks like a secret is never repeated, wherever in a configuration it was put.

use super::{MINIMAL, outcome};
use crate::config::keys;
use proptest::prelude::*;

/// What people put into wrong places; `MARK` must be shown nowhere.
const SECRETS: [&str; 10] = [
    "HostName=h.example;DeviceId=d;SharedAccessKey=MARKabcdefghijklmnopqrstuvwxyz=",
    "SharedAccessSignature sr=h&sig=MARK&se=1",
    "mqtt://horse:MARK@broker.example",
    "mqtt://broker.example?token=MARK",
    "ws://broker.example/mqtt?MARK",
    "ws://broker.example/token=MARK",
    "horse:MARK@broker.example",
    "password=MARK",
    "-----BEGIN PRIVATE KEY-----\\nMARK\\n-----END PRIVATE KEY-----",
    "MARKAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
];

/// The text `value` at a dotted key, in YAML on one line.
fn placed(key: &str, value: &str) -> String {
    key.rsplit('.').fold(value.to_owned(), |inner, part| match part.strip_suffix("[]") {
        Some(list) => format!("{{{list}: [{inner}]}}"),
        None => format!("{{\"{part}\": {inner}}}"),
    })
}

/// All that is said of a configuration.
fn said(text: &str) -> String {
    match outcome(text) {
        Ok(config) => config.to_yaml(),
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n{problem:?}\n")).collect(),
    }
}

#[test]
fn a_secret_in_place_of_any_value_is_not_repeated() {
    let mut refused = 0;
    for key in keys() {
        for secret in SECRETS {
            for value in [format!("\"{secret}\""), format!("[\"{secret}\"]"), format!("{{\"{secret}\": \"{secret}\"}}")]
            {
                let text = placed(&key, &value);

                let said = said(&text);

                assert!(!said.contains("MARK"), "{text}\n{said}");
                refused += usize::from(said.contains("looks like a secret"));
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn a_secret_in_place_of_a_key_is_not_repeated() {
    let sections = keys().into_iter().filter_map(|key| Some(key.rsplit_once('.')?.0.to_owned()));
    for section in sections.chain([String::new()]) {
        for secret in SECRETS {
            let text = placed(format!("{section}.KEY").trim_start_matches('.'), "1").replace("KEY", secret);

            let said = said(&text);

            assert!(!said.contains("MARK"), "{text}\n{said}");
        }
    }
}

#[test]
fn a_secret_that_is_the_whole_file_or_breaks_the_yaml_is_not_repeated() {
    for secret in SECRETS {
        for text in [
            secret.to_owned(),
            format!("\"{secret}\""),
            format!("{MINIMAL}{secret}\n"),
            format!("{MINIMAL}device: [{secret}\n"),
            format!("{MINIMAL}device: *{secret}\n"),
            format!("{MINIMAL}device: !{secret} a\n"),
            format!("{MINIMAL}%{secret}\n---\na\n"),
            format!("- &{secret} a\n- *{secret}x\n"),
            format!("device: a\n  {secret}: b\n"),
        ] {
            let said = said(&text);

            assert!(!said.contains("MARK"), "{text}\n{said}");
        }
    }
}

#[test]
fn a_token_in_the_user_name_is_taken_and_not_shown() {
    let config =
        outcome("broker: {url: mqtts://h, username: 'horse?x-amz-customauthorizer-name=a&token=MARK'}\ndevice: d")
            .unwrap();

    assert!(config.broker.username.as_ref().unwrap().ends_with("token=MARK"));
    assert!(!config.to_yaml().contains("MARK"), "{}", config.to_yaml());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_secret_between_other_text_is_not_repeated(
        key in any::<prop::sample::Index>(), secret in 0..SECRETS.len(), before in "([a-z ]{0,80} )?", after in "( [a-z ]{0,80})?",
    ) {
        let keys = keys();
        let key = key.get(&keys.iter().collect::<Vec<_>>()).to_string();
        let text = placed(&key, &format!("\"{before}{}{after}\"", SECRETS[secret]));

        let said = said(&text);

        prop_assert!(!said.contains("MARK"), "{}\n{}", text, said);
    }
}

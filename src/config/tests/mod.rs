//! The promises of the configuration, apart from those about files, which `tests/check.rs` keeps.

mod azure;
mod broker;
mod hints;
mod misreadings;
mod properties;
mod rules;
mod secrets;
mod slips;
mod structure;

use super::host::Host;
use super::load::inspect_text;
use super::{Config, Problem};
use std::path::{Path, PathBuf};

const SHIPPED: &str = include_str!("../../../config.yaml");
const MINIMAL: &str = "broker: {url: mqtt://localhost:1883}\n";

fn host() -> Host {
    Host { name: Some("gateway-7".to_owned()), connection_string: azure::connection_string, ..Host::default() }
}

fn outcome(text: &str) -> Result<Config, Vec<Problem>> {
    inspect_text(text, Path::new("test.yaml"), &host()).outcome.map_err(Vec::from)
}

#[track_caller]
pub(super) fn config(text: &str) -> Config {
    outcome(text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

/// The problems as `LINE: KEY: MESSAGE`.
#[track_caller]
fn problems(text: &str) -> Vec<String> {
    match outcome(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// The only problem of a minimal configuration with `lines` added.
#[track_caller]
fn problem_of(lines: &str) -> String {
    let problems = problems(&format!("{MINIMAL}{lines}\n"));
    assert_eq!(problems.len(), 1, "{lines}: {problems:#?}");
    problems[0].clone()
}

/// What a minimal configuration with `lines` added means.
#[track_caller]
fn config_of(lines: &str) -> Config {
    config(&format!("{MINIMAL}{lines}\n"))
}

#[test]
fn the_shipped_file_says_the_defaults() {
    assert_eq!(config(SHIPPED), config(MINIMAL));
}

#[test]
fn the_shipped_file_shows_every_key_of_the_schema() {
    let (root, _) = super::tree::grow(SHIPPED).unwrap();
    for key in super::keys() {
        let inner = key.strip_prefix("telemetry.sources[].").or_else(|| key.strip_prefix("broker.azure_iot_hub."));
        let shown = match inner {
            // What only some sources have stands in the comments of the list, and so does what an IoT hub has.
            Some(key) => SHIPPED.contains(&format!("{key}: ")),
            None => has(&root, &key),
        };

        assert!(shown, "config.yaml does not show `{key}`");
    }
}

fn has(node: &super::tree::Node, dotted: &str) -> bool {
    let (key, rest) = dotted.split_once('.').unwrap_or((dotted, ""));
    let super::tree::Content::Mapping(entries) = &node.content else { return false };
    entries.iter().any(|entry| entry.key.as_deref() == Some(key) && (rest.is_empty() || has(&entry.node, rest)))
}

#[test]
fn the_effective_configuration_shows_every_key_of_the_schema() {
    let written = config(
        "broker: {azure_iot_hub: {connection_string_file: /pi-7}}\ntelemetry: {sources: [{name: a, type: file, path: /a}, {name: b, type: simulated}, {name: c, type: system}]}",
    )
    .to_yaml();

    let (root, _) = super::tree::grow(&written).unwrap();
    for key in super::keys() {
        let shown = match key.strip_prefix("telemetry.sources[].") {
            Some(key) => written.contains(&format!(" {key}: ")),
            None => has(&root, &key),
        };
        assert!(shown, "the effective configuration lacks `{key}`:\n{written}");
    }
}

#[test]
fn the_schema_lists_its_keys() {
    let keys = super::keys();

    for key in ["device", "broker.tls.verify", "telemetry.sources", "telemetry.sources[].seed", "status.topic"] {
        assert!(keys.contains(key), "{key} is not in {keys:?}");
    }
}

#[test]
fn a_flag_beats_the_places_that_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["config.yaml", "other.yaml"].map(|name| folder.path().join(name));
    std::fs::write(&second, MINIMAL).unwrap();
    let places = vec![first.clone(), second.clone()];
    let locate = |flag| super::load::locate_among(flag, places.clone());

    assert_eq!(locate(Some(Path::new("flag.yaml"))), Ok(PathBuf::from("flag.yaml")));
    assert_eq!(locate(None), Ok(second.clone()));
    std::fs::write(&first, MINIMAL).unwrap();
    assert_eq!(locate(None), Ok(first));
}

#[test]
fn a_missing_configuration_names_the_places_that_were_looked_at() {
    let places = vec![PathBuf::from("/nowhere/config.yaml"), PathBuf::from("/nowhere/else.yaml")];

    let message = super::load::locate_among(None, places).unwrap_err().to_string();

    for part in ["--config", "$PACKHORSE_CONFIG", "/nowhere/config.yaml", "/nowhere/else.yaml"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_place_that_nobody_lets_us_look_at_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("later.yaml"), MINIMAL).unwrap();
    std::os::unix::fs::symlink("loop", file("loop")).unwrap();
    let places = |first: &str| vec![file(first), file("later.yaml")];

    assert_eq!(super::load::locate_among(None, places("loop/config.yaml")), Ok(file("loop/config.yaml")));
    assert_eq!(super::load::locate_among(None, places("none/config.yaml")), Ok(file("later.yaml")));
    assert_eq!(super::load::locate_among(None, places("later.yaml/config.yaml")), Ok(file("later.yaml")));
}

//! What single values may be. Each function takes a YAML value and says what is allowed when it does not fit.

use crate::message::{Format, Qos};
use bytesize::ByteSize;
use log::LevelFilter;
use serde_yaml::Value;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// A value as its user wrote it, for an error.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => format!("`{}`", value.escape_debug()),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a section".to_owned(),
        Value::Tagged(value) => format!("a value tagged {}", value.tag),
    }
}

fn wrong<T>(value: &Value, allowed: impl Display) -> Result<T, String> {
    Err(format!("{} is not allowed; allowed: {allowed}", shown(value)))
}

/// Text that is not empty. A number is taken as text, as in `device: 7`.
pub fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => wrong(other, "text that is not empty"),
    }
}

/// A path.
pub fn path(value: &Value) -> Result<PathBuf, String> {
    match value {
        Value::String(text) if !text.is_empty() && !text.contains('\0') => Ok(PathBuf::from(text)),
        other => wrong(other, "a path"),
    }
}

/// `true` or `false`.
pub fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().map_or_else(|| wrong(value, "true, false"), Ok)
}

/// A duration within a range, as `10s` or `1h 30m`.
pub fn duration(allowed: RangeInclusive<Duration>) -> impl Fn(&Value) -> Result<Duration, String> {
    move |value| {
        let bounds = || {
            let (from, to) = (allowed.start(), allowed.end());
            let example = "a duration such as 10s or 1h 30m";
            match (*from, *to) {
                (from, Duration::MAX) => format!("{example}, at least {}", humantime::format_duration(from)),
                (from, to) => {
                    let (from, to) = (humantime::format_duration(from), humantime::format_duration(to));
                    format!("{example}, from {from} to {to}")
                }
            }
        };
        let parsed = match value {
            Value::String(text) => humantime::parse_duration(text).ok(),
            // The one duration that needs no unit.
            Value::Number(number) if number.as_u64() == Some(0) => Some(Duration::ZERO),
            _ => None,
        };
        parsed.filter(|duration| allowed.contains(duration)).map_or_else(|| wrong(value, bounds()), Ok)
    }
}

/// A duration of whole seconds within a range.
pub fn whole_seconds(seconds: RangeInclusive<u64>) -> impl Fn(&Value) -> Result<Duration, String> {
    let read = duration(Duration::from_secs(*seconds.start())..=Duration::from_secs(*seconds.end()));
    move |value| match read(value)? {
        duration if duration.subsec_nanos() > 0 => wrong(value, "whole seconds"),
        duration => Ok(duration),
    }
}

/// A size in bytes, as `64MiB`, of at least this many.
pub fn size(at_least: u64) -> impl Fn(&Value) -> Result<u64, String> {
    move |value| {
        let parsed = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
            _ => None,
        };
        let allowed = || format!("a size such as 64MiB, at least {}", ByteSize(at_least).display().iec());
        parsed.filter(|size| *size >= at_least).map_or_else(|| wrong(value, allowed()), Ok)
    }
}

/// A whole number within a range.
pub fn integer<T>(allowed: RangeInclusive<T>) -> impl Fn(&Value) -> Result<T, String>
where
    T: TryFrom<u64> + PartialOrd + Display,
{
    move |value| {
        let number = value.as_u64().and_then(|number| T::try_from(number).ok()).filter(|n| allowed.contains(n));
        let bounds = || format!("a whole number from {} to {}", allowed.start(), allowed.end());
        number.map_or_else(|| wrong(value, bounds()), Ok)
    }
}

/// A finite number that `allowed` accepts; `description` says in words which it does.
pub fn number(allowed: fn(f64) -> bool, description: &'static str) -> impl Fn(&Value) -> Result<f64, String> {
    move |value| {
        let number = value.as_f64().filter(|number| number.is_finite() && allowed(*number));
        number.map_or_else(|| wrong(value, description), Ok)
    }
}

/// One of some words.
pub fn one_of<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let chosen = value.as_str().and_then(|text| choices.iter().find(|(word, _)| *word == text));
        let words = || choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        chosen.map_or_else(|| wrong(value, words()), |(_, choice)| Ok(*choice))
    }
}

/// A level of the log. Some YAML tools write `off` as `false`.
pub fn level(value: &Value) -> Result<LevelFilter, String> {
    if value.as_bool() == Some(false) {
        return Ok(LevelFilter::Off);
    }
    one_of(&[
        ("off", LevelFilter::Off),
        ("error", LevelFilter::Error),
        ("warn", LevelFilter::Warn),
        ("info", LevelFilter::Info),
        ("debug", LevelFilter::Debug),
        ("trace", LevelFilter::Trace),
    ])(value)
}

/// A quality of service.
pub fn qos(value: &Value) -> Result<Qos, String> {
    let level = value.as_u64().and_then(|level| u8::try_from(level).ok());
    level.and_then(|level| Qos::try_from(level).ok()).map_or_else(|| wrong(value, "0, 1, 2"), Ok)
}

/// A payload format.
pub fn format(value: &Value) -> Result<Format, String> {
    one_of(&[("json", Format::Json)])(value)
}

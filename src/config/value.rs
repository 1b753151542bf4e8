//! Reading single values: from a leaf of the tree to a checked value in its own unit, or to the reason why not.
//!
//! Pure functions of the leaf; what depends on several keys is checked in [`super::read`].

use super::hints;
use super::tree::{Content, Node, Scalar, echo, printable};
use crate::foreign;
use bytesize::ByteSize;
use log::LevelFilter;
use std::ops::RangeInclusive;
use std::path::{Component, PathBuf};
use std::time::Duration;

/// Why a value is refused; the section that reads it adds what was found and the key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    /// What is allowed instead, as in `a number from 0 to 1`.
    Allowed(String),
    /// A whole sentence of its own, for values that must not be repeated or need another explanation.
    Because(String),
}

pub(super) type Reading<T> = Result<T, Refusal>;

/// The longest duration that is read: MQTT counts in 32-bit seconds, and no clock overflows on it.
pub(super) const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// The longest string that MQTT carries (section 1.5.4), in bytes.
const MQTT_STRING_MAX: usize = 65_535;

pub(super) fn allowed<T>(what: impl Into<String>) -> Reading<T> {
    Err(Refusal::Allowed(what.into()))
}

pub(super) fn because<T>(sentence: impl Into<String>) -> Reading<T> {
    Err(Refusal::Because(sentence.into()))
}

/// Text of one line, or a number as it was written: `device: 0012` means the name `0012`. What looks like a secret is
/// refused, for all text of a configuration is shown somewhere: in topics, in the log, by `packhorse check`.
pub(super) fn text(node: &Node) -> Reading<String> {
    let text = any_text(node)?;
    if foreign::secret_at(&text).is_some() {
        return because(
            "looks like a secret (a password, a token, a key or a connection string), which has no place here; \
             `broker.password_file`, `broker.tls.key_file` and `broker.azure_iot_hub.connection_string_file` name the \
             files that hold secrets",
        );
    }
    Ok(text)
}

/// Like [`text`], of what nobody is shown.
pub(super) fn any_text(node: &Node) -> Reading<String> {
    // YAML 1.1, which `serde_yaml` writes, and YAML 1.2 disagree on which of these end a line.
    let strange = |character: char| character.is_control() || "\u{2028}\u{2029}".contains(character);
    match &node.content {
        Content::Scalar { text, .. } if hints::deceptive(text).is_some() => {
            allowed("text without signs that nobody sees or that look like quotes")
        }
        Content::Scalar { text, value: Scalar::Text | Scalar::Integer(_) | Scalar::Float(_) }
            if !text.is_empty() && !text.contains(strange) =>
        {
            Ok(text.clone())
        }
        Content::Scalar { value: Scalar::Bool(_), .. } => allowed("text, which needs quotes here"),
        _ => allowed("text of one line and at least one character, without control characters"),
    }
}

pub(super) fn truth(node: &Node) -> Reading<bool> {
    match node.unquoted() {
        Some((_, Scalar::Bool(truth))) => Ok(truth),
        _ => allowed("`true` or `false`"),
    }
}

/// A whole number within `range`.
pub(super) fn integer<T>(node: &Node, range: RangeInclusive<T>) -> Reading<T>
where
    T: TryFrom<i128> + PartialOrd + std::fmt::Display,
{
    let value = match node.unquoted() {
        Some((_, Scalar::Integer(value))) => T::try_from(value).ok(),
        _ => None,
    };
    match value {
        Some(value) if range.contains(&value) => Ok(value),
        _ => allowed(format!("a whole number from {} to {}", range.start(), range.end())),
    }
}

/// A finite number that passes `fits`; `what` describes those.
#[expect(clippy::cast_precision_loss, reason = "a whole number beyond 2^53 has no business in a factor or an offset")]
pub(super) fn number(node: &Node, fits: impl Fn(f64) -> bool, what: &str) -> Reading<f64> {
    let value = match node.unquoted() {
        Some((_, Scalar::Integer(value))) => value as f64,
        Some((_, Scalar::Float(value))) => value,
        Some((text, _)) => {
            let is_share = fits(1.0) && !fits(2.0);
            let share = hints::share(text).filter(|share| is_share && fits(*share));
            let share = share.map(|share| format!("it is no percentage; 1 is all of it: `{share}`"));
            let hint = hints::comma(text).or(share).map(|hint| format!("; {hint}")).unwrap_or_default();
            return allowed(format!("{what}{hint}"));
        }
        None => return allowed(what),
    };
    if value.is_finite() && fits(value) { Ok(value) } else { allowed(what) }
}

/// A duration within `range`.
pub(super) fn duration(node: &Node, range: RangeInclusive<Duration>) -> Reading<Duration> {
    let shortest = humantime::format_duration(*range.start());
    let longest = humantime::format_duration(*range.end());
    let what = if *range.end() == LONGEST {
        format!("a duration of at least {shortest}, such as `10s` or `1h 30m`")
    } else {
        format!("a duration from {shortest} to {longest}, such as `10s` or `1h 30m`")
    };
    let value = match node.unquoted() {
        Some((_, Scalar::Integer(0))) => Duration::ZERO,
        Some((text, Scalar::Integer(_) | Scalar::Float(_))) => {
            return allowed(format!("{what}; the unit is missing, as in `{}s`", printable(text)));
        }
        Some((text, Scalar::Text)) if hints::has_month_by_m(text) => {
            return allowed(format!("{what}; write `m` for minutes, or `months`"));
        }
        Some((text, Scalar::Text)) => match humantime::parse_duration(text) {
            Ok(value) => value,
            Err(error) => {
                let hint = hints::duration(text, &error).map(|hint| format!("; {hint}")).unwrap_or_default();
                return allowed(what + &hint);
            }
        },
        _ => return allowed(what),
    };
    if value > LONGEST {
        return allowed(format!("{what}, and at most {}", humantime::format_duration(LONGEST)));
    }
    if range.contains(&value) { Ok(value) } else { allowed(what) }
}

/// A duration that MQTT carries as a number of seconds.
pub(super) fn whole_seconds(node: &Node, range: RangeInclusive<Duration>) -> Reading<Duration> {
    let value = duration(node, range)?;
    if value.subsec_nanos() == 0 { Ok(value) } else { allowed("whole seconds, for MQTT counts in those") }
}

/// A size of at least `smallest` bytes.
pub(super) fn size(node: &Node, smallest: ByteSize) -> Reading<u64> {
    let what = format!("a size of at least {}, such as `64MiB` or a number of bytes", size_text(smallest.as_u64()));
    let value = match node.unquoted() {
        Some((_, Scalar::Integer(bytes))) => u64::try_from(bytes).ok(),
        Some((text, Scalar::Text)) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
        _ => None,
    };
    match value {
        Some(bytes) if bytes >= smallest.as_u64() => Ok(bytes),
        Some(_) if matches!(node.unquoted(), Some((_, Scalar::Integer(_)))) => {
            allowed(format!("{what}; without a unit it is that many bytes"))
        }
        _ => {
            let hint = node.unquoted().and_then(|(text, _)| hints::comma(text));
            allowed(what + &hint.map(|hint| format!("; {hint}")).unwrap_or_default())
        }
    }
}

/// A size in the largest unit that loses nothing.
pub(super) fn size_text(bytes: u64) -> String {
    let units = [(bytesize::GIB, "GiB"), (bytesize::MIB, "MiB"), (bytesize::KIB, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// One of several words; a near miss is named.
pub(super) fn choice<T: Copy>(node: &Node, choices: &[(&str, T)]) -> Reading<T> {
    let given = match &node.content {
        Content::Scalar { text, .. } => text.trim(),
        _ => "",
    };
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == given) {
        return Ok(*value);
    }
    let list = choices.iter().map(|(word, _)| echo(word)).collect::<Vec<_>>().join(", ");
    // `true` is no slip of `trace`.
    let is_word = !matches!(node.unquoted(), Some((_, Scalar::Bool(_))));
    match nearest(given, choices.iter().map(|(word, _)| *word)).filter(|_| is_word) {
        Some(word) => allowed(format!("{list}; did you mean {}?", echo(word))),
        None => allowed(list),
    }
}

/// The candidate that `given` is most likely a slip of, when one is near at all.
pub(super) fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this likeness, suggestions mislead more than they help: `port` is no slip of `topic`.
    const NEAR: f64 = 0.8;
    // Nobody slips into a hundred characters; the comparison is quadratic in them.
    let given = hints::usual(&given.chars().take(100).collect::<String>());
    // One slip of the finger counts by itself, for in a short word it changes much: `ulr`.
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&given, candidate), candidate))
        .filter(|(slips, candidate)| {
            (*slips == 1 && candidate.len() > 2) || strsim::jaro_winkler(&given, candidate) >= NEAR
        })
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// A log level. `off` is a truth value to a YAML 1.1 reader and text to a YAML 1.2 reader; `false` says the same.
pub(super) fn level(node: &Node) -> Reading<LevelFilter> {
    if let Some((_, Scalar::Bool(false))) = node.unquoted() {
        return Ok(LevelFilter::Off);
    }
    choice(
        node,
        &[
            ("off", LevelFilter::Off),
            ("error", LevelFilter::Error),
            ("warn", LevelFilter::Warn),
            ("info", LevelFilter::Info),
            ("debug", LevelFilter::Debug),
            ("trace", LevelFilter::Trace),
        ],
    )
}

/// A file or folder, as written.
pub(super) fn path(node: &Node) -> Reading<PathBuf> {
    let path = text(node)?;
    if path == "~" {
        return because("is `~` between quotes, which is a name; write it without them for none");
    }
    if path.starts_with('~') {
        return because("`~` is not replaced by a home folder; write the path in full");
    }
    if let Some(part) = path.split('/').find_map(hints::replaced_elsewhere) {
        return because(format!("{part} is not replaced here; write the path in full"));
    }
    if path.contains("://") {
        return because("is an address; allowed is a path, such as `/data/spool`");
    }
    Ok(PathBuf::from(path))
}

/// A folder of ours, as written.
pub(super) fn folder(node: &Node) -> Reading<PathBuf> {
    let path = path(node)?;
    if path.has_root() && path.components().all(|part| matches!(part, Component::RootDir | Component::ParentDir)) {
        return because("is the root of all folders; allowed is a folder of its own, such as `/data/packhorse`");
    }
    Ok(path)
}

/// Text that every broker takes: MQTT forbids NUL and warns of the other control characters and the noncharacters,
/// for which a broker may end the connection (section 1.5.4); mosquitto does.
pub(super) fn mqtt_text(text: &str) -> Reading<()> {
    let strange = |character: char| {
        let code = u32::from(character);
        character.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
    };
    if text.len() > MQTT_STRING_MAX {
        return too_long(text.len());
    }
    match text.chars().find(|character| strange(*character)) {
        Some(character) => because(format!("holds the character U+{:04X}, which MQTT forbids", u32::from(character))),
        None => Ok(()),
    }
}

fn too_long<T>(length: usize) -> Reading<T> {
    because(format!("has {length} bytes; allowed are at most {MQTT_STRING_MAX}"))
}

/// A name that becomes one level of a topic.
pub(super) fn name(text: &str) -> Reading<()> {
    if text.is_empty() {
        return because("is empty; allowed is text of at least one character");
    }
    // Braces would be taken for a placeholder.
    if let Some(character) = text.chars().find(|character| "/+#{}".contains(*character)) {
        let sentence = "which has a meaning in topics; allowed is a name without `/ + # { }`";
        return because(format!("{} holds `{character}`, {sentence}", echo(text)));
    }
    mqtt_text(text)
}

/// A topic that can be published to; `written` is how the file has it.
pub(super) fn topic(text: &str, written: &str) -> Reading<()> {
    if text.is_empty() {
        return because("is empty; allowed is a topic such as `telemetry/{device}/{source}`");
    }
    if let Some(wildcard) = text.chars().find(|character| "+#".contains(*character)) {
        return because(format!("{} holds `{wildcard}`, a wildcard that cannot be published to", echo(written)));
    }
    // `$aws/` and the like belong to services that take messages there.
    if let Some(reserved) = ["$SYS", "$share"].into_iter().find(|first| text.split('/').next() == Some(first)) {
        let what = if reserved == "$SYS" { "the broker's own messages" } else { "shared subscriptions" };
        return because(format!(
            "{} begins with `{reserved}`, which is for {what} and cannot be published to",
            echo(written)
        ));
    }
    mqtt_text(text)
}

/// Replaces the placeholders of `template`. Those not among `values` are refused, and so is what becomes longer than
/// MQTT carries, before it is there.
pub(super) fn replace(template: &str, values: &[(&str, &str)]) -> Reading<String> {
    let known = || values.iter().map(|(name, _)| format!("`{{{name}}}`")).collect::<Vec<_>>().join(", ");
    // Of what would be too long, no more than the length comes about.
    let (mut replaced, mut length) = (String::new(), 0);
    let mut push = |part: &str| {
        length += part.len();
        if length <= MQTT_STRING_MAX {
            replaced.push_str(part);
        }
    };
    let mut rest = template;
    while let Some(position) = rest.find(['{', '}']) {
        push(&rest[..position]);
        rest = &rest[position..];
        let end = rest.find('}').filter(|_| rest.starts_with('{'));
        let Some(end) = end else {
            return because(format!("{} holds a brace without its other half", echo(template)));
        };
        let placeholder = &rest[1..end];
        let Some((_, value)) = values.iter().find(|(name, _)| *name == placeholder) else {
            return because(format!("`{{{}}}` is unknown here; allowed: {}", printable(placeholder), known()));
        };
        push(value);
        rest = &rest[end + 1..];
    }
    push(rest);
    if length > MQTT_STRING_MAX {
        return too_long(length);
    }
    Ok(replaced)
}

//! What a user probably meant who wrote something else: a key in the wrong place or by another program's name, a unit, a
//! sign that looks like another one. Pure.
//!
//! Nothing of the file is repeated but keys of the schema, numbers and single signs: it may be a secret in a wrong place.

use super::tree::{PLACEHOLDERS, echo};
use crate::foreign;
use std::collections::BTreeSet;

/// Keys as other programs call them, and as they are called here.
const SYNONYMS: [(&str, &str); 33] = [
    ("address", "url"),
    ("host", "url"),
    ("hostname", "url"),
    ("port", "url"),
    ("server", "url"),
    ("uri", "url"),
    ("brokers", "urls"),
    ("hosts", "urls"),
    ("servers", "urls"),
    ("id", "client_id"),
    ("login", "username"),
    ("version", "protocol"),
    ("ssl", "tls"),
    ("insecure", "verify"),
    ("file", "path"),
    ("path", "directory"),
    ("dir", "directory"),
    ("folder", "directory"),
    ("file", "directory"),
    ("location", "directory"),
    ("dirname", "directory"),
    ("filename", "path"),
    ("level", "console"),
    ("period", "interval"),
    ("frequency", "interval"),
    ("mqtt", "broker"),
    ("connection", "broker"),
    ("server", "broker"),
    ("buffer", "spool"),
    ("queue", "spool"),
    ("storage", "spool"),
    ("sensors", "sources"),
    ("inputs", "sources"),
];

/// Signs that look like quotes and are none to YAML.
const QUOTES: &str = "\u{201c}\u{201d}\u{201e}\u{201f}\u{2018}\u{2019}\u{201a}\u{201b}\u{ab}\u{bb}\u{2039}\u{203a}\
                      \u{2032}\u{2033}\u{b4}\u{ff02}\u{ff07}";

/// Words for "none", which YAML takes for text where nothing says otherwise.
const NONE: [&str; 8] = ["none", "off", "no", "null", "nil", "never", "forever", "disabled"];

/// Units of durations that are taken; what else there is, such as `weeks`, nobody has to know.
const UNITS: &str = "units are `ms`, `s`, `m`, `h` and `d`";

/// What other programs replace in this part of a path: a variable, a command, a specifier of systemd, a placeholder of
/// topics.
pub(super) fn replaced_elsewhere(part: &str) -> Option<&'static str> {
    let begins = |sign: &str| {
        part.split(sign).skip(1).any(|rest| rest.starts_with(|next: char| next.is_alphabetic() || "_{(".contains(next)))
    };
    let is_specifier = || {
        let mut signs = part.chars();
        signs.next() == Some('%')
            && signs.next().is_some_and(|sign| sign.is_ascii_alphabetic())
            && signs.next().is_none()
    };
    match part {
        _ if begins("$") => Some("a variable (`$...`)"),
        _ if is_specifier() || (part.len() > 2 && part.starts_with('%') && part.ends_with('%')) => {
            Some("`%`, a specifier or variable,")
        }
        _ if PLACEHOLDERS.iter().any(|placeholder| part.contains(placeholder)) => Some("a placeholder of topics"),
        _ => None,
    }
}

/// The key among `here` that another program calls like this.
pub(super) fn synonym(key: &str, here: &[&'static str]) -> Option<&'static str> {
    let is_meant = |(theirs, ours): &(&str, &'static str)| key.eq_ignore_ascii_case(theirs) && here.contains(ours);
    SYNONYMS.into_iter().find(is_meant).map(|(_, ours)| ours)
}

/// Where a key belongs that is unknown where it stands; `None`: nowhere. `schema`: every key, dotted, list items as `[]`.
pub(super) fn elsewhere(key: &str, schema: &BTreeSet<String>) -> Option<String> {
    let key = &usual(key);
    let place = |dotted: &String| match dotted.rsplit_once('.') {
        Some((above, last)) if last == key => Some(match above.strip_suffix("[]") {
            Some(list) => format!("an item of {}", echo(list)),
            None => echo(above),
        }),
        None if dotted == key => Some("the top of the file, where nothing is indented".to_owned()),
        _ => None,
    };
    let places: Vec<String> = schema.iter().filter_map(place).collect();
    (!places.is_empty()).then(|| format!("unknown key here; it belongs to {}", places.join(", or to ")))
}

/// A key in the letters that keys have here.
pub(super) fn usual(key: &str) -> String {
    key.to_lowercase().replace('-', "_")
}

/// Whether a text is a word for "none".
pub(super) fn is_none(text: &str) -> bool {
    NONE.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// What a sign in this text is taken for, and is not.
pub(super) fn odd_sign(text: &str) -> Option<String> {
    if let Some(sign) = text.chars().find(|sign| QUOTES.contains(*sign)) {
        return Some(no_quote(sign));
    }
    if text.bytes().zip(text.bytes().skip(1)).any(|(before, sign)| sign == b'#' && !before.is_ascii_whitespace()) {
        return Some("a comment needs a space before its `#`".to_owned());
    }
    hidden(text)
}

/// What in a text is there by mistake, though text may hold it: quotes around it that are none to YAML, and signs that
/// nobody sees.
pub(super) fn deceptive(text: &str) -> Option<String> {
    let quote = |sign: Option<char>| sign.filter(|sign| QUOTES.contains(*sign));
    // An apostrophe may stand at the end: `Joes\u{2019}`.
    let around = quote(text.chars().next()).or(quote(text.chars().last().filter(|sign| *sign != '\u{2019}')));
    around.map(no_quote).or_else(|| hidden(text))
}

fn no_quote(sign: char) -> String {
    format!("`{sign}` is no quote to YAML; write `\"`, or no quotes")
}

/// The sign in a text that looks like a space or like nothing, or has the text shown in another order.
fn hidden(text: &str) -> Option<String> {
    let is_hidden = |sign: &char| (sign.is_whitespace() && !sign.is_ascii()) || foreign::is_invisible(*sign);
    let sign = text.chars().find(is_hidden)?;
    Some(format!(
        "it holds U+{:04X}, which looks like a space or like nothing; type a space there, or nothing",
        u32::from(sign)
    ))
}

/// The sign in a text that looks like a colon, and is none to YAML.
pub(super) fn odd_colon(text: &str) -> Option<char> {
    text.chars().find(|sign| "\u{ff1a}\u{fe55}\u{2236}\u{2d0}\u{a789}\u{fe13}".contains(*sign))
}

/// What is wrong with a text that is no duration.
pub(super) fn duration(text: &str, error: &humantime::DurationError) -> Option<String> {
    match error {
        _ if text.starts_with('-') => Some("it cannot be negative".to_owned()),
        _ if comma(text).is_some() => comma(text),
        humantime::DurationError::UnknownUnit { .. } => Some(format!("the unit is unknown; {UNITS}")),
        _ => None,
    }
}

/// Whether a duration has the unit `M`, which is a month by the book and a minute to many.
pub(super) fn has_month_by_m(text: &str) -> bool {
    text.split(|sign: char| !sign.is_alphabetic()).any(|unit| unit == "M")
}

/// What is wrong with a text whose number has a comma between digits. Before three of them it may divide thousands.
pub(super) fn comma(text: &str) -> Option<String> {
    let (_, after) = text
        .match_indices(',')
        .map(|(at, _)| text.split_at(at))
        .find(|(before, after)| before.ends_with(|sign: char| sign.is_ascii_digit()) && digits(&after[1..]) > 0)?;
    let hint = match digits(&after[1..]) {
        3 => "leave out the comma; a decimal point is `.`",
        _ => "write a decimal point in place of the comma",
    };
    Some(hint.to_owned())
}

/// How many digits a text begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The share that a percentage stands for.
pub(super) fn share(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    Some(percent / 100.0)
}

/// The scheme that stands for what other programs call like this.
pub(super) fn scheme(theirs: &str) -> Option<&'static str> {
    match theirs.to_ascii_lowercase().as_str() {
        "mqtt" | "tcp" | "mqtt+tcp" => Some("mqtt"),
        "mqtts" | "ssl" | "tls" | "mqtt+ssl" | "mqtt+tls" | "tcps" => Some("mqtts"),
        "ws" | "http" => Some("ws"),
        "wss" | "https" => Some("wss"),
        _ => None,
    }
}

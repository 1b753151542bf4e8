//! Text that others wrote, as it may be repeated: what a user put into the configuration, what a broker, a proxy or a
//! library answers.
//!
//! It is shown short, without control characters, and not at all where it looks like a secret: people put connection
//! strings, passwords and keys in wrong places, and then ask others to read their log. [`secret_at`] decides what looks
//! like one. The log asks once more for every line ([`hide`]).

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

/// The longest piece of a text that is repeated, in characters. Reasons of brokers and of TLS are shorter.
const LONGEST: usize = 200;

/// What stands in place of a secret.
const HIDDEN: &str = "(not shown: it looks like a secret)";

/// Names whose values are secrets, in small letters. They count at the end of a word, as in `access_token=`.
const NAMES: [&str; 16] = [
    "accountkey",
    "accesskey",
    "access-key",
    "access_key",
    "apikey",
    "api-key",
    "api_key",
    "authorization",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "sharedaccesskey",
    "signature",
    "token",
];

/// Names that are too short to count at the end of another word: `design=` is none.
const SHORT_NAMES: [&str; 5] = ["sig", "pwd", "pass", "auth", "sas"];

/// Names behind which a colon begins the value. Sentences have one behind many other words.
const NAMES_WITH_COLON: [&str; 4] = ["password", "passwd", "passphrase", "authorization"];

/// Where something that looks like a secret begins in a text. Takes time in proportion to the text, whatever it is: a
/// broker may have chosen it.
#[must_use]
pub fn secret_at(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut word = Word::default();
    (0..bytes.len()).find_map(|at| {
        word.read(text, at);
        match bytes[at] {
            b'=' => assigned(bytes, at, is_secret_name),
            b':' => assigned(bytes, at, |word| NAMES_WITH_COLON.iter().any(|name| ends_with(word, name))),
            b'%' if is_escape(bytes, at, b"3d") => assigned(bytes, at, is_secret_name),
            b'@' => word.user_information(at),
            b'%' if is_escape(bytes, at, b"40") => word.user_information(at),
            b'-' if bytes[at..].starts_with(b"-----BEGIN") => Some(at),
            b's' | b'S' => ["sharedaccesskey", "sharedaccesssignature"].iter().find_map(|name| azure(bytes, at, name)),
            b'b' | b'B' => begins(bytes, at, "bearer ").filter(|_| run(&bytes[at + 7..], is_token) >= 8),
            b'e' if is_first(bytes, at, is_token) && bytes[at..].starts_with(b"eyJ") => json_web_token(bytes, at),
            _ if is_first(bytes, at, is_base64) => key(bytes, at),
            _ => None,
        }
    })
}

/// The text as it may stand in a sentence or a line of the log.
#[must_use]
pub fn shown(text: &str) -> String {
    shortened(text, LONGEST)
}

/// The name of a file as it may stand there.
#[must_use]
pub fn path(path: &Path) -> String {
    // A path is as long as the system takes it: who looks for a file needs all of it.
    shortened(&path.to_string_lossy(), 4096)
}

/// At most `longest` characters of a text, control characters escaped; nothing of one that looks like a secret.
#[must_use]
pub fn shortened(text: &str, longest: usize) -> String {
    let text = without_user_information(text);
    if secret_at(&text).is_some() {
        return HIDDEN.to_owned();
    }
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == longest {
            shown.push_str("...");
            break;
        }
        if is_disturbing(character) { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

/// A line without what looks like a secret in it, and what stands behind that.
#[must_use]
pub fn hide(line: &str) -> Cow<'_, str> {
    match secret_at(line) {
        None => Cow::Borrowed(line),
        Some(at) => {
            let mut hidden = line[..at].to_owned();
            write!(hidden, "{HIDDEN}").expect("writing to memory");
            Cow::Owned(hidden)
        }
    }
}

/// Control characters, and what makes a terminal show a line in another order than it has.
pub(crate) fn is_disturbing(character: char) -> bool {
    character.is_control() || "\u{2028}\u{2029}".contains(character) || is_invisible(character)
}

/// What takes no room on a screen: it joins, divides or turns round what stands beside it.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}'
    )
}

/// An address without the user's name and password, and without its query.
fn without_user_information(text: &str) -> Cow<'_, str> {
    let Some(start) = text.find("://").map(|scheme| scheme + 3) else { return Cow::Borrowed(text) };
    let (scheme, rest) = text.split_at(start);
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?..."));
    // A password may hold a question mark.
    let hidden = text.rfind('@').filter(|at| *at >= start);
    match hidden {
        Some(at) if at < start + rest.len() => {
            Cow::Owned(format!("{scheme}...{}{query}", &text[at..start + rest.len()]))
        }
        Some(at) => Cow::Owned(format!("{scheme}...{}", text[at..].split('?').next().unwrap_or_default())),
        None if query.is_empty() => Cow::Borrowed(text),
        None => Cow::Owned(format!("{scheme}{rest}{query}")),
    }
}

/// Where the name begins that stands before `at`, when `is_secret` says so of it.
fn assigned(bytes: &[u8], at: usize, is_secret: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let name = bytes[..at].trim_ascii_end();
    let name = name.strip_suffix(b"\"").or_else(|| name.strip_suffix(b"'")).unwrap_or(name);
    let length = name.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)).count();
    // Behind a `%` the first two are an escape's digits.
    let escaped = if length > 2 && name[..name.len() - length].ends_with(b"%") { 2 } else { 0 };
    let start = name.len() - length + escaped;
    (is_secret(&name[start..]) && !is_left_out(&bytes[at..])).then_some(start)
}

fn is_secret_name(word: &[u8]) -> bool {
    let is_short = |name: &&str| {
        let before = word.len().checked_sub(name.len() + 1).map(|before| word[before]);
        ends_with(word, name) && before.is_none_or(|before| !before.is_ascii_alphanumeric())
    };
    NAMES.iter().any(|name| ends_with(word, name)) || SHORT_NAMES.iter().any(is_short)
}

fn ends_with(word: &[u8], name: &str) -> bool {
    word.len() >= name.len() && word[word.len() - name.len()..].eq_ignore_ascii_case(name.as_bytes())
}

/// A part of a connection string, unless it is only spoken of, as our own problems do: `SharedAccessKey`.
fn azure(bytes: &[u8], at: usize, name: &str) -> Option<usize> {
    let rest = &bytes[begins(bytes, at, name)? + name.len()..];
    let is_spoken_of = rest.starts_with(b"`") || rest.starts_with(b"Name`") || is_left_out(rest);
    (!is_spoken_of).then_some(at)
}

/// Whether nothing but dots stands behind the `=` at the beginning.
fn is_left_out(bytes: &[u8]) -> bool {
    let rest = bytes.strip_prefix(b"=...");
    rest.is_some_and(|rest| rest.first().is_none_or(|next| b"`;, ".contains(next)))
}

fn begins(bytes: &[u8], at: usize, name: &str) -> Option<usize> {
    let end = at + name.len();
    bytes.get(at..end).is_some_and(|part| part.eq_ignore_ascii_case(name.as_bytes())).then_some(at)
}

/// Whether a character stands here as in an address, by these digits behind a `%`.
fn is_escape(bytes: &[u8], at: usize, digits: &[u8; 2]) -> bool {
    bytes[at] == b'%' && bytes.get(at + 1..at + 3).is_some_and(|found| found.eq_ignore_ascii_case(digits))
}

/// The word that a place in a text belongs to, as far as it was read.
#[derive(Default)]
struct Word {
    start: usize,
    /// The first colon in it.
    colon: Option<usize>,
}

impl Word {
    /// Reads on at this place, where a character may begin.
    fn read(&mut self, text: &str, at: usize) {
        let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) else { return };
        if character.is_whitespace() || "/\"'`<>()[]{},;".contains(character) {
            *self = Self { start: at + character.len_utf8(), colon: None };
        } else if character == ':' || is_escape(text.as_bytes(), at, b"3a") {
            self.colon.get_or_insert(at);
        }
    }

    /// `user:password@`, with the `@` at this place.
    fn user_information(&self, at: usize) -> Option<usize> {
        self.colon.filter(|colon| self.start < *colon && colon + 1 < at).map(|_| self.start)
    }
}

/// Three parts in Base64, the first of which is an object (RFC 7519).
fn json_web_token(bytes: &[u8], at: usize) -> Option<usize> {
    let first = run(&bytes[at..], is_token);
    let second = bytes.get(at + first..)?.strip_prefix(b".")?;
    (first >= 10 && run(second, is_token) >= 10).then_some(at)
}

/// A key in Base64: 32 bytes or more with their padding, or a line of a PEM block.
fn key(bytes: &[u8], at: usize) -> Option<usize> {
    let length = run(&bytes[at..], is_base64);
    let word = &bytes[at..at + length];
    let is_padded = length >= 40 && bytes.get(at + length) == Some(&b'=');
    let slashes = word.iter().filter(|byte| **byte == b'/').count();
    let has = |is: fn(&u8) -> bool| word.iter().any(is);
    let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    (is_padded || (length >= 60 && is_mixed && slashes * 16 <= length)).then_some(at)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// What Base64 for addresses has.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_+/".contains(&byte)
}

/// Whether a run of such bytes begins here.
fn is_first(bytes: &[u8], at: usize, is: fn(u8) -> bool) -> bool {
    is(bytes[at]) && (at == 0 || !is(bytes[at - 1]))
}

fn run(bytes: &[u8], is: fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is(**byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What looks like a secret around `MARK`, without its scheme where it is an address.
    const SECRETS: [&str; 27] = [
        "user%3AMARK%40host",
        "wss://h/mqtt%3Fsig=MARK",
        "Bearer MARK5678",
        "HostName=h.example;DeviceId=d;SharedAccessKey=MARK",
        "sharedaccesskey = MARK",
        "SharedAccessSignature sr=h&sig=MARK&se=1",
        "sr=h&sig=MARK",
        "sr=h&sig%3DMARK",
        "password=MARK",
        "PASSWORD = 'MARK'",
        "password: MARK",
        "{\"password\": \"MARK\"}",
        "dbPassword=MARK",
        "access_token=MARK",
        "?token=MARK",
        "api_key=MARK",
        "Authorization: Basic MARK",
        "Bearer MARKabcdefghijklmnop",
        "user:MARK@host",
        "user:MARK@",
        "see user:MARK@host",
        "-----BEGIN PRIVATE KEY-----\nMARK",
        "text -----BEGIN RSA PRIVATE KEY----- MARK",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJNARK.MARK",
        "MARKAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "MARKvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cK7",
        "DefaultEndpointsProtocol=https;AccountKey=MARK",
    ];

    #[test]
    fn what_looks_like_a_secret_is_not_shown() {
        for text in SECRETS {
            assert!(secret_at(text).is_some(), "{text}");
            assert_eq!(shown(text), HIDDEN, "{text}");
            assert!(!hide(text).contains("MARK"), "{text}: {}", hide(text));
        }
    }

    #[test]
    fn an_address_loses_its_user_and_its_query() {
        for (text, expected) in [
            ("mqtt://user:MARK@host:1883", "mqtt://...@host:1883"),
            ("mqtt://MARK@host", "mqtt://...@host"),
            ("mqtt://user:M?A/RK@host/path?token=MARK", "mqtt://...@host/path"),
            ("wss://host/path?MARK", "wss://host/path?..."),
            ("mqtt://host?token=MARK", "mqtt://host?..."),
            ("mqtt://host", "mqtt://host"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn ordinary_text_is_shown_as_it_is() {
        for text in [
            "telemetry/{device}/{source}",
            "devices/pi-7/messages/events/",
            "contoso.azure-devices.net/MyDevice01/?api-version=2021-04-12",
            "/sys/bus/w1/devices/28-0316a2791fff/temperature",
            "/etc/packhorse/password",
            "/var/lib/packhorse/a-folder-with-a-long-name/and-another-one/0123456789/spool",
            "bad user name or password (0x86)",
            "broker.password_file: `/etc/password` cannot be read: No such file",
            "design=1 assign=2 topic=a:b",
            "2026-11-21T03:15:01.234+01:00 INFO  packhorse::spool spool opened folder=/a stream=3f9a1c02 next_seq=1",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "$aws/rules/name/topic",
            "a@b",
            "has no `SharedAccessKey`; a connection string is `HostName=...;DeviceId=...;SharedAccessKey=...`, or x",
            "for it has a `SharedAccessKeyName`; holds a token (`SharedAccessSignature`)",
            "[2001:db8::1]:1883",
        ] {
            assert_eq!(shown(text), text);
            assert_eq!(hide(text), text);
        }
    }

    #[test]
    fn no_text_takes_long_to_judge() {
        // A second for a mebibyte, on a slow machine; what grows with the square of the length would take hours.
        for piece in
            ["@", "a@", ":@", "=", " =", ":", "a:", "%3d", "eyJ.", "eyJa", "b", "bearer ", "-", "/", "\u{3000}@"]
        {
            let text = piece.repeat((1 << 20) / piece.len());
            let start = std::time::Instant::now();
            let _ = shown(&text);
            let _ = hide(&text);
            assert!(start.elapsed() < std::time::Duration::from_secs(5), "{piece:?}: {:?}", start.elapsed());
        }
    }

    #[test]
    fn a_long_text_is_cut_and_a_line_cannot_be_forged() {
        assert_eq!(shown(&"a".repeat(65_536)).len(), LONGEST + 3);
        assert_eq!(shown("a\n2026 ERROR b\u{1b}[2J\u{202E}"), "a\\n2026 ERROR b\\u{1b}[2J\\u{202e}");
    }

    proptest! {
        #[test]
        fn a_secret_is_found_wherever_it_stands(
            index in 0..SECRETS.len(), before in "[a-z ]{0,300}( |;|,)", after in "( |;)\\PC{0,300}",
        ) {
            let text = format!("{before}{}{after}", SECRETS[index]);

            prop_assert!(!shown(&text).contains("MARK"), "{}", shown(&text));
            prop_assert!(!hide(&text).contains("MARK"), "{}", hide(&text));
        }

        #[test]
        fn no_text_makes_it_panic_or_long(text in "(\\PC|[=:@%-]|password|://|eyJ|-----BEGIN){0,300}") {
            prop_assert!(shown(&text).chars().count() <= LONGEST * 10 + 3);
            let _ = hide(&text);
        }
    }
}

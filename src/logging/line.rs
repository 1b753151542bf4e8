//! A record as a line of text.

use crate::foreign;
use chrono::{DateTime, Local, SecondsFormat};
use log::Record;
use std::fmt::Write;

/// How the MQTT library's debug records of its options begin to show an address, whose query may be a secret, and a proxy.
const SECRETS: [&str; 3] = ["http_proxy: Some(", "https_proxy: Some(", "server_uri: \""];

/// Bytes of a message. What others wrote is shortened before; this bounds what the MQTT library traces.
const MESSAGE_MAX: usize = 8 * 1024;

/// `2026-11-21T03:15:01.234+01:00 INFO  packhorse::publisher connected …`, with a line break at the end.
///
/// Control characters in the message are escaped: what a sensor or a broker says cannot forge a line. What looks like a
/// secret, as the password in the MQTT library's record of its options, and what stands behind it, is left out.
pub fn render(now: DateTime<Local>, record: &Record<'_>) -> String {
    let time = now.to_rfc3339_opts(SecondsFormat::Millis, false);
    let mut line = format!("{time} {:<5} {} ", record.level(), record.target());
    let mut message = String::new();
    write!(Escape(&mut message), "{}", record.args()).expect("writing to memory");
    let secret = |begins: &&str| message.find(*begins).map(|at| at + begins.len());
    if let Some(secret) = SECRETS.iter().filter_map(secret).min() {
        message.truncate(secret);
        message.push_str("***)");
    }
    line.push_str(&foreign::hide(&message));
    if line.len() > MESSAGE_MAX {
        let end = (0..=MESSAGE_MAX).rev().find(|end| line.is_char_boundary(*end)).unwrap_or_default();
        line.truncate(end);
        line.push_str("...");
    }
    line.push('\n');
    line
}

/// The message of a rendered line: what stands behind the time.
pub fn without_time(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(_, rest)| rest)
}

struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            if foreign::is_disturbing(character) {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    fn line(message: &str) -> String {
        let now = DateTime::parse_from_rfc3339("2026-11-21T03:15:01.234+01:00").unwrap().with_timezone(&Local);
        let arguments = format_args!("{message}").to_string();
        render(
            now,
            &Record::builder().level(Level::Info).target("packhorse::spool").args(format_args!("{arguments}")).build(),
        )
    }

    #[test]
    fn a_line_has_time_level_target_and_message() {
        let line = line("spool opened");

        let (time, rest) = line.split_once(' ').unwrap();
        assert!(DateTime::parse_from_rfc3339(time).is_ok() && time.contains(".234"), "{time}");
        assert_eq!(rest, "INFO  packhorse::spool spool opened\n");
        assert_eq!(without_time(&line), rest);
    }

    #[test]
    fn a_password_among_the_library_s_options_is_left_out() {
        let password = Some(b"hunter2".to_vec());

        let line = line(&format!("Connect options: {{ username: Some(\"horse\"), password: {password:?} }}"));

        assert!(line.ends_with("username: Some(\"horse\"), (not shown: it looks like a secret)\n"), "{line}");
    }

    #[test]
    fn a_line_has_an_end() {
        let line = line(&"\u{e9}".repeat(100_000));

        assert!(line.len() < 9000 && line.ends_with("...\n"), "{}", line.len());
    }

    #[test]
    fn a_query_and_a_proxy_s_credentials_among_the_library_s_options_are_left_out() {
        for record in [
            "CreateOptions { copts: C { v: 1 }, server_uri: \"wss://h/mqtt?token=hunter2\", client_id: \"a\" }",
            "Connect options: { password: None, http_proxy: Some(\"http://a:hunter2@h:1\"), https_proxy: None }",
            "Connect options: { password: None, http_proxy: None, https_proxy: Some(\"http://a:hunter2@h:1\") }",
        ] {
            let line = line(record);

            assert!(!line.contains("hunter2"), "{line}");
        }
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        let line = line("evil\n2026 ERROR packhorse all is lost\r\x1b[2J");

        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(r"evil\n2026 ERROR packhorse all is lost\r\u{1b}[2J"), "{line}");
    }
}

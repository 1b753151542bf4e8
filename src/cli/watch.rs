//! `packhorse status --watch`: the report again and again, in place where standard output is a terminal.
//!
//! What cannot be drawn over (a pipe, a file, a terminal that is `dumb`) gets one report after the other. Colours are the
//! terminal's own red and green, which are legible on light and dark ones, and none where `NO_COLOR` is set (no-color.org).

use super::agents::{Answer, Target};
use super::status::{self, Form};
use super::{Code, Failure};
use crate::control::Request;
use crate::report::{self, Report, WIDTH};
use crossbeam_channel::{Receiver, bounded};
use rustix::termios::tcgetwinsize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::{Duration, Instant};

/// Another screen, which gives the former one back at the end; and no cursor.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const END: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner.
const HOME: &str = "\x1b[H";
/// Clears what is right of a line's end, and below the last line.
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[1;32m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Rows of a terminal that does not say how many it has.
const ROWS: usize = 24;

/// How reports are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Screen {
    /// One after the other.
    Paper,
    Terminal {
        is_coloured: bool,
    },
}

/// Shows how the agent fares, as often as wanted, until a signal ends it.
///
/// # Errors
/// Standard output's. That no agent answers is shown, and asked again.
pub fn run(target: &Target, every: Duration, form: Form) -> Result<(), Failure> {
    let screen = Screen::of(form);
    let resized = listen(screen)?;
    if screen != Screen::Paper {
        show(BEGIN)?;
    }
    loop {
        let begin = Instant::now();
        let answer = target.ask(Request::Status);
        let text = match (screen, form) {
            (Screen::Paper, Form::Json) => status::json(&answer),
            (Screen::Paper, Form::Text) => status::text(&answer) + "\n",
            (Screen::Terminal { is_coloured }, _) => frame(&answer, size(), every, is_coloured),
        };
        if !show(&text)? {
            return Ok(());
        }
        // Another size is another picture, at once.
        let _ = resized.recv_timeout(every.saturating_sub(begin.elapsed()));
    }
}

impl Screen {
    fn of(form: Form) -> Screen {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        if form == Form::Json || is_dumb || !io::stdout().is_terminal() {
            return Screen::Paper;
        }
        Screen::Terminal { is_coloured: !is_set("NO_COLOR") }
    }
}

/// Ends the command by a signal, and leaves the terminal as it was; what tells that the terminal has another size.
fn listen(screen: Screen) -> Result<Receiver<()>, Failure> {
    let unhandled =
        |error: io::Error| Failure { code: Code::Bug, message: format!("signals cannot be handled: {error}") };
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGWINCH]).map_err(unhandled)?;
    let (tell, told) = bounded(1);
    let wait = move || {
        for signal in signals.forever() {
            if signal == SIGWINCH {
                let _ = tell.try_send(());
                continue;
            }
            // While this holds it, nothing is drawn any more.
            let mut output = io::stdout().lock();
            if screen != Screen::Paper {
                let _ = output.write_all(END.as_bytes());
            }
            let _ = output.flush();
            std::process::exit(i32::from(Code::Done as u8));
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(unhandled)?;
    Ok(told)
}

/// Prints at once; whether anybody still reads.
fn show(text: &str) -> Result<bool, Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure { code: Code::Failed, message: format!("cannot write to standard output: {error}") }),
    }
}

/// Columns and rows of the terminal.
fn size() -> [usize; 2] {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => [size.ws_col.into(), size.ws_row.into()],
        Ok(_) | Err(_) => [WIDTH, ROWS],
    }
}

/// One picture: as many sources as there are rows for.
fn frame(answer: &Result<Answer, Failure>, [columns, rows]: [usize; 2], every: Duration, is_coloured: bool) -> String {
    let text = match answer {
        Ok(Answer { report, .. }) => fitting(report, rows.saturating_sub(1)),
        Err(_) => status::text(answer),
    };
    let last = format!("asked every {}; Ctrl-C ends it", humantime::format_duration(every));
    let mut lines: Vec<&str> = text.lines().take(rows.saturating_sub(1)).collect();
    lines.push(&last);
    let mut picture = HOME.to_owned();
    for (number, line) in lines.iter().enumerate() {
        let line: String = line.chars().take(columns.min(WIDTH)).collect();
        let line = if is_coloured { coloured(&line, number == 0) } else { line };
        let end = if number + 1 < lines.len() { "\r\n" } else { "" };
        write!(picture, "{line}{REST_OF_LINE}{end}").expect("writing to memory");
    }
    picture + REST_OF_SCREEN
}

/// The report with as many sources as fit into so many rows.
fn fitting(report: &Report, rows: usize) -> String {
    let texts = (0..=status::SOURCES).rev().map(|sources| report::text(report, sources));
    texts.clone().find(|text| text.lines().count() <= rows).unwrap_or_else(|| report::text(report, 0))
}

/// A line of the report with what is good in green, what is not in red, and its head in bold.
fn coloured(line: &str, is_first: bool) -> String {
    let paint = |colour: &str, word: &str| line.replacen(word, &format!("{colour}{word}{PLAIN}"), 1);
    if is_first {
        let word = [(GREEN, "healthy"), (RED, "degraded"), (RED, "not running")];
        let found = word.iter().find(|(_, word)| line.contains(&format!(": {word}")));
        return found.map_or_else(|| line.to_owned(), |(colour, word)| paint(colour, word));
    }
    match line.split_once(' ') {
        Some(("problem", _)) => format!("{RED}{line}{PLAIN}"),
        Some((head, _)) if !head.is_empty() => paint(BOLD, head),
        Some(_) | None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_no_word() {
        for (line, is_first) in [
            ("gateway-7: healthy, running for 3 s", true),
            ("healthy: degraded, running for 3 s", true),
            ("problem       source gone fails", false),
            ("waiting       3 messages", false),
            ("              and more", false),
        ] {
            let painted = coloured(line, is_first);

            let bare = [RED, GREEN, BOLD, PLAIN].iter().fold(painted.clone(), |text, code| text.replace(code, ""));
            assert_eq!(bare, line);
            assert_eq!(painted.contains('\x1b'), !line.starts_with(' '), "{painted:?}");
        }
    }

    #[test]
    fn a_picture_fits_whatever_the_terminal_has() {
        let failure = || Failure { code: Code::NotRunning, message: "word ".repeat(100) };
        for size in [[80, 24], [20, 5], [1, 1], [300, 100]] {
            let picture = frame(&Err(failure()), size, Duration::from_secs(2), false);

            let lines: Vec<&str> = picture.split("\r\n").collect();
            assert!(lines.len() <= size[1], "{lines:?}");
            let bare = |line: &str| {
                [HOME, REST_OF_LINE, REST_OF_SCREEN].iter().fold(line.to_owned(), |text, code| text.replace(code, ""))
            };
            assert!(lines.iter().all(|line| bare(line).chars().count() <= size[0].min(WIDTH)), "{size:?}: {picture:?}");
        }
    }
}

//! What `--help` adds to what the command line says of itself: an example, the exit codes, and where to read more.
//!
//! Every line fits into 80 columns, wherever it is printed.

use super::Arguments;
use super::code::Code;
use clap::{Command, CommandFactory};

/// Columns of a terminal that nobody has made larger.
pub const WIDTH: usize = 80;

/// Where the package keeps what is to be read (`Cargo.toml`).
pub const DOCUMENTATION: &str = "/usr/share/doc/packhorse/README.md";

/// The command line, with everything that its help prints.
pub fn command() -> Command {
    let command = Arguments::command().max_term_width(WIDTH).after_long_help(String::new());
    finish(command, "")
}

/// Gives a command, whose name with those above it is `name`, and all below it their last lines.
fn finish(command: Command, name: &str) -> Command {
    let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let codes: String =
        codes(name).iter().map(|code| row(&format!("  {:>2}  ", *code as u8), code.meaning())).collect();
    let more = format!("{example}\n\nExit codes:\n{codes}\nDocumentation: man packhorse, {DOCUMENTATION}");
    let below: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    let command = command.after_long_help(more);
    below.into_iter().fold(command, |command, below| {
        let name = format!("{name} {below}");
        command.mut_subcommand(below, |below| finish(below, name.trim_start()))
    })
}

/// What a command may exit with.
fn codes(name: &str) -> &'static [Code] {
    match name {
        "" => &Code::ALL,
        "run" => &[Code::Done, Code::Usage, Code::GaveUp, Code::Bug, Code::Spool, Code::Refused, Code::Config],
        "verify" => &Code::ALL,
        "spool requeue" | "spool purge" | "spool export" | "spool list" | "spool stat" => {
            &[Code::Done, Code::Failed, Code::Usage, Code::Spool, Code::Config]
        }
        "status" | "retry" | "drain" => {
            &[Code::Done, Code::Failed, Code::NotRunning, Code::Unknown, Code::Usage, Code::Config]
        }
        "check" | "sample" => &[Code::Done, Code::Failed, Code::Usage, Code::Config],
        _ => &[Code::Done, Code::Failed, Code::Usage],
    }
}

/// A row of a list; what does not fit into its first line stands below the beginning of the text.
fn row(head: &str, text: &str) -> String {
    let mut lines = vec![head.to_owned()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one");
        if last.len() + word.len() <= WIDTH {
            *last += word;
            last.push(' ');
        } else {
            lines.push(format!("{}{word} ", " ".repeat(head.len())));
        }
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

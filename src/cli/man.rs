//! `packhorse man`: the manual page, made of what the command line says of itself.

use super::{Code, Failure};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;

/// What the process exits with, and what it means.
const EXIT_CODES: [(u8, &str); 8] = [
    (0, "Stopped by SIGINT or SIGTERM; the queue is safe on disk."),
    (Code::Failed as u8, "A sample could not be taken, or a file not requeued."),
    (Code::Usage as u8, "Wrong command line."),
    (Code::GaveUp as u8, "Gave up: the retry delay passed retry.max_delay, and retry.at_max is exit."),
    (Code::Bug as u8, "A bug: a thread panicked. The other one has saved what it had first."),
    (
        Code::Spool as u8,
        "The spool cannot be opened, is full or used by another agent; or at a stop the disk did not take all.",
    ),
    (
        Code::Refused as u8,
        "The broker refused the credentials, the client id or the protocol version, and retry.on_refusal is exit.",
    ),
    (Code::Config as u8, "Bad configuration."),
];

const FILES: [(&str, &str); 4] = [
    ("/etc/packhorse/config.yaml", "The configuration: every key with its default and what it allows."),
    ("/var/lib/packhorse/spool", "Messages that the broker does not have yet."),
    ("/var/lib/packhorse/spool/rejected", "Messages that the broker will not take."),
    ("/var/log/packhorse", "Log files; debug.log is a link to the newest."),
];

/// Prints the manual page of this command line.
///
/// # Errors
/// Standard output's.
pub fn run(command: &Command) -> Result<(), Failure> {
    let mut page = Vec::new();
    render(command, &mut page).expect("writing to memory");
    super::print(&String::from_utf8_lossy(&page))
}

/// The commands, and those of groups under both names.
fn commands(command: &Command) -> Vec<(String, &Command)> {
    let named = |command: &'_ Command| command.get_name().to_owned();
    let mut commands = Vec::new();
    for command in command.get_subcommands() {
        commands.push((named(command), command));
        let inner = command.get_subcommands();
        commands.extend(inner.map(|inner| (format!("{} {}", named(command), named(inner)), inner)));
    }
    commands
}

fn render(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone()).manual("User Commands");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    let mut more = Roff::new();
    more.control("SH", ["COMMANDS"]);
    for (name, command) in commands(command) {
        let arguments: String = command.get_positionals().map(|argument| format!(" {argument}")).collect();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = example.split_once('\n').map_or("", |(_, example)| example.trim());
        more.control("TP", []).text([bold(name), roman(arguments)]).text([roman(format!("{about}."))]);
        more.control("RS", []).control("PP", []).text([roman(example)]).control("RE", []);
    }
    more.to_writer(page)?;
    man.render_options_section(page)?;
    let mut more = Roff::new();
    more.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        more.control("TP", []).text([bold(code.to_string())]).text([roman(meaning)]);
    }
    more.control("SH", ["FILES"]);
    for (file, meaning) in FILES {
        more.control("TP", []).text([bold(file)]).text([roman(meaning)]);
    }
    more.to_writer(page)?;
    man.render_version_section(page)
}

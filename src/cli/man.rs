//! `packhorse man`: the manual page, made of what the command line says of itself.

use super::Failure;
use super::code::Code;
use super::help::DOCUMENTATION;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use std::io;

const ENVIRONMENT: [(&str, &str); 11] = [
    ("PACKHORSE_CONFIG", "The configuration file, unless `--config` names one."),
    (
        "IOTHUB_DEVICE_CONNECTION_STRING",
        "The connection string of a device of Azure IoT Hub, where `broker.azure_iot_hub` names no file that holds it.",
    ),
    (
        "CREDENTIALS_DIRECTORY",
        "Where `password_file` and its like are looked for when they are plain names; systemd sets it (`LoadCredential=`).",
    ),
    (
        "RUNTIME_DIRECTORY",
        "Where the socket is that `status` and the like ask the agent by, and a small file that must not outlive the boot; \
         systemd sets it.",
    ),
    ("XDG_RUNTIME_DIR", "Where the socket is, in a folder packhorse, of an agent that systemd does not run."),
    (
        "NOTIFY_SOCKET",
        "Where systemd is told that the agent is ready, how it fares and that it is alive (sd_notify(3)).",
    ),
    ("WATCHDOG_USEC", "How long systemd waits for a sign of life; with it goes `WATCHDOG_PID`."),
    ("JOURNAL_STREAM", "Tells that standard output is systemd's journal: lines get a priority in place of a time."),
    (
        "SSL_CERT_FILE",
        "The authorities that OpenSSL trusts in place of the system's; `SSL_CERT_DIR` names a folder of them.",
    ),
    (
        "NO_COLOR",
        "Where it is set, `status --watch` shows no colours; where `TERM` is dumb, it does not draw over what is there.",
    ),
    ("TZ", "The time zone of the log."),
];

const SIGNALS: [(&str, &str); 3] = [
    (
        "SIGINT, SIGTERM, SIGQUIT",
        "Stop: sampling ends, what was sampled goes into the spool, messages on their way are waited for as long as \
         `shutdown_timeout` says. One that follows ends the agent at once, unless it comes within 250 ms of the \
         first. Nothing accepted is lost.",
    ),
    (
        "SIGHUP",
        "Read the configuration at once, and try a broker that is away without waiting any longer. Ignored where it was \
         ignored at the start, as under nohup(1).",
    ),
    (
        "SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT, SIGXFSZ, real-time signals",
        "Nothing: one line of the log names the signal, once a minute at most.",
    ),
];

const FILES: [(&str, &str); 8] = [
    ("./config.yaml", "The configuration, where it exists."),
    ("/etc/packhorse/config.yaml", "Else the configuration: every key with its default and what it allows."),
    ("/etc/packhorse/credentials", "Secrets that only root reads, and that systemd hands to the agent."),
    ("/var/lib/packhorse/spool", "Messages that the broker does not have yet."),
    ("/var/lib/packhorse/spool/rejected", "Messages that the broker will not take."),
    ("/run/packhorse", "The socket by which the running agent is asked."),
    ("/var/log/packhorse", "Log files; debug.log is a link to the newest."),
    (DOCUMENTATION, "How it is used; pages on single subjects are beside it, in docs."),
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
    let man = Man::new(command.clone()).date(" ").manual("User Commands");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    of_commands(command).to_writer(page)?;
    man.render_options_section(page)?;
    let codes = Code::ALL.map(|code| ((code as u8).to_string(), sentence(code.meaning())));
    list("EXIT STATUS", codes).to_writer(page)?;
    list("ENVIRONMENT", ENVIRONMENT).to_writer(page)?;
    list("SIGNALS", SIGNALS).to_writer(page)?;
    list("FILES", FILES).to_writer(page)?;
    examples(command).to_writer(page)?;
    man.render_version_section(page)
}

/// What each command does, and the options that it alone has.
fn of_commands(command: &Command) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["COMMANDS"]);
    for (name, command) in commands(command) {
        let arguments: String = command.get_positionals().map(|argument| format!(" {argument}")).collect();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        section.control("TP", []).text([bold(name), roman(arguments)]).text([roman(format!("{about}."))]);
        for option in command
            .get_arguments()
            .filter(|option| !option.is_positional() && !option.is_global_set() && !option.is_hide_set())
        {
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            let option = format!("--{}", option.get_long().unwrap_or_default());
            section.control("RS", []).control("TP", []).text([bold(option)]).text([roman(format!("{help}."))]);
            section.control("RE", []);
        }
    }
    section
}

/// A section of terms and what there is to say about each.
fn list<const N: usize>(title: &str, rows: [(impl Into<String>, impl AsRef<str>); N]) -> Roff {
    let mut section = Roff::new();
    section.control("SH", [title]);
    for (term, meaning) in rows {
        section.control("TP", []).text([bold(term)]).text(inlines(meaning.as_ref()));
    }
    section
}

/// Prose in which what is to be typed as it stands is between backticks.
fn inlines(text: &str) -> Vec<Inline> {
    text.split('`').enumerate().map(|(number, part)| if number % 2 == 0 { roman(part) } else { bold(part) }).collect()
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

/// The examples of all commands.
fn examples(command: &Command) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXAMPLES"]).control("EX", []);
    let all = std::iter::once(command).chain(commands(command).into_iter().map(|(_, command)| command));
    for example in all.filter_map(Command::get_after_help) {
        for line in example.to_string().lines().skip(1) {
            section.text([roman(line.trim())]);
        }
    }
    section.control("EE", []);
    section
}

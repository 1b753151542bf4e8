//! The command line: what the user typed, the command that serves it, and the exit code that it ends with.

mod agents;
mod capacity;
mod check;
mod code;
mod completions;
mod drain;
mod edits;
mod exposure;
mod help;
mod judgement;
mod man;
mod retry;
mod run;
mod sample;
mod sensors;
mod signals;
mod spool;
mod status;
mod users;
mod verify;
mod watch;

use crate::config::{self, Config, Problem};
use crate::foreign;
use crate::memory;
use crate::outlet;
use clap::parser::ValueSource;
use clap::{FromArgMatches, Parser, Subcommand};
use code::Code;
use drain::Wait;
use signals::Held;
use status::Form;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Samples sensors on a timer, keeps every message in a spool on disk, and publishes it to an MQTT broker.
#[derive(Debug, Parser)]
#[command(name = "packhorse", version, after_help = "Example:\n  packhorse --config /etc/packhorse/config.yaml run")]
struct Arguments {
    /// The configuration file [default: $PACKHORSE_CONFIG, then ./config.yaml, then /etc/packhorse/config.yaml]
    #[arg(long, short, global = true, value_name = "FILE", env = "PACKHORSE_CONFIG", hide_env = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,

    /// Whether it is the environment that names the configuration.
    #[arg(skip)]
    is_from_environment: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the agent in the foreground (the default command)
    #[command(after_help = "Example:\n  packhorse run --config ./config.yaml")]
    Run,

    /// Reads the configuration, opens every file and folder it names, and reports all problems at once
    #[command(after_help = "Example:\n  packhorse check --config ./config.yaml")]
    Check,

    /// Takes one sample of each source and prints what would be published; touches neither spool nor broker
    #[command(after_help = "Example:\n  packhorse sample board")]
    Sample {
        /// Names of sources [default: all]
        #[arg(value_name = "SOURCE")]
        sources: Vec<String>,

        /// Prints the names of the sources, and takes no sample
        #[arg(long, conflicts_with = "sources")]
        list: bool,
    },

    /// Asks the running agent how it fares; exits with 0, 1 or 2: healthy, degraded, not running
    #[command(after_help = "Example:\n  packhorse status --config /etc/packhorse/config.yaml")]
    Status {
        /// Prints all of it as one JSON object
        #[arg(long)]
        json: bool,

        /// Asks again and again, and redraws the terminal, until Ctrl-C
        #[arg(long)]
        watch: bool,

        /// How often it asks [default: 2s]
        #[arg(long, value_name = "DURATION", requires = "watch", value_parser = interval)]
        every: Option<Duration>,
    },

    /// Has the running agent try the broker at once, whatever it waits for
    #[command(after_help = "Example:\n  packhorse retry --config /etc/packhorse/config.yaml")]
    Retry,

    /// Has the running agent deliver what it has accepted, without waiting for a back-off
    #[command(after_help = "Example:\n  packhorse drain --wait --timeout 5m")]
    Drain {
        /// Returns when the broker has everything that was accepted so far
        #[arg(long)]
        wait: bool,

        /// Waits this long at most [default: as long as it takes]
        #[arg(long, value_name = "DURATION", requires = "wait", value_parser = humantime::parse_duration)]
        timeout: Option<Duration>,
    },

    /// Proves on this device and its broker that nothing is lost: a load test that makes its own messages and faults
    #[command(after_help = "Example:\n  packhorse verify --count 10000 --cut-every 10s --kill-every 30s")]
    Verify(verify::Arguments),

    /// Looks into the spool, and works on it
    #[command(after_help = "Example:\n  packhorse spool stat")]
    Spool {
        #[command(subcommand)]
        command: Option<spool::Command>,
    },

    /// Prints what a shell needs to complete packhorse's command line
    #[command(after_help = "Example:\n  packhorse completions bash > /etc/bash_completion.d/packhorse")]
    Completions {
        #[arg(value_name = "bash|zsh|fish")]
        shell: completions::Shell,
    },

    /// Prints the manual page
    #[command(after_help = "Example:\n  packhorse man > packhorse.1")]
    Man,
}

/// How often `status --watch` asks.
const EVERY: Duration = Duration::from_secs(2);

/// How often something is to be done: no more than ten times a second.
fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(100);
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < SHORTEST {
        return Err(format!("at least {} is allowed", humantime::format_duration(SHORTEST)));
    }
    Ok(interval)
}

/// Why a command failed, as a sentence to its user, and the code that it exits with.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

/// Parses the command line, runs the command, and returns what the process exits with.
#[must_use]
pub fn main() -> ExitCode {
    // First of all: one that comes a moment later would end the agent.
    let held = signals::hold();
    memory::keep_to_ourselves();
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            drop(held.map(Held::release));
            // Nothing is left to tell the user when even the terminal fails.
            let text = error.render().to_string();
            match foreign::secret_at(&text) {
                Some(_) => complain(&text),
                None => drop(error.print()),
            }
            return if error.use_stderr() { ExitCode::from(Code::Usage as u8) } else { ExitCode::SUCCESS };
        }
    };
    let runs = matches!(arguments.command, None | Some(Command::Run));
    let complain = if runs { complain_in_passing } else { complain };
    match held.and_then(|held| dispatch(&arguments, held)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            if code == Code::Config && arguments.is_from_environment {
                complain("packhorse: the configuration is the one that $PACKHORSE_CONFIG names");
            }
            // Where the output says it all there is nothing to add.
            if !message.is_empty() {
                complain(&format!("packhorse: {message}"));
            }
            ExitCode::from(code as u8)
        }
    }
}

fn parse() -> Result<Arguments, clap::Error> {
    let matches = help::command().try_get_matches()?;
    let mut arguments = Arguments::from_arg_matches(&matches)?;
    arguments.is_from_environment = matches.value_source("config") == Some(ValueSource::EnvVariable);
    Ok(arguments)
}

fn dispatch(arguments: &Arguments, held: Held) -> Result<(), Failure> {
    let config: Option<&Path> = arguments.config.as_deref();
    match arguments.command.as_ref().unwrap_or(&Command::Run) {
        Command::Run => run::run(config, held),
        Command::Verify(arguments) => verify::run(config, arguments, held),
        command => {
            held.release();
            serve(command, config)
        }
    }
}

/// Serves a command that ends by itself.
fn serve(command: &Command, config: Option<&Path>) -> Result<(), Failure> {
    match command {
        Command::Run | Command::Verify(_) => unreachable!("they run until they are stopped"),
        Command::Check => check::run(config),
        Command::Sample { list: true, .. } => sample::list(config),
        Command::Sample { sources, list: false } => sample::run(config, sources),
        Command::Status { json, watch, every } => {
            let form = if *json { Form::Json } else { Form::Text };
            status::run(config, form, watch.then(|| every.unwrap_or(EVERY)))
        }
        Command::Retry => retry::run(config),
        Command::Drain { wait: false, .. } => drain::run(config, Wait::Never),
        Command::Drain { wait: true, timeout } => drain::run(config, timeout.map_or(Wait::Unbounded, Wait::AtMost)),
        Command::Spool { command: Some(command) } => spool::run(config, command),
        Command::Spool { command: None } => print(&help_of("spool")),
        Command::Completions { shell } => completions::run(help::command(), *shell),
        Command::Man => man::run(&help::command()),
    }
}

/// The help of a group of commands.
fn help_of(group: &str) -> String {
    let mut arguments = help::command();
    arguments.build();
    arguments.find_subcommand_mut(group).map(|group| group.render_help().to_string()).unwrap_or_default()
}

/// A configuration, and where it comes from.
struct Loaded {
    path: PathBuf,
    /// What is in the file.
    content: Vec<u8>,
    /// The host's name when it was read.
    host_name: Option<String>,
    config: Config,
    /// What gives something away.
    warnings: Vec<Problem>,
}

/// Finds and reads the configuration.
fn load(config: Option<&Path>) -> Result<Loaded, Failure> {
    let fail = |message: String| Failure { code: Code::Config, message };
    let path = config::locate(config).map_err(|error| fail(error.to_string()))?;
    let content = config::bytes(&path).map_err(|error| fail(format!("{}: {error}", foreign::path(&path))))?;
    // What it is changed to from here on, as cloud-init does at a boot, is followed.
    let host_name = config::host_name();
    let inspection = config::inspect_bytes(&content, &path);
    let warnings = check::warnings(&path, &inspection);
    let config = inspection.outcome.map_err(|problems| fail(problems.to_string()))?;
    Ok(Loaded { path, content, host_name, config, warnings })
}

/// A number of things, as programs read it too: without marks between its digits.
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Prints lines to standard error. That nobody can read them is no reason for another exit code.
fn complain(lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(std::io::stderr(), "{}", foreign::hide(line));
    }
}

/// As [`complain`], but waits only a short while for whoever reads standard error: an agent must end without.
fn complain_in_passing(lines: &str) {
    for line in lines.lines() {
        outlet::error().put(format!("{}\n", foreign::hide(line)));
    }
    outlet::error().flush();
}

/// Prints to standard output. A reader that has gone away is no error: it has seen enough.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure { code: Code::Failed, message: format!("cannot write to standard output: {error}") })
        }
        _ => Ok(()),
    }
}

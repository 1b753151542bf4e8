//! `packhorse spool`: what is in the spool, and what can be done with it.

mod choice;
mod export;
mod list;
mod output;
mod progress;
mod purge;
mod requeue;
mod stat;
mod visit;

use super::{Code, Failure};
use crate::foreign;
use choice::{Choice, Moment, Source};
use clap::Subcommand;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Says what waits, from which sources, and what is damaged; works beside a running agent
    #[command(after_help = "Example:\n  packhorse spool stat --json")]
    Stat {
        /// Prints one JSON object
        #[arg(long)]
        json: bool,
    },

    /// Lists messages that wait, one a line, the oldest first; works beside a running agent
    #[command(after_help = "Example:\n  packhorse spool list --source board --from 2h --limit 10")]
    List {
        #[command(flatten)]
        choice: Choice,

        /// Ends after this many messages
        #[arg(long, value_name = "COUNT")]
        limit: Option<u64>,

        /// Prints one JSON object a line
        #[arg(long)]
        json: bool,
    },

    /// Writes messages that wait, with their whole payloads; works beside a running agent
    #[command(after_help = "Example:\n  packhorse spool export --format csv --output backlog.csv")]
    Export {
        #[command(flatten)]
        choice: Choice,

        /// One JSON object a line, or comma-separated values
        #[arg(long, value_name = "jsonl|csv")]
        format: export::Format,

        /// The file that is written [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,

        /// Replaces the file where there is one
        #[arg(long, requires = "output")]
        force: bool,
    },

    /// Gives up messages that wait: they are never delivered; stop the agent first
    #[command(
        after_help = "Example:\n  packhorse spool purge --before 2026-11-21",
        group = clap::ArgGroup::new("what").required(true).args(["before", "all"])
    )]
    Purge {
        /// Messages that were sampled before: a time (RFC 3339), a date (UTC), or a span such as 2h ago
        #[arg(long, value_name = "TIME")]
        before: Option<Moment>,

        /// All messages, those that cannot be read as well
        #[arg(long)]
        all: bool,

        /// Only messages of this source
        #[arg(long, value_name = "NAME")]
        source: Option<Source>,

        /// Does not ask
        #[arg(long)]
        yes: bool,
    },

    /// Puts the messages that a broker would not take back into the spool, in order, as new messages; stop the agent first
    #[command(after_help = "Example:\n  packhorse spool requeue --config /etc/packhorse/config.yaml")]
    Requeue {
        /// Lists what would be put back, and changes nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs a command of the group.
///
/// # Errors
/// A bad configuration; a spool that cannot be read or opened, or is full; what could not be done with some messages.
pub fn run(config: Option<&Path>, command: &Command) -> Result<(), Failure> {
    let config = super::load(config)?.config;
    match command {
        Command::Stat { json } => stat::run(&config, *json),
        Command::List { choice, limit, json } => list::run(&config, choice, *limit, *json),
        Command::Export { choice, format, output, force } => {
            let target = output.as_ref().map(|path| output::Target { path, is_replaced: *force });
            export::run(&config, choice, *format, target)
        }
        Command::Purge { before, source, yes, .. } => purge::run(
            &config,
            *before,
            source.as_ref(),
            if *yes { purge::Consent::Given } else { purge::Consent::Asked },
        ),
        Command::Requeue { dry_run: true } => requeue::list(&config.spool),
        Command::Requeue { dry_run: false } => requeue::requeue(config.spool),
    }
}

fn in_use(folder: &Path, then: &str) -> Failure {
    fail(format!("spool {}: an agent uses this folder; stop it first, then {then}", foreign::path(folder)))
}

fn fail(message: String) -> Failure {
    Failure { code: Code::Spool, message }
}

fn counted(messages: u64) -> String {
    super::counted(messages, "message")
}

//! `packhorse spool purge`: gives messages up that wait.

use super::choice::{self, Moment, Source};
use super::{Failure, counted, fail, in_use, visit};
use crate::agent;
use crate::cli::{Code, complain};
use crate::config::Config;
use crate::foreign;
use crate::message::{Message, Seq};
use crate::sampler::Scheduled;
use crate::spool::{OpenError, Purged, Spool, What};
use std::cell::Cell;
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::time::Instant;

/// Whether the user has to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    Given,
    Asked,
}

/// Purges. `before` is none: all messages.
///
/// # Errors
/// An agent runs, or the spool cannot be opened; nobody can be asked, or says no; not all could be purged.
pub fn run(config: &Config, before: Option<Moment>, source: Option<&Source>, consent: Consent) -> Result<(), Failure> {
    let directory = &config.spool.directory;
    let shown = foreign::path(directory);
    if consent == Consent::Asked && !(stdin().is_terminal() && stderr().is_terminal()) {
        let message = "purge asks first, and there is no terminal to ask at; `--yes` goes without";
        return Err(Failure { code: Code::Usage, message: message.to_owned() });
    }
    visit::exists(directory)?;
    let routes = agent::routes(&Scheduled::all(config));
    let mut spool = Spool::open(&config.spool, &routes).map_err(|error| match error {
        OpenError::Locked(_) => in_use(directory, "purge"),
        error => visit::refused(&error, directory),
    })?;
    let times = choice::times(&spool.boots());
    let guessed = Cell::new(0);
    let is_meant = |message: &Message| {
        let time = times.of(message.sample.taken);
        let is_meant =
            before.is_none_or(|before| time.wall < before.0) && source.is_none_or(|source| source.has(message));
        guessed.set(guessed.get() + u64::from(is_meant && before.is_some() && !time.certain));
        is_meant
    };
    let what = if before.is_none() && source.is_none() { What::All } else { What::Those(&is_meant) };
    let failed = |error| fail(format!("spool {shown}: cannot purge: {error}"));
    let would = spool.would_purge(&what).map_err(failed)?;
    if guessed.get() > 0 {
        let message = counted(guessed.get());
        complain(&format!(
            "packhorse: {message} of those meant have a time that may be wrong: the clock had not been set"
        ));
    }
    if would.messages > 0 && consent == Consent::Asked && !agreed(&shown, &would)? {
        return Err(Failure { code: Code::Failed, message: "nothing was purged".to_owned() });
    }
    let purged = spool.purge(&what, Instant::now()).map_err(failed)?;
    crate::cli::print(&format!("purged {}\n", described(&purged)))?;
    match purged.left {
        0 => Ok(()),
        left => {
            let why = "they lie between messages that stay, and the journal cannot note more gaps";
            let how = "let the agent deliver some, and purge again";
            Err(Failure { code: Code::Failed, message: format!("{} were not purged: {why}; {how}", counted(left)) })
        }
    }
}

fn described(purged: &Purged) -> String {
    let range = purged.range.map(|(Seq(first), Seq(last))| format!(", seq {first}..{last}")).unwrap_or_default();
    format!("{}{range}", counted(purged.messages))
}

fn agreed(folder: &str, would: &Purged) -> Result<bool, Failure> {
    let cannot = |error| fail(format!("cannot ask: {error}"));
    let question = format!("Give up {} in {folder}? They are never delivered. [y/N] ", described(would));
    stderr().write_all(question.as_bytes()).map_err(cannot)?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer).map_err(cannot)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

//! `packhorse drain`: has the running agent deliver what it has, and waits for that.
//!
//! It asks again and again while it waits, so an agent that nobody waits for has nothing to do for it.

use super::agents::{Answer, PATIENCE, Target};
use super::{Code, Failure};
use crate::control::Request;
use crate::report::{Report, State, counted, time};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How often the agent is asked.
const ASK: Duration = Duration::from_millis(200);

/// How long a command waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Never,
    /// As long as it takes.
    Unbounded,
    AtMost(Duration),
}

/// What waited when the command began, and what became of it.
struct Backlog {
    stream: String,
    /// The first number that is not waited for.
    end: u64,
    total: u64,
    left: u64,
    /// Messages that were not delivered: by agents that have ended meanwhile, and those before this command by the present one.
    lost: Lost,
}

/// Messages that were dropped by a rule, set aside or damaged since the command began.
struct Lost {
    /// Names the agent whose counters these are.
    agent: (u32, String),
    before: u64,
    now: u64,
    by_former: u64,
}

/// Has the agent deliver what it has accepted by now. With a wait, returns when the broker has all of it.
///
/// # Errors
/// Code 1 when the time has passed, or when something was not delivered; else as [`Target::ask`].
pub fn run(config: Option<&Path>, wait: Wait) -> Result<(), Failure> {
    let target = Target::of(config)?;
    let begin = Instant::now();
    let deadline = if let Wait::AtMost(time) = wait { begin.checked_add(time) } else { None };
    // It does not sit out a back-off while somebody waits.
    let Answer { mut report, .. } = target.ask_until(Request::Retry, deadline.unwrap_or(begin + PATIENCE))?;
    if wait == Wait::Never {
        return super::print(&format!("{}\n", outlook(&report)));
    }
    let mut progress = Progress::default();
    let mut backlog: Option<Backlog> = None;
    loop {
        let followed = match &mut backlog {
            Some(backlog) => backlog.follow(&report),
            None => {
                backlog = Backlog::of(&report);
                Ok(())
            }
        };
        followed.inspect_err(|_| progress.clear())?;
        if let Some(backlog) = backlog.as_ref().filter(|backlog| backlog.left == 0) {
            progress.clear();
            return backlog.verdict(begin.elapsed());
        }
        progress.show(&line(backlog.as_ref(), &report));
        let left = backlog.as_ref().map_or(0, |backlog| backlog.left);
        if deadline.is_some_and(|deadline| Instant::now() + ASK >= deadline) {
            progress.clear();
            let Wait::AtMost(limit) = wait else { unreachable!("only that has a deadline") };
            let (limit, left) = (humantime::format_duration(limit), counted(left, "message"));
            return Err(failed(format!("not drained within {limit}: {left} left; {}", outlook(&report))));
        }
        thread::sleep(ASK);
        let until = deadline.unwrap_or(Instant::now() + PATIENCE);
        report = target.ask_until(Request::Status, until).inspect_err(|_| progress.clear())?.report;
    }
}

fn failed(message: String) -> Failure {
    Failure { code: Code::Failed, message }
}

impl Backlog {
    /// What waits now; `None`: the publisher does not say.
    fn of(report: &Report) -> Option<Backlog> {
        let (spool, waiting) = (report.spool.as_ref()?, report.waiting.as_ref()?);
        let total = waiting.messages;
        let lost = report.counters.undelivered();
        let lost = Lost { agent: agent(report), before: lost, now: lost, by_former: 0 };
        Some(Backlog { stream: spool.stream.clone(), end: spool.next_seq, total, left: total, lost })
    }

    /// Takes note of a later report.
    fn follow(&mut self, report: &Report) -> Result<(), Failure> {
        let agent = agent(report);
        if self.lost.agent != agent {
            self.lost.by_former += self.lost.now - self.lost.before;
            (self.lost.agent, self.lost.before) = (agent, 0);
        }
        self.lost.now = report.counters.undelivered().max(self.lost.before);
        let (Some(spool), Some(waiting)) = (&report.spool, &report.waiting) else { return Ok(()) };
        if spool.stream != self.stream {
            return Err(failed(
                "the spool was replaced meanwhile; what became of its messages is not known".to_owned(),
            ));
        }
        self.left = self.end.saturating_sub(spool.oldest_seq).min(waiting.messages);
        Ok(())
    }

    /// What there is to say when nothing is left.
    fn verdict(&self, took: Duration) -> Result<(), Failure> {
        let lost = self.lost.by_former + self.lost.now - self.lost.before;
        let (total, took) = (counted(self.total, "message"), time(took.as_secs_f64()));
        if lost > 0 {
            let lost = counted(lost, "message");
            return Err(failed(format!(
                "drained in {took}, but {lost} were dropped, set aside or damaged meanwhile; `packhorse status` says which"
            )));
        }
        super::print(&match self.total {
            0 => "nothing waits\n".to_owned(),
            _ => format!("drained; {total} in {took}\n"),
        })
    }
}

fn agent(report: &Report) -> (u32, String) {
    (report.agent.process, report.agent.since.clone())
}

/// What can be said of the end.
fn outlook(report: &Report) -> String {
    let (Some(connection), Some(waiting)) = (&report.connection, &report.waiting) else {
        return "the publisher does not answer".to_owned();
    };
    let messages = counted(waiting.messages, "message");
    match (connection.state, waiting.drained_in_seconds) {
        (State::Connected, Some(seconds)) => format!("{messages} wait, drained in about {}", time(seconds)),
        (State::Connected, None) => format!("{messages} wait, connected to {}", connection.address),
        _ => format!("{messages} wait, no connection to {}", connection.address),
    }
}

fn line(backlog: Option<&Backlog>, report: &Report) -> String {
    match backlog {
        Some(Backlog { total, left, .. }) => {
            let delivered = total.saturating_sub(*left);
            format!("{} of {} over; {}", crate::report::count(delivered), counted(*total, "message"), outlook(report))
        }
        None => outlook(report),
    }
}

/// A line on the terminal that is written over; nothing where there is none.
#[derive(Default)]
struct Progress {
    is_shown: bool,
}

impl Progress {
    fn show(&mut self, line: &str) {
        let mut error = std::io::stderr();
        if error.is_terminal() {
            let line: String = line.chars().take(crate::report::WIDTH - 1).collect();
            let _ = write!(error, "\r{line}\x1b[K");
            self.is_shown = true;
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

//! The running agent of a configuration, for the commands that ask it.

use super::{Code, Failure};
use crate::config::{self, Role};
use crate::control::{self, Request, Unanswered};
use crate::report::Report;
use crossbeam_channel::bounded;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long an agent may take to answer. It needs milliseconds, or four seconds where its threads hang.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// An agent in order answers within this time, also on a slow machine; however little time is left, it gets it.
const SHORTEST: Duration = Duration::from_millis(500);

/// For the last moment of an answer.
const LEEWAY: Duration = Duration::from_millis(500);

/// The agent that a configuration leads to.
#[derive(Debug, Clone)]
pub enum Target {
    /// The one with this spool.
    OfSpool(PathBuf),
    /// The only one that there is, for the configuration does not tell where the spool is, and why.
    Only(String),
}

/// What it says: the answer as it came, and as this version reads it.
pub struct Answer {
    pub json: String,
    pub report: Report,
}

/// An answer that says no more than why there is none.
#[derive(Deserialize)]
struct Problem {
    error: String,
}

impl Target {
    /// The one that runs, or would run, with the configuration that is named or found. A configuration with problems serves as
    /// well, for an agent that runs goes on by the former one: where its `spool.directory` cannot be read, it is the only agent
    /// of this machine.
    ///
    /// # Errors
    /// There is no configuration.
    pub fn of(config: Option<&Path>) -> Result<Target, Failure> {
        let fail = |message: String| Failure { code: Code::Config, message };
        let path = config::locate(config).map_err(|error| fail(error.to_string()))?;
        let inspection = config::inspect(&path);
        let spool = inspection.files.into_iter().find(|file| file.role == Role::SpoolDirectory);
        Ok(match (spool, inspection.outcome) {
            (Some(spool), _) => Target::OfSpool(spool.path),
            (None, Ok(config)) => Target::OfSpool(config.spool.directory),
            (None, Err(problems)) => Target::Only(problems.to_string()),
        })
    }

    /// What the agent answers. It may take its time where the spool's disk hangs, and with it who asks where its folder is.
    fn answer(&self, request: Request, patience: Duration) -> Result<Vec<u8>, Failure> {
        let answer = match self {
            Target::OfSpool(spool) => control::ask(spool, request, patience).map(Some),
            Target::Only(_) => control::ask_the_only_one(request, patience),
        };
        let failure = |code, message| Failure { code, message };
        match (answer, self) {
            (Ok(Some(answer)), _) => Ok(answer),
            (Ok(None), Target::Only(problems)) => Err(failure(Code::Config, problems.clone())),
            (Ok(None), Target::OfSpool(_)) => Err(failure(Code::NotRunning, "no agent runs".to_owned())),
            (Err(error), _) => {
                let code = match error {
                    Unanswered::NotRunning { .. }
                    | Unanswered::Killed { .. }
                    | Unanswered::Ended(..)
                    | Unanswered::Silent(..) => Code::NotRunning,
                    Unanswered::Forbidden(..) | Unanswered::System(..) => Code::Unknown,
                };
                Err(failure(code, error.to_string()))
            }
        }
    }

    /// Asks in a thread of its own, which is left to itself where it takes too long.
    fn dial(&self, request: Request, patience: Duration) -> Result<Vec<u8>, Failure> {
        let (tell, told) = bounded(1);
        let target = self.clone();
        let ask = move || drop(tell.send(target.answer(request, patience)));
        let failure = |message| Failure { code: Code::Unknown, message };
        thread::Builder::new()
            .name("ask".to_owned())
            .spawn(ask)
            .map_err(|error| failure(format!("no thread can be started: {error}")))?;
        told.recv_timeout(patience + LEEWAY).unwrap_or_else(|_| {
            let limit = humantime::format_duration(patience);
            Err(failure(format!(
                "the spool's disk does not answer within {limit}, so nobody knows where the socket is"
            )))
        })
    }

    /// Asks it.
    ///
    /// # Errors
    /// Code 2 where nobody answers, 3 where this user may not ask, or where the answer makes no sense.
    pub fn ask(&self, request: Request) -> Result<Answer, Failure> {
        self.ask_within(request, PATIENCE)
    }

    /// As [`Target::ask`], but hardly longer than until then.
    ///
    /// # Errors
    /// As there.
    pub fn ask_until(&self, request: Request, deadline: Instant) -> Result<Answer, Failure> {
        let left = deadline.saturating_duration_since(Instant::now()).clamp(SHORTEST, PATIENCE);
        // To the tenth, as it is told.
        self.ask_within(
            request,
            Duration::from_millis(100) * u32::try_from(left.as_millis().div_ceil(100)).unwrap_or(1),
        )
    }

    fn ask_within(&self, request: Request, patience: Duration) -> Result<Answer, Failure> {
        let answer = self.dial(request, patience)?;
        let json = String::from_utf8_lossy(&answer).into_owned();
        if let Ok(Problem { error }) = serde_json::from_str(&json) {
            return Err(Failure { code: Code::NotRunning, message: format!("the agent does not answer: {error}") });
        }
        match serde_json::from_str(&json) {
            Ok(report) => Ok(Answer { json, report }),
            Err(error) if error.is_eof() => {
                let message = "the agent ended before it had answered".to_owned();
                Err(Failure { code: Code::NotRunning, message })
            }
            Err(error) => {
                let message = format!("the agent's answer makes no sense to this version of packhorse: {error}");
                Err(Failure { code: Code::Unknown, message })
            }
        }
    }
}

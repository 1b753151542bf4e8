//! `packhorse status`: how the running agent fares.

use super::agents::{Answer, Target};
use super::{Code, Failure, watch};
use crate::control::Request;
use crate::report::{self, Health};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Sources that the text names at most, those that do not work first.
pub const SOURCES: usize = 20;

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// Asks the agent and prints what it says: once, or as often as `every` says.
///
/// # Errors
/// Code 1 where it is degraded, 2 where none answers, 3 where this user may not ask.
pub fn run(config: Option<&Path>, form: Form, every: Option<Duration>) -> Result<(), Failure> {
    let target = Target::of(config)?;
    match every {
        None => once(&target, form),
        Some(every) => watch::run(&target, every, form),
    }
}

fn once(target: &Target, form: Form) -> Result<(), Failure> {
    let answer = target.ask(Request::Status);
    match (&answer, form) {
        (_, Form::Json) => super::print(&json(&answer))?,
        (Ok(_), Form::Text) => super::print(&text(&answer))?,
        // It goes to standard error.
        (Err(_), Form::Text) => {}
    }
    match answer?.report.health {
        Health::Healthy => Ok(()),
        // What was printed says it.
        Health::Degraded => Err(Failure { code: Code::Failed, message: String::new() }),
    }
}

/// What `--json` prints, also where there is no answer: one object in one line.
pub fn json(answer: &Result<Answer, Failure>) -> String {
    match answer {
        Ok(Answer { json, .. }) => format!("{json}\n"),
        Err(Failure { code, message }) => {
            let (health, code) = match code {
                Code::NotRunning => ("not_running", "not_running"),
                _ => ("unknown", "cannot_ask"),
            };
            format!("{}\n", json!({"health": health, "reasons": [{"code": code, "text": message}]}))
        }
    }
}

/// The same in words.
pub fn text(answer: &Result<Answer, Failure>) -> String {
    match answer {
        Ok(Answer { report, .. }) => report::text(report, SOURCES),
        Err(Failure { code: Code::NotRunning, message }) => {
            report::wrapped(&format!("packhorse: not running: {message}"))
        }
        Err(Failure { message, .. }) => report::wrapped(&format!("packhorse: {message}")),
    }
}

//! `packhorse status`: how the running agent fares.

use super::agents::{Answer, Target};
use super::{Code, Failure};
use crate::control::Request;
use crate::report::{self, Health};
use serde_json::json;
use std::path::Path;

/// Sources that the text names at most, those that do not work first.
const SOURCES: usize = 20;

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// Asks the agent and prints what it says.
///
/// # Errors
/// Code 1 where it is degraded, 2 where none answers, 3 where this user may not ask.
pub fn run(config: Option<&Path>, form: Form) -> Result<(), Failure> {
    let Answer { json, report } = Target::of(config)?.ask(Request::Status).inspect_err(|failure| {
        if form == Form::Json {
            // Whoever reads JSON gets some in any case; that it cannot be printed is no other news.
            let _ = super::print(&without_answer(failure));
        }
    })?;
    match form {
        Form::Json => super::print(&format!("{json}\n"))?,
        Form::Text => super::print(&report::text(&report, SOURCES))?,
    }
    match report.health {
        Health::Healthy => Ok(()),
        // What was printed says it.
        Health::Degraded => Err(Failure { code: Code::Failed, message: String::new() }),
    }
}

/// What `--json` prints where there is no answer.
fn without_answer(Failure { code, message }: &Failure) -> String {
    let (health, code) =
        if *code == Code::NotRunning { ("not_running", "not_running") } else { ("unknown", "cannot_ask") };
    format!("{}\n", json!({"health": health, "reasons": [{"code": code, "text": message}]}))
}

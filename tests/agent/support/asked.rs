//! What the commands say that ask a running agent.

use super::{Gateway, PATIENCE, wait_for};
use serde_json::Value;
use std::process::Output;
use std::time::{Duration, Instant};

/// Every command ends within this time, whatever the agent does.
const LIMIT: Duration = Duration::from_secs(8);

/// What a command gave: its exit code, standard output and standard error.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub error: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), error: text(output.stderr) }
    }
}

/// Runs a command of this device, which has to end in time.
pub fn ask(gateway: &Gateway, arguments: &[&str]) -> Said {
    let begin = Instant::now();
    let said = gateway.command(arguments).output().unwrap().into();
    assert!(begin.elapsed() < LIMIT, "{arguments:?} took {:?}: {said:?}", begin.elapsed());
    said
}

/// What `status --json` prints, whatever its exit code.
pub fn json(gateway: &Gateway) -> Value {
    serde_json::from_str(&ask(gateway, &["status", "--json"]).out).unwrap()
}

/// Waits until the report is as wanted; the report.
pub fn wait_for_report(gateway: &Gateway, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, PATIENCE, || Some(json(gateway)).filter(&is_wanted))
}

pub fn is_healthy(report: &Value) -> bool {
    report["health"] == "healthy"
}

//! The process of the agent under test, as its parent has it.

use super::report::Report;
use super::terms::Terms;
use super::trouble::Trouble;
use crate::foreign;
use crossbeam_channel::{Receiver, unbounded};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// This program, also where its file was replaced.
const PROGRAM: &str = "/proc/self/exe";
/// How often its end is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// Exit codes of `crate::cli` that mean more than that it is broken.
const SPOOL: i32 = 74;
const REFUSED: i32 = 77;

/// A running agent. Dropping it kills it.
pub struct Process {
    child: Child,
    reports: Receiver<Report>,
    last_words: PathBuf,
}

impl Process {
    /// Starts an agent on these terms.
    ///
    /// # Errors
    /// The system does not let it start.
    pub fn start(terms: &Terms) -> Result<Self, Trouble> {
        let failed = |error: std::io::Error| Trouble::Bug(format!("the agent under test cannot be started: {error}"));
        let last_words = terms.folder.join("last-words");
        let words = File::create(&last_words).map_err(failed)?;
        let mut child = Command::new(PROGRAM)
            .args(["verify", "--agent"])
            // Ctrl-C on a terminal is for the parent.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(words)
            .spawn()
            .map_err(failed)?;
        let (tell, reports) = unbounded();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                let lines = BufReader::new(output).lines().map_while(Result::ok);
                let reports = lines.filter_map(|line| serde_json::from_str(&line).ok());
                // Nobody listens any more when it was killed.
                reports.for_each(|report: Report| drop(tell.send(report)));
            });
        }
        let mut process = Self { child, reports, last_words };
        let text = serde_json::to_vec(terms).map_err(|error| failed(error.into()))?;
        if let Some(mut input) = process.child.stdin.take() {
            // Whoever has ended by then says why by itself.
            let _ = input.write_all(&text);
        }
        Ok(process)
    }

    /// Its reports, until it ends.
    pub fn reports(&self) -> &Receiver<Report> {
        &self.reports
    }

    /// SIGKILL: nothing of it runs any more when this returns. What it reported and nobody has read is still there.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop, and kills it where it takes longer than `patience`.
    pub fn stop(&mut self, patience: Duration) {
        // As above.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(LOOK);
        }
        self.kill();
    }

    /// Why it has ended, which nobody asked it to.
    pub fn trouble(&mut self) -> Trouble {
        let status = self.child.wait();
        let words = words(&self.last_words);
        match status.as_ref().ok().and_then(ExitStatus::code) {
            Some(REFUSED) => Trouble::Refused(words),
            Some(SPOOL) => Trouble::Spool(words),
            Some(code) => Trouble::Bug(format!("the agent under test has ended with code {code}: {words}")),
            None => Trouble::Bug(format!("the agent under test was ended by somebody else: {words}")),
        }
    }
}

fn words(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<String> =
        text.lines().map(|line| foreign::hide(line.strip_prefix("packhorse: ").unwrap_or(line)).into_owned()).collect();
    lines.join("\n")
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

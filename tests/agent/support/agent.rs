//! A running agent: its process, what it wrote to its console, and what proc(5) says of it.

use super::{PATIENCE, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// A running agent. Dropping it kills it.
pub struct Agent {
    pub(super) child: Child,
    pub(super) output: PathBuf,
}

impl Agent {
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGKILL: no code of the agent runs any more.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the agent to stop and waits for its end.
    pub fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the agent's end.
    pub fn wait(self) -> ExitStatus {
        self.wait_within(PATIENCE)
    }

    /// Waits this long for the agent's end.
    pub fn wait_within(mut self, patience: Duration) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the agent ends", patience, || child.try_wait().unwrap())
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// How many files and sockets it has open (proc(5)).
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    /// What each of its threads waits for in the kernel (proc(5)).
    pub fn threads(&self) -> String {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let state = |path: PathBuf| {
            let read = |name| fs::read_to_string(path.join(name)).unwrap_or_default();
            format!("{} waits in {}", read("comm").trim(), read("wchan"))
        };
        tasks.map(|task| state(task.unwrap().path())).collect::<Vec<_>>().join("\n")
    }

    /// Gives the host of its own that it runs on another name.
    pub fn rename_host(&self, name: &str) {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.id().to_string(), "--uts", "hostname", name]);
        assert!(command.status().unwrap().success(), "{name}");
    }

    /// Whether it ignores a signal (proc(5)).
    pub fn ignores(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal.as_raw() - 1) & 1 == 1
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time that it has used, in ticks of 10 ms (proc(5)).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// A figure of its memory in KiB, such as `VmRSS`, by its name in `/proc/PID/status` (proc(5)).
    pub fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.strip_suffix("kB"));
        line.unwrap_or_else(|| panic!("{name} in {status}")).trim().parse().unwrap()
    }

    /// The names of its threads by their ids, and how often each gave up the processor of its own will (proc(5)).
    fn wake_ups(&self) -> BTreeMap<u32, (String, u64)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let count = |path: &Path| {
            let status = fs::read_to_string(path.join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            let name = fs::read_to_string(path.join("comm")).ok()?;
            let id = path.file_name()?.to_str()?.parse().ok()?;
            Some((id, (name.trim().to_owned(), line.trim().parse().unwrap())))
        };
        tasks.filter_map(|task| count(&task.unwrap().path())).collect()
    }

    /// How often each of its threads wakes up within this time, by the names of the threads.
    pub fn wake_ups_in(&self, time: Duration) -> Vec<(String, u64)> {
        let before = self.wake_ups();
        std::thread::sleep(time);
        // A thread that has begun meanwhile has woken up as often since.
        let since = |(id, (name, after))| (name, after - before.get(&id).map_or(0, |(_, before)| *before));
        self.wake_ups().into_iter().map(since).collect()
    }

    /// What it wrote to standard output and standard error by now.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until the console has a line with this text.
    pub fn wait_for_output(&self, text: &str) {
        wait_for(&format!("{text:?} on the console"), PATIENCE, || self.output().contains(text).then_some(()));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- the agent said:\n{}", self.output());
        }
    }
}

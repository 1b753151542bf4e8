//! Less memory and processor time than the machine has.

use super::skip;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where Debian mounts the control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// What a share of a processor is a share of, in microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;

/// Processes that have so much memory and processor time together: a control group of Linux. Dropping it removes it; its
/// processes have to end before.
pub struct ControlGroup {
    version: Version,
    name: String,
}

#[derive(Debug, Clone, Copy)]
enum Version {
    /// A tree of folders for each kind of limit.
    One,
    /// One tree for all.
    Two,
}

impl ControlGroup {
    /// A group with this much memory and so many percent of one processor. `None` where that is not allowed, which is said.
    pub fn new(mebibytes: u64, percent: u64) -> Option<Self> {
        let version = if Path::new(ROOT).join("cgroup.controllers").exists() { Version::Two } else { Version::One };
        let group = Self { version, name: format!("packhorse-test-{:016x}", fastrand::u64(..)) };
        match group.limit(mebibytes << 20, percent) {
            Ok(()) if group.tells() => Some(group),
            Ok(()) => {
                skip("this kernel does not tell what a control group took");
                None
            }
            Err(error) => {
                skip(&format!("this machine does not allow to limit memory and processor time: {error}"));
                None
            }
        }
    }

    /// A command that runs a program in the group from its first instruction on.
    pub fn command(&self, program: &Path) -> Command {
        let enter: String =
            self.folders().iter().map(|folder| format!("echo $$ >{}/cgroup.procs; ", folder.display())).collect();
        let mut command = Command::new("sh");
        command.arg("-ec").arg(enter + "exec \"$0\" \"$@\"").arg(program);
        command
    }

    /// The most memory that the group had at a time, in bytes. The kernel's copies of files that its processes read or
    /// wrote are in it.
    pub fn peak_memory(&self) -> u64 {
        match self.version {
            Version::One => self.read("memory", "memory.max_usage_in_bytes"),
            Version::Two => self.read("memory", "memory.peak"),
        }
        .trim()
        .parse()
        .unwrap()
    }

    /// How many processes the kernel has killed because the group had no memory left.
    pub fn killed_for_memory(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        figure(&self.read("memory", file), "oom_kill")
    }

    /// In how many periods the group's processes had to wait for the next one.
    pub fn throttled(&self) -> u64 {
        figure(&self.read("cpu", "cpu.stat"), "nr_throttled")
    }

    fn limit(&self, bytes: u64, percent: u64) -> std::io::Result<()> {
        let quota = PERIOD * percent / 100;
        self.folders().iter().try_for_each(fs::create_dir)?;
        let write = |limits, file, value: String| fs::write(self.folder(limits).join(file), value);
        match self.version {
            Version::One => {
                write("memory", "memory.limit_in_bytes", bytes.to_string())?;
                write("cpu", "cpu.cfs_period_us", PERIOD.to_string())?;
                write("cpu", "cpu.cfs_quota_us", quota.to_string())?;
                // Nor more together with swap, where the kernel counts that.
                let _ = write("memory", "memory.memsw.limit_in_bytes", bytes.to_string());
            }
            Version::Two => {
                write("memory", "memory.max", bytes.to_string())?;
                write("cpu", "cpu.max", format!("{quota} {PERIOD}"))?;
                let _ = write("memory", "memory.swap.max", "0".to_owned());
            }
        }
        Ok(())
    }

    /// Whether the kernel has the figures that are asked for: `memory.peak` came with Linux 5.19.
    fn tells(&self) -> bool {
        let peak = match self.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        };
        self.folder("memory").join(peak).exists() && self.folder("cpu").join("cpu.stat").exists()
    }

    fn folders(&self) -> Vec<PathBuf> {
        match self.version {
            Version::One => vec![self.folder("memory"), self.folder("cpu")],
            Version::Two => vec![self.folder("memory")],
        }
    }

    /// The folder for limits of this kind.
    fn folder(&self, limits: &str) -> PathBuf {
        match self.version {
            Version::One => Path::new(ROOT).join(limits).join(&self.name),
            Version::Two => Path::new(ROOT).join(&self.name),
        }
    }

    fn read(&self, limits: &str, file: &str) -> String {
        fs::read_to_string(self.folder(limits).join(file)).unwrap()
    }
}

/// The number behind a name, in lines of both.
fn figure(lines: &str, name: &str) -> u64 {
    let number = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    lines.lines().find_map(number).unwrap_or_else(|| panic!("{name:?} in {lines:?}"))
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        for folder in self.folders() {
            // A process that has just ended may still count for a moment.
            for _ in 0..100 {
                if fs::remove_dir(&folder).is_ok() || !folder.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

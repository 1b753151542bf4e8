//! Networks of the test's own, with names of their own.

use super::skip;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Processes in a network of their own. Dropping it ends them, and the network with them.
pub struct Netns {
    shell: Child,
}

impl Netns {
    /// Runs a script in a new network; `None` where that is not allowed, which is said.
    pub fn run(script: &str) -> Option<Self> {
        let allowed = Command::new("unshare").args(["-nm", "ip", "link", "add", "probe0", "type", "veth"]).output();
        if !allowed.is_ok_and(|output| output.status.success()) {
            skip("this machine does not allow to make a network");
            return None;
        }
        let shell = Command::new("unshare")
            .args(["-nm", "sh", "-c", script])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Some(Self { shell })
    }

    /// The same, where names are those of a `hosts` file alone, which the script is preceded by putting in place.
    pub fn with_hosts(folder: &Path, hosts: &str, script: &str) -> Option<Self> {
        let put = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).unwrap();
            format!("mount --bind {} /etc/{name}; ", folder.join(name).display())
        };
        let names = put("hosts", hosts) + &put("nsswitch.conf", "hosts: files\n");
        Self::run(&(names + script))
    }

    /// A command in this network.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.shell.id().to_string(), "-n", "-m", program]);
        command
    }

    /// Runs a command in this network.
    pub fn command(&self, command: &[&str]) {
        let status = self.inside(command[0]).args(&command[1..]).status().unwrap();
        assert!(status.success(), "{command:?}");
    }

    /// Whether a command in this network succeeds.
    pub fn succeeds(&self, command: &[&str]) -> bool {
        let mut run = self.inside(command[0]);
        run.args(&command[1..])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.shell), Signal::KILL);
        let _ = self.shell.wait();
    }
}

//! The members of a cluster of brokers, each of which can be killed and started again.

use super::loopback::Port;
use super::process::Process;
use super::wait_for;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Members start together, beside whatever else runs on a small machine.
const START: Duration = Duration::from_secs(120);

/// Brokers that know each other, or a single one. Dropping it kills them.
pub struct Cluster {
    members: Vec<Member>,
    /// What the members need beside, for as long as they run.
    _helpers: Vec<Process>,
    _folder: TempDir,
}

/// One broker: how it is started, and the process while it runs.
pub struct Member {
    pub port: Port,
    /// The ports for other clients, and on which members talk to each other.
    pub other_ports: Vec<Port>,
    pub command: Command,
    /// What it says of itself.
    pub log: PathBuf,
    /// Whether it serves clients, asked while its process runs.
    pub serves: Box<dyn Fn() -> bool>,
    pub process: Option<Process>,
}

impl Cluster {
    /// Members that do not run yet and keep what they have in this folder.
    pub fn of(members: Vec<Member>, helpers: Vec<Process>, folder: TempDir) -> Self {
        Self { members, _helpers: helpers, _folder: folder }
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The MQTT port of a member, which stays its own.
    pub fn port(&self, member: usize) -> u16 {
        self.members[member].port.number()
    }

    /// The ports on which members serve other clients than those of MQTT.
    pub fn other_ports(&self) -> Vec<u16> {
        self.members.iter().map(|member| member.other_ports[0].number()).collect()
    }

    /// The addresses of all members.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| member.port.url()).collect()
    }

    /// What a member says of itself.
    pub fn log(&self, member: usize) -> String {
        String::from_utf8_lossy(&fs::read(&self.members[member].log).unwrap_or_default()).into_owned()
    }

    /// Starts a member, and does not wait for it.
    pub fn launch(&mut self, member: usize) {
        let member = &mut self.members[member];
        assert!(member.process.is_none(), "it runs");
        member.process = Some(Process::start(&mut member.command));
    }

    /// Waits until a launched member serves clients.
    pub fn wait_for(&mut self, member: usize) {
        let Member { process, serves, .. } = &mut self.members[member];
        let process = process.as_mut().expect("it was launched");
        wait_for(&format!("member {member} serves clients"), START, || {
            assert!(!process.has_ended(), "member {member} ended by itself");
            serves().then_some(())
        });
    }

    /// Starts a member with what it kept, and waits until it serves clients.
    pub fn run(&mut self, member: usize) {
        self.launch(member);
        self.wait_for(member);
    }

    /// SIGKILL.
    pub fn kill(&mut self, member: usize) {
        self.members[member].process.take().expect("it runs").kill();
    }

    /// Ends a member in order.
    pub fn stop(&mut self, member: usize) {
        self.members[member].process.take().expect("it runs").stop();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for member in 0..self.members.len() {
            let log = self.log(member);
            let lines: Vec<&str> = log.lines().collect();
            println!("--- member {member} said at last:");
            lines[lines.len().saturating_sub(20)..].iter().for_each(|line| println!("{line}"));
        }
    }
}

//! A server's process, and what it has started.

use super::wait_for;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::process::{Child, Command};
use std::time::Duration;

/// How long a server may take to end in order.
const ORDERLY_END: Duration = Duration::from_secs(60);

/// A running server, in a process group of its own. Dropping it kills the group.
pub struct Process(Child);

impl Process {
    /// Starts what the command says, which may be started again. Its process ends with the calling thread, however that
    /// ends.
    pub fn start(command: &mut Command) -> Self {
        let program = command.get_program().to_owned();
        Self(command.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}; `make test` installs it")))
    }

    /// A command that runs a program as [`Process::start`] says.
    pub fn command(program: &str) -> Command {
        use std::os::unix::process::CommandExt;
        // Also when the test's process is killed, which runs no destructor.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).process_group(0);
        command
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        wait_for("the server ends", ORDERLY_END, || self.0.try_wait().unwrap());
    }

    /// SIGKILL, for everything in its group.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails when all have ended. The group's number is not given away while its leader is not waited for.
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

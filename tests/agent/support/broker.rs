//! A mosquitto of the test's own.

use super::{PATIENCE, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A broker with a store that it keeps over restarts. Dropping it ends it.
pub struct Broker {
    port: u16,
    folder: TempDir,
    settings: String,
    child: Option<Child>,
}

impl Broker {
    /// A running broker that admits everybody.
    pub fn start() -> Self {
        Self::with("allow_anonymous true")
    }

    /// A running broker with these lines in its configuration; what they set wins.
    pub fn with(settings: &str) -> Self {
        // Another process may take the port between our asking for it and mosquitto's: then another one is tried.
        for _ in 0..10 {
            let mut broker = Self::absent(settings);
            if broker.try_start() {
                return broker;
            }
        }
        panic!("mosquitto does not start on any port");
    }

    /// A broker that has an address but does not run yet.
    pub fn absent(settings: &str) -> Self {
        let port = Self::free_port();
        let folder = tempfile::tempdir().unwrap();
        Self { port, folder, settings: settings.to_owned(), child: None }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// The port of a second listener, where settings have one.
    pub fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// Starts the broker, or starts it again with what it kept.
    pub fn run(&mut self) {
        assert!(self.try_start(), "mosquitto does not start on port {}: {}", self.port, self.log());
    }

    /// Ends the broker in order; it writes its store.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.child.take().expect("the broker runs").wait().unwrap();
    }

    /// Ends the broker at once, even one that stands still.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the broker runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Makes the broker stand still: its system accepts connections, it says nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the broker runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn try_start(&mut self) -> bool {
        let folder = self.folder.path().display();
        let configuration = format!(
            "listener {} 127.0.0.1\nuser root\npersistence true\npersistence_location {folder}/\n\
             autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\n{}\n",
            self.port, self.settings
        );
        let file = self.folder.path().join("mosquitto.conf");
        fs::write(&file, configuration).unwrap();
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut child = Command::new(mosquitto())
            .arg("-c")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mosquitto can be started; `make test` installs it");
        let address = ("127.0.0.1", self.port);
        let runs = wait_for("mosquitto accepts connections or ends", PATIENCE, || {
            if child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            TcpStream::connect(address).is_ok().then_some(true)
        });
        self.child = runs.then_some(child);
        runs
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A broker that stands still has to be killed; SIGKILL ends it as well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Debian puts it where only root's path leads.
fn mosquitto() -> &'static Path {
    let installed = Path::new("/usr/sbin/mosquitto");
    if installed.exists() { installed } else { Path::new("mosquitto") }
}

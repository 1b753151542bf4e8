//! A device with a configuration, a spool and a log folder, and the agent that runs on it.

use super::{Agent, ControlGroup, Netns, SmallDisk, count, skip};
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The status topic that is the default.
pub const STATUS: &str = "status/gateway-7";

/// What a test sets of the configuration.
pub struct Settings {
    pub protocol: &'static str,
    pub qos: u8,
    pub window: u16,
    /// Between two samples of the one source.
    pub interval: &'static str,
    pub retry: &'static str,
    /// Whole sections, written as they are.
    pub more: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protocol: "5",
            qos: 1,
            window: 100,
            interval: "5ms",
            retry: "{initial_delay: 50ms, factor: 1.5, max_delay: 1s, at_max: hold}",
            more: "status: {topic: ~}".to_owned(),
        }
    }
}

/// The folders of one device; they outlive its agents.
pub struct Gateway {
    folder: TempDir,
}

impl Gateway {
    /// A device with several brokers, in this order.
    pub fn with_brokers(urls: &[String], settings: &Settings) -> Self {
        let gateway = Self::new("mqtt://127.0.0.1:1", settings);
        gateway.edit("url: \"mqtt://127.0.0.1:1\"", &format!("urls: [\"{}\"]", urls.join("\", \"")));
        gateway
    }

    /// A device whose broker is at `url`.
    pub fn new(url: &str, settings: &Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let Settings { protocol, qos, window, interval, retry, more } = settings;
        let path = folder.path().display();
        let configuration = format!(
            "device: gateway-7\n\
             broker: {{url: \"{url}\", protocol: {protocol}, keep_alive: 5s, connect_timeout: 2s}}\n\
             retry: {retry}\n\
             telemetry:\n  qos: {qos}\n  interval: {interval}\n  sources: [{{name: wind, type: simulated, seed: 7}}]\n\
             spool: {{directory: {path}/spool}}\n\
             delivery: {{window: {window}, ack_timeout: 2s}}\n\
             shutdown_timeout: 2s\n\
             {more}\n"
        );
        let logging = format!("logging: {{directory: {path}/log, keep_files: 1000, info: true, sample: debug}}\n");
        let logging = if more.contains("logging:") { String::new() } else { logging };
        let configuration = (configuration + &logging).replace("LOGS", &format!("{path}/log"));
        fs::write(folder.path().join("config.yaml"), configuration).unwrap();
        Self { folder }
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    /// What is in the spool's `rejected/`, in no order.
    pub fn rejected(&self) -> Vec<PathBuf> {
        fs::read_dir(self.spool().join("rejected"))
            .map(|files| files.map(|file| file.unwrap().path()).collect())
            .unwrap_or_default()
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    pub fn logs(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Replaces text in the configuration.
    pub fn edit(&self, from: &str, to: &str) {
        let file = self.folder.path().join("config.yaml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from:?} in {text}");
        fs::write(file, text.replace(from, to)).unwrap();
    }

    /// Turns the status message on, which is off by default, on [`STATUS`].
    pub fn turn_status_on(&self) {
        self.edit("status: {topic: ~}", &format!("status: {{topic: {STATUS}}}"));
    }

    /// Adds a second source, which reads this text from a file.
    pub fn add_text_source(&self, name: &str, text: &str, interval: &str) {
        let file = self.logs().with_extension("txt");
        fs::write(&file, text).unwrap();
        let path = file.display();
        self.edit("seed: 7}", &format!("seed: 7}}, {{name: {name}, type: file, path: {path}, interval: {interval}}}"));
    }

    /// Puts the spool on a disk of its own. [`Gateway::spool`] does not lead there.
    pub fn put_spool_on(&self, disk: &SmallDisk, max_size: &str) {
        self.edit(
            &format!("spool: {{directory: {}}}", self.spool().display()),
            &format!("spool: {{directory: {}/spool, max_size: {max_size}}}", disk.path().display()),
        );
    }

    /// Starts an agent; it has opened its spool when this returns.
    pub fn start(&self) -> Agent {
        self.start_with(&[])
    }

    /// Starts an agent with more in its environment; it has opened its spool when this returns.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Agent {
        let agent = self.launch_with(environment);
        agent.wait_for_output("spool opened");
        agent
    }

    /// Starts an agent in a control group; it has opened its spool when this returns.
    pub fn start_in(&self, group: &ControlGroup) -> Agent {
        let agent = self.spawn(group.command(&binary()));
        agent.wait_for_output("spool opened");
        agent
    }

    /// Starts an agent under a umask; it has opened its spool when this returns.
    pub fn start_under(&self, umask: &str) -> Agent {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(binary());
        let agent = self.spawn(command);
        agent.wait_for_output("spool opened");
        agent
    }

    /// Starts an agent that may open so many files; it has opened its spool when this returns.
    pub fn start_with_files(&self, files: u32) -> Agent {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]).arg(binary());
        let agent = self.spawn(command);
        agent.wait_for_output("spool opened");
        agent
    }

    /// Starts an agent that ignores SIGHUP from its start, as under `nohup`; it has opened its spool when this returns.
    pub fn start_ignoring_hangups(&self) -> Agent {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(binary());
        let agent = self.spawn(command);
        agent.wait_for_output("spool opened");
        agent
    }

    /// Starts an agent on a host of its own, by this name; `None` where that is not allowed, which is said.
    pub fn start_on(&self, host: &str) -> Option<Agent> {
        let allowed = Command::new("unshare").args(["--uts", "true"]).status();
        if !allowed.is_ok_and(|status| status.success()) {
            skip("this machine does not allow to make a host of another name");
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(["--uts", "sh", "-c", &format!("hostname {host}; exec \"$0\" \"$@\"")]).arg(binary());
        let agent = self.spawn(command);
        agent.wait_for_output("spool opened");
        Some(agent)
    }

    /// Starts an agent as another user, whom all of the device's files belong to from then on; it has opened its spool
    /// when this returns. For tests that run as root.
    pub fn start_as(&self, user: u32) -> Agent {
        for path in [self.folder.path().to_owned(), self.config()] {
            chown(path, Some(user), Some(user)).unwrap();
        }
        let mut command = Command::new(binary());
        command.uid(user).gid(user);
        let agent = self.spawn(command);
        agent.wait_for_output("spool opened");
        agent
    }

    /// Starts an agent in another network.
    pub fn start_inside(&self, network: &Netns) -> Agent {
        let agent = self.spawn(network.inside(binary().to_str().unwrap()));
        agent.wait_for_output("spool opened");
        agent
    }

    /// Starts an agent that may fail to start.
    pub fn launch(&self) -> Agent {
        self.launch_with(&[])
    }

    /// Starts an agent that may fail to start, with more in its environment.
    pub fn launch_with(&self, environment: &[(&str, &str)]) -> Agent {
        let mut command = Command::new(binary());
        command.envs(environment.iter().copied());
        self.spawn(command)
    }

    /// Starts an agent whose standard output and standard error are these, so that [`Agent::output`] is empty.
    pub fn launch_on(&self, output: impl Into<Stdio>, error: impl Into<Stdio>) -> Agent {
        self.spawn_on(Command::new(binary()), output.into(), error.into(), PathBuf::new())
    }

    /// Starts an agent by a command that lacks no more than the configuration.
    fn spawn(&self, command: Command) -> Agent {
        let output = self.folder.path().join(format!("output-{}", fastrand::u64(..)));
        let file = File::create(&output).unwrap();
        self.spawn_on(command, file.try_clone().unwrap().into(), file.into(), output)
    }

    fn spawn_on(&self, mut command: Command, stdout: Stdio, stderr: Stdio, output: PathBuf) -> Agent {
        // As the service manager gives one: what the agent keeps there goes with this device.
        if command.get_envs().all(|(name, _)| name != "RUNTIME_DIRECTORY") {
            command.env("RUNTIME_DIRECTORY", self.folder.path());
        }
        let child = command
            .arg("--config")
            .arg(self.folder.path().join("config.yaml"))
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        Agent { child, output }
    }

    /// A command that works with this device's configuration, and looks for its agent where [`Gateway::start`] starts it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.env("RUNTIME_DIRECTORY", self.folder.path()).arg("--config").arg(self.config()).args(arguments);
        command
    }

    /// The folder that all of it is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What all agents of this device said they accepted.
    pub fn accepted(&self) -> Vec<RangeInclusive<u64>> {
        let range = |line: &str| {
            // An agent that runs may be in the middle of a line.
            let line = line.strip_suffix('\n')?;
            let (first, last) = line.split_once("accepted stream=")?.1.split_once(" seq=")?.1.split_once("..")?;
            Some(first.parse().unwrap()..=last.trim().parse().unwrap())
        };
        log_files(&self.logs(), "debug.log.")
            .iter()
            .flat_map(|text| text.split_inclusive('\n').filter_map(range).collect::<Vec<_>>())
            .collect()
    }

    /// How often its agents logged this text; losses after the first few are logged at debug level alone.
    pub fn logged(&self, text: &str) -> usize {
        log_files(&self.logs(), "debug.log.").concat().matches(text).count()
    }

    /// How many messages were accepted.
    pub fn accepted_count(&self) -> usize {
        count(&self.accepted())
    }
}

/// The agent to test: the one that was built with the tests, or the one that `PACKHORSE_BINARY` names.
fn binary() -> PathBuf {
    std::env::var_os("PACKHORSE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_packhorse").into()).into()
}

/// The content of the log files whose names begin like this.
pub fn log_files(folder: &Path, prefix: &str) -> Vec<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix))
        .collect();
    files.sort();
    files.iter().map(|file| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned()).collect()
}

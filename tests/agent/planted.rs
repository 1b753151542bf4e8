//! Links and pipes that another user has put into the folders of the spool and the log.

use crate::support::{Broker, Gateway, Settings, Subscriber, wait_until};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const PRECIOUS: &str = "what no agent may touch";

/// A device that has run before, and a file that links lead to.
struct Device {
    broker: Broker,
    subscriber: Subscriber,
    gateway: Gateway,
    victim: PathBuf,
}

impl Device {
    fn new(qos: u8) -> Self {
        let broker = Broker::start();
        let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
        let gateway = Gateway::new(&broker.url(), &Settings { qos, ..Settings::default() });
        let agent = gateway.start();
        subscriber.wait_for_count(10);
        assert_eq!(agent.stop().code(), Some(0));
        let victim = gateway.config().with_file_name("victim");
        fs::write(&victim, PRECIOUS).unwrap();
        Self { broker, subscriber, gateway, victim }
    }

    /// Runs the agent until more has arrived.
    fn runs(&self) {
        let agent = self.gateway.start();
        let before = self.subscriber.arrivals().len();
        self.subscriber.wait_for_count(before + 10);
        assert_eq!(agent.stop().code(), Some(0), "{}", self.broker.url());
    }

    fn link(&self, name: &Path) {
        let _ = fs::remove_file(name);
        symlink(&self.victim, name).unwrap();
    }

    fn pipe(name: &Path) {
        let _ = fs::remove_file(name);
        mkfifoat(CWD, name, Mode::RUSR | Mode::WUSR).unwrap();
    }

    fn newest_logs(&self) -> Vec<PathBuf> {
        ["debug.log", "info.log", "sample.log"]
            .map(|kind| self.gateway.logs().join(fs::read_link(self.gateway.logs().join(kind)).unwrap()))
            .into()
    }

    fn next_segments(&self) -> Vec<PathBuf> {
        (1..2000).map(|seq| self.gateway.spool().join(format!("{seq:020}.new"))).collect()
    }
}

#[test]
fn a_link_in_the_spool_is_never_written_through() {
    let device = Device::new(2);
    for name in ["journal", "journal.new", "boots", "boots.new", "exchanges"] {
        device.link(&device.gateway.spool().join(name));
    }
    // A segment that was begun, whatever its number.
    device.next_segments().iter().for_each(|name| device.link(name));

    device.runs();

    assert_eq!(fs::read_to_string(&device.victim).unwrap(), PRECIOUS);
    for name in ["journal", "exchanges"] {
        assert!(device.gateway.spool().join(name).symlink_metadata().unwrap().is_file(), "{name}");
    }
}

#[test]
fn a_pipe_in_the_spool_holds_nothing_up() {
    let device = Device::new(2);
    for name in ["journal", "journal.new", "boots", "boots.new", "exchanges"] {
        Device::pipe(&device.gateway.spool().join(name));
    }
    device.next_segments().iter().take(50).for_each(|name| Device::pipe(name));

    device.runs();
}

#[test]
fn a_lock_that_is_a_link_or_a_pipe_ends_the_start_with_a_reason() {
    let device = Device::new(1);
    let lock = device.gateway.spool().join("lock");
    for (plant, why) in [
        (Box::new(|| device.link(&lock)) as Box<dyn Fn()>, "symbolic link"),
        (Box::new(|| Device::pipe(&lock)), "no regular file"),
    ] {
        plant();

        let agent = device.gateway.launch();

        agent.wait_for_output(why);
        assert_eq!(agent.wait().code(), Some(74));
    }
    assert_eq!(fs::read_to_string(&device.victim).unwrap(), PRECIOUS);
}

#[test]
fn a_link_in_place_of_the_newest_log_is_not_followed() {
    let device = Device::new(1);
    device.newest_logs().iter().for_each(|name| device.link(name));

    device.runs();

    assert_eq!(fs::read_to_string(&device.victim).unwrap(), PRECIOUS);
}

#[test]
fn a_pipe_in_place_of_the_newest_log_does_not_hold_up_the_start() {
    let device = Device::new(1);
    device.newest_logs().iter().for_each(|name| Device::pipe(name));

    device.runs();
}

#[test]
fn a_second_name_of_another_file_is_not_written_to() {
    let device = Device::new(2);
    let mut names = device.newest_logs();
    names.extend(["journal", "exchanges"].map(|name| device.gateway.spool().join(name)));
    for name in names {
        fs::remove_file(&name).unwrap();
        fs::hard_link(&device.victim, &name).unwrap();
    }

    device.runs();

    assert_eq!(fs::read_to_string(&device.victim).unwrap(), PRECIOUS);
}

/// The modes of all files and folders of the spool and the log.
fn modes(gateway: &Gateway) -> Vec<(u32, PathBuf)> {
    [gateway.spool(), gateway.logs()].iter().flat_map(|folder| modes_below(folder)).collect()
}

fn modes_below(folder: &Path) -> Vec<(u32, PathBuf)> {
    let mut modes = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() {
                modes.push((metadata.permissions().mode() & 0o7777, entry.path()));
            }
        }
        modes.push((folder.metadata().unwrap().permissions().mode() & 0o7777, folder));
    }
    modes
}

#[test]
fn files_are_0640_and_folders_0750_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let broker = Broker::start();
        let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
        let gateway = Gateway::new(&broker.url(), &Settings { qos: 2, ..Settings::default() });
        let (spool, log) = (gateway.spool(), gateway.logs());
        for (folder, deeper) in [(&spool, "below/spool"), (&log, "below/log")] {
            gateway.edit(&folder.display().to_string(), &folder.with_file_name(deeper).display().to_string());
        }
        let below = spool.with_file_name("below");

        let agent = gateway.start_under(umask);
        subscriber.wait_for_count(10);
        agent.stop();

        let mut seen = 0;
        for (mode, path) in modes_below(&below) {
            let wanted = if path.is_dir() { 0o750 } else { 0o640 };
            assert_eq!(mode, wanted, "umask {umask}: {} has {mode:o}", path.display());
            seen += 1;
        }
        assert!(seen >= 8, "{seen}");
    }
}

#[test]
fn files_of_an_earlier_version_are_narrowed() {
    let device = Device::new(2);
    for (_, path) in modes(&device.gateway).iter().filter(|(_, path)| path.is_file()) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    }

    let agent = device.gateway.start();
    wait_until("all files are narrow", || {
        modes(&device.gateway).iter().all(|(mode, path)| path.is_dir() || *mode == 0o640)
    });
    agent.stop();
}

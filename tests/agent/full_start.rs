//! A start on a disk that takes nothing: what the spool holds is published, what is sampled takes the way past the
//! disk, and when there is room again messages are accepted as before.

use crate::support::{Agent, Broker, Gateway, Settings, SmallDisk, Subscriber, log_files, scale, skip, wait_until};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Messages that wait in the spool at the start.
const BACKLOG: usize = 1000;

/// A device whose spool is on a disk of its own, cut into the smallest segments, and a broker that is away.
struct Scene {
    disk: SmallDisk,
    broker: Broker,
    subscriber: Subscriber,
    gateway: Gateway,
}

impl Scene {
    /// `None` where no disk can be mounted, which is said.
    fn new(qos: u8) -> Option<Self> {
        Self::over("5", qos)
    }

    fn over(protocol: &'static str, qos: u8) -> Option<Self> {
        let disk = SmallDisk::mount(16)?;
        let mut broker = Broker::start();
        let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
        let gateway = Gateway::new(&broker.url(), &Settings { protocol, qos, interval: "2ms", ..Settings::default() });
        broker.stop();
        gateway.put_spool_on(&disk, "1MiB");
        Some(Self { disk, broker, subscriber, gateway })
    }

    fn spool(&self) -> PathBuf {
        self.disk.path().join("spool")
    }

    /// Leaves messages in the spool, by an agent that is killed.
    fn leave_backlog(&self) {
        let agent = self.gateway.start();
        let before = self.gateway.accepted_count();
        wait_until("a backlog", || self.gateway.accepted_count() >= before + BACKLOG);
        agent.kill();
    }

    /// An agent starts with a broker there: what was accepted before arrives, and so does what is sampled.
    fn everything_arrives(&mut self, environment: &[(&str, &str)]) -> Agent {
        let accepted = if self.gateway.logs().exists() { self.gateway.accepted() } else { Vec::new() };
        self.broker.run();
        let agent = self.gateway.start_with(environment);
        self.wait_for(&accepted);
        let already = self.subscriber.arrivals().len();
        self.subscriber.wait_for_count(already + 300);
        agent
    }

    /// Waits until these messages of the spool's stream have arrived.
    fn wait_for(&self, accepted: &[RangeInclusive<u64>]) {
        let Some(stream) = self.stream() else { return };
        let all: BTreeSet<u64> = accepted.iter().cloned().flatten().collect();
        self.subscriber.wait_until("everything accepted arrives", |arrivals| {
            let of_stream = arrivals.iter().map(|arrival| arrival.identity()).filter(|(of, _)| *of == stream);
            let arrived: BTreeSet<u64> = of_stream.map(|(_, seq)| seq).collect();
            all.is_subset(&arrived)
        });
    }

    /// The spool's stream, as the log tells it.
    fn stream(&self) -> Option<String> {
        let log = log_files(&self.gateway.logs(), "debug.log.").concat();
        let of = |line: &str| Some(line.split_once("accepted stream=")?.1.split_once(' ')?.0.to_owned());
        log.lines().rev().find_map(of)
    }

    /// Messages are accepted and arrive, however full the disk is; with room for what is left, the agent stops in order.
    fn works_again(&self, agent: Agent) {
        let before = self.gateway.accepted_count();
        wait_until("messages are accepted again", || self.gateway.accepted_count() >= before + 300);
        self.wait_for(&self.gateway.accepted());
        let memory = agent.memory("VmHWM");
        assert!(memory < 64 * 1024, "{memory} KiB");
        self.disk.free();
        assert_eq!(agent.stop().code(), Some(0));
    }
}

fn newest_segment(spool: &Path) -> PathBuf {
    let names = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).max().unwrap()
}

/// Leaves what a write that did not finish leaves: bytes behind the last record, of no whole record. Where padding fills
/// the last sector up, that is damaged.
fn tear_the_tail(spool: &Path) {
    let path = newest_segment(spool);
    let content = fs::read(&path).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let rest = end.next_multiple_of(512) - end;
    let file = File::options().write(true).open(path).unwrap();
    match rest {
        // A message that ends with its sector: the next one would have torn another sector, where there is one.
        0 if content[end - 1] == b'}' && end == content.len() => return,
        0 if content[end - 1] == b'}' => file.write_all_at(&[0x55; 20], end as u64).unwrap(),
        0 => file.write_all_at(&[!content[end - 1]], end as u64 - 1).unwrap(),
        rest => file.write_all_at(&vec![0x55; rest.min(20)], end as u64).unwrap(),
    }
    file.sync_all().unwrap();
}

fn a_full_disk_with_a_torn_tail(qos: u8, rounds: usize) {
    let Some(mut scene) = Scene::new(qos) else { return };
    for _ in 0..rounds {
        scene.leave_backlog();
        tear_the_tail(&scene.spool());
        scene.disk.fill();
        let agent = scene.everything_arrives(&[]);
        scene.disk.free();
        scene.works_again(agent);
        scene.broker.stop();
    }
}

#[test]
fn a_full_disk_with_a_torn_tail_stops_no_start_at_qos_0() {
    a_full_disk_with_a_torn_tail(0, 1);
}

#[test]
fn a_full_disk_with_a_torn_tail_stops_no_start_at_qos_1() {
    a_full_disk_with_a_torn_tail(1, scale(2, 10));
}

#[test]
fn a_full_disk_with_a_torn_tail_stops_no_start_at_qos_2() {
    a_full_disk_with_a_torn_tail(2, scale(2, 10));
}

#[test]
fn a_spool_that_has_filled_the_disk_empties_itself() {
    let Some(mut scene) = Scene::new(1) else { return };
    scene.disk.fill_but(512 * 1024);
    let agent = scene.gateway.start();
    agent.wait_for_output("cannot write the spool");
    agent.kill();
    tear_the_tail(&scene.spool());

    // Segments that are finished make the room; nobody frees any.
    let agent = scene.everything_arrives(&[]);
    scene.works_again(agent);
}

#[test]
fn without_inodes_it_starts() {
    let Some(mut scene) = Scene::new(1) else { return };
    scene.leave_backlog();
    tear_the_tail(&scene.spool());
    scene.disk.use_up_inodes();
    let agent = scene.everything_arrives(&[]);
    scene.works_again(agent);
}

#[test]
fn without_a_journal_on_a_full_disk_finished_segments_make_the_room() {
    let Some(mut scene) = Scene::new(1) else { return };
    scene.leave_backlog();
    fs::remove_file(scene.spool().join("journal")).unwrap();
    tear_the_tail(&scene.spool());
    scene.disk.fill();
    let agent = scene.everything_arrives(&[]);
    let before = scene.gateway.accepted_count();
    wait_until("messages are accepted again", || scene.gateway.accepted_count() >= before + 300);
    // The journal needs more room than one segment.
    scene.disk.free();
    scene.works_again(agent);
}

#[test]
fn a_disk_that_has_no_room_for_a_spool_at_all_is_used_when_it_has() {
    for use_up in [SmallDisk::fill, SmallDisk::use_up_inodes] {
        let Some(mut scene) = Scene::new(2) else { return };
        use_up(&scene.disk);
        let agent = scene.everything_arrives(&[]);
        agent.wait_for_output("publishing from memory");
        scene.disk.free();
        scene.works_again(agent);
    }
}

#[test]
fn a_read_only_disk_stops_no_start() {
    for (protocol, qos) in [("5", 1), ("5", 2), ("3.1.1", 2)] {
        let Some(mut scene) = Scene::over(protocol, qos) else { return };
        scene.leave_backlog();
        scene.disk.make_read_only();
        let agent = scene.everything_arrives(&[]);
        assert!(!agent.output().contains("; retrying "), "the broker takes what comes");
        agent.wait_for_output("publishing from memory");
        scene.disk.make_writable();
        scene.works_again(agent);
    }
}

#[test]
fn a_read_only_disk_that_has_the_log_too_stops_no_start() {
    let Some(mut scene) = Scene::new(1) else { return };
    scene.leave_backlog();
    let logs = scene.gateway.logs();
    let elsewhere = scene.disk.path().join("log").display().to_string();
    scene.gateway.edit(&format!("directory: {}", logs.display()), &format!("directory: {elsewhere}"));
    scene.gateway.start().kill();
    scene.disk.make_read_only();
    let agent = scene.everything_arrives(&[]);
    agent.wait_for_output("publishing from memory");
    scene.disk.make_writable();
    agent.wait_for_output("the disk works again");
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_disk_that_cannot_flush_stops_no_start() {
    const PRELOAD: &str = "/usr/lib/fiu/fiu_run_preload.so /usr/lib/fiu/fiu_posix_preload.so";
    if PRELOAD.split(' ').any(|library| !Path::new(library).exists()) {
        skip("fiu-utils is not installed");
        return;
    }
    for qos in [1, 2] {
        let Some(mut scene) = Scene::new(qos) else { return };
        scene.leave_backlog();
        let fifo = scene.gateway.logs().with_extension("fiu");
        let flushes = "enable name=posix/io/sync/*,failinfo=5";
        let environment = [("LD_PRELOAD", PRELOAD), ("FIU_CTRL_FIFO", fifo.to_str().unwrap()), ("FIU_ENABLE", flushes)];
        let agent = scene.everything_arrives(&environment);
        agent.wait_for_output("publishing from memory");
        crate::disk::control(&fifo, &agent, "disable name=posix/io/sync/*");
        scene.works_again(agent);
    }
}

//! What is deleted, moved away or replaced under the running agent: it is noticed within seconds, put back, and nothing is
//! lost of which a file was open; what is lost is counted, and the exit status says so. Two agents never share a spool.

use crate::support::{
    Agent, Broker, Gateway, Judgement, Script, Scripted, Settings, Subscriber, log_files, skip, wait_until,
};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

type Harm = fn(&Path);

/// What is done to a spool that holds only messages that were never published.
struct Case {
    name: &'static str,
    harm: Harm,
    /// What the log says then.
    logged: &'static str,
}

const FOLDER: &str = "folder was taken away or replaced";
const JOURNAL: &str = "journal was taken away or replaced";
const SEGMENT: &str = "segment was taken away or replaced";

const CASES: [Case; 14] = [
    Case { name: "rm -r spool", harm: |spool| fs::remove_dir_all(spool).unwrap(), logged: FOLDER },
    Case {
        name: "rm -r spool/*",
        harm: |spool| files(spool).for_each(|file| fs::remove_file(file).unwrap()),
        logged: SEGMENT,
    },
    Case { name: "mv spool elsewhere", harm: move_away, logged: FOLDER },
    Case {
        name: "mv, and another folder",
        harm: |spool| {
            move_away(spool);
            fs::create_dir(spool).unwrap()
        },
        logged: FOLDER,
    },
    Case { name: "mv, and a link to another folder", harm: replace_by_a_link, logged: FOLDER },
    Case {
        name: "mv, and a file",
        harm: |spool| {
            move_away(spool);
            fs::write(spool, "").unwrap()
        },
        logged: FOLDER,
    },
    Case { name: "a copy in its place", harm: replace_by_a_copy, logged: FOLDER },
    Case { name: "rm lock", harm: |spool| fs::remove_file(spool.join("lock")).unwrap(), logged: "lock was taken away" },
    Case {
        name: "a folder called lock",
        harm: |spool| {
            fs::remove_file(spool.join("lock")).unwrap();
            fs::create_dir(spool.join("lock")).unwrap();
        },
        logged: "lock was taken away",
    },
    Case { name: "rm journal", harm: |spool| fs::remove_file(spool.join("journal")).unwrap(), logged: JOURNAL },
    Case {
        name: "journal cut short",
        harm: |spool| drop(File::create(spool.join("journal")).unwrap()),
        logged: JOURNAL,
    },
    Case {
        name: "journal overwritten",
        harm: |spool| fs::write(spool.join("journal"), vec![7; 256 * 1024]).unwrap(),
        logged: JOURNAL,
    },
    Case { name: "rm segment", harm: |spool| fs::remove_file(segment(spool)).unwrap(), logged: SEGMENT },
    Case {
        name: "another segment",
        harm: |spool| {
            let segment = segment(spool);
            fs::remove_file(&segment).unwrap();
            fs::write(segment, "another").unwrap();
        },
        logged: SEGMENT,
    },
];

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
}

fn segment(spool: &Path) -> PathBuf {
    files(spool).find(|file| file.extension().is_some_and(|kind| kind == "seg")).expect("a segment")
}

fn move_away(spool: &Path) {
    fs::rename(spool, spool.with_extension("old")).unwrap();
}

fn replace_by_a_link(spool: &Path) {
    let other = spool.with_extension("other");
    fs::create_dir(&other).unwrap();
    move_away(spool);
    symlink(other, spool).unwrap();
}

/// As a backup that is restored would be.
fn replace_by_a_copy(spool: &Path) {
    let copy = spool.with_extension("copy");
    fs::create_dir(&copy).unwrap();
    for file in files(spool) {
        fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
    }
    fs::remove_dir_all(spool).unwrap();
    fs::rename(copy, spool).unwrap();
}

/// Nobody listens there.
const NOBODY: &str = "mqtt://127.0.0.1:9";

/// A device whose broker is away.
fn device() -> (Broker, Gateway) {
    let broker = Broker::absent("allow_anonymous true");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    (broker, gateway)
}

fn wait_for_more(gateway: &Gateway, more: usize) {
    let before = gateway.accepted_count();
    wait_until("more is accepted", || gateway.accepted_count() >= before + more);
}

/// What was accepted arrives, each message once by its identity.
fn all_arrives(mut broker: Broker, gateway: &Gateway) {
    broker.run();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let accepted = gateway.accepted();
    let agent = gateway.start();
    subscriber.wait_for_all(&accepted);
    agent.kill();
    let judgement = Judgement::of(&subscriber.arrivals());
    judgement.assert_complete(&accepted);
    judgement.assert_no_duplicates();
}

#[test]
fn what_is_taken_away_is_put_back_within_seconds_and_nothing_is_lost() {
    let run = |case: &Case| {
        let (broker, gateway) = device();
        let agent = gateway.start();
        wait_for_more(&gateway, 50);

        (case.harm)(&gateway.spool());
        let harmed = Instant::now();
        agent.wait_for_output(case.logged);
        assert!(harmed.elapsed() < Duration::from_secs(10), "{}: {:?}", case.name, harmed.elapsed());
        wait_for_more(&gateway, 50);

        let output = agent.output();
        assert_eq!(agent.stop().code(), Some(0), "{}: {output}", case.name);
        all_arrives(broker, &gateway);
    };
    in_parallel(run);
}

#[test]
fn what_is_taken_away_just_before_the_broker_is_there_is_read_from_open_files() {
    for qos in [1, 2] {
        let broker = Scripted::start(Script::default());
        let gateway = Gateway::new(NOBODY, &Settings { qos, ..Settings::default() });
        let agent = gateway.start();
        wait_for_more(&gateway, 50);

        fs::remove_dir_all(gateway.spool()).unwrap();
        gateway.edit(NOBODY, &broker.url());
        agent.signal(Signal::HUP);
        wait_until("all of that arrives", || broker.deliveries().len() > 50);
        agent.wait_for_output(FOLDER);

        let output = agent.output();
        assert_eq!(agent.stop().code(), Some(0), "{output}");
        assert!(!output.contains("lost to damage"), "{output}");
        Judgement::of(&broker.arrivals()).assert_complete(&[1..=50]);
    }
}

#[test]
fn segments_that_are_deleted_over_and_over_lose_nothing() {
    let broker = Scripted::start(Script::default());
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "50ms", ..Settings::default() });
    let agent = gateway.start();
    broker.wait_for_more(10);

    for _ in 0..30 {
        files(&gateway.spool())
            .filter(|file| file.extension().is_some_and(|kind| kind == "seg"))
            .for_each(|file| drop(fs::remove_file(file)));
        thread::sleep(Duration::from_millis(100));
    }
    broker.wait_for_more(50);

    let output = agent.output();
    assert_eq!(agent.stop().code(), Some(0), "{output}");
    let judgement = Judgement::of(&broker.arrivals());
    judgement.assert_complete(&[1..=*judgement.seqs.last().unwrap()]);
}

#[test]
fn what_is_taken_away_right_before_a_stop_is_put_back_as_well() {
    let run = |case: &Case| {
        let (broker, gateway) = device();
        let agent = gateway.start();
        wait_for_more(&gateway, 50);

        (case.harm)(&gateway.spool());
        let output = agent.output();
        assert_eq!(agent.stop().code(), Some(0), "{}: {output}", case.name);

        all_arrives(broker, &gateway);
    };
    in_parallel(run);
}

fn in_parallel(run: impl Fn(&Case) + Sync) {
    for cases in CASES.chunks(5) {
        thread::scope(|scope| {
            for case in cases {
                thread::Builder::new().name(case.name.to_owned()).spawn_scoped(scope, || run(case)).unwrap();
            }
        });
    }
}

/// What all agents of a device accepted, by their streams.
fn accepted_by_stream(gateway: &Gateway) -> BTreeSet<(String, u64)> {
    let mut accepted = BTreeSet::new();
    for line in log_files(&gateway.logs(), "debug.log.").concat().lines() {
        let Some((_, rest)) = line.split_once("accepted stream=") else { continue };
        let (stream, range) = rest.split_once(" seq=").unwrap();
        let (first, last) = range.split_once("..").unwrap();
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        accepted.extend((first..=last).map(|seq| (stream.to_owned(), seq)));
    }
    accepted
}

fn stream_of(agent: &Agent) -> String {
    let output = agent.output();
    let (_, stream) = output.split_once(" stream=").unwrap();
    stream.split(' ').next().unwrap().to_owned()
}

/// Lets `harm` be done while the agent does not look.
fn unseen(agent: &Agent, harm: impl FnOnce()) {
    agent.signal(Signal::STOP);
    harm();
    agent.signal(Signal::CONT);
}

#[test]
fn a_second_agent_is_refused_although_the_lock_was_deleted() {
    let (_broker, gateway) = device();
    let agent = gateway.start();

    unseen(&agent, || {
        fs::remove_file(gateway.spool().join("lock")).unwrap();
        assert_eq!(gateway.launch().wait().code(), Some(74));
    });

    agent.wait_for_output("lock was taken away");
    assert_eq!(gateway.launch().wait().code(), Some(74));
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn an_agent_whose_folder_another_one_has_taken_ends_and_what_it_had_is_kept_beside_it() {
    let (mut broker, gateway) = device();
    let agent = gateway.start();
    wait_for_more(&gateway, 10);
    let first = stream_of(&agent);

    let mut second = None;
    unseen(&agent, || {
        fs::remove_dir_all(gateway.spool()).unwrap();
        second = Some(gateway.start());
    });

    agent.wait_for_output("this agent ends: spool");
    assert_eq!(agent.wait().code(), Some(74));
    wait_for_more(&gateway, 50);
    let second = second.unwrap();
    let streams = [stream_of(&second), first];
    assert_eq!(second.stop().code(), Some(0));
    // Both have what they accepted, each with a stream of its own.
    broker.run();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let accepted = accepted_by_stream(&gateway);
    for (folder, stream) in ["/spool}", "/spool.rescued}"].into_iter().zip(streams) {
        gateway.edit("/spool}", folder);
        let agent = gateway.start();
        assert_eq!(stream_of(&agent), stream);
        subscriber.wait_until("all that was accepted of a stream arrives", |arrivals| {
            let arrived: BTreeSet<_> = arrivals.iter().map(|arrival| arrival.identity()).collect();
            accepted.iter().filter(|(of, _)| *of == stream).all(|message| arrived.contains(message))
        });
        agent.kill();
    }
}

#[test]
fn an_agent_whose_lock_another_program_has_taken_ends_and_writes_nothing_more() {
    let (_broker, gateway) = device();
    let agent = gateway.start();
    wait_for_more(&gateway, 10);
    let lock = gateway.spool().join("lock");

    // As an agent does that locks this file alone.
    let mut other = None;
    unseen(&agent, || {
        fs::remove_file(&lock).unwrap();
        let file = File::create(&lock).unwrap();
        file.try_lock().unwrap();
        other = Some(file);
    });

    assert_eq!(agent.wait().code(), Some(74));
    drop(other);
}

#[test]
fn two_agents_have_two_spools_where_the_first_one_s_was_moved_away() {
    let (broker, gateway) = device();
    let agent = gateway.start();
    wait_for_more(&gateway, 10);
    let old = gateway.spool().with_extension("old");
    let other = Gateway::new(&broker.url(), &Settings::default());
    other.edit(&other.spool().display().to_string(), &old.display().to_string());

    unseen(&agent, || {
        move_away(&gateway.spool());
        assert_eq!(other.launch().wait().code(), Some(74), "it is the first one's still");
    });
    agent.wait_for_output(FOLDER);
    let second = other.start();
    wait_for_more(&other, 10);

    assert_eq!(second.stop().code(), Some(0));
    assert_eq!(agent.stop().code(), Some(0));
    all_arrives(broker, &gateway);
}

#[test]
fn what_is_lost_is_counted_and_the_exit_status_says_so() {
    let (_broker, gateway) = device();
    // A quarter of the files that a process may open are for segments.
    let agent = gateway.start_with_files(64);
    wait_for_more(&gateway, 10);
    gateway.add_text_source("camera", &"x".repeat(20_000), "10ms");
    agent.signal(Signal::HUP);
    wait_until("there are more segments than files", || {
        files(&gateway.spool()).filter(|file| file.extension().is_some_and(|kind| kind == "seg")).count() >= 20
    });

    fs::remove_dir_all(gateway.spool()).unwrap();
    agent.wait_for_output("messages lost with a segment that was taken away seq=");
    wait_for_more(&gateway, 10);

    assert_eq!(agent.stop().code(), Some(74));
    assert!(gateway.logged("messages were lost with files that were taken away") > 0);
}

#[test]
fn at_qos_2_nothing_is_repeated_after_the_folder_was_deleted() {
    // It takes a while to answer, so that the window is full when the agent is killed.
    let broker = Scripted::start(Script { acknowledge_after: Some(Duration::from_millis(10)), ..Script::default() });
    let settings = Settings { qos: 2, window: 20, interval: "1ms", ..Settings::default() };
    let gateway = Gateway::new(&broker.url(), &settings);
    let agent = gateway.start();
    wait_for_more(&gateway, 100);

    fs::remove_dir_all(gateway.spool()).unwrap();
    agent.wait_for_output("exchanges were taken away or replaced");
    wait_for_more(&gateway, 100);
    agent.kill();

    Judgement::of_the_scripted_rest(&gateway, &broker).assert_no_duplicates();
}

/// What is done to a file that a person writes.
const HARMS: [Harm; 3] = [
    |file| fs::remove_file(file).unwrap(),
    |file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    },
    |file| {
        fs::remove_file(file).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, file, rustix::fs::Mode::RUSR).unwrap();
    },
];

/// Puts a file in the place of what stands there, as an editor does.
fn put_back(file: &Path, text: &str) {
    if file.is_dir() {
        fs::remove_dir(file).unwrap();
    }
    fs::write(file.with_extension("new"), text).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
}

#[test]
fn the_connection_stays_without_the_password_file_and_without_the_configuration() {
    thread::scope(|scope| HARMS.iter().for_each(|harm| drop(scope.spawn(|| lives_without_its_files(*harm)))));
}

fn lives_without_its_files(harm: Harm) {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let password = gateway.config().with_extension("password");
    fs::write(&password, "secret").unwrap();
    gateway.edit("keep_alive: 5s", &format!("keep_alive: 5s, username: me, password_file: {}", password.display()));
    let configuration = fs::read_to_string(gateway.config()).unwrap();
    let agent = gateway.start();
    subscriber.wait_for_count(10);

    harm(&password);
    harm(&gateway.config());
    agent.wait_for_output("is gone; the present connection stays");
    agent.wait_for_output("configuration not applied, the former one stays");
    subscriber.wait_for_count(subscriber.arrivals().len() + 10);
    put_back(&password, "secret");
    put_back(&gateway.config(), &configuration);
    agent.wait_for_output("is back; the next connection uses it");
    agent.wait_for_output("configuration file is as applied again");
    put_back(&password, "another");
    agent.wait_for_output("file for the broker has changed");

    let output = agent.output();
    assert_eq!(agent.stop().code(), Some(0));
    for once in ["is gone; the present", "configuration not applied", "connected to"] {
        assert_eq!(output.matches(once).count(), 1, "{once} in {output}");
    }
}

/// A disk in memory, mounted on a folder until this is dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// `None`: that is not allowed here, which is said.
    fn over(folder: &'a Path) -> Option<Self> {
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(folder).status();
        if !status.is_ok_and(|status| status.success()) {
            skip("this machine does not allow to mount a disk");
            return None;
        }
        Some(Self(folder))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Although its files are open.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn what_is_in_the_spool_goes_to_a_disk_that_is_mounted_over_it_and_back() {
    let (broker, gateway) = device();
    let spool = gateway.spool();
    let agent = gateway.start();
    wait_for_more(&gateway, 50);
    let moved = || agent.output().matches(FOLDER).count();

    let Some(disk) = Mounted::over(&spool) else { return };
    wait_until("the disk is noticed", || moved() == 1);
    wait_for_more(&gateway, 50);
    assert!(files(&spool).count() > 2);
    drop(disk);
    wait_until("its end is noticed", || moved() == 2);
    wait_for_more(&gateway, 50);

    assert_eq!(agent.stop().code(), Some(0));
    assert!(!spool.join("replaced").exists(), "our own files were left under the disk");
    all_arrives(broker, &gateway);
}

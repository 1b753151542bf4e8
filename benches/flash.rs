//! What a durable message costs the medium: bytes written and flushes, beside two general stores.
//!
//! `cargo bench --bench flash` makes an ext4 of its own on a loop device and commits 10,000 messages of 200 bytes of
//! data, each acknowledged at once. Everything from an empty folder to the closed store counts, and the file system
//! is flushed before the last look, so nothing hides in the page cache. What is counted is what the device saw
//! (`Documentation/block/stat.rst` of the kernel). The general stores delete what is acknowledged in the transaction
//! that brings the next message: that is their best.
//!
//! The first two segments are filled with zeros, later ones are not: a row of its own says what the next 10,000
//! messages cost, in a spool that has taken 10,000.
//!
//! Thousands of commits in a second leave the system's own timers no time: its journal and the times of files are
//! written every five seconds at most. `-- --paced` measures more rows at the pace of a gateway, for a minute each, with
//! what bounds the repeats after a power cut, and without.
//!
//! Needs root, for the mount. Where that is not to be had, the bench says so and ends well.

use packhorse::clock::Clock;
use packhorse::config::{self, Sync, WhenFull};
use packhorse::message::{Format, Qos, Route, Sample, Seq};
use packhorse::spool::Spool;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use rusqlite::Connection;
use std::fs::{self, File};
use std::ops::Sub;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const MESSAGES: u64 = 10_000;
/// Bytes of a message's data, which the targets are for.
const DATA: usize = 200;
/// Bytes of data in a payload of 200 bytes; `bench drain` measures with these.
const SMALL_DATA: usize = 88;
/// Ten messages a second with `sync: 5s`.
const BATCH: u64 = 50;
const PACED: Duration = Duration::from_secs(60);
const IMAGE: u64 = 1 << 30;
/// Bytes of a sector in the kernel's counters, whatever the device has.
const SECTOR: u64 = 512;
/// Tells the process that it runs in a mount namespace of its own.
const INSIDE: &str = "PACKHORSE_FLASH_INSIDE";

/// The most that packhorse may cost.
const ALWAYS_BYTES_PER_COMMIT: f64 = 4600.0;
const ALWAYS_FLUSHES_PER_COMMIT: f64 = 1.1;
const EVERY_BYTES_PER_MESSAGE: f64 = 300.0;

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_some() {
        return measure_all();
    }
    if !rustix::process::geteuid().is_root() {
        return skip("only root may mount");
    }
    // In a mount namespace of its own, whatever ends this process unmounts what it mounted.
    let mut inside = Command::new("unshare");
    inside.arg("--mount").arg(std::env::current_exe().expect("this program has a path"));
    match inside.args(std::env::args_os().skip(1)).env(INSIDE, "1").status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        // What `unshare` itself says when it may not; a bench that panics says 101.
        Ok(status) if status.code() == Some(1) => skip("no mount namespace is allowed here"),
        Ok(_) => ExitCode::FAILURE,
        Err(error) => skip(&format!("cannot start unshare: {error}")),
    }
}

fn skip(reason: &str) -> ExitCode {
    println!("bench-flash left out: {reason}");
    ExitCode::SUCCESS
}

fn measure_all() -> ExitCode {
    let paced = std::env::args().any(|argument| argument == "--paced");
    if let Err(reason) = Medium::new() {
        return skip(&reason);
    }
    println!("{MESSAGES} messages, each acknowledged, on ext4 with blocks of 4096 bytes");
    println!("  {:40} {:>8} {:>10} {:>10} {:>14}", "", "commits", "B/commit", "B/message", "flushes/commit");
    println!("data of {DATA} bytes:");
    let always = measure("packhorse, sync: always", 1, |folder| packhorse(folder, DATA, Sync::Always, 1));
    let every = Sync::Every(Duration::from_secs(5));
    let batched = measure("packhorse, sync: 5s at 10 msg/s", BATCH, |folder| packhorse(folder, DATA, every, BATCH));
    let later = measure_later("the same, the next 10,000 messages", BATCH, every);
    measure("SQLite, WAL, synchronous=FULL", 1, sqlite);
    measure("redb, durable", 1, redb);
    println!("data of {SMALL_DATA} bytes, as in payloads of 200:");
    measure("packhorse, sync: always", 1, |folder| packhorse(folder, SMALL_DATA, Sync::Always, 1));
    measure("packhorse, sync: 5s at 10 msg/s", BATCH, |folder| packhorse(folder, SMALL_DATA, every, BATCH));
    if paced {
        println!("data of {DATA} bytes, at a gateway's pace, for {} s:", PACED.as_secs());
        for (pace, sync, between, batch) in [
            ("a message every 10 s, sync: always", Sync::Always, Duration::from_secs(10), 1),
            ("1 message/s, sync: always", Sync::Always, Duration::from_secs(1), 1),
            ("10 messages/s, sync: always", Sync::Always, Duration::from_millis(100), 1),
            ("10 messages/s, sync: 5s", every, Duration::from_secs(5), BATCH),
        ] {
            measure_paced(pace, sync, between, batch, Repeats::Bounded);
            measure_paced("  the journal left to the system", sync, between, batch, Repeats::Left);
        }
    }
    let verdict = |met| if met { "met" } else { "missed" };
    let (bytes, flushes) = (always.bytes_per_commit(), always.flushes_per_commit());
    println!("  target: at most 4.6 KB a commit at sync: always: {}", verdict(bytes <= ALWAYS_BYTES_PER_COMMIT));
    println!("  target: at most 1.1 flushes a commit: {}", verdict(flushes <= ALWAYS_FLUSHES_PER_COMMIT));
    for (which, figures) in [("the first 10,000", &batched), ("the next 10,000", &later)] {
        let met = verdict(figures.bytes_per_message() <= EVERY_BYTES_PER_MESSAGE);
        println!("  target: at most 300 bytes a message at sync: 5s, {which}: {met}");
    }
    ExitCode::SUCCESS
}

/// An empty ext4 on a loop device. Dropping it unmounts it and frees the device.
struct Medium {
    folder: TempDir,
    counters: PathBuf,
}

/// What the device has seen.
#[derive(Clone, Copy)]
struct Counters {
    bytes: u64,
    flushes: u64,
}

impl Sub for Counters {
    type Output = Counters;

    fn sub(self, before: Counters) -> Counters {
        Counters { bytes: self.bytes - before.bytes, flushes: self.flushes - before.flushes }
    }
}

impl Medium {
    /// Why there can be none here, in words.
    fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let image = folder.path().join("image");
        File::create(&image).and_then(|file| file.set_len(IMAGE)).map_err(|error| format!("no image: {error}"))?;
        // A small file system gets blocks of 1,024 bytes by itself, unlike any gateway's; and nothing may be left for
        // the kernel to initialise while we count.
        let initialised = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4").args(["-q", "-b", "4096", "-E", initialised]).arg(&image))?;
        let mounted = folder.path().join("mounted");
        fs::create_dir(&mounted).map_err(|error| format!("no folder to mount on: {error}"))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mounted))?;
        let device = fs::metadata(&mounted).expect("it is mounted").dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        Ok(Self { folder, counters: PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat")) })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// What the device has seen, once everything written has reached it.
    fn counters(&self) -> Counters {
        rustix::fs::syncfs(File::open(self.path()).unwrap()).unwrap();
        let text = fs::read_to_string(&self.counters).unwrap();
        let fields: Vec<u64> = text.split_whitespace().map(|field| field.parse().unwrap()).collect();
        Counters { bytes: fields[6] * SECTOR, flushes: fields[15] }
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(self.path())) {
            eprintln!("{error}");
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("cannot start {name}: {error}")),
    }
}

/// What a number of messages cost.
struct Figures {
    messages: u64,
    commits: u64,
    seen: Counters,
}

#[allow(clippy::cast_precision_loss, reason = "counts are small")]
impl Figures {
    fn bytes_per_commit(&self) -> f64 {
        self.seen.bytes as f64 / self.commits as f64
    }

    fn bytes_per_message(&self) -> f64 {
        self.seen.bytes as f64 / self.messages as f64
    }

    fn flushes_per_commit(&self) -> f64 {
        self.seen.flushes as f64 / self.commits as f64
    }

    fn print(&self, name: &str) {
        println!(
            "  {name:40} {:8} {:10.0} {:10.0} {:14.3}",
            self.commits,
            self.bytes_per_commit(),
            self.bytes_per_message(),
            self.flushes_per_commit()
        );
    }
}

/// Runs a store on a medium of its own. A batch of messages is one commit.
fn measure(name: &str, batch: u64, store: impl FnOnce(&Path)) -> Figures {
    let medium = Medium::new().expect("it could be made before");
    let before = medium.counters();
    store(&medium.path());
    let figures = Figures { messages: MESSAGES, commits: MESSAGES / batch, seen: medium.counters() - before };
    figures.print(name);
    figures
}

/// What a spool costs that has taken as many messages before.
fn measure_later(name: &str, batch: u64, sync: Sync) -> Figures {
    let medium = Medium::new().expect("it could be made before");
    let mut spool = open(&medium.path(), sync);
    fill(&mut spool, DATA, batch);
    let before = medium.counters();
    fill(&mut spool, DATA, batch);
    spool.sync_journal().unwrap();
    let figures = Figures { messages: MESSAGES, commits: MESSAGES / batch, seen: medium.counters() - before };
    figures.print(name);
    figures
}

/// Whether the journal is flushed now and then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeats {
    Bounded,
    Left,
}

/// At a gateway's pace a run is too short for the creation of a segment to be amortised, so that does not count. Each
/// batch comes so long after the one before.
fn measure_paced(name: &str, sync: Sync, between: Duration, batch: u64, repeats: Repeats) {
    let medium = Medium::new().expect("it could be made before");
    let mut spool = open(&medium.path(), sync);
    let before = medium.counters();
    let begin = Instant::now();
    let mut messages = 0;
    for (number, due) in (1..).zip(samples(DATA).collect::<Vec<_>>().chunks(usize::try_from(batch).unwrap())) {
        if begin.elapsed() >= PACED {
            break;
        }
        commit(&mut spool, due, repeats);
        messages += due.len() as u64;
        std::thread::sleep((between * number).saturating_sub(begin.elapsed()));
    }
    let seen = medium.counters() - before;
    drop(spool);
    Figures { messages, commits: messages / batch, seen }.print(name);
}

/// The messages, with so many bytes of data each.
fn samples(size: usize) -> impl Iterator<Item = Sample> {
    let route = Arc::new(Route {
        device: "gateway-7".to_owned(),
        source: "wind".to_owned(),
        topic: "telemetry/gateway-7/wind".to_owned(),
        qos: Qos::AtLeastOnce,
        retain: false,
        format: Format::Json,
        expiry: None,
    });
    let clock = Clock::new();
    (0..MESSAGES).map(move |number| {
        let head = format!("{{\"number\":{number},\"text\":\"");
        let text = "x".repeat(size - head.len() - 2);
        Sample { route: Arc::clone(&route), taken: clock.now(), data: format!("{head}{text}\"}}").into_bytes() }
    })
}

fn open(folder: &Path, sync: Sync) -> Spool {
    let config = config::Spool {
        directory: folder.join("spool"),
        max_size: 256 << 20,
        max_age: None,
        when_full: WhenFull::DropOldest,
        sync,
    };
    Spool::open(&config, &[]).unwrap()
}

/// Accepts a batch and does what the publisher does for each acknowledgement.
fn commit(spool: &mut Spool, batch: &[Sample], repeats: Repeats) {
    assert_eq!(spool.append(batch, None, Instant::now()).taken, batch.len());
    let accepted = spool.commit().unwrap().expect("something was appended");
    for seq in accepted.start().0..=accepted.end().0 {
        spool.finish(Seq(seq), Instant::now());
        spool.trim().unwrap();
        if repeats == Repeats::Bounded {
            spool.bound_repeats(Instant::now()).unwrap();
        }
    }
}

fn packhorse(folder: &Path, size: usize, sync: Sync, batch: u64) {
    let mut spool = open(folder, sync);
    fill(&mut spool, size, batch);
    spool.sync_journal().unwrap();
}

fn fill(spool: &mut Spool, size: usize, batch: u64) {
    for batch in samples(size).collect::<Vec<_>>().chunks(usize::try_from(batch).unwrap()) {
        commit(spool, batch, Repeats::Bounded);
    }
    assert_eq!(spool.backlog().messages, 0);
}

fn sqlite(folder: &Path) {
    let mut store = Connection::open(folder.join("store")).unwrap();
    store.pragma_update(None, "journal_mode", "wal").unwrap();
    store.pragma_update(None, "synchronous", "full").unwrap();
    store
        .execute("CREATE TABLE messages (seq INTEGER PRIMARY KEY, wall INTEGER, boot INTEGER, data BLOB)", ())
        .unwrap();
    for (seq, sample) in (1i64..).zip(samples(DATA)) {
        let transaction = store.transaction().unwrap();
        let Sample { taken, data, .. } = sample;
        transaction.execute("DELETE FROM messages WHERE seq < ?1", [seq]).unwrap();
        transaction
            .execute("INSERT INTO messages VALUES (?1, ?2, ?3, ?4)", (seq, taken.wall, taken.boot.cast_signed(), data))
            .unwrap();
        transaction.commit().unwrap();
    }
    let left: i64 = store.query_row("SELECT count(*) FROM messages", (), |row| row.get(0)).unwrap();
    assert_eq!(left, 1);
}

fn redb(folder: &Path) {
    const MESSAGES: TableDefinition<'_, u64, (i64, u64, &[u8])> = TableDefinition::new("messages");
    let store = Database::create(folder.join("store")).unwrap();
    for (seq, sample) in (1u64..).zip(samples(DATA)) {
        let transaction = store.begin_write().unwrap();
        let mut table = transaction.open_table(MESSAGES).unwrap();
        table.remove(seq - 1).unwrap();
        table.insert(seq, (sample.taken.wall, sample.taken.boot, sample.data.as_slice())).unwrap();
        drop(table);
        transaction.commit().unwrap();
    }
    assert_eq!(store.begin_read().unwrap().open_table(MESSAGES).unwrap().len().unwrap(), 1);
}

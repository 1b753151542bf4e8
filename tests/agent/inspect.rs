//! `packhorse spool stat | list | export | purge`: what waits is told beside a running, a stopped, a hung and a killed agent,
//! over damage, and to nobody who may not read it; and only what is meant is given up.

use crate::support::{Agent, Broker, Gateway, Script, Scripted, Settings, seeded, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn spool(gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
    command.arg("--config").arg(gateway.config()).arg("spool").args(arguments).stdin(Stdio::null());
    command
}

fn run(gateway: &Gateway, arguments: &[&str]) -> Output {
    spool(gateway, arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn stat(gateway: &Gateway) -> Value {
    let output = run(gateway, &["stat", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn listed(gateway: &Gateway, arguments: &[&str]) -> Vec<Value> {
    let output = run(gateway, &[&["list", "--json"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn seqs(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

/// A device without a broker, whose agent has accepted at least so many messages, of two sources.
fn waiting(count: usize) -> (Gateway, Agent) {
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings { interval: "2ms", ..Settings::default() });
    gateway.edit("seed: 7}", "seed: 7}, {name: second, type: simulated}");
    let agent = gateway.start();
    wait_until("messages wait", || gateway.accepted_count() >= count);
    (gateway, agent)
}

/// Whether no thread of it runs (proc(5): the state follows the name in parentheses).
fn is_stopped(agent: &Agent) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", agent.id())).unwrap();
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
    })
}

/// Everything about the files of a folder that a visitor could change.
fn state(folder: &Path) -> Vec<(PathBuf, Vec<u8>, u32, i64, i64)> {
    let mut state: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let metadata = path.metadata().unwrap();
            (
                path.clone(),
                fs::read(&path).unwrap_or_default(),
                metadata.mode(),
                metadata.ctime(),
                metadata.ctime_nsec(),
            )
        })
        .collect();
    state.sort();
    state
}

#[test]
fn what_waits_is_seen_beside_a_running_a_hung_a_killed_and_a_stopped_agent() {
    let (gateway, agent) = waiting(200);
    let running = stat(&gateway);
    assert_eq!((&running["agent"]["uses_it"], &running["agent"]["pid"]), (&Value::Bool(true), &agent.id().into()));
    assert!(running["may_be_outdated"] == true && running["damage"]["pieces"] == 0, "{running}");
    assert!(running["waiting"]["messages"].as_u64() >= Some(200), "{running}");
    let list = run(&gateway, &["list", "--limit", "3"]);
    assert!(String::from_utf8_lossy(&list.stderr).contains("what it has in memory is not seen"), "{}", said(&list));
    assert_eq!(String::from_utf8_lossy(&list.stdout).lines().count(), 3, "{}", said(&list));

    agent.signal(Signal::STOP);
    // A thread that waits for the disk stops behind that.
    wait_until("every thread has stopped", || is_stopped(&agent));
    let before = state(&gateway.spool());
    let hung = stat(&gateway);
    let everything = seqs(&listed(&gateway, &[]));
    assert_eq!(run(&gateway, &["export", "--format", "csv"]).status.code(), Some(0));
    assert!(run(&gateway, &["purge", "--all", "--yes"]).status.code() == Some(74));
    assert_eq!(state(&gateway.spool()), before, "a look changes nothing");
    assert_eq!(hung["agent"]["uses_it"], true);
    agent.signal(Signal::CONT);
    agent.kill();

    let killed = stat(&gateway);
    let text = said(&run(&gateway, &["stat"]));
    assert!(killed["agent"]["uses_it"] == false && killed["may_be_outdated"] == false, "{killed}");
    assert!(text.contains("none uses this spool") && text.contains("topic=telemetry/gateway-7/second"), "{text}");
    let again = gateway.start();
    assert_eq!(again.stop().code(), Some(0));

    let stopped = seqs(&listed(&gateway, &[]));
    assert_eq!(stopped[..everything.len()], everything);
    assert_eq!(stopped, (1..=stopped.len() as u64).collect::<Vec<_>>());
    assert_eq!(stat(&gateway)["waiting"]["messages"], stopped.len());
}

#[test]
fn a_look_beside_an_agent_that_delivers_as_fast_as_it_can_finds_no_damage() {
    let mut broker = Broker::absent("allow_anonymous true");
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "1ms", ..Settings::default() });
    gateway.edit("/spool}", "/spool, max_size: 1MiB}");
    let agent = gateway.start();
    wait_until("messages wait", || gateway.accepted_count() >= 500);
    broker.run();

    for _ in 0..10 {
        let found = stat(&gateway);
        assert_eq!(found["damage"]["pieces"], 0, "{found}");
        assert!(seqs(&listed(&gateway, &["--limit", "50"])).is_sorted());
    }
    wait_until("the backlog leaves", || stat(&gateway)["finished"]["below_seq"].as_u64() > Some(500));
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn messages_are_chosen_by_time_and_source_and_a_wrong_time_is_told_what_is_allowed() {
    let (gateway, agent) = waiting(100);
    assert_eq!(agent.stop().code(), Some(0));
    let all = listed(&gateway, &[]);

    let second = listed(&gateway, &["--source", "second"]);
    let middle = all[all.len() / 2]["time"].as_str().unwrap();
    let (before, after) = (listed(&gateway, &["--to", middle]), listed(&gateway, &["--from", middle]));

    assert!(
        !second.is_empty() && second.len() < all.len() && second.iter().all(|message| message["source"] == "second")
    );
    assert_eq!((before.len() + after.len(), before.is_empty()), (all.len(), false));
    assert_eq!(listed(&gateway, &["--from", "1h"]).len(), all.len());
    assert_eq!(listed(&gateway, &["--to", "2001-01-01"]), Vec::<Value>::new());
    assert_eq!(seqs(&listed(&gateway, &["--limit", "7"])), (1..=7).collect::<Vec<_>>());
    let wrong = run(&gateway, &["list", "--from", "yesterday"]);
    assert!(wrong.status.code() == Some(64) && said(&wrong).contains("a span such as 2h"), "{}", said(&wrong));
}

#[test]
fn a_payload_is_shown_without_secrets_and_control_characters_and_exported_as_it_is() {
    for (text, shown, hidden) in
        [("password=Tr0ub4dor", "not shown", "Tr0ub4dor"), ("ding\u{202e}dong", "ding", "\u{202e}")]
    {
        let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings { interval: "1h", ..Settings::default() });
        gateway.add_text_source("text", text, "10ms");
        let agent = gateway.start();
        wait_until("messages wait", || gateway.accepted_count() >= 20);
        assert_eq!(agent.stop().code(), Some(0));

        let list = said(&run(&gateway, &["list"])) + &said(&run(&gateway, &["list", "--json"]));
        let export = said(&run(&gateway, &["export", "--format", "jsonl"]));

        assert!(list.contains("source=text") && list.contains(shown) && !list.contains(hidden), "{list}");
        assert!(export.contains(text), "{export}");
    }
}

#[test]
fn what_is_exported_is_what_arrives() {
    let (gateway, agent) = waiting(100);
    assert_eq!(agent.stop().code(), Some(0));
    let file = gateway.config().with_file_name("backlog.jsonl");
    let path = file.to_str().unwrap();

    let done = run(&gateway, &["export", "--format", "jsonl", "--output", path]);
    let text = fs::read_to_string(&file).unwrap();
    let exported: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        done.status.success() && said(&done).contains(&format!("exported {} messages", exported.len())),
        "{}",
        said(&done)
    );
    let again = run(&gateway, &["export", "--format", "csv", "--output", path]);
    assert!(again.status.code() == Some(1) && said(&again).contains("--force"), "{}", said(&again));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let forced = run(&gateway, &["export", "--format", "csv", "--output", path, "--force"]);
    assert_eq!(forced.status.code(), Some(0), "{}", said(&forced));
    let csv = fs::read_to_string(&file).unwrap();
    assert!(csv.starts_with("stream,seq,time,") && csv.lines().count() == exported.len() + 1, "{csv}");
    assert!(!file.with_extension("jsonl.part").exists());
    let full = run(&gateway, &["export", "--format", "csv", "--output", "/dev/full", "--force"]);
    assert_eq!(full.status.code(), Some(1), "{}", said(&full));

    let broker = Scripted::start(Script::default());
    gateway.edit("mqtt://127.0.0.1:1", &broker.url());
    let agent = gateway.start();
    wait_until("the backlog arrives", || broker.arrivals().len() >= exported.len());
    assert_eq!(agent.stop().code(), Some(0));
    let arrived = broker.arrivals().into_iter().take(exported.len()).map(|arrival| arrival.payload);
    let exported = exported.into_iter().map(|mut message| message["payload"].take());
    assert_eq!(arrived.collect::<Vec<_>>(), exported.collect::<Vec<_>>());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (gateway, agent) = waiting(2000);
    assert_eq!(agent.stop().code(), Some(0));

    for arguments in [&["list"][..], &["export", "--format", "csv"]] {
        let mut child = spool(&gateway, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    }
}

#[test]
fn damage_is_named_and_the_rest_is_shown() {
    let (gateway, agent) = waiting(500);
    assert_eq!(agent.stop().code(), Some(0));
    let whole = listed(&gateway, &[]).len() as u64;
    let mut segments: Vec<PathBuf> =
        fs::read_dir(gateway.spool()).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|kind| kind == "seg"));
    segments.sort();
    let mut bytes = fs::read(&segments[0]).unwrap();
    bytes[10_000..10_050].fill(0xaa);
    fs::write(&segments[0], bytes).unwrap();

    let found = stat(&gateway);
    let (list, text) = (run(&gateway, &["list"]), said(&run(&gateway, &["stat"])));
    let export = run(&gateway, &["export", "--format", "jsonl"]);

    let lost = found["damage"]["messages_lost"].as_u64().unwrap();
    assert!(found["damage"]["pieces"] == 1 && (1..4).contains(&lost), "{found}");
    assert_eq!(found["waiting"]["messages"].as_u64().unwrap() + lost, whole);
    let name = segments[0].display().to_string();
    assert!(text.contains(&name) && text.contains("at byte 9") && text.contains("; lost: "), "{text}");
    assert!(String::from_utf8_lossy(&list.stderr).contains(&name) && list.status.success(), "{}", said(&list));
    assert_eq!(String::from_utf8_lossy(&list.stdout).lines().count() as u64 + lost, whole);
    assert!(export.status.code() == Some(1) && said(&export).contains("are not exported"), "{}", said(&export));
    assert!(
        !fs::read_dir(gateway.spool())
            .unwrap()
            .any(|entry| { entry.unwrap().path().extension().is_some_and(|kind| kind == "damaged") })
    );
}

#[test]
fn a_folder_that_is_not_there_and_an_empty_one_are_told_apart_and_neither_is_made_or_filled() {
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings::default());
    let looks = [&["stat"][..], &["list"], &["export", "--format", "csv"], &["purge", "--all", "--yes"]];
    for arguments in looks {
        let output = run(&gateway, arguments);
        assert!(output.status.code() == Some(74) && said(&output).contains("no such folder"), "{}", said(&output));
    }
    assert!(!gateway.spool().exists());
    fs::create_dir(gateway.spool()).unwrap();
    for arguments in &looks[..3] {
        let output = run(&gateway, arguments);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
    assert_eq!(stat(&gateway)["waiting"]["messages"], 0);
    assert_eq!(fs::read_dir(gateway.spool()).unwrap().count(), 0);
}

#[test]
fn a_user_who_may_not_look_is_told_whose_the_spool_is() {
    let (gateway, agent) = waiting(10);
    assert_eq!(agent.stop().code(), Some(0));
    fs::set_permissions(gateway.spool(), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(gateway.config().parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(gateway.config(), Permissions::from_mode(0o644)).unwrap();
    let is_root = rustix::process::geteuid().is_root();

    for arguments in [&["stat"][..], &["list"], &["export", "--format", "csv"], &["purge", "--all", "--yes"]] {
        let mut command = spool(&gateway, arguments);
        if is_root {
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(74), "{text}");
        assert!(text.contains("Permission denied") && text.contains("sudo -u "), "{text}");
    }
    fs::set_permissions(gateway.spool(), Permissions::from_mode(0o750)).unwrap();
}

#[test]
fn a_purge_asks_first_and_gives_up_what_is_meant_and_nothing_else() {
    let (gateway, agent) = waiting(200);
    let busy = run(&gateway, &["purge", "--all", "--yes"]);
    assert!(busy.status.code() == Some(74) && said(&busy).contains("stop it first"), "{}", said(&busy));
    assert_eq!(agent.stop().code(), Some(0));
    let all = listed(&gateway, &[]);
    let nobody = run(&gateway, &["purge", "--all"]);
    assert!(nobody.status.code() == Some(64) && said(&nobody).contains("--yes"), "{}", said(&nobody));
    assert_eq!(run(&gateway, &["purge", "--yes"]).status.code(), Some(64), "neither --before nor --all");

    let middle = all[all.len() / 2]["time"].as_str().unwrap();
    let half = run(&gateway, &["purge", "--before", middle, "--yes"]);
    let rest = listed(&gateway, &[]);
    let gone = all.len() - rest.len();
    let stays = |message: &Value| message["time"].as_str().unwrap() >= middle;
    assert_eq!(rest, all.iter().filter(|message| stays(message)).cloned().collect::<Vec<_>>());
    assert!(
        half.status.success() && said(&half).contains(&format!("purged {gone} messages, seq 1..")),
        "{}",
        said(&half)
    );
    let second = run(&gateway, &["purge", "--all", "--source", "second", "--yes"]);
    assert!(second.status.success(), "{}", said(&second));
    assert!(listed(&gateway, &[]).iter().all(|message| message["source"] != "second"));

    let next = stat(&gateway)["next_seq"].as_u64().unwrap();
    assert_eq!(run(&gateway, &["purge", "--all", "--yes"]).status.code(), Some(0));
    assert_eq!((&stat(&gateway)["waiting"]["messages"], stat(&gateway)["next_seq"].as_u64()), (&0.into(), Some(next)));
    let broker = Scripted::start(Script::default());
    gateway.edit("mqtt://127.0.0.1:1", &broker.url());
    let agent = gateway.start();
    wait_until("new messages arrive", || broker.arrivals().len() >= 10);
    assert_eq!(agent.stop().code(), Some(0));
    assert!(
        broker.arrivals().iter().all(|arrival| arrival.identity().1 >= next),
        "no purged message, and no number twice"
    );
}

#[test]
fn a_purge_that_is_killed_again_and_again_gives_up_nothing_else() {
    let (gateway, agent) = waiting(1500);
    assert_eq!(agent.stop().code(), Some(0));
    let all = listed(&gateway, &[]);
    let mut random = seeded();

    for _ in 0..15 {
        let mut child = spool(&gateway, &["purge", "--all", "--source", "second", "--yes"]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.u64(0..25)));
        child.kill().unwrap();
        child.wait().unwrap();
        let others = listed(&gateway, &[]).into_iter().filter(|message| message["source"] != "second");
        assert!(others.eq(all.iter().filter(|message| message["source"] != "second").cloned()));
    }
    let last = run(&gateway, &["purge", "--all", "--source", "second", "--yes"]);

    assert!(last.status.success(), "{}", said(&last));
    assert!(listed(&gateway, &[]).iter().all(|message| message["source"] != "second"));
}

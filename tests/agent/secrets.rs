//! Secrets: read from ordinary files only, repeated nowhere, and warned of where others can read them.

use crate::support::{Broker, Gateway, Settings, Subscriber, log_files, skip, wait_until};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

fn check(gateway: &Gateway) -> String {
    let mut packhorse = Command::new(env!("CARGO_BIN_EXE_packhorse"));
    let output = packhorse.arg("--config").arg(gateway.config()).arg("check").output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn a_pipe_or_an_endless_file_in_place_of_a_secret_holds_nothing_up() {
    for (broker, key, url) in [
        ("username: horse, password_file: PLANTED", "broker.password_file", "mqtt://127.0.0.1:1"),
        ("tls: {ca_file: PLANTED}", "broker.tls.ca_file", "mqtts://127.0.0.1:1"),
        ("tls: {cert_file: PLANTED}", "broker.tls.cert_file", "mqtts://127.0.0.1:1"),
        ("tls: {cert_file: CERTIFICATE, key_file: PLANTED}", "broker.tls.key_file", "mqtts://127.0.0.1:1"),
    ] {
        let gateway = Gateway::new(url, &Settings::default());
        let planted = gateway.config().with_file_name("planted");
        let certificate = gateway.config().with_file_name("certificate");
        fs::write(&certificate, "-----BEGIN CERTIFICATE-----\n").unwrap();
        let broker = broker
            .replace("PLANTED", &planted.display().to_string())
            .replace("CERTIFICATE", &certificate.display().to_string());
        gateway.edit("keep_alive: 5s", &format!("keep_alive: 5s, {broker}"));
        for (plant, why) in [
            (Box::new(|| pipe(&planted)) as Box<dyn Fn()>, "it is a pipe, and must be an ordinary file"),
            (
                Box::new(|| {
                    fs::remove_file(&planted).unwrap();
                    std::os::unix::fs::symlink("/dev/zero", &planted).unwrap();
                }),
                "it is a device, and must be an ordinary file",
            ),
            (
                Box::new(|| {
                    fs::remove_file(&planted).unwrap();
                    fs::write(&planted, vec![b'a'; 8 << 20]).unwrap();
                }),
                "is too large: it has 8388608 bytes, and at most",
            ),
        ] {
            plant();

            let agent = gateway.launch();
            agent.wait_for_output(why);

            assert!(agent.output().contains(key), "{}", agent.output());
            assert!(check(&gateway).contains(why));
            agent.signal(Signal::TERM);
            assert_eq!(agent.wait().code(), Some(0), "{key}");
        }
    }
}

#[test]
fn a_connection_string_is_read_from_an_ordinary_file_only() {
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &Settings::default());
    let planted = gateway.config().with_file_name("planted");
    let hub = format!("azure_iot_hub: {{connection_string_file: {}}}", planted.display());
    gateway.edit("url: \"mqtt://127.0.0.1:1\"", &hub);
    pipe(&planted);

    let agent = gateway.launch();
    agent.wait_for_output("it is a pipe, and must be an ordinary file");

    assert_eq!(agent.wait().code(), Some(78));
    fs::remove_file(gateway.config()).unwrap();
    pipe(&gateway.config());
    let agent = gateway.launch();
    agent.wait_for_output("it is a pipe, and must be an ordinary file");
    assert_eq!(agent.wait().code(), Some(78));
}

#[test]
fn a_secret_in_a_wrong_place_reaches_no_log_and_no_broker() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "#");
    let more = "status: {interval: 100ms}\nlogging: {directory: LOGS, console: debug, paho: debug}".to_owned();
    let gateway = Gateway::new(&broker.url(), &Settings { more, interval: "100ms", ..Settings::default() });
    let agent = gateway.start();
    agent.wait_for_output("connected to");
    let original = fs::read_to_string(gateway.config()).unwrap();
    let string = "HostName=h.example;DeviceId=d;SharedAccessKey=MARKabcdefghijklmnopqrstuvwxyz=";
    let mut said = String::new();

    for (count, (from, to)) in [
        ("device: gateway-7", format!("device: \"{string}\"")),
        ("broker: {", format!("broker: {{azure_iot_hub: \"{string}\", ")),
        ("broker: {", format!("broker: {{azure_iot_hub: {{connection_string_file: \"{string}\"}}, ")),
        ("mqtt://", "mqtt://horse:MARK@".to_owned()),
        ("broker: {url: \"mqtt://127.0.0.1:", "broker: {url: \"mqtt://h?token=MARK".to_owned()),
        ("retry: {", format!("retry: {{\"{string}\": 1, ")),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(gateway.config(), original.replacen(from, &to, 1)).unwrap();
        wait_until("the edit is refused", || {
            let refused = |line: &&str| line.contains("configuration not applied, the former one stays");
            agent.output().lines().filter(refused).count() > count
        });
        said += &check(&gateway);
    }
    let received = || subscriber.arrivals().iter().map(|arrival| arrival.payload.to_string()).collect::<String>();
    wait_until("the status tells", || received().contains("configuration not applied"));
    let received = received();
    let output = agent.output();
    agent.stop();

    said += &output;
    said += &received;
    said += &log_files(&gateway.logs(), "").concat();
    assert!(said.contains("looks like a secret"));
    assert!(!said.contains("MARK"), "{}", said.lines().find(|line| line.contains("MARK")).unwrap());
}

#[test]
fn what_gives_a_secret_away_is_warned_of_at_the_start_and_by_check() {
    let gateway = Gateway::new("mqtts://broker.invalid", &Settings::default());
    let password = gateway.config().with_file_name("password");
    fs::write(&password, "for this test only\n").unwrap();
    fs::set_permissions(&password, Permissions::from_mode(0o666)).unwrap();
    gateway.edit(
        "keep_alive: 5s",
        &format!("keep_alive: 5s, tls: {{verify: false}}, username: u, password_file: {}", password.display()),
    );
    fs::create_dir(gateway.spool()).unwrap();
    fs::set_permissions(gateway.spool(), Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(gateway.logs()).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(gateway.logs(), Some(65_534), None).unwrap();
        chown(&password, Some(65_534), None).unwrap();
    }

    let checked = check(&gateway);
    let agent = gateway.start();
    let started = agent.output();
    agent.stop();

    let mut warnings = vec![
        "broker.password_file: every user of this machine can read",
        "every user of this machine can change",
        "broker.tls.verify: is false",
        "spool.directory: every user of this machine can put files into",
    ];
    if is_root {
        warnings.extend(["logging.directory: `", "belongs to user id 65534"]);
    }
    for warning in warnings {
        let started = started.lines().any(|line| line.contains("WARN") && line.contains(warning));
        assert!(started, "{warning}: the start is silent");
        let marked = warning.replace("_file: ", "_file: warning: ").replace("y: `", "y: warning: `");
        let marked =
            marked.replace("verify: ", "verify: warning: ").replace("directory: every", "directory: warning: every");
        assert!(checked.contains(&marked), "{marked}: {checked}");
    }
}

#[test]
fn a_password_in_the_clear_to_another_machine_is_warned_of() {
    let gateway = Gateway::new("mqtt://broker.invalid", &Settings::default());
    let password = gateway.config().with_file_name("password");
    fs::write(&password, "for this test only\n").unwrap();
    gateway.edit("keep_alive: 5s", &format!("keep_alive: 5s, username: u, password_file: {}", password.display()));

    let agent = gateway.start();

    assert!(
        agent.output().contains("broker.url: the password goes unencrypted to broker.invalid"),
        "{}",
        agent.output()
    );
    agent.stop();
}

/// How often a text is in the writable memory of a process.
fn copies(process: u32, text: &[u8]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut count = 0;
    for line in maps.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|mode| mode.starts_with("rw"))) {
        let (start, end) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|number| u64::from_str_radix(number, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // A thread that has just ended takes its stack along.
        if memory.seek(SeekFrom::Start(start)).and_then(|_| memory.read_exact(&mut bytes)).is_ok() {
            count += bytes.windows(text.len()).filter(|window| *window == text).count();
        }
    }
    count
}

#[test]
fn a_password_that_is_not_used_any_more_is_nowhere_in_memory() {
    if !rustix::process::geteuid().is_root() {
        skip("only root may read the memory of another process");
        return;
    }
    let mut broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "100ms", ..Settings::default() });
    let password = gateway.config().with_file_name("password");
    gateway.edit("keep_alive: 5s", &format!("keep_alive: 5s, username: u, password_file: {}", password.display()));
    // What is freed loses its beginning to the allocator at once.
    let (former, present) = ("end-of-the-former-password", "end-of-the-present-password");
    let long = "-for-this-test-only".repeat(10);
    fs::write(&password, format!("{long}{former}")).unwrap();
    let agent = gateway.start();
    agent.wait_for_output("connected to");
    let connected = copies(agent.id(), former.as_bytes());

    fs::write(&password, format!("{long}{present}")).unwrap();
    broker.stop();
    agent.wait_for_output("retrying in");
    broker.run();
    wait_until("it has connected again", || agent.output().matches("connected to").count() == 2);
    wait_until("the former password is gone", || copies(agent.id(), former.as_bytes()) == 0);

    println!("while connected: {connected} and {} copies", copies(agent.id(), present.as_bytes()));
    // The MQTT library's C part and its crate need one each while their client lives.
    assert!(connected <= 2 && copies(agent.id(), present.as_bytes()) <= 2, "{connected}");
    agent.stop();
}

#[test]
fn nothing_of_the_memory_gets_into_a_core_dump() {
    if !rustix::process::geteuid().is_root() {
        skip("only root may start the agent as another user");
        return;
    }
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());

    let agent = gateway.start_as(65_534);
    agent.wait_for_output("connected to");

    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().rev().skip(1).take(2).all(|limit| limit == "0"), "{core}");
    // The kernel gives these files of a process that must not be dumped to root.
    assert_eq!(fs::metadata(format!("/proc/{}/environ", agent.id())).unwrap().uid(), 0);
    assert_eq!(agent.stop().code(), Some(0));
}

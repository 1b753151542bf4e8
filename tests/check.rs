//! `packhorse check` as its user meets it: the built binary, real files, exit codes.

mod skips;

use skips::skip;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder with a configuration, its spool and its logs.
struct Setup {
    folder: TempDir,
}

impl Setup {
    /// The agent does not start, at once.
    fn run_ends_with_74(&self, why: &str) {
        let mut run = Command::new("timeout");
        run.arg("30").arg(packhorse().get_program()).args(["--config", &self.path("config.yaml"), "run"]);
        let run = run.output().unwrap();
        assert_eq!(run.status.code(), Some(74), "{why}: {run:?}");
    }

    /// Writes `rest` behind what every configuration here has: folders inside the temporary one.
    fn new(rest: &str) -> Setup {
        let folder = tempfile::tempdir().unwrap();
        let shown = folder.path().display();
        let text = format!("spool: {{directory: {shown}/spool}}\nlogging: {{directory: {shown}/logs}}\n{rest}");
        fs::write(folder.path().join("config.yaml"), text).unwrap();
        Setup { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn check(&self) -> Checked {
        check(&self.path("config.yaml"))
    }
}

/// What came of a run.
#[derive(Debug)]
struct Checked {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn packhorse() -> Command {
    let binary = std::env::var_os("PACKHORSE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_packhorse").into());
    let mut command = Command::new(binary);
    for variable in ["PACKHORSE_CONFIG", "CREDENTIALS_DIRECTORY", "IOTHUB_DEVICE_CONNECTION_STRING"] {
        command.env_remove(variable);
    }
    command
}

fn check(config: &str) -> Checked {
    packhorse().args(["--config", config, "check"]).output().unwrap().into()
}

impl From<Output> for Checked {
    fn from(output: Output) -> Checked {
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Checked { code: output.status.code(), stdout, stderr }
    }
}

impl Checked {
    /// That it failed as a bad configuration, and that stderr has a line for each of `problems` and no other but the sum.
    #[track_caller]
    fn refused_with(&self, problems: &[&str]) {
        assert_eq!(self.code, Some(78), "{self:#?}");
        assert_eq!(self.stdout, "");
        for problem in problems {
            assert!(self.stderr.lines().any(|line| line.contains(problem)), "no line has {problem:?}: {}", self.stderr);
        }
        let told = self.stderr.lines().filter(|line| !line.contains(": warning: ")).count();
        assert_eq!(told, problems.len() + 1, "{}", self.stderr);
        let noun = if problems.len() == 1 { "problem" } else { "problems" };
        let verdict = self.stderr.lines().last().unwrap_or_default();
        assert!(verdict.contains(&format!(" has {} {noun}", problems.len())), "{verdict}");
    }

    /// That nothing is wrong but, at most, that no broker is there, and that the verdict says so.
    #[track_caller]
    fn is_fine(&self) {
        assert_eq!(self.code, Some(0), "{self:#?}");
        let (verdict, warnings): (Vec<&str>, Vec<&str>) =
            self.stderr.lines().partition(|line| line.starts_with("packhorse: "));
        assert!(warnings.iter().all(|line| line.contains("warning: cannot reach ")), "{}", self.stderr);
        assert!(matches!(verdict[..], [verdict] if verdict.contains(".yaml: OK")), "{}", self.stderr);
    }
}

const BROKER: &str = "broker: {url: mqtt://localhost:1883}\n";

#[test]
fn a_good_configuration_is_printed_and_checks_again() {
    let setup = Setup::new(BROKER);

    let first = setup.check();
    fs::write(setup.path("effective.yaml"), &first.stdout).unwrap();
    let second = check(&setup.path("effective.yaml"));

    first.is_fine();
    assert!(first.stdout.contains("keep_alive: 30s"), "{}", first.stdout);
    assert_eq!((second.code, second.stdout), (Some(0), first.stdout));
}

#[test]
fn checking_leaves_nothing_behind() {
    let setup = Setup::new(BROKER);

    setup.check();

    let names: Vec<_> = fs::read_dir(setup.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["config.yaml"]);
}

#[test]
fn every_broken_file_is_refused_with_line_key_and_what_is_allowed() {
    for (rest, problems) in [
        (
            "broker: {ulr: mqtt://h}\n",
            &[":3: broker.url: is missing", ":3: broker.ulr: unknown key; did you mean `url`?"][..],
        ),
        (
            "broker:\n  url: mqtts://h\n  tls: {ca_file: /ca.pem}\n",
            &[":5: broker.tls.ca_file: `/ca.pem` cannot be read: No such file"],
        ),
        (
            "broker: {url: mqtt://h}\nretry:\n  factor: fast\n  max_delay: 1 fortnight\nchannel: {capacity: 0}\n",
            &[
                ":5: retry.factor: found `fast`; allowed: a number of at least 1",
                ":6: retry.max_delay: found `1 fortnight`; allowed: a duration of at least 1ms, such as `10s` or `1h 30m`",
                ":7: channel.capacity: found `0`; allowed: a whole number from 1 to 1000000",
            ],
        ),
        (
            "broker: {url: mqtt://h}\nstatus: {prometheus_textfile: /a}\nspool: {}\n",
            &[
                ":4: status.prometheus_textfile: is not supported yet",
                ":5: spool: is given twice, the first time on line 1",
            ],
        ),
        ("broker: {url: mqtt://h\n", &[":3: column 1: not valid YAML"]),
        (
            "url: tcp://h\nbroker: {host: h, url: tcp://h}\ntelemetry: {interval: 1M}\n",
            &[
                ":3: url: unknown key here; it belongs to `broker`",
                ":4: broker.host: unknown key; did you mean `url`?",
                ":4: broker.url: `tcp://h` has an unknown scheme; allowed is",
                ":5: telemetry.interval: found `1M`; allowed: a duration of at least 1ms, such as `10s` or `1h 30m`; write `m` for minutes",
            ],
        ),
    ] {
        Setup::new(rest).check().refused_with(problems);
    }
}

#[test]
fn problems_of_schema_and_of_files_are_told_together() {
    let setup = Setup::new("broker: {url: mqtt://h, password_file: /nowhere/password}\ntelemetry:\n  qos: 3\n");

    setup.check().refused_with(&[
        ":3: broker.password_file: `/nowhere/password` cannot be read",
        ":5: telemetry.qos: found `3`",
    ]);
}

#[test]
fn a_sensor_that_cannot_be_read_is_a_warning_as_the_agent_starts_without_it() {
    let setup = Setup::new("broker: {url: mqtt://h}\n");
    let [empty, binary, folder, gone] = ["empty", "binary", "folder", "gone"].map(|name| setup.path(name));
    fs::write(&empty, " \n").unwrap();
    fs::write(&binary, [0xFF, 0xFE]).unwrap();
    fs::create_dir(&folder).unwrap();
    let config = setup.path("config.yaml");
    let source = |(name, path): (&str, &String)| format!("    - {{name: {name}, type: file, path: {path}}}\n");
    let sources = [("a", &empty), ("b", &binary), ("c", &folder), ("d", &gone)].map(source).concat();
    let text = fs::read_to_string(&config).unwrap() + "telemetry:\n  sources:\n" + &sources;
    fs::write(&config, text).unwrap();

    let checked = setup.check();

    assert_eq!(checked.code, Some(0), "{checked:?}");
    for warning in [
        ":6: telemetry.sources[0].path: warning: ",
        "binary` holds neither a number nor text in UTF-8; the source's samples fail until that changes",
        "folder` is a folder; it must be a file; the source's samples fail",
        ":9: telemetry.sources[3].path: warning: ",
    ] {
        assert!(checked.stderr.lines().any(|line| line.contains(warning)), "no {warning:?} in {}", checked.stderr);
    }
    assert!(checked.stdout.contains("type: file"), "{}", checked.stdout);
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml").display().to_string();

    check(&missing).refused_with(&[&format!("{missing}: cannot be read: No such file")]);
    check(&folder.path().display().to_string()).refused_with(&["cannot be read: Is a directory"]);
}

#[test]
fn the_flag_beats_the_environment_and_that_beats_the_working_folder() {
    let [flag, environment, working] =
        ["flag", "environment", "working"].map(|name| Setup::new(&format!("device: {name}\n{BROKER}")));
    let device = |command: &mut Command| {
        let output = Checked::from(command.current_dir(working.folder.path()).arg("check").output().unwrap());
        output.stdout.lines().next().map(str::to_owned)
    };

    assert_eq!(device(&mut packhorse()).as_deref(), Some("device: working"));
    let named = environment.path("config.yaml");
    assert_eq!(device(packhorse().env("PACKHORSE_CONFIG", &named)).as_deref(), Some("device: environment"));
    let mut both = packhorse();
    both.env("PACKHORSE_CONFIG", &named).args(["--config", &flag.path("config.yaml")]);
    assert_eq!(device(&mut both).as_deref(), Some("device: flag"));
}

#[test]
fn an_unusable_file_is_a_problem_of_the_key_that_names_it() {
    let setup = Setup::new("");
    let [empty, folder] = ["empty", "folder"].map(|name| setup.path(name));
    fs::write(&empty, " \n").unwrap();
    fs::create_dir(&folder).unwrap();
    let config = setup.path("config.yaml");
    let text = fs::read_to_string(&config).unwrap()
        + &format!(
            "broker:\n  url: mqtts://h\n  password_file: {empty}\n  \
             tls: {{ca_file: {folder}}}\n"
        );
    fs::write(&config, text).unwrap();

    setup.check().refused_with(&[":5: broker.password_file: ", ":6: broker.tls.ca_file: "]);
}

#[test]
fn a_password_that_everybody_can_read_is_a_warning() {
    let setup = Setup::new("");
    let password = setup.path("password");
    fs::write(&password, "hunter2\n").unwrap();
    let config = setup.path("config.yaml");
    let text = fs::read_to_string(&config).unwrap()
        + &format!("broker: {{url: mqtts://h, username: u, password_file: {password}}}\n");
    fs::write(&config, text).unwrap();
    let check_with = |mode| {
        fs::set_permissions(&password, Permissions::from_mode(mode)).unwrap();
        setup.check()
    };

    let open = check_with(0o644);
    let closed = check_with(0o600);

    assert_eq!(open.code, Some(0), "{open:?}");
    assert!(open.stderr.contains(":3: broker.password_file: warning: every user"), "{}", open.stderr);
    assert!(!open.stdout.contains("hunter2"), "{}", open.stdout);
    closed.is_fine();
}

#[test]
fn a_disk_that_is_smaller_than_the_spool_may_become_is_a_warning() {
    let setup = Setup::new(BROKER);
    let config = setup.path("config.yaml");
    let text = fs::read_to_string(&config).unwrap().replace("/spool}", "/spool, max_size: 8000TiB}");
    fs::write(&config, text).unwrap();

    let checked = setup.check();

    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stderr.contains(":1: spool.directory: warning: `"), "{}", checked.stderr);
    assert!(checked.stderr.contains("less than `spool.max_size` (7.8 PiB)"), "{}", checked.stderr);
}

#[test]
fn a_bare_password_file_is_looked_up_among_systemd_s_credentials() {
    let setup = Setup::new("broker: {url: mqtts://h, username: u, password_file: mqtt}\n");
    fs::write(setup.path("mqtt"), "secret").unwrap();
    fs::set_permissions(setup.path("mqtt"), Permissions::from_mode(0o600)).unwrap();
    let mut command = packhorse();
    command.args(["--config", &setup.path("config.yaml"), "check"]);

    let without = Checked::from(command.output().unwrap());
    let with = Checked::from(command.env("CREDENTIALS_DIRECTORY", setup.folder.path()).output().unwrap());

    without.refused_with(&[":3: broker.password_file: `mqtt` cannot be read"]);
    with.is_fine();
    assert!(with.stdout.contains(&format!("password_file: {}", setup.path("mqtt"))), "{}", with.stdout);
}

#[test]
fn folders_that_cannot_be_made_are_problems() {
    let setup = Setup::new("");
    fs::write(setup.path("file"), "").unwrap();
    std::os::unix::fs::symlink("/nowhere/else", setup.path("dangling")).unwrap();
    let text = format!(
        "spool: {{directory: {}}}\nlogging: {{directory: {}}}\n{BROKER}",
        setup.path("file/below"),
        setup.path("dangling")
    );
    fs::write(setup.path("config.yaml"), text).unwrap();

    setup.check().refused_with(&[":1: spool.directory: ", ":2: logging.directory: "]);
}

/// Root may do everything, so for root the check runs as nobody; for everybody else, as themselves. Always the binary
/// that was built with the test: `PACKHORSE_BINARY` may lead to what nobody cannot reach.
fn check_without_privileges(setup: &Setup) -> Checked {
    // Nobody need not be able to reach the folder that the binary was built in.
    let binary = setup.path("packhorse");
    // Not by `fs::copy`: a process that another test starts meanwhile would hold the file open for writing, and the
    // kernel runs no such file.
    let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_packhorse"), &binary]).status().unwrap();
    assert!(copied.success());
    set_mode(&setup.path(""), 0o755);
    let mut command = Command::new(&binary);
    command.args(["--config", &setup.path("config.yaml"), "check"]).env_remove("CREDENTIALS_DIRECTORY");
    if Path::new("/proc/self").metadata().unwrap().uid() == 0 {
        command.uid(65_534);
    }
    command.output().unwrap().into()
}

fn set_mode(path: &str, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_the_user_may_not_touch_is_a_problem() {
    let setup = Setup::new("");
    for name in ["spool", "logs"] {
        fs::create_dir(setup.path(name)).unwrap();
        set_mode(&setup.path(name), 0o555);
    }
    fs::write(setup.path("password"), "secret").unwrap();
    set_mode(&setup.path("password"), 0o000);
    let config = setup.path("config.yaml");
    let text = fs::read_to_string(&config).unwrap()
        + &format!("broker: {{url: mqtt://h, password_file: {}}}\n", setup.path("password"));
    fs::write(&config, text).unwrap();

    let checked = check_without_privileges(&setup);

    checked.refused_with(&[":1: spool.directory: ", ":2: logging.directory: ", ":3: broker.password_file: "]);
}

#[test]
fn a_configuration_that_the_user_may_not_read_is_refused() {
    let setup = Setup::new(BROKER);
    set_mode(&setup.path("config.yaml"), 0o000);

    let checked = check_without_privileges(&setup);

    checked.refused_with(&["config.yaml: cannot be read: Permission denied"]);
}

#[test]
fn a_spool_that_another_user_has_filled_is_a_problem() {
    let setup = Setup::new(BROKER);
    for name in ["spool", "logs"] {
        fs::create_dir(setup.path(name)).unwrap();
        set_mode(&setup.path(name), 0o777);
    }
    fs::create_dir(setup.path("spool/lost+found")).unwrap();
    set_mode(&setup.path("spool/lost+found"), 0o000);
    let without = check_without_privileges(&setup);
    fs::write(setup.path("spool/journal"), "").unwrap();
    set_mode(&setup.path("spool/journal"), 0o400);

    let with = check_without_privileges(&setup);

    assert_eq!(without.code, Some(0), "{without:?}");
    assert_eq!(
        without.stderr.matches("warning: every user of this machine can put files into").count(),
        2,
        "{without:?}"
    );
    with.refused_with(&["spool` holds `journal`, which cannot be written to by user id "]);
}

#[test]
fn a_closed_pipe_is_no_mistake() {
    let setup = Setup::new(BROKER);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    let status = packhorse().args(["--config", &setup.path("config.yaml"), "check"]).stdout(writer).status().unwrap();

    assert_eq!(status.code(), Some(0));
}

/// A setup whose broker is an IoT hub, with the connection string in a file of its own.
fn at_a_hub(connection_string: &str, rest: &str) -> Setup {
    let setup = Setup::new("");
    let file = setup.path("connection-string");
    fs::write(&file, connection_string).unwrap();
    set_mode(&file, 0o600);
    let config = setup.path("config.yaml");
    let text = fs::read_to_string(&config).unwrap()
        + &format!("broker: {{azure_iot_hub: {{connection_string_file: {file}}}}}\n{rest}");
    fs::write(config, text).unwrap();
    setup
}

/// With `hunter2` in Base64 for a key.
const DEVICE: &str = "HostName=contoso.azure-devices.net;DeviceId=pi-7;SharedAccessKey=aHVudGVyMg==\n";

fn assert_shows_no_key(checked: &Checked) {
    let shown = format!("{checked:?}");
    assert!(!shown.contains("aHVudGVyMg") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn an_iot_hub_is_checked_without_showing_its_key() {
    let setup = at_a_hub(DEVICE, "");

    let first = setup.check();
    fs::write(setup.path("effective.yaml"), &first.stdout).unwrap();
    let second = check(&setup.path("effective.yaml"));

    first.is_fine();
    for line in [
        "url: mqtts://contoso.azure-devices.net:8883",
        "client_id: pi-7",
        "username: contoso.azure-devices.net/pi-7/?api-version=2021-04-12",
        "token_lifetime: 1h",
        "topic: devices/pi-7/messages/events/",
    ] {
        assert!(first.stdout.contains(line), "{line}: {}", first.stdout);
    }
    assert_shows_no_key(&first);
    assert_eq!((second.code, second.stdout), (Some(0), first.stdout));
}

#[test]
fn what_an_iot_hub_would_not_take_is_refused() {
    at_a_hub(DEVICE, "telemetry: {qos: 2}\nstatus: {topic: s}\n").check().refused_with(&[
        ":4: telemetry.qos: is 2, on which Azure IoT Hub ends the connection; allowed with it: 0 or 1",
        ":5: status.topic: has no use with `broker.azure_iot_hub`: the hub retains no messages; leave it out",
    ]);
}

#[test]
fn a_connection_string_that_is_no_use_is_refused_and_not_shown() {
    for (string, problem) in [
        (
            DEVICE.replace("DeviceId=pi-7;", ""),
            "connection-string` has no `DeviceId`; take the connection string of the",
        ),
        (
            DEVICE.replace("SharedAccessKey=", "SharedAccessKey"),
            "connection-string` has something for its field 3 that",
        ),
        (String::new(), "connection-string` is empty"),
    ] {
        let checked = at_a_hub(&string, "").check();

        checked.refused_with(&[problem]);
        assert!(checked.stderr.contains(":3: broker.azure_iot_hub.connection_string_file: "), "{}", checked.stderr);
        assert_shows_no_key(&checked);
    }
}

#[test]
fn a_connection_string_that_everybody_can_read_is_a_warning() {
    let setup = at_a_hub(DEVICE, "");
    set_mode(&setup.path("connection-string"), 0o644);

    let checked = setup.check();

    assert_eq!(checked.code, Some(0));
    let warning = ":3: broker.azure_iot_hub.connection_string_file: warning: every user";
    assert!(checked.stderr.contains(warning), "{}", checked.stderr);
}

#[test]
fn a_check_ends_with_a_verdict() {
    let broker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = format!("broker: {{url: 'mqtt://{}'}}\n", broker.local_addr().unwrap());
    let twins = "telemetry: {topic: t, sources: [{name: a, type: system}, {name: b, type: system}]}\n";
    for (rest, code, verdict) in [
        (here.clone(), 0, ": OK"),
        (format!("{here}{twins}"), 0, ": OK, 1 warning"),
        (format!("{here}{twins}retry: {{factor: 0}}\n"), 78, " has 1 problem and 1 warning"),
        (format!("{here}retry: {{factor: 0, jitter: 2}}\n"), 78, " has 2 problems"),
    ] {
        let setup = Setup::new(&rest);

        let checked = setup.check();

        assert_eq!(checked.code, Some(code), "{checked:?}");
        let expected = format!("packhorse: {}{verdict}", setup.path("config.yaml"));
        assert_eq!(checked.stderr.lines().last(), Some(&*expected), "{}", checked.stderr);
    }
}

#[test]
fn a_port_where_nothing_listens_is_a_warning() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let checked = Setup::new(&format!("broker: {{url: 'mqtt://{free}'}}\n")).check();

    assert_eq!(checked.code, Some(0), "{checked:?}");
    let warning = format!("warning: cannot reach mqtt://{free} now: connection refused");
    assert!(checked.stderr.contains(&warning), "{}", checked.stderr);
}

/// With its spool in this folder.
fn with_spool_in(folder: &str) -> Setup {
    let setup = Setup::new(BROKER);
    let config = setup.path("config.yaml");
    let own = format!("spool: {{directory: {}/spool}}", setup.folder.path().display());
    let folder = folder.replace("FOLDER", &setup.path(""));
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(&own, &format!("spool: {{directory: {folder}}}"))).unwrap();
    setup
}

#[test]
fn check_fails_where_run_could_keep_no_spool() {
    for (place, why) in [
        ("/proc/packhorse", "`/proc/packhorse` cannot be written to: it is in proc"),
        ("/proc/self", "cannot be written to: it is in proc"),
        ("/sys/kernel/packhorse", "it is in sysfs"),
        (&*format!("FOLDER/none/{}", "a.b ".repeat(64) + "c"), "a name in it has more than 255 bytes"),
    ] {
        let setup = with_spool_in(place);

        setup.check().refused_with(&[why]);
        setup.run_ends_with_74(place);
    }
}

#[test]
fn check_fails_where_something_else_is_in_the_lock_file_s_place() {
    type Make = fn(&Path);
    let made: [(&str, Make); 3] = [
        ("is no regular file", |path| fs::create_dir(path).unwrap()),
        ("is a symbolic link", |path| std::os::unix::fs::symlink("elsewhere", path).unwrap()),
        ("is no regular file", |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
    ];
    for (why, make) in made {
        let setup = Setup::new(BROKER);
        fs::create_dir(setup.path("spool")).unwrap();
        make(Path::new(&setup.path("spool/lock")));

        setup.check().refused_with(&[&format!("spool` holds `lock`, which {why}")]);
        setup.run_ends_with_74(why);
    }
}

/// A pipe waits for whoever writes to it.
#[test]
fn a_pipe_in_the_spool_s_place_is_refused_at_once() {
    let setup = Setup::new(BROKER);
    assert!(Command::new("mkfifo").arg(setup.path("spool")).status().unwrap().success());

    setup.check().refused_with(&["spool"]);
    setup.run_ends_with_74("a pipe");
}

/// The kernel's own file systems that have to be mounted, as far as this machine has them.
#[test]
fn check_fails_where_the_kernel_keeps_its_own_files() {
    let known = fs::read_to_string("/proc/filesystems").unwrap();
    let kinds = ["mqueue", "bpf", "fusectl", "pstore", "binfmt_misc", "configfs", "debugfs", "tracefs", "securityfs"];
    let mut tried = 0;
    for kind in kinds.into_iter().filter(|kind| known.lines().any(|line| line == format!("nodev\t{kind}"))) {
        let setup = with_spool_in("FOLDER/mounted/spool");
        let folder = setup.path("mounted");
        fs::create_dir(&folder).unwrap();
        let mounted = |arguments: &[&str]| {
            let mut command = Command::new("unshare");
            let script = r#"mount -t "$0" none "$1" && shift && exec "$@""#;
            command.args(["--mount", "sh", "-c", script, kind, &folder]).args(arguments);
            command.output().unwrap()
        };
        if !mounted(&["true"]).status.success() {
            continue;
        }
        tried += 1;
        let (binary, config) = (packhorse().get_program().to_str().unwrap().to_owned(), setup.path("config.yaml"));

        let checked: Checked = mounted(&[&binary, "--config", &config, "check"]).into();
        checked.refused_with(&[&format!("it is in {kind}, where the kernel keeps its own files")]);
        let run = mounted(&["timeout", "30", &binary, "--config", &config, "run"]);
        assert_eq!(run.status.code(), Some(74), "{kind}: {run:?}");
    }
    if tried == 0 {
        skip("this machine does not allow to mount the kernel's own file systems");
    }
}

#[test]
fn a_configuration_that_the_environment_names_is_told_as_such() {
    for command in ["check", "run", "sample"] {
        let output: Checked = packhorse().arg(command).env("PACKHORSE_CONFIG", "/no/such").output().unwrap().into();

        assert_eq!(output.code, Some(78));
        assert!(
            output.stderr.contains("the one that $PACKHORSE_CONFIG names\npackhorse: /no/such"),
            "{}",
            output.stderr
        );
    }
    let mut named = packhorse();
    named.args(["check", "--config", "/other"]).env("PACKHORSE_CONFIG", "/no/such");
    let named: Checked = named.output().unwrap().into();
    assert!(!named.stderr.contains("PACKHORSE_CONFIG"), "{}", named.stderr);
}

#[test]
fn who_has_no_configuration_is_told_what_is_enough_for_one() {
    // Where there is one, the agent would start.
    if Path::new("/etc/packhorse/config.yaml").exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();

    let output: Checked = packhorse().current_dir(folder.path()).output().unwrap().into();

    assert_eq!(output.code, Some(78));
    assert!(output.stderr.contains("`broker:`, and `  url: mqtt://localhost:1883` below it"), "{}", output.stderr);
}

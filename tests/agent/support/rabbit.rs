//! RabbitMQ of the test's own, alone or as a cluster of three.
//!
//! Erlang's nodes find each other by name through a port mapper, which is the test's own as well.

use super::cluster::{Cluster, Member};
use super::loopback::Port;
use super::process::Process;
use super::{PATIENCE, wait_for};
use std::fs::{self, File, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

const NAMES: [&str; 3] = ["one", "two", "three"];

/// In what RabbitMQ 3.10 keeps the messages of a subscriber whose session outlives its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queues {
    /// A durable queue on the one node to which the subscriber was connected first. The default.
    Classic,
    /// Replicated: a majority of the members has every message that is acknowledged.
    Quorum,
}

/// One node.
pub fn rabbit() -> Cluster {
    let mut node = start(1, Queues::Classic);
    node.run(0);
    node
}

/// Three nodes that have found each other.
pub fn rabbit_cluster(queues: Queues) -> Cluster {
    let mut cluster = start(3, queues);
    // The first one is a cluster of its own, which the others join.
    cluster.run(0);
    cluster.launch(1);
    cluster.launch(2);
    cluster.wait_for(1);
    cluster.wait_for(2);
    wait_for("the nodes find each other", PATIENCE, || {
        let log = cluster.log(0);
        NAMES[1..].iter().all(|name| log.contains(&format!("rabbit on node {name}@localhost up"))).then_some(())
    });
    cluster
}

/// So many nodes that do not run yet.
fn start(count: usize, queues: Queues) -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let cookie = folder.path().join(".erlang.cookie");
    fs::write(&cookie, "packhorse").unwrap();
    fs::set_permissions(&cookie, Permissions::from_mode(0o400)).unwrap();
    let mapper_port = Port::reserve();
    let mut mapper = Process::command("epmd");
    mapper.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", mapper_port.number().to_string());
    let mapper = Process::start(mapper.stdout(Stdio::null()).stderr(Stdio::null()));
    let address = ("127.0.0.1", mapper_port.number());
    wait_for("the port mapper runs", PATIENCE, || TcpStream::connect(address).ok());
    let members = NAMES[..count].iter().map(|name| node(name, &folder, mapper_port.number(), queues)).collect();
    Cluster::of(members, vec![mapper], folder)
}

fn node(name: &str, folder: &TempDir, mapper: u16, queues: Queues) -> Member {
    let home = folder.path();
    let own = home.join(name);
    fs::create_dir(&own).unwrap();
    let (port, distribution) = (Port::reserve(), Port::reserve());
    let mut settings = format!("listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{}\n", port.number());
    if name != NAMES[0] {
        settings += "cluster_formation.peer_discovery_backend = classic_config\n\
                     cluster_formation.classic_config.nodes.1 = one@localhost\n";
    }
    fs::write(own.join("rabbitmq.conf"), settings).unwrap();
    let queues = if queues == Queues::Quorum { "quorum" } else { "classic" };
    // It has no name in rabbitmq.conf.
    let advanced = format!("[{{rabbitmq_mqtt, [{{durable_queue_type, {queues}}}]}}].\n");
    fs::write(own.join("advanced.config"), advanced).unwrap();
    fs::write(own.join("enabled_plugins"), "[rabbitmq_mqtt].\n").unwrap();
    fs::write(own.join("environment"), "").unwrap();
    let log = own.join(format!("log/{name}@localhost.log"));
    let output = File::create(own.join("output")).unwrap();

    // Debian's wrapper would become another user and use the system's folders.
    let mut command = Process::command(&script().display().to_string());
    command
        .env("HOME", home)
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", format!("{name}@localhost"))
        .env("RABBITMQ_CONF_ENV_FILE", own.join("environment"))
        .env("RABBITMQ_CONFIG_FILE", own.join("rabbitmq.conf"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", own.join("advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", own.join("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", own.join("data"))
        .env("RABBITMQ_LOG_BASE", own.join("log"))
        .env("RABBITMQ_PID_FILE", own.join("pid"))
        .env("RABBITMQ_DIST_PORT", distribution.number().to_string())
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
        // The script becomes the node, instead of starting it and watching over it.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output);
    let address = ("127.0.0.1", port.number());
    let serves = Box::new(move || TcpStream::connect(address).is_ok());
    Member { port, other_ports: vec![distribution], command, log, serves, process: None }
}

/// The script that Debian's wrapper calls, of whichever version is installed.
fn script() -> PathBuf {
    let versions = Path::new("/usr/lib/rabbitmq/lib");
    let version = fs::read_dir(versions).ok().and_then(|mut versions| versions.next()).map(|version| version.unwrap());
    version.expect("RabbitMQ is installed; `make test` does that").path().join("sbin/rabbitmq-server")
}

//! NATS of the test's own: a cluster of three whose JetStream keeps what MQTT clients publish at QoS 1.

use super::cluster::{Cluster, Member};
use super::loopback::Port;
use super::process::Process;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

/// Three servers that have found each other, every stream of which is kept by so many of them.
pub fn nats_cluster(replicas: u8) -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let routes = [Port::reserve(), Port::reserve(), Port::reserve()];
    let known: Vec<String> = routes.iter().map(|route| format!("nats://127.0.0.1:{}", route.number())).collect();
    let known = known.join(", ");
    let server = |(index, route)| server(index, route, &known, replicas, &folder);
    let members = routes.into_iter().enumerate().map(server).collect();
    let mut cluster = Cluster::of(members, vec![], folder);
    (0..3).for_each(|member| cluster.launch(member));
    (0..3).for_each(|member| cluster.wait_for(member));
    cluster
}

fn server(index: usize, route: Port, known: &str, replicas: u8, folder: &TempDir) -> Member {
    let own = folder.path().join(index.to_string());
    fs::create_dir(&own).unwrap();
    let (port, clients, monitor) = (Port::reserve(), Port::reserve(), Port::reserve());
    let mut settings = String::new();
    writeln!(settings, "server_name: member-{index}").unwrap();
    writeln!(settings, "listen: 127.0.0.1:{}", clients.number()).unwrap();
    writeln!(settings, "http: 127.0.0.1:{}", monitor.number()).unwrap();
    writeln!(settings, "jetstream {{store_dir: \"{}\"}}", own.join("store").display()).unwrap();
    writeln!(settings, "cluster {{name: fleet, listen: 127.0.0.1:{}, routes: [{known}]}}", route.number()).unwrap();
    // What a subscriber has not acknowledged is sent to it again after this time only, also when it connects again.
    let mqtt =
        format!("stream_replicas: {replicas}, consumer_replicas: {replicas}, ack_wait: 1s, max_ack_pending: 100");
    writeln!(settings, "mqtt {{listen: 127.0.0.1:{}, {mqtt}}}", port.number()).unwrap();
    let file = own.join("nats.conf");
    fs::write(&file, settings).unwrap();
    let log = own.join("log");
    let output = File::create(&log).unwrap();
    let mut command = Process::command("/usr/sbin/nats-server");
    command.arg("-c").arg(file).stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let health = monitor.number();
    let serves = Box::new(move || is_healthy(health).is_some());
    Member { port, other_ports: vec![clients, monitor, route], command, log, serves, process: None }
}

/// Whether a server says that it has caught up with the others.
fn is_healthy(port: u16) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET /healthz?js-server-only=true HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.0 200").then_some(())
}

//! A connect that was abandoned while the name was looked up writes no CONNECT when the name resolves: checked with the library
//! itself, in a process of its own whose name server is the test's.

use paho_mqtt::{ConnectOptionsBuilder, CreateOptionsBuilder};
use paho_mqtt_sys::attempt;
use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the broker got over all connections, of a client that looks the broker's name up and then does what `act` says.
fn received(act: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("resolver.c"), include_str!("resolver.c")).unwrap();
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([file("resolver.so"), file("resolver.c")]).status();
    assert!(compiled.unwrap().success());
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = broker.local_addr().unwrap().port();

    let client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_client", "--ignored"])
        .env("LD_PRELOAD", file("resolver.so"))
        .envs([("RESOLVER", folder.path().to_str().unwrap()), ("ACT", act)])
        .env("URL", format!("tcp://broker.example:{port}"))
        .output()
        .unwrap();
    assert!(client.status.success(), "{client:?}");

    broker.set_nonblocking(true).unwrap();
    let mut received = Vec::new();
    loop {
        match broker.accept() {
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                // The client is gone: its end is an end, or a reset.
                let _ = stream.read_to_end(&mut received);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return received,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
#[ignore = "a process of the tests below"]
fn a_client() {
    let folder = PathBuf::from(std::env::var_os("RESOLVER").unwrap());
    let url = std::env::var("URL").unwrap();
    let client = CreateOptionsBuilder::new().server_uri(url).client_id("c").create_client().unwrap();
    // Far longer than it takes: nothing else may end the attempt.
    let connecting = client.connect(ConnectOptionsBuilder::new().connect_timeout(Duration::from_secs(60)).finalize());
    wait_for(&folder.join("asked"));

    if std::env::var("ACT").unwrap() == "abandon" {
        attempt::abandon_all();
        fs::write(folder.join("answer"), "").unwrap();
        assert!(connecting.wait_for(PATIENCE).is_err());
        // The lock is free again, and the client with it.
        drop((client.is_connected(), client));
    } else {
        fs::write(folder.join("answer"), "").unwrap();
        // Nobody answers the CONNECT.
        assert!(connecting.wait_for(Duration::from_secs(1)).is_err());
        std::process::exit(0);
    }
}

fn wait_for(file: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(Instant::now() < deadline, "there is no {}", file.display());
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_connect_that_was_abandoned_during_the_name_lookup_writes_no_connect() {
    let abandoned = received("abandon");
    let waited_for = received("wait");

    assert_eq!((abandoned.as_slice(), waited_for.first()), (&[][..], Some(&0x10)));
}

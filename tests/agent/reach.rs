//! What a broker's address may lead to: every address of a name is tried, and a failure names the address and the reason. In a
//! network of its own, with names of its own.

use crate::support::{Authority, Broker, Gateway, Netns, Settings, log_files, wait_for, wait_until};
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// `black.test` has first an address that swallows everything: RFC 6724 prefers global IPv6.
const HOSTS: &str = "\
127.0.0.1 six.test four.test localhost
::1 six.test
::1 four.test localhost
2001:db8::9 black.test
10.99.99.1 black.test
127.0.0.2 three.test
127.0.0.3 three.test
127.0.0.4 three.test
";

/// An address swallows everything where its neighbour's hardware address is wrong.
const NETWORK: &str = "\
ip link set lo up; ip link add wan0 type veth peer name wan1; ip link set wan1 up; ip link set wan0 up; \
ip address add 10.99.99.1/24 dev wan0; \
ip -6 address add 2001:db8::1/64 dev wan0 nodad; ip -6 address add fe80::1/64 dev wan0 nodad; \
ip -6 neigh add 2001:db8::9 lladdr 02:00:00:00:00:09 dev wan0 nud permanent; \
ip neigh add 10.99.99.9 lladdr 02:00:00:00:00:09 dev wan0 nud permanent; \
ip route add unreachable 10.99.97.0/24; ";

/// Port 1883 is that of an IPv6 address alone, 1884 of IPv4 alone, 1885 is for every address. At 1889 one of three addresses
/// goes without TLS.
const LISTENERS: &str = "\
user root
allow_anonymous true
listener 1883 ::1
listener 1884 127.0.0.1
listener 1885
listener 1889 127.0.0.4
listener 1888 ::1
protocol websockets
";

/// A network with these names and brokers; `None`: not on this machine.
fn network(authority: &Authority) -> Option<Netns> {
    let of_broker = authority.sign("broker", &["six.test", "fe80::1"]);
    let of_old = authority.sign("six.test", &[]);
    let tls = |place: &str, files: &crate::support::Certificate| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        format!("listener {place}\ncertfile {certificate}\nkeyfile {key}\n")
    };
    let conf = authority.folder().join("mosquitto.conf");
    let places =
        [("1889 127.0.0.2", &of_broker), ("1889 127.0.0.3", &of_broker), ("8883", &of_broker), ("8884", &of_old)];
    let listeners = places.map(|(place, files)| tls(place, files)).concat();
    fs::write(&conf, format!("{LISTENERS}{listeners}")).unwrap();
    let run = format!(
        "mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto); exec \"$mosquitto\" -c {}",
        conf.display()
    );
    let network = Netns::with_hosts(authority.folder(), HOSTS, &(NETWORK.to_owned() + &run))?;
    // 8884 is the last port that it opens.
    wait_until("the brokers listen", || network.succeeds(&["sh", "-c", "grep -qi :22B4 /proc/net/tcp6"]));
    Some(network)
}

fn gateway(url: &str, authority: &Authority) -> Gateway {
    let gateway = Gateway::new(url, &Settings::default());
    if url.starts_with("mqtts") {
        let keys = format!("keep_alive: 5s, tls: {{ca_file: {}}}", authority.file().display());
        gateway.edit("keep_alive: 5s", &keys);
    }
    gateway
}

#[test]
fn every_address_of_a_name_is_tried() {
    let authority = Authority::new();
    let Some(network) = network(&authority) else { return };
    for url in [
        "mqtt://six.test:1883",
        "mqtt://four.test:1884",
        "mqtt://localhost:1883",
        "mqtt://localhost:1884",
        "ws://six.test:1888",
        "mqtts://six.test:8883",
        "mqtt://black.test:1885",
        "mqtt://[fe80::1%wan0]:1885",
        "mqtts://[fe80::1%wan0]:8883",
    ] {
        let gateway = gateway(url, &authority);
        let begun = Instant::now();

        let agent = gateway.start_inside(&network);
        agent.wait_for_output(&format!("connected to {url}"));

        // An address that says nothing costs a quarter of a second; `connect_timeout` is 2 s.
        assert!(begun.elapsed() < Duration::from_secs(2), "{url}: {:?}", begun.elapsed());
        assert!(!agent.output().contains("retrying"), "{url}: {}", agent.output());
        assert_eq!(agent.stop().code(), Some(0));
    }
}

#[test]
fn an_address_is_tried_however_many_others_lead_to_no_broker() {
    let authority = Authority::new();
    let Some(network) = network(&authority) else { return };
    let gateway = gateway("mqtt://three.test:1889", &authority);

    let agent = gateway.start_inside(&network);
    agent.wait_for_output("connected to mqtt://three.test:1889");

    // Each costs one attempt.
    let failures = gateway.logged("no connection to mqtt://three.test:1889");
    assert!((1..=2).contains(&failures), "{failures}: {}", agent.output());
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_failure_names_the_address_and_the_system_s_own_reason() {
    let authority = Authority::new();
    let Some(network) = network(&authority) else { return };
    for (url, reason) in [
        ("mqtt://none.test:1883", "cannot reach mqtt://none.test:1883: name not found: Name or service not known"),
        ("mqtt://127.0.0.1:1", "cannot reach mqtt://127.0.0.1:1: connection refused; retrying"),
        ("ws://[::1]:1", "cannot reach ws://[::1]:1/mqtt: connection refused; retrying"),
        ("mqtt://six.test:1", "cannot reach mqtt://six.test:1: connection refused ("),
        ("mqtt://10.99.97.1", "cannot reach mqtt://10.99.97.1:1883: host unreachable: no route to host"),
        ("mqtt://192.0.2.1", "cannot reach mqtt://192.0.2.1:1883: network is unreachable"),
        ("mqtt://10.99.99.9", "cannot reach mqtt://10.99.99.9:1883: timed out while connecting"),
        ("mqtt://black.test:1", "timed out while connecting (2001:db8::9)"),
        ("mqtt://black.test:1", "connection refused (10.99.99.1)"),
        (
            "mqtt://[fe80::1%eth9]",
            "cannot reach mqtt://[fe80::1%eth9]:1883: this machine has no network interface `eth9`",
        ),
        ("mqtts://four.test:1884", "no connection to mqtts://four.test:1884 (127.0.0.1): "),
        ("mqtts://four.test:1884", "does port 1884 speak TLS? `mqtt://` goes without"),
        ("mqtt://10.99.99.1:8883", "no connection to mqtt://10.99.99.1:8883: "),
        ("mqtt://10.99.99.1:8883", "TLS"),
        ("ws://10.99.99.1:1885", "no connection to ws://10.99.99.1:1885/mqtt: the server ended the connection without"),
        ("mqtts://localhost:8883", "the broker's certificate is not for `localhost`"),
        ("mqtts://six.test:8884", "names `six.test` as its common name alone, which does not count (RFC 9525)"),
    ] {
        let gateway = gateway(url, &authority);

        let agent = gateway.start_inside(&network);
        let log = || log_files(&gateway.logs(), "info.log.").concat();
        wait_for(reason, Duration::from_secs(20), || log().contains(reason).then_some(()));

        assert_eq!(agent.stop().code(), Some(0), "{url}");
        println!("{}", log().lines().find(|line| line.contains(reason)).unwrap());
    }
}

#[test]
fn a_reset_in_place_of_an_answer_is_told_in_the_system_s_words() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    // It ends when the test's process does.
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // What is closed with something unread in it is reset.
            let _ = stream.peek(&mut [0]);
        }
    });
    let gateway = Gateway::new(&url, &Settings::default());
    let agent = gateway.start();

    agent.wait_for_output(&format!("no connection to {url}: connection reset by peer before it answered CONNECT"));

    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn two_devices_with_one_client_id_are_told_to_look_at_it() {
    [0, 1].into_iter().for_each(push_each_other_out);
}

fn push_each_other_out(qos: u8) {
    let broker = Broker::start();
    let retry = "{initial_delay: 100ms, factor: 1.1, max_delay: 1s, at_max: hold}";
    // MQTT 3.1.1 has no way to say why.
    let settings = || Settings { protocol: "3.1.1", qos, retry, ..Settings::default() };
    let gateways = [(); 2].map(|()| Gateway::new(&broker.url(), &settings()));
    gateways.iter().for_each(Gateway::turn_status_on);

    let agents = gateways.each_ref().map(Gateway::start);
    let hint = "as when another device has the same client id (`broker.client_id` is `";
    wait_until("a hint", || agents.iter().any(|agent| agent.output().contains(hint)));

    for agent in agents {
        let said = agent.output();
        said.lines().filter(|line| line.contains(hint)).take(1).for_each(|line| println!("{line}"));
        assert_eq!(agent.stop().code(), Some(0));
    }
}

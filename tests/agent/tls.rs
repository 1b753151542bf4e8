//! Encrypted connections: who is trusted, what is said where nobody is, and certificates that change.

use crate::support::{
    Agent, Authority, Broker, Certificate, Gateway, Judgement, Proxy, Settings, Subscriber, log_files, skip, wait_until,
};
use openssl::ssl::{AlpnError, SslAcceptor, SslFiletype, SslMethod, SslOptions, SslVersion};
use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// A broker with an encrypted listener, and a plain one for who judges.
pub struct Encrypted {
    broker: Broker,
    port: u16,
}

impl Encrypted {
    pub fn start(authority: &Authority, certificate: &Certificate, more: &str) -> Self {
        let (port, clients) = (Broker::free_port(), authority.file());
        let (file, key) = (certificate.certificate.display(), certificate.key.display());
        let settings = format!(
            "allow_anonymous true\nlistener {port} 127.0.0.1\ncafile {}\ncertfile {file}\nkeyfile {key}\n{more}",
            clients.display()
        );
        let encrypted = Self { broker: Broker::with(&settings), port };
        wait_until("mosquitto listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        encrypted
    }

    fn subscriber(&self) -> Subscriber {
        Subscriber::start(&self.broker.url(), "telemetry/#")
    }

    pub fn url(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}", self.port)
    }
}

pub fn gateway(url: &str, tls: &str, settings: &Settings) -> Gateway {
    let gateway = Gateway::new(url, settings);
    gateway.edit("keep_alive: 5s", &format!("keep_alive: 5s, tls: {{{tls}}}"));
    gateway
}

pub fn ca(authority: &Authority) -> String {
    format!("ca_file: {}", authority.file().display())
}

fn with_certificate(authority: &Authority, certificate: &Certificate) -> String {
    let (file, key) = (certificate.certificate.display(), certificate.key.display());
    format!("{}, cert_file: {file}, key_file: {key}", ca(authority))
}

/// Everything arrives in order.
fn delivers(gateway: &Gateway, agent: Agent, subscriber: &Subscriber) -> Judgement {
    subscriber.wait_for_count(100);
    assert_eq!(agent.stop().code(), Some(0));
    Judgement::of_the_rest(gateway, subscriber)
}

fn over(scheme: &'static str, host: &str, protocol: &'static str, qos: u8) {
    let authority = Authority::new();
    let certificate = authority.sign("broker", &["localhost", "127.0.0.1"]);
    let websocket = if scheme == "wss" { "protocol websockets" } else { "" };
    let broker = Encrypted::start(&authority, &certificate, websocket);
    let subscriber = broker.subscriber();
    let settings = Settings { protocol, qos, ..Settings::default() };
    let gateway = gateway(&broker.url(scheme, host), &ca(&authority), &settings);

    let agent = gateway.start();

    delivers(&gateway, agent, &subscriber).assert_no_duplicates();
}

#[test]
fn messages_arrive_over_tls() {
    over("mqtts", "localhost", "5", 1);
}

#[test]
fn messages_arrive_over_tls_with_mqtt_3_1_1() {
    over("mqtts", "127.0.0.1", "3.1.1", 2);
}

#[test]
fn messages_arrive_over_a_websocket_over_tls() {
    over("wss", "localhost", "5", 2);
}

#[test]
fn messages_arrive_over_a_plain_websocket() {
    let port = Broker::free_port();
    let broker = Broker::with(&format!("allow_anonymous true\nlistener {port} 127.0.0.1\nprotocol websockets"));
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&format!("ws://127.0.0.1:{port}"), &Settings::default());

    let agent = gateway.start();

    delivers(&gateway, agent, &subscriber).assert_no_duplicates();
}

#[test]
fn the_systems_authorities_are_trusted_where_no_file_is_named() {
    let authority = Authority::new();
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "");
    let subscriber = broker.subscriber();
    let gateway = Gateway::new(&broker.url("mqtts", "localhost"), &Settings::default());

    // OpenSSL's own way to name another store.
    let agent = gateway.start_with(&[("SSL_CERT_FILE", authority.file().to_str().unwrap())]);

    // What is left at the stop stays: another agent would not have the name of the store.
    subscriber.wait_for_count(100);
    assert_eq!(agent.stop().code(), Some(0));
    Judgement::of(&subscriber.arrivals()).assert_no_duplicates();
}

#[test]
fn a_client_certificate_opens_the_door() {
    let authority = Authority::new();
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "require_certificate true");
    let subscriber = broker.subscriber();
    let tls = with_certificate(&authority, &authority.sign("gateway-7", &[]));
    let gateway = gateway(&broker.url("mqtts", "localhost"), &tls, &Settings::default());

    let agent = gateway.start();

    delivers(&gateway, agent, &subscriber).assert_no_duplicates();
}

#[test]
fn a_certificate_and_its_key_may_stand_in_one_file() {
    let authority = Authority::new();
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "require_certificate true");
    let subscriber = broker.subscriber();
    let Certificate { certificate, key } = authority.sign("gateway-7", &[]);
    let both = authority.folder().join("both.pem");
    fs::write(&both, [fs::read(key).unwrap(), fs::read(certificate).unwrap()].concat()).unwrap();
    let tls = format!("{}, cert_file: {}", ca(&authority), both.display());
    let gateway = gateway(&broker.url("mqtts", "localhost"), &tls, &Settings::default());

    let agent = gateway.start();

    delivers(&gateway, agent, &subscriber).assert_no_duplicates();
}

/// What goes wrong is said, nothing is sent, and the agent goes on trying and keeping.
fn fails_with(url: &str, tls: &str, words: &[&str]) {
    let gateway = gateway(url, tls, &Settings::default());

    let agent = gateway.start();
    wait_until("it tries again", || {
        ["retrying in", "asking again in"].iter().any(|next| agent.output().contains(next))
    });
    agent.wait_for_output(words[0]);
    let output = agent.output();
    assert_eq!(agent.stop().code(), Some(0));

    for word in words {
        assert!(output.contains(word), "{word:?}: {output}");
    }
    assert!(!output.contains("connected to"), "{output}");
    let log = log_files(&gateway.logs(), "info.log.").concat();
    println!("{}", log.lines().find(|line| line.contains(words[0])).unwrap());
    assert!(gateway.accepted_count() > 0, "what was sampled is on disk");
}

#[test]
fn an_expired_certificate_is_named() {
    let authority = Authority::new();
    let certificate = authority.sign_for("broker", &["localhost"], -9, -2);
    let broker = Encrypted::start(&authority, &certificate, "");

    let words = ["the broker's certificate has expired", "this device's clock is wrong: 20"];
    fails_with(&broker.url("mqtts", "localhost"), &ca(&authority), &words);
}

#[test]
fn a_certificate_of_the_future_is_named() {
    let authority = Authority::new();
    let certificate = authority.sign_for("broker", &["localhost"], 2, 9);
    let broker = Encrypted::start(&authority, &certificate, "");

    let words = ["the broker's certificate is not valid yet", "clock is probably wrong: 20"];
    fails_with(&broker.url("mqtts", "localhost"), &ca(&authority), &words);
}

#[test]
fn an_authority_out_of_its_time_is_named_and_the_broker_is_not_blamed() {
    for (from, until, words) in [(-9, -2, "has expired on 20"), (2, 9, "is not valid before 20")] {
        let authority = Authority::valid(from, until);
        let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "");

        let file = format!("`broker.tls.ca_file`: the certificate in `{}` {words}", authority.file().display());
        fails_with(&broker.url("mqtts", "localhost"), &ca(&authority), &[&file, "wrong: 20"]);
    }
}

#[test]
fn a_broker_s_certificate_for_clients_alone_is_named() {
    let authority = Authority::new();
    let certificate = authority.sign_for_use("broker", &["localhost"], "clientAuth");
    let broker = Encrypted::start(&authority, &certificate, "");

    let words = ["the broker's certificate is not for servers (", "its extendedKeyUsage must have serverAuth"];
    fails_with(&broker.url("mqtts", "localhost"), &ca(&authority), &words);
}

#[test]
fn an_address_that_stands_in_a_certificate_as_a_name_does_not_count() {
    let authority = Authority::new();
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["dns:127.0.0.1"]), "");

    let words = ["the broker's certificate has `127.0.0.1` as a name, which does not count for an address"];
    fails_with(&broker.url("mqtts", "127.0.0.1"), &ca(&authority), &words);
}

#[test]
fn a_certificate_for_another_host_is_named() {
    let authority = Authority::new();
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["broker.example", "127.0.0.2"]), "");

    for host in ["localhost", "127.0.0.1"] {
        let words = format!("the broker's certificate is not for `{host}`; `broker.url` must name the host");
        fails_with(&broker.url("mqtts", host), &ca(&authority), &[&words]);
    }
}

#[test]
fn an_unknown_authority_is_named() {
    let [authority, other] = [Authority::new(), Authority::new()];
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "");

    let file = format!("`broker.tls.ca_file` ({}) must hold its authority's", other.file().display());
    let words = ["the broker's certificate is not trusted (", &file];
    fails_with(&broker.url("mqtts", "localhost"), &ca(&other), &words);
    let words = ["the broker's certificate is not trusted (", "its authority into `broker.tls.ca_file`"];
    fails_with(&broker.url("mqtts", "localhost"), "verify: true", &words);
}

#[test]
fn a_right_authority_is_trusted_at_once() {
    let [authority, other] = [Authority::new(), Authority::new()];
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "");
    let subscriber = broker.subscriber();
    let retry = "{initial_delay: 1h, factor: 1, max_delay: 1h, at_max: hold}";
    let settings = Settings { retry, ..Settings::default() };
    let gateway = gateway(&broker.url("mqtts", "localhost"), &ca(&other), &settings);
    let agent = gateway.start();
    wait_until("the second attempt has failed", || gateway.logged("; retrying in") == 2);

    replace(&other.file(), &authority.file());

    delivers(&gateway, agent, &subscriber);
}

#[test]
fn an_agent_that_ends_in_the_middle_of_a_handshake_ends_in_order() {
    let [authority, other] = [Authority::new(), Authority::new()];
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "");
    let retry = "{initial_delay: 1ms, factor: 1, max_delay: 1ms, at_max: hold}";
    let settings = Settings { retry, interval: "1s", ..Settings::default() };

    // Nearly always in a handshake, with all the system's authorities read anew for each.
    let gateways: Vec<_> =
        (0..20).map(|_| gateway(&broker.url("mqtts", "localhost"), &ca(&other), &settings)).collect();
    for gateway in gateways {
        let agent = gateway.start();
        agent.wait_for_output("is not trusted");

        assert_eq!(agent.stop().code(), Some(0));
    }
}

#[test]
fn a_client_certificate_that_the_broker_refuses_is_named() {
    let [authority, other] = [Authority::new(), Authority::new()];
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "require_certificate true");

    let stranger = other.sign("stranger", &[]);
    let file = format!("look at `broker.tls.cert_file` ({})", stranger.certificate.display());
    let words = ["the broker refuses our certificate (", &file];
    fails_with(&broker.url("mqtts", "localhost"), &with_certificate(&authority, &stranger), &words);
    let words = ["the broker wants a certificate of ours (", "set `broker.tls.cert_file` and `key_file`"];
    fails_with(&broker.url("mqtts", "localhost"), &ca(&authority), &words);
}

#[test]
fn a_certificate_that_is_refused_after_the_handshake_is_named_every_time() {
    let [authority, other] = [Authority::new(), Authority::new()];
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "require_certificate true");
    let tls = with_certificate(&authority, &other.sign("stranger", &[]));
    let retry = "{initial_delay: 1h, factor: 1, max_delay: 1h, at_max: hold}";

    for _ in 0..12 {
        let settings = Settings { retry, ..Settings::default() };
        let gateway = gateway(&broker.url("mqtts", "localhost"), &tls, &settings);
        let agent = gateway.start();
        wait_until("the attempt fails", || agent.output().contains("no connection to"));
        let output = agent.output();
        agent.kill();

        assert!(output.contains("the broker refuses our certificate ("), "{output}");
    }
}

#[test]
fn a_broker_without_tls_is_named() {
    let authority = Authority::new();
    let broker = Broker::start();

    let url = broker.url().replace("mqtt://127.0.0.1", "mqtts://localhost");
    fails_with(
        &url,
        &ca(&authority),
        &["no connection to ", "during the TLS handshake; does port", "speak TLS? `mqtt://` goes without"],
    );
}

/// Who cannot prove to be the broker learns nothing: not a byte is sent before that.
#[test]
fn nothing_is_sent_to_a_stranger() {
    let [authority, other] = [Authority::new(), Authority::new()];
    for (certificate, scheme) in [
        (authority.sign("other-host", &["broker.example"]), "mqtts"),
        (authority.sign("other-host", &["broker.example"]), "wss"),
        (other.sign("other-authority", &["localhost"]), "mqtts"),
        (authority.sign_for("expired", &["localhost"], -9, -2), "wss"),
        (authority.sign("the-broker", &["localhost"]), "mqtts"),
    ] {
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
        acceptor.set_certificate_chain_file(&certificate.certificate).unwrap();
        acceptor.set_private_key_file(&certificate.key, SslFiletype::PEM).unwrap();
        let (acceptor, listener) = (acceptor.build(), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&heard);
        // The thread is left to itself when nobody connects any more.
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let mut bytes = [0; 1000];
                let length = acceptor.accept(stream).ok().and_then(|mut stream| stream.read(&mut bytes).ok());
                record.lock().unwrap().push(length.unwrap_or(0));
            }
        });
        let gateway = gateway(&format!("{scheme}://localhost:{port}"), &ca(&authority), &Settings::default());

        let agent = gateway.start();
        wait_until("three attempts", || heard.lock().unwrap().len() >= 3);
        agent.kill();

        let is_broker = certificate.certificate.ends_with("the-broker.pem");
        let heard = heard.lock().unwrap().clone();
        assert_eq!(heard.iter().any(|length| *length > 0), is_broker, "{scheme} {certificate:?}: {heard:?}");
    }
}

/// What a connection that broke left behind is no reason for the next one.
#[test]
fn a_broker_that_has_gone_is_not_blamed_on_tls() {
    let authority = Authority::new();
    let mut broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "");
    let subscriber = broker.subscriber();
    let gateway = gateway(&broker.url("mqtts", "localhost"), &ca(&authority), &Settings::default());
    let agent = gateway.start();
    subscriber.wait_for_count(20);

    broker.broker.kill();
    let debug = || log_files(&gateway.logs(), "debug.log.").concat();
    wait_until("attempts fail", || debug().matches("cannot reach ").count() > 3);

    assert_eq!(agent.stop().code(), Some(0));
    assert!(!debug().contains("TLS failed"), "{}", debug());
}

#[test]
fn an_ipv6_address_is_compared_without_its_brackets() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        skip("no IPv6 here");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let authority = Authority::new();
    let Certificate { certificate, key } = authority.sign("broker", &["::1"]);
    let settings = format!(
        "allow_anonymous true\nlistener {port} ::1\ncafile {}\ncertfile {}\nkeyfile {}",
        authority.file().display(),
        certificate.display(),
        key.display()
    );
    let broker = Broker::with(&settings);
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    wait_until("mosquitto listens", || TcpStream::connect(("::1", port)).is_ok());
    let gateway = gateway(&format!("mqtts://[::1]:{port}"), &ca(&authority), &Settings::default());

    let agent = gateway.start();

    delivers(&gateway, agent, &subscriber).assert_no_duplicates();
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let gateway = gateway("mqtts://localhost:1", "ca_file: /no/such/file.pem", &Settings::default());

    let agent = gateway.start();

    agent.wait_for_output("broker.tls.ca_file: `/no/such/file.pem` cannot be read: No such file");
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_key_that_does_not_fit_its_certificate_is_said() {
    let authority = Authority::new();
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "");
    let mixed = Certificate { key: authority.sign("b", &[]).key, ..authority.sign("a", &[]) };

    fails_with(
        &broker.url("mqtts", "localhost"),
        &with_certificate(&authority, &mixed),
        &["no connection to mqtts://localhost", "the private key in `", "b.key` is not that of the certificate in `"],
    );
}

#[test]
fn nobody_has_to_prove_anything_where_that_is_switched_off() {
    let authority = Authority::new();
    let broker = Encrypted::start(&authority, &authority.sign_for("broker", &["broker.example"], -9, -2), "");
    let subscriber = broker.subscriber();
    let gateway = gateway(&broker.url("mqtts", "localhost"), "verify: false", &Settings::default());

    let agent = gateway.start();
    agent.wait_for_output("whoever answers is taken for the broker");

    delivers(&gateway, agent, &subscriber).assert_no_duplicates();
}

/// Puts a file in the place of another as a careful program does.
fn replace(file: &Path, by: &Path) {
    let new = file.with_extension("new");
    fs::copy(by, &new).unwrap();
    fs::rename(new, file).unwrap();
}

#[test]
fn new_certificates_are_used_without_a_restart() {
    let [old, new] = [Authority::new(), Authority::new()];
    let mut broker = Encrypted::start(&old, &old.sign("broker", &["localhost"]), "require_certificate true");
    let subscriber = broker.subscriber();
    let ours = old.sign("gateway-7", &[]);
    let gateway = gateway(&broker.url("mqtts", "localhost"), &with_certificate(&old, &ours), &Settings::default());
    let agent = gateway.start();
    subscriber.wait_for_count(50);

    // The broker is moved to another authority, and shuts its old clients out.
    let (of_broker, of_gateway) = (new.sign("broker", &["localhost"]), new.sign("gateway-7", &[]));
    broker.broker.stop();
    replace(&old.folder().join("broker.pem"), &of_broker.certificate);
    replace(&old.folder().join("broker.key"), &of_broker.key);
    replace(&old.file(), &new.file());
    broker.broker.run();
    agent.wait_for_output("the broker refuses our certificate");
    replace(&ours.certificate, &of_gateway.certificate);
    replace(&ours.key, &of_gateway.key);
    let before = subscriber.arrivals().len();
    subscriber.wait_for_count(before + 50);

    delivers(&gateway, agent, &subscriber);
}

#[test]
fn cuts_of_an_encrypted_connection_lose_nothing_and_repeat_nothing_at_qos_2() {
    let authority = Authority::new();
    let broker = Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "");
    let subscriber = broker.subscriber();
    let proxy = Proxy::start(broker.port);
    let url = proxy.url().replace("mqtt://127.0.0.1", "mqtts://localhost");
    let settings = Settings { qos: 2, interval: "1ms", ..Settings::default() };
    let gateway = gateway(&url, &ca(&authority), &settings);
    let agent = gateway.start();

    for _ in 0..15 {
        let before = subscriber.arrivals().len();
        subscriber.wait_for_count(before + 20);
        proxy.cut(crate::support::How::Reset);
    }

    let before = subscriber.arrivals().len();
    subscriber.wait_for_count(before + 20);

    delivers(&gateway, agent, &subscriber).assert_no_duplicates();
}

#[test]
fn the_application_protocol_is_asked_for_by_name() {
    let authority = Authority::new();
    let certificate = authority.sign("broker", &["localhost"]);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&asked);
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
    acceptor.set_certificate_chain_file(&certificate.certificate).unwrap();
    acceptor.set_private_key_file(&certificate.key, SslFiletype::PEM).unwrap();
    acceptor.set_alpn_select_callback(move |_, protocols| {
        record.lock().unwrap().push(protocols.to_vec());
        Err(AlpnError::NOACK)
    });
    let (acceptor, listener) = (acceptor.build(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    // The thread is left to itself when nobody connects: the test fails, and so ends it.
    thread::spawn(move || drop(acceptor.accept(listener.accept().unwrap().0)));
    let tls = format!("{}, alpn: x-amzn-mqtt-ca", ca(&authority));
    let gateway = gateway(&format!("mqtts://localhost:{port}"), &tls, &Settings::default());

    let agent = gateway.start();
    wait_until("a protocol is asked for", || !asked.lock().unwrap().is_empty());
    agent.kill();

    assert_eq!(asked.lock().unwrap().as_slice(), [b"\x0ex-amzn-mqtt-ca".to_vec()]);
}

/// A server that takes no newer TLS than `newest`, and how many handshakes it has finished.
fn server_of(newest: SslVersion, authority: &Authority) -> (u16, Arc<Mutex<usize>>) {
    let certificate = authority.sign("broker", &["localhost"]);
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
    acceptor.clear_options(SslOptions::NO_TLSV1 | SslOptions::NO_TLSV1_1);
    acceptor.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
    acceptor.set_max_proto_version(Some(newest)).unwrap();
    acceptor.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    acceptor.set_certificate_file(&certificate.certificate, SslFiletype::PEM).unwrap();
    acceptor.set_private_key_file(&certificate.key, SslFiletype::PEM).unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let finished = Arc::new(Mutex::new(0));
    let count = Arc::clone(&finished);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if acceptor.accept(stream).is_ok() {
                *count.lock().unwrap() += 1;
            }
        }
    });
    (port, finished)
}

#[test]
fn nothing_older_than_tls_1_2_is_spoken_whatever_the_system_allows() {
    let authority = Authority::new();
    let permissive = authority.folder().join("openssl.cnf");
    let system =
        "[ssl]\nsystem_default = permissive\n[permissive]\nMinProtocol = TLSv1\nCipherString = ALL:@SECLEVEL=0\n";
    fs::write(&permissive, format!("openssl_conf = all\n[all]\nssl_conf = ssl\n{system}")).unwrap();
    let environment = [("OPENSSL_CONF", permissive.to_str().unwrap())];
    for (newest, is_spoken) in [(SslVersion::TLS1_1, false), (SslVersion::TLS1_2, true)] {
        let (port, finished) = server_of(newest, &authority);
        let gateway = gateway(&format!("mqtts://localhost:{port}"), &ca(&authority), &Settings::default());

        let agent = gateway.start_with(&environment);
        wait_until("it has tried", || *finished.lock().unwrap() > 0 || agent.output().contains("retrying in"));
        agent.stop();

        assert_eq!(*finished.lock().unwrap() > 0, is_spoken, "{newest:?}");
    }
}

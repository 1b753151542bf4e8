//! HTTP proxies on the way to the broker: every kind of address goes through them, what they refuse is named, their
//! credentials are never logged, and only the configuration names one.

use crate::support::{
    Authority, Broker, ConnectProxy, Framing, Gateway, Reply, Script, Scripted, Settings, TlsFront, WsFront, log_files,
    skip, wait_until,
};
use std::fs;

/// A host that only the proxy of the tests finds.
const HOST: &str = "broker.invalid";

/// `horse:battery staple`, which is nowhere in the logs, in Base64.
const BASIC: &str = "Basic aG9yc2U6YmF0dGVyeSBzdGFwbGU=";

/// A device whose broker is at `url`, with more keys in the broker's section.
fn gateway(url: &str, more: &str) -> Gateway {
    let logging = "logging: {directory: LOGS, paho: trace, sample: trace}\nstatus: {topic: ~}".to_owned();
    let gateway = Gateway::new(url, &Settings { more: logging, ..Settings::default() });
    gateway.edit("keep_alive: 5s", &format!("keep_alive: 5s, {more}"));
    gateway
}

/// Everything goes through the proxy, which asks for the broker by its own name.
fn carries(gateway: &Gateway, broker: &Scripted, proxy: &ConnectProxy, asked: &str) {
    let before = broker.arrivals().len();
    let agent = gateway.start();
    wait_until("messages arrive", || broker.arrivals().len() > before + 50);
    assert_eq!(agent.stop().code(), Some(0));

    let requests = proxy.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].line(), format!("CONNECT {asked} HTTP/1.1"));
    assert_eq!(requests[0].field("Host"), Some(asked));
}

#[test]
fn addresses_of_every_kind_go_through_a_proxy() {
    let authority = Authority::new();
    let certificate = authority.sign("broker", &[HOST]);
    let broker = Scripted::start(Script::default());
    let websocket = WsFront::start(broker.port(), Framing::Gathered);
    let tls = TlsFront::start(broker.port(), &authority, &certificate);
    let both = TlsFront::start(websocket.port(), &authority, &certificate);

    for (scheme, port) in
        [("mqtt", broker.port()), ("mqtts", tls.port()), ("ws", websocket.port()), ("wss", both.port())]
    {
        let proxy = ConnectProxy::start(Reply::Connect(None));
        let trust = format!("tls: {{ca_file: {}}}, ", authority.file().display());
        let trust = if ["mqtts", "wss"].contains(&scheme) { trust } else { String::new() };
        let gateway = gateway(&format!("{scheme}://{HOST}:{port}"), &format!("{trust}proxy: '{}'", proxy.url()));

        carries(&gateway, &broker, &proxy, &format!("{HOST}:{port}"));
    }
}

#[test]
fn addresses_of_ipv6_keep_their_brackets() {
    let Ok(proxy) = ConnectProxy::on("[::1]", Reply::Connect(None)) else { return skip("no IPv6 here") };
    let broker = Scripted::start(Script::default());
    let asked = format!("[2001:db8::1]:{}", broker.port());
    let gateway = gateway(&format!("mqtt://{asked}"), &format!("proxy: '{}'", proxy.url()));

    carries(&gateway, &broker, &proxy, &asked);
}

#[test]
fn a_certificate_has_to_be_for_the_broker_and_not_for_the_proxy() {
    let authority = Authority::new();
    let broker = Scripted::start(Script::default());
    let tls = TlsFront::start(broker.port(), &authority, &authority.sign("broker", &["127.0.0.1", "localhost"]));
    let proxy = ConnectProxy::start(Reply::Connect(None));
    let keys = format!("tls: {{ca_file: {}}}, proxy: '{}'", authority.file().display(), proxy.url());
    let gateway = gateway(&format!("mqtts://{HOST}:{}", tls.port()), &keys);

    let agent = gateway.start();
    agent.wait_for_output(&format!("the broker's certificate is not for `{HOST}`"));

    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn credentials_open_the_proxy_and_no_log_tells_them() {
    let broker = Scripted::start(Script::default());
    let proxy = ConnectProxy::start(Reply::Connect(Some(BASIC)));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "wrong\n").unwrap();
    let keys = format!("proxy: '{}', proxy_username: horse, proxy_password_file: {}", proxy.url(), file.display());
    let gateway = gateway(&format!("mqtt://{HOST}:{}", broker.port()), &keys);

    let agent = gateway.start();
    agent.wait_for_output(": the proxy refused: 407 Proxy Authentication Required; look at `broker.proxy_");
    // The file is read at every attempt.
    fs::write(&file, "battery staple\n").unwrap();
    wait_until("messages arrive", || broker.arrivals().len() > 50);

    assert_eq!(agent.stop().code(), Some(0));
    let logs = log_files(&gateway.logs(), "").concat();
    assert!(logs.contains("Connecting through the proxy"), "the library's trace is there");
    for secret in ["battery", "staple", &BASIC[6..], "aG9yc2U6d3Jvbmc="] {
        assert!(!logs.contains(secret), "{secret} is in the logs");
    }
}

/// What the proxy does is named, and the agent keeps trying.
fn fails_with(reply: Reply, words: &str) {
    let proxy = ConnectProxy::start(reply);
    let gateway = gateway(&format!("mqtt://{HOST}:1883"), &format!("proxy: '{}'", proxy.url()));

    let agent = gateway.start();
    agent.wait_for_output(&words.replace("PROXY", proxy.url().strip_prefix("http://").unwrap()));
    wait_until("it tries again", || {
        ["retrying in", "asking again in"].iter().any(|next| agent.output().contains(next))
    });

    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_proxy_that_refuses_us_is_waited_for_like_a_broker_or_ends_the_agent() {
    let proxy = ConnectProxy::start(Reply::Connect(Some(BASIC)));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "wrong\n").unwrap();
    let keys = format!("proxy: '{}', proxy_username: horse, proxy_password_file: {}", proxy.url(), file.display());
    let gateway = gateway(&format!("mqtt://{HOST}:1883"), &keys);

    let agent = gateway.start();
    agent.wait_for_output("sampling goes on; asking again in ");
    assert_eq!(proxy.requests().len(), 1);
    assert_eq!(agent.stop().code(), Some(0));

    gateway.edit("at_max: hold", "at_max: hold, on_refusal: exit");
    assert_eq!(gateway.launch().wait().code(), Some(77));
}

#[test]
fn what_a_proxy_refuses_is_named() {
    let say = |status: &str| Reply::Say(format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nno!\n"));
    fails_with(say("403 Forbidden"), ": the proxy refused: 403 Forbidden");
    fails_with(say("502 Bad Gateway"), ": the proxy refused: 502 Bad Gateway");
    fails_with(say("407 Who are you?"), ": the proxy refused: 407 Who are you?; look at");
    fails_with(say("401 Unauthorized"), ": the proxy refused: 401 Unauthorized; look at");
    fails_with(Reply::Say("SSH-2.0-OpenSSH\r\n".to_owned()), "the proxy PROXY does not answer in HTTP");
    fails_with(Reply::Say("HTTP/1.1 OK\r\n\r\n".to_owned()), "the proxy PROXY does not answer in HTTP");
    fails_with(Reply::Say(String::new()), "the proxy PROXY ended the connection without an answer");
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(17_000));
    fails_with(Reply::Say(long), "the head of the proxy's answer has more than 16384 bytes");
}

#[test]
fn a_proxy_that_says_nothing_costs_the_time_of_an_attempt() {
    fails_with(Reply::Nothing, ": the proxy PROXY does not answer");
}

#[test]
fn a_proxy_that_cannot_be_reached_is_named() {
    let nobody = Broker::free_port();
    let gateway = gateway(&format!("mqtt://{HOST}:1883"), &format!("proxy: 'http://127.0.0.1:{nobody}'"));

    let agent = gateway.start();
    agent.wait_for_output(&format!("cannot reach the proxy http://127.0.0.1:{nobody}: connection refused"));

    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_proxy_without_an_address_is_named() {
    let gateway = gateway("mqtt://127.0.0.1:1883", "proxy: 'http://proxy.invalid:3128'");

    let agent = gateway.start();
    agent.wait_for_output("cannot reach the proxy http://proxy.invalid:3128: name not found: ");

    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn variables_of_the_environment_name_no_proxy() {
    let broker = Scripted::start(Script::default());
    let proxy = ConnectProxy::start(Reply::Connect(None));
    let gateway = gateway(&format!("mqtt://127.0.0.1:{}", broker.port()), "session_expiry: 1d");
    let names = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let mut environment: Vec<(&str, &str)> = names.map(|name| (name, proxy.url())).to_vec();
    environment.push(("PAHO_C_CLIENT_USE_HTTP_PROXY", "TRUE"));

    let agent = gateway.start_with(&environment);
    wait_until("messages arrive", || broker.arrivals().len() > 50);

    assert_eq!(agent.stop().code(), Some(0));
    assert!(proxy.requests().is_empty());
}

#[test]
fn an_edit_of_the_proxy_reconnects_through_it() {
    let broker = Scripted::start(Script::default());
    let proxy = ConnectProxy::start(Reply::Connect(None));
    let gateway = gateway(&format!("mqtt://127.0.0.1:{}", broker.port()), "proxy: ~");
    let agent = gateway.start();
    wait_until("messages arrive", || broker.arrivals().len() > 50);

    gateway.edit("proxy: ~", &format!("proxy: '{}'", proxy.url()));
    wait_until("the proxy is asked", || !proxy.requests().is_empty());
    let arrivals = broker.arrivals().len();
    wait_until("messages arrive through it", || broker.arrivals().len() > arrivals + 50);

    assert_eq!(agent.stop().code(), Some(0));
}

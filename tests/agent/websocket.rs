//! WebSockets: whatever the frames, the packets in them mean the same as over TCP; what breaks the protocol ends the
//! connection; and what a server answers in place of a WebSocket is named.

use crate::support::websocket::{BINARY, CLOSE, CONTINUE, ClientFrame, PING, PONG, Request, TEXT, frame, trickle};
use crate::support::{
    Authority, Delivery, Framing, Gateway, Judgement, Packet, PacketKind, Script, Scripted, Settings, TlsFront,
    WsFront, log_files, packet, wait_until,
};
use crate::tls::{ca, gateway};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Everything arrives, without a reconnect that would hide what was lost.
fn carries(gateway: &Gateway, broker: &Scripted, framing: Framing) {
    let agent = gateway.start();
    wait_until("messages arrive", || broker.arrivals().len() > 150);
    assert_eq!(agent.stop().code(), Some(0));

    let log = log_files(&gateway.logs(), "debug.log.").concat();
    assert_eq!(log.matches("connected to").count(), 1, "{framing:?}: {log}");
    assert!(!log.contains("connection lost"), "{framing:?}: {log}");
    Judgement::of(&broker.arrivals()).assert_no_duplicates();
}

fn settings(protocol: &'static str, qos: u8) -> Settings {
    Settings { protocol, qos, interval: "2ms", ..Settings::default() }
}

#[test]
fn frames_mean_nothing_to_the_packets_in_them() {
    for framing in Framing::ALL {
        for (protocol, qos) in [("5", 2), ("3.1.1", 1)] {
            let broker = Scripted::start(Script::default());
            let front = WsFront::start(broker.port(), framing);
            let gateway = Gateway::new(&format!("ws://127.0.0.1:{}", front.port()), &settings(protocol, qos));

            carries(&gateway, &broker, framing);

            let seen = front.seen();
            assert!(seen.pongs.len() <= seen.pings && (seen.pings == 0 || !seen.pongs.is_empty()), "{seen:?}");
        }
    }
}

#[test]
fn frames_mean_nothing_to_the_packets_in_them_over_tls() {
    let authority = Authority::new();
    let certificate = authority.sign("broker", &["localhost"]);
    for framing in Framing::ALL {
        let broker = Scripted::start(Script::default());
        let front = WsFront::start(broker.port(), framing);
        let tls = TlsFront::start(front.port(), &authority, &certificate);
        let gateway = gateway(&format!("wss://localhost:{}", tls.port()), &ca(&authority), &settings("5", 2));

        carries(&gateway, &broker, framing);
    }
}

/// A server that does with each client what a test says, and what the clients sent until then.
struct Server {
    port: u16,
    frames: Receiver<ClientFrame>,
}

impl Server {
    fn start(mut serve: impl FnMut(TcpStream, Request) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (_, frames) = channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Ok(request) = Request::read(&mut stream) else { continue };
                serve(stream, request);
            }
        });
        Self { port, frames }
    }

    /// A server that opens the WebSocket, waits for CONNECT, says this, and reports what the client sends.
    fn saying(bytes: Vec<u8>) -> Self {
        let (sender, frames) = channel();
        let server = Self::start(move |mut stream, request| {
            stream.write_all(request.answer().as_bytes()).unwrap();
            let (bytes, sender, mut received) = (bytes.clone(), sender.clone(), Vec::new());
            let mut buffer = [0; 4096];
            let mut said = false;
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                received.extend(&buffer[..length]);
                if !std::mem::replace(&mut said, true) {
                    let _ = stream.write_all(&bytes);
                }
                while let Some(frame) = ClientFrame::take(&mut received) {
                    let _ = sender.send(frame);
                }
            }
        });
        Self { frames, ..server }
    }

    fn gateway(&self) -> Gateway {
        Gateway::new(&format!("ws://127.0.0.1:{}", self.port), &Settings::default())
    }

    /// The code that the client closes with.
    fn close_code(&self) -> u16 {
        self.frames_to_close().pop().and_then(|frame| frame.code()).unwrap()
    }

    /// What the client sent, up to its CLOSE with a code.
    fn frames_to_close(&self) -> Vec<ClientFrame> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut frames = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            frames.push(self.frames.recv_timeout(left).expect("the client closes the WebSocket"));
            if frames.last().is_some_and(|frame| frame.code().is_some()) {
                return frames;
            }
        }
    }
}

/// A CONNACK of MQTT 5 that is a hundred bytes long.
fn connack() -> Vec<u8> {
    let reason = [b"\x1f\x00\x60".as_slice(), &[b'x'; 96]].concat();
    [&[0x20, 102, 0, 0, 99], reason.as_slice()].concat()
}

#[test]
fn what_breaks_the_websocket_protocol_ends_the_connection_by_its_code() {
    let begun = frame(BINARY, false, &connack()[..10]);
    let mut masked = frame(BINARY, true, &[0, 0, 0, 0, 0x20]);
    masked[1] |= 0x80;
    let long = |length: u64| [&[0x82, 127], length.to_be_bytes().as_slice(), b"abc"].concat();
    let cases = [
        ("a frame has reserved bits", 1002, vec![0xc2, 1, 0]),
        ("a frame has a reserved opcode", 1002, vec![0x83, 0]),
        ("a frame has a reserved opcode", 1002, vec![0x8b, 0]),
        ("a server's frame is masked", 1002, masked),
        ("a text frame came", 1003, frame(TEXT, true, b"hello")),
        ("a control frame is fragmented", 1002, frame(PING, false, b"a")),
        ("a control frame is too long", 1002, frame(PING, true, &[0; 126])),
        ("a message continues that has not begun", 1002, frame(CONTINUE, true, b"a")),
        ("a message begins in the middle of another one", 1002, [begun.clone(), frame(BINARY, true, b"a")].concat()),
        ("a frame's length has the wrong form", 1002, vec![0x82, 126, 0, 1, 0]),
        ("a frame's length has the wrong form", 1002, long(1)),
        ("a frame's length has the wrong form", 1002, long(1 << 63)),
        ("a frame is too long", 1009, long((1 << 63) - 1)),
        ("a close frame has half a code", 1002, frame(CLOSE, true, &[3])),
        ("a close frame has a code that none may have", 1002, frame(CLOSE, true, &1005_u16.to_be_bytes())),
        ("a close frame's reason is not UTF-8", 1007, frame(CLOSE, true, &[3, 0xe8, 0xff])),
        ("the server closed the WebSocket: 1001 going away", 1001, {
            [begun, frame(CLOSE, true, b"\x03\xe9going away")].concat()
        }),
    ];
    for (words, code, bytes) in cases {
        let server = Server::saying(bytes);
        let gateway = server.gateway();

        let agent = gateway.start();
        agent.wait_for_output(words);

        assert_eq!(server.close_code(), code, "{words}");
        assert!(agent.output().contains("retrying"), "{words}");
        agent.kill();
    }
}

#[test]
fn a_ping_or_a_close_in_the_middle_of_a_packet_harms_nothing() {
    let (first, rest) = (&connack()[..10].to_vec(), &connack()[10..].to_vec());
    let ping = frame(PING, true, b"hello");
    let bytes = [frame(BINARY, true, first), ping, frame(BINARY, true, rest), frame(CLOSE, true, b"\x03\xe8")].concat();
    let server = Server::saying(bytes);
    let gateway = server.gateway();

    let agent = gateway.start();
    agent.wait_for_output("connected to");
    agent.wait_for_output("the server closed the WebSocket: 1000");

    let frames = server.frames_to_close();
    assert!(frames.contains(&ClientFrame { opcode: PONG, payload: b"hello".to_vec() }), "{frames:?}");
    assert_eq!(frames.last().and_then(ClientFrame::code), Some(1000));
    agent.kill();
}

#[test]
fn a_server_that_never_stops_pinging_keeps_nobody_waiting() {
    let server = Server::start(|mut stream, request| {
        stream.write_all(request.answer().as_bytes()).unwrap();
        let flood = frame(PING, true, &[7; 125]).repeat(500);
        thread::spawn(move || while stream.write_all(&flood).is_ok() {});
    });
    let gateway = server.gateway();

    let agent = gateway.start();
    agent.wait_for_output("no connection to ");
    wait_until("samples are kept", || gateway.accepted_count() > 100);
    assert_eq!(agent.stop().code(), Some(0));
}

/// Acknowledges publishes two at a time, in one frame; says how long each pair took to come.
fn acknowledge_in_pairs(mut stream: TcpStream, request: &Request, pairs: &Sender<Duration>) {
    stream.write_all(&[request.answer().as_bytes(), &frame(BINARY, true, &connack())].concat()).unwrap();
    let (mut received, mut packets, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    let (mut answer, mut since) = (Vec::new(), Instant::now());
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        received.extend(&buffer[..length]);
        packets.extend(std::iter::from_fn(|| ClientFrame::take(&mut received)).flat_map(|frame| frame.payload));
        for publish in std::iter::from_fn(|| Packet::take(&mut packets))
            .filter(|packet| packet.kind() == Some(PacketKind::Publish))
            .filter_map(|packet| Delivery::decode(&packet, 5))
        {
            answer.extend(packet(0x40, &publish.packet_id.unwrap().to_be_bytes()));
        }
        if answer.len() == 8 {
            let _ = pairs.send(since.elapsed());
            since = Instant::now();
            stream.write_all(&frame(BINARY, true, &std::mem::take(&mut answer))).unwrap();
        }
    }
}

#[test]
fn the_second_packet_of_a_frame_waits_for_nothing() {
    let (sender, pairs) = channel();
    let server = Server::start(move |stream, request| acknowledge_in_pairs(stream, &request, &sender));
    let url = format!("ws://127.0.0.1:{}", server.port);
    let gateway = Gateway::new(&url, &Settings { window: 2, ..Settings::default() });

    let agent = gateway.start();

    for _ in 0..20 {
        let took = pairs.recv_timeout(Duration::from_secs(30)).expect("two publishes");
        assert!(took < Duration::from_millis(1500), "{took:?}");
    }
    // A stall ends the connection after `ack_timeout`, and the first pair of the next one comes at once.
    let log = log_files(&gateway.logs(), "debug.log.").concat();
    assert_eq!(log.matches("connected to").count(), 1, "{log}");
    agent.kill();
}

/// What an agent sends to a server that does not read for two seconds, and then reads all.
fn read_late(mut stream: TcpStream, request: &Request) -> Vec<ClientFrame> {
    set_socket_recv_buffer_size(&stream, 64 * 1024).unwrap();
    stream.write_all(&[request.answer().as_bytes(), &frame(BINARY, true, &connack())].concat()).unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let _ = stream.write_all(&frame(PING, true, &[7; 125]));
        thread::sleep(Duration::from_millis(10));
    }
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let (mut received, mut frames, mut buffer) = (Vec::new(), Vec::new(), [0; 64 * 1024]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        received.extend(&buffer[..length]);
        frames.extend(std::iter::from_fn(|| ClientFrame::take(&mut received)));
    }
    frames
}

#[test]
fn a_server_that_reads_late_gets_every_frame_whole() {
    let (sender, served) = channel();
    let server = Server::start(move |stream, request| {
        let _ = sender.send(read_late(stream, &request));
    });
    let folder = tempfile::tempdir().unwrap();
    let (file, text) = (folder.path().join("text"), "x".repeat(30_000));
    std::fs::write(&file, &text).unwrap();
    let url = format!("ws://127.0.0.1:{}", server.port);
    let gateway = Gateway::new(&url, &Settings { window: 1000, ..Settings::default() });
    let source = format!("{{name: text, type: file, path: {}}}", file.display());
    gateway.edit("{name: wind, type: simulated, seed: 7}", &source);
    gateway.edit("ack_timeout: 2s", "ack_timeout: 20s");

    let agent = gateway.start();
    let frames = served.recv_timeout(Duration::from_secs(60)).unwrap();

    let pongs = frames.iter().filter(|frame| frame.opcode == PONG);
    assert!(pongs.clone().all(|pong| pong.payload == [7; 125]) && pongs.count() > 0);
    let mut stream =
        frames.into_iter().filter(|frame| frame.opcode == BINARY).flat_map(|frame| frame.payload).collect();
    let packets: Vec<Packet> = std::iter::from_fn(|| Packet::take(&mut stream)).collect();
    let publishes: Vec<Delivery> = packets.iter().skip(1).filter_map(|packet| Delivery::decode(packet, 5)).collect();
    // Pings come between them, and the end where nothing was on its way when the connection was given up.
    let is_other = |packet: &&Packet| matches!(packet.kind(), Some(PacketKind::Pingreq | PacketKind::Disconnect));
    let others = packets.iter().skip(1).filter(is_other).count();
    assert!(publishes.len() > 20 && others <= 2, "{} publishes, {others} others", publishes.len());
    assert_eq!(1 + publishes.len() + others, packets.len(), "each packet is whole");
    for publish in publishes {
        assert!(String::from_utf8(publish.payload).unwrap().contains(&text));
    }
    agent.kill();
}

/// The agent names the answer, and keeps trying.
fn answered(answer: impl Fn(&Request) -> String + Send + 'static, words: &str) {
    let server = Server::start(move |stream, request| {
        let _ = trickle(&stream, answer(&request).as_bytes());
    });
    let gateway = server.gateway();

    let agent = gateway.start();
    agent.wait_for_output(words);
    let next = if words.contains("401") { "asking again in" } else { "retrying in" };
    agent.wait_for_output(next);

    assert_eq!(agent.stop().code(), Some(0));
}

fn fixed(status: &str) -> impl Fn(&Request) -> String + Send + 'static {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    move |_| answer.clone()
}

#[test]
fn an_answer_other_than_101_is_named() {
    answered(fixed("404 Not Found"), ": the server answered 404 Not Found");
    answered(fixed("502 Bad Gateway"), ": the server answered 502 Bad Gateway");
    answered(fixed("401 Unauthorized"), ": the server answered 401 Unauthorized");
    answered(fixed("503"), ": the server answered 503");
    answered(|_| "220 mail.example.com ESMTP\r\n".to_owned(), ": the server does not answer in HTTP");
    answered(|_| String::new(), "ended the connection without an answer to the WebSocket's handshake");
}

#[test]
fn a_redirection_is_named_without_its_secrets() {
    let answer = |_: &Request| {
        "HTTP/1.1 302 Found\r\nLocation: https://horse:stable@other.example/mqtt?token=battery\r\n\r\n".to_owned()
    };
    let server = Server::start(move |mut stream, request| stream.write_all(answer(&request).as_bytes()).unwrap());
    let gateway = server.gateway();

    let agent = gateway.start();
    agent.wait_for_output(
        "the server answered 302 Found and points to other.example/mqtt; redirections are not followed",
    );

    let output = agent.output();
    assert!(!output.contains("stable") && !output.contains("battery"), "{output}");
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn an_answer_that_does_not_open_a_websocket_is_refused() {
    let without = |from: &'static str, to: &'static str| move |request: &Request| request.answer().replace(from, to);
    answered(without("upgrade: WebSocket\r\n", ""), "101 without an upgrade to a WebSocket");
    answered(without("keep-alive, upgrade", "keep-alive"), "101 without an upgrade to a WebSocket");
    answered(
        without("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: A"),
        "Sec-WebSocket-Accept does not answer our key",
    );
    answered(without("Sec-WebSocket-Accept", "X-Accept"), "Sec-WebSocket-Accept does not answer our key");
    answered(without("Protocol: mqtt", "Protocol: chat"), "the server chose the subprotocol `chat` in place of `mqtt`");
    answered(without("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), "uses an extension");
    answered(|_| format!("HTTP/1.1 101 Go\r\nX: {}\r\n", "x".repeat(17_000)), "has more than 16384 bytes");
}

#[test]
fn a_server_without_a_subprotocol_is_taken() {
    let server = Server::start(|mut stream, request| {
        let answer = request.answer().replace("Sec-WebSocket-Protocol: mqtt\r\n", "");
        stream.write_all(&[answer.as_bytes(), &frame(BINARY, true, &connack())].concat()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let gateway = server.gateway();

    let agent = gateway.start();
    agent.wait_for_output("connected to");

    agent.kill();
}

#[test]
fn the_request_names_host_path_and_query_and_no_log_the_query() {
    let broker = Scripted::start(Script::default());
    let front = WsFront::start(broker.port(), Framing::Whole);
    let more = "logging: {directory: LOGS, paho: trace, sample: trace}\nstatus: {topic: status/gateway-7}".to_owned();
    let url = format!("ws://127.0.0.1:{}/a:b/c?token=battery:staple", front.port());
    let gateway = Gateway::new(&url, &Settings { more, ..Settings::default() });

    let agent = gateway.start();
    agent.wait_for_output(&format!("connected to ws://127.0.0.1:{}/a:b/c?...", front.port()));
    wait_until("messages arrive", || broker.arrivals().len() > 20);

    let request = front.seen().requests.remove(0);
    assert_eq!(request.line(), "GET /a:b/c?token=battery:staple HTTP/1.1");
    assert_eq!(request.field("Host"), Some(format!("127.0.0.1:{}", front.port()).as_str()));
    assert_eq!(request.field("Sec-WebSocket-Protocol"), Some("mqtt"));
    assert_eq!(agent.stop().code(), Some(0));
    let logs = log_files(&gateway.logs(), "").concat();
    assert!(logs.contains("Connecting to serverURI"), "the library's trace is there");
    assert!(!logs.contains("battery"), "a query is in the logs");
    assert!(broker.arrivals().iter().all(|arrival| !arrival.payload.to_string().contains("battery")));
}

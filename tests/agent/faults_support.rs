//! The tests' own fault proxy does what it says: checked with bare sockets, and once with the agent.

use crate::support::{Broker, Direction, Gateway, How, Judgement, PacketKind, Proxy, Settings, Subscriber};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A listener in the place of a broker, and a proxy before it.
fn proxy() -> (TcpListener, Proxy) {
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(broker.local_addr().unwrap().port());
    (broker, proxy)
}

fn connect(url: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(url.strip_prefix("mqtt://").unwrap())?;
    stream.set_nodelay(true)?;
    // A test that would wait for ever fails instead.
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Both ends of a connection through the proxy: the client's and the broker's.
fn line(broker: &TcpListener, proxy: &Proxy) -> (TcpStream, TcpStream) {
    let client = connect(&proxy.url()).unwrap();
    let (broker, _) = broker.accept().unwrap();
    broker.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (client, broker)
}

fn read(mut stream: &TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// What comes until the end, and how that came.
fn read_to_end(mut stream: &TcpStream) -> (Vec<u8>, How) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => (bytes, How::Finish),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (bytes, How::Reset),
        Err(error) => panic!("neither the end nor a reset: {error}"),
    }
}

#[test]
fn a_proxy_changes_nothing_unless_it_is_told() {
    let (broker, proxy) = proxy();
    let (mut client, mut broker) = line(&broker, &proxy);
    let text: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();

    let up = text.clone();
    let writer = std::thread::spawn(move || {
        client.write_all(&up).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        client
    });
    let arrived = read_to_end(&broker);
    let client = writer.join().unwrap();
    // The client said all it has to say; the broker still answers.
    broker.write_all(b"thanks").unwrap();
    let answer = read(&client, 6);
    drop(broker);

    assert!(arrived == (text, How::Finish));
    assert_eq!(answer, b"thanks");
    assert_eq!(read_to_end(&client), (vec![], How::Finish));
    assert_eq!((proxy.passed(Direction::Up), proxy.passed(Direction::Down), proxy.cuts()), (1_000_000, 6, 0));
}

#[test]
fn a_cut_ends_both_sides_as_it_says() {
    for how in [How::Reset, How::Finish] {
        let (broker, proxy) = proxy();
        let (mut client, mut server) = line(&broker, &proxy);
        client.write_all(b"up").unwrap();
        server.write_all(b"down").unwrap();
        assert_eq!((read(&server, 2), read(&client, 4)), (b"up".to_vec(), b"down".to_vec()));

        proxy.cut(how);

        assert_eq!(read_to_end(&client), (vec![], how));
        assert_eq!(read_to_end(&server), (vec![], how));
        assert_eq!(proxy.cuts(), 1);
        line(&broker, &proxy);
    }
}

#[test]
fn a_cut_after_so_many_bytes_passes_exactly_those() {
    for how in [How::Reset, How::Finish] {
        let (broker, proxy) = proxy();
        proxy.cut_after(Direction::Up, 7, how);
        let (mut client, server) = line(&broker, &proxy);

        client.write_all(b"0123").unwrap();
        assert_eq!(read(&server, 4), b"0123");
        client.write_all(b"456789").unwrap();

        assert_eq!(read_to_end(&server), (b"456".to_vec(), how));
        assert_eq!(read_to_end(&client), (vec![], how));
        // Once is enough.
        let (mut client, server) = line(&broker, &proxy);
        client.write_all(b"0123456789").unwrap();
        assert_eq!(read(&server, 10), b"0123456789");
    }
}

#[test]
fn a_cut_before_a_packet_passes_what_came_before_it() {
    const CONNACK: &[u8] = &[0x20, 2, 0, 0];
    const PINGRESP: &[u8] = &[0xd0, 0];
    // Its second byte of content looks like the begin of a PUBACK.
    const PUBREC: &[u8] = &[0x50, 2, 0x40, 0x40];
    const PUBACK: &[u8] = &[0x40, 2, 0, 1];
    let before = [CONNACK, PINGRESP, PUBREC].concat();
    let stream = [&before, PUBACK, PUBREC].concat();

    for piece in [1, 3, stream.len()] {
        let (broker, proxy) = proxy();
        let (client, mut server) = line(&broker, &proxy);
        proxy.cut_before(PacketKind::Puback);
        for bytes in stream.chunks(piece) {
            // The proxy may have cut by now.
            let _ = server.write_all(bytes);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(read_to_end(&client), (before.clone(), How::Reset), "in pieces of {piece}");
    }
}

#[test]
fn a_cut_before_a_release_looks_at_what_the_client_sends() {
    let (broker, proxy) = proxy();
    let (mut client, mut server) = line(&broker, &proxy);
    proxy.cut_before(PacketKind::Pubrel);

    // The same bytes from the broker are none of its business.
    server.write_all(&[0x62, 2, 0, 1]).unwrap();
    assert_eq!(read(&client, 4), [0x62, 2, 0, 1]);
    client.write_all(&[0xc0, 0, 0x62, 2, 0, 1]).unwrap();

    assert_eq!(read_to_end(&server), (vec![0xc0, 0], How::Reset));
}

#[test]
fn a_black_hole_swallows_and_what_lost_bytes_stays_dead() {
    let (broker, proxy) = proxy();
    let (mut torn, torn_server) = line(&broker, &proxy);
    let (mut whole, whole_server) = line(&broker, &proxy);

    proxy.black_hole([Direction::Up]);
    torn.write_all(b"lost").unwrap();
    let mut fresh = connect(&proxy.url()).unwrap();
    fresh.write_all(b"lost").unwrap();
    let (mut down, _) = broker.accept().unwrap();
    down.write_all(b"the other way is open").unwrap();
    assert_eq!(read(&fresh, 21), b"the other way is open");
    // The two were swallowed by now: they were sent before what came the other way.
    proxy.heal();
    torn.write_all(b"also lost").unwrap();
    whole.write_all(b"kept").unwrap();

    assert_eq!(read(&whole_server, 4), b"kept");
    torn_server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!((&torn_server).read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    let (mut client, server) = line(&broker, &proxy);
    client.write_all(b"new").unwrap();
    assert_eq!(read(&server, 3), b"new");
}

#[test]
fn a_black_hole_takes_connections_to_a_broker_that_is_away() {
    let (broker, proxy) = proxy();
    drop(broker);
    let refused = connect(&proxy.url()).unwrap();
    assert_eq!(read_to_end(&refused).1, How::Reset);

    proxy.black_hole(Direction::BOTH);
    let mut client = connect(&proxy.url()).unwrap();
    client.write_all(b"anybody?").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();

    assert!(client.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
}

#[test]
fn what_a_stall_holds_back_comes_afterwards() {
    let (broker, proxy) = proxy();
    let (mut client, server) = line(&broker, &proxy);

    proxy.stall([Direction::Up]);
    client.write_all(b"late").unwrap();
    server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!((&server).read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    proxy.heal();

    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(read(&server, 4), b"late");
}

#[test]
fn a_proxy_that_refuses_accepts_again_on_the_same_port() {
    let (broker, proxy) = proxy();
    let (mut client, server) = line(&broker, &proxy);

    proxy.refuse();
    let refused = connect(&proxy.url()).unwrap_err();
    client.write_all(b"still here").unwrap();
    proxy.accept();

    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(read(&server, 10), b"still here");
    line(&broker, &proxy);
}

#[test]
fn a_delay_holds_back_each_way_and_limits_no_throughput() {
    const DELAY: Duration = Duration::from_millis(100);
    let (broker, proxy) = proxy();
    let (mut client, mut server) = line(&broker, &proxy);
    proxy.delay(DELAY);

    let start = Instant::now();
    client.write_all(b"ping").unwrap();
    read(&server, 4);
    server.write_all(b"pong").unwrap();
    read(&client, 4);
    let round_trip = start.elapsed();
    let start = Instant::now();
    let writer = std::thread::spawn(move || client.write_all(&vec![7; 8_000_000]).map(|()| client));
    read(&server, 8_000_000);
    let transfer = start.elapsed();
    writer.join().unwrap().unwrap();

    println!("round trip {round_trip:?}, 8 MB in {transfer:?}");
    assert!(round_trip >= DELAY * 2, "{round_trip:?}");
    // 64 KiB a round trip would be 12 s.
    assert!(transfer >= DELAY && transfer < Duration::from_secs(4), "{transfer:?}");
}

#[test]
fn a_throttle_passes_so_many_bytes_a_second() {
    let (broker, proxy) = proxy();
    let (mut client, server) = line(&broker, &proxy);
    proxy.throttle(100_000);

    let start = Instant::now();
    client.write_all(&[7; 50_000]).unwrap();
    read(&server, 50_000);
    let transfer = start.elapsed();

    println!("50 KB at 100 KB/s in {transfer:?}");
    assert!(transfer > Duration::from_millis(400) && transfer < Duration::from_secs(3), "{transfer:?}");
}

#[test]
fn an_agent_delivers_over_a_slow_line_as_over_a_fast_one() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let proxy = Proxy::start(broker.port());
    proxy.delay(Duration::from_millis(50));
    let gateway = Gateway::new(&proxy.url(), &Settings { interval: "1ms", ..Settings::default() });

    let agent = gateway.start();
    subscriber.wait_for_count(500);
    agent.kill();

    let judgement = Judgement::of(&subscriber.arrivals());
    judgement.assert_complete(&[1..=500]);
    judgement.assert_no_duplicates();
    assert!(proxy.passed(Direction::Up) > proxy.passed(Direction::Down));
}

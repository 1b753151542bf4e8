//! What a NATS cluster keeps of what MQTT clients published at QoS 1, read in its own protocol.
//!
//! Not read by a subscriber over MQTT: when the member in use dies, version 2.9 at times gives a subscriber's session a
//! new consumer, which begins with new messages.

use super::subscriber::Arrival;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The stream of what was published over MQTT. It keeps a message for as long as a consumer has not acknowledged it.
const STREAM: &str = "$MQTT_msgs";

/// How the stream's subjects of telemetry begin.
const TELEMETRY: &str = "$MQTT.msgs.telemetry.";

/// A consumer that never acknowledges.
const CONSUMER: &str = "judge";

/// Has the cluster keep all telemetry from now on; fails while it elects.
pub fn keep_telemetry(port: u16) -> io::Result<()> {
    let filter = format!("{TELEMETRY}>");
    let config = json!({
        "durable_name": CONSUMER, "ack_policy": "explicit", "max_ack_pending": -1, "filter_subject": filter,
    });
    let request = json!({"stream_name": STREAM, "config": config});
    Client::connect(port)?.ask(&format!("$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.{CONSUMER}"), &request).map(drop)
}

/// Reads what the cluster kept.
pub struct Reader {
    ports: Vec<u16>,
    /// The position in the stream from which on nothing was read.
    next: u64,
}

impl Reader {
    /// A reader that asks the members in turn, at the ports on which they serve clients of their own protocol.
    pub fn new(ports: Vec<u16>) -> Self {
        Self { ports, next: 1 }
    }

    /// Adds what the cluster kept and has not given yet. While it elects, it gives nothing, or nothing more.
    pub fn read(&mut self, arrivals: &mut Vec<Arrival>) {
        self.ports.rotate_left(1);
        // Another one is asked next time.
        let _ = self.read_from(self.ports[0], arrivals);
    }

    fn read_from(&mut self, port: u16, arrivals: &mut Vec<Arrival>) -> io::Result<()> {
        let mut client = Client::connect(port)?;
        let state = client.ask(&format!("$JS.API.STREAM.INFO.{STREAM}"), &json!({}))?;
        let last = state["state"]["last_seq"].as_u64().unwrap_or(0);
        while self.next <= last {
            match client.ask(&format!("$JS.API.STREAM.MSG.GET.{STREAM}"), &json!({"seq": self.next})) {
                Ok(answer) => {
                    let message = &answer["message"];
                    if message["subject"].as_str().is_some_and(|subject| subject.starts_with(TELEMETRY)) {
                        let payload =
                            STANDARD.decode(message["data"].as_str().unwrap_or("")).map_err(io::Error::other)?;
                        let payload = serde_json::from_slice(&payload).expect("payloads are JSON");
                        arrivals.push(Arrival { payload, ..Arrival::default() });
                    }
                }
                // It was none that is kept.
                Err(error) if error.to_string().contains("no message found") => {}
                Err(error) => return Err(error),
            }
            self.next += 1;
        }
        Ok(())
    }
}

/// A connection to one member.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> io::Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "CONNECT {}\r\nSUB answers 1\r\n", json!({"verbose": false}))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// What the cluster answers to a request.
    fn ask(&mut self, subject: &str, request: &Value) -> io::Result<Value> {
        let request = request.to_string();
        let request = format!("PUB {subject} answers {}\r\n{request}\r\n", request.len());
        self.0.get_mut().write_all(request.as_bytes())?;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["MSG", .., length] => {
                    let mut content = vec![0; length.parse::<usize>().map_err(io::Error::other)? + 2];
                    self.0.read_exact(&mut content)?;
                    let answer: Value = serde_json::from_slice(&content)?;
                    let error = &answer["error"];
                    return if error.is_null() { Ok(answer) } else { Err(io::Error::other(error.to_string())) };
                }
                ["PING"] => self.0.get_mut().write_all(b"PONG\r\n")?,
                ["-ERR", ..] => return Err(io::Error::other(line)),
                _ => {}
            }
        }
    }
}

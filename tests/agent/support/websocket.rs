//! A server's side of WebSockets (RFC 6455), as far as the tests need it.

use std::io::{self, Read, Write};
use std::net::TcpStream;

pub const CONTINUE: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

/// A frame of a server; `last` says whether it ends its message.
pub fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode | u8::from(last) << 7];
    match payload.len() {
        short @ ..126 => frame.push(short as u8),
        medium @ ..0x1_0000 => {
            frame.push(126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// A frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFrame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl ClientFrame {
    /// Takes the first frame out of what was received; `None` while it is not whole. A frame that no client may send
    /// fails the test.
    pub fn take(received: &mut Vec<u8>) -> Option<Self> {
        let (&first, &second) = (received.first()?, received.get(1)?);
        assert_eq!(first & 0xf0, 0x80, "one frame a message, no reserved bits");
        assert_eq!(second & 0x80, 0x80, "a client masks its frames");
        let (length, at) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(received.get(2..4)?.try_into().unwrap())), 4),
            127 => (usize::try_from(u64::from_be_bytes(received.get(2..10)?.try_into().unwrap())).unwrap(), 10),
            short => (usize::from(short), 2),
        };
        let mask: [u8; 4] = received.get(at..at + 4)?.try_into().unwrap();
        let masked = received.get(at + 4..at + 4 + length)?;
        let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        received.drain(..at + 4 + length);
        Some(Self { opcode: first & 0xf, payload })
    }

    /// The code of a CLOSE.
    pub fn code(&self) -> Option<u16> {
        (self.opcode == CLOSE).then(|| u16::from_be_bytes([self.payload[0], self.payload[1]]))
    }
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Request {
    pub head: String,
}

impl Request {
    /// Reads a request.
    pub fn read(stream: &mut (impl Read + ?Sized)) -> io::Result<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        Ok(Self { head: String::from_utf8(head).unwrap() })
    }

    /// What stands behind a field's name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The first line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// What a server answers to the key.
    pub fn accept(&self) -> String {
        let text = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", self.field("Sec-WebSocket-Key").unwrap());
        openssl::base64::encode_block(&openssl::sha::sha1(text.as_bytes()))
    }

    /// The answer that opens the WebSocket.
    pub fn answer(&self) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
            self.accept()
        )
    }
}

/// Writes something in as many segments as it has bytes.
pub fn trickle(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    bytes.iter().try_for_each(|byte| stream.write_all(&[*byte]))
}

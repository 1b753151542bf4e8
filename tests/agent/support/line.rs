//! A connection as a broker has it, over TCP, TLS or WebSocket, with a way around each layer for what breaks its rules.

use super::websocket::{BINARY, CLOSE, CONTINUE, ClientFrame, PING, PONG, Request, frame};
use openssl::ssl::{SslAcceptor, SslStream};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// What MQTT goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
    WebSocket,
    WebSocketOverTls,
}

impl Transport {
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Tls, Self::WebSocket, Self::WebSocketOverTls];

    /// How addresses begin.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "mqtt",
            Self::Tls => "mqtts",
            Self::WebSocket => "ws",
            Self::WebSocketOverTls => "wss",
        }
    }

    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::WebSocketOverTls)
    }

    pub fn is_web_socket(self) -> bool {
        matches!(self, Self::WebSocket | Self::WebSocketOverTls)
    }
}

trait Wire: Read + Write + Send {
    fn tcp(&mut self) -> &mut TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&mut self) -> &mut TcpStream {
        self
    }
}

impl Wire for SslStream<TcpStream> {
    fn tcp(&mut self) -> &mut TcpStream {
        self.get_mut()
    }
}

/// One connection.
pub struct Line {
    wire: Box<dyn Wire>,
    is_web_socket: bool,
    /// Frames that are not whole yet.
    frames: Vec<u8>,
    /// MQTT that nobody has taken yet.
    pub received: Vec<u8>,
    /// Nothing more will come.
    pub is_over: bool,
}

impl Line {
    /// Takes a connection, TLS included; `None` where the client does not go through with that.
    pub fn accept(tcp: TcpStream, transport: Transport, acceptor: &SslAcceptor) -> Option<Self> {
        tcp.set_nodelay(true).ok()?;
        tcp.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        tcp.set_write_timeout(Some(Duration::from_secs(5))).ok()?;
        let wire: Box<dyn Wire> =
            if transport.is_encrypted() { Box::new(acceptor.accept(tcp).ok()?) } else { Box::new(tcp) };
        let (frames, received, is_web_socket) = (Vec::new(), Vec::new(), transport.is_web_socket());
        Some(Self { wire, is_web_socket, frames, received, is_over: false })
    }

    /// Reads the request with which a WebSocket begins.
    pub fn read_request(&mut self) -> Option<Request> {
        Request::read(&mut *self.wire).ok()
    }

    /// Answers that request as it should be.
    pub fn upgrade(&mut self) -> Option<()> {
        let answer = self.read_request()?.answer();
        self.send_raw(answer.as_bytes()).ok()
    }

    /// Takes what comes within this time, at most one read.
    pub fn receive(&mut self, patience: Duration) {
        let mut buffer = [0; 16 * 1024];
        let _ = self.wire.tcp().set_read_timeout(Some(patience.max(Duration::from_millis(1))));
        match self.wire.read(&mut buffer) {
            Ok(0) => self.is_over = true,
            Ok(length) if self.is_web_socket => {
                self.frames.extend(&buffer[..length]);
                self.unwrap_frames();
            }
            Ok(length) => self.received.extend(&buffer[..length]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(_) => self.is_over = true,
        }
    }

    fn unwrap_frames(&mut self) {
        while let Some(ClientFrame { opcode, payload }) = ClientFrame::take(&mut self.frames) {
            match opcode {
                CONTINUE | BINARY => self.received.extend(payload),
                PING => drop(self.send_raw(&frame(PONG, true, &payload))),
                CLOSE => self.is_over = true,
                _ => {}
            }
        }
    }

    /// Sends MQTT: over a WebSocket, as a binary message of one frame.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_web_socket { self.send_raw(&frame(BINARY, true, bytes)) } else { self.send_raw(bytes) }
    }

    /// Sends bytes beside WebSocket's frames, where there are some.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)?;
        self.wire.flush()
    }

    /// Sends bytes beside TLS, too.
    pub fn send_beside_tls(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.tcp().write_all(bytes)
    }

    /// Ends the connection by RST.
    pub fn reset(mut self) {
        super::loopback::reset(self.wire.tcp());
    }

    /// Says by FIN that nothing more comes, and takes what the client still sends until it ends or time is up.
    pub fn finish(&mut self, patience: Duration) {
        let _ = self.wire.tcp().shutdown(Shutdown::Write);
        let deadline = Instant::now() + patience;
        while !self.is_over && Instant::now() < deadline {
            self.receive(Duration::from_millis(20));
        }
    }
}

//! Takes TLS off connections, for brokers of the tests that know none.

use super::authority::{Authority, Certificate};
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod, SslStream, SslVerifyMode};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A port that speaks TLS in front of one that does not. Connections end with their sides; the port with the front.
pub struct TlsFront {
    port: u16,
    ended: Arc<AtomicBool>,
    /// Connections whose client has shown a certificate of the authority.
    certified: Arc<AtomicUsize>,
}

impl TlsFront {
    pub fn start(broker: u16, authority: &Authority, certificate: &Certificate) -> Self {
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
        acceptor.set_certificate_file(&certificate.certificate, SslFiletype::PEM).unwrap();
        acceptor.set_private_key_file(&certificate.key, SslFiletype::PEM).unwrap();
        acceptor.set_ca_file(authority.file()).unwrap();
        acceptor.set_verify(SslVerifyMode::PEER);
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ended, certified) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (end, count) = (Arc::clone(&ended), Arc::clone(&certified));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                thread::spawn(move || {
                    // A client that gives up in the middle of it is what some tests want.
                    let Ok(stream) = acceptor.accept(stream) else { return };
                    if stream.ssl().peer_certificate().is_some() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    let _ = relay(stream, TcpStream::connect(("127.0.0.1", broker)).unwrap());
                });
            }
        });
        Self { port, ended, certified }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn certified(&self) -> usize {
        self.certified.load(Ordering::Relaxed)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Carries bytes both ways until one side ends. One thread has to serve both, for TLS has one state.
fn relay(mut client: SslStream<TcpStream>, mut broker: TcpStream) -> io::Result<()> {
    client.get_ref().set_nonblocking(true)?;
    broker.set_nonblocking(true)?;
    loop {
        let is_idle = match (carry(&mut client, &mut broker)?, carry(&mut broker, &mut client)?) {
            (Carried::End, _) | (_, Carried::End) => break,
            (there, back) => there == Carried::Nothing && back == Carried::Nothing,
        };
        if is_idle {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let _ = client.shutdown();
    client.get_ref().shutdown(Shutdown::Both)?;
    broker.shutdown(Shutdown::Both)
}

#[derive(PartialEq, Eq)]
enum Carried {
    Something,
    Nothing,
    End,
}

fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<Carried> {
    let mut buffer = [0; 16 * 1024];
    let length = match from.read(&mut buffer) {
        Ok(0) => return Ok(Carried::End),
        Ok(length) => length,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Carried::Nothing),
        Err(error) => return Err(error),
    };
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error),
        }
    }
    Ok(Carried::Something)
}

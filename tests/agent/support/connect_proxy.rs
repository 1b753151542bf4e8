//! An HTTP proxy that connects (CONNECT), whatever the host, to a port of the loopback.

use super::websocket::{Request, trickle};
use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the proxy does when it is asked.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Connects, if the request has this `Proxy-Authorization`, or if there is none here.
    Connect(Option<&'static str>),
    /// Answers this, and no more.
    Say(String),
    /// Says nothing, and keeps the connection.
    Nothing,
}

/// A running proxy. Connections end with their sides; the port with the proxy.
pub struct ConnectProxy {
    url: String,
    address: String,
    ended: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl ConnectProxy {
    pub fn start(reply: Reply) -> Self {
        Self::on("127.0.0.1", reply).expect("there is a loopback")
    }

    /// A proxy on another address of the loopback.
    pub fn on(host: &str, reply: Reply) -> io::Result<Self> {
        let listener = TcpListener::bind(format!("{host}:0"))?;
        let address = listener.local_addr()?.to_string();
        let (ended, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (end, seen) = (Arc::clone(&ended), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (reply, seen) = (reply.clone(), Arc::clone(&seen));
                // A client that gives up in the middle of it is no failure of the proxy.
                thread::spawn(move || serve(stream, &reply, &seen));
            }
        });
        Ok(Self { url: format!("http://{address}"), address, ended, requests })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(mut client: TcpStream, reply: &Reply, seen: &Mutex<Vec<Request>>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let request = Request::read(&mut client)?;
    seen.lock().unwrap().push(request.clone());
    let answer = match reply {
        Reply::Connect(wanted) if wanted.is_none() || request.field("Proxy-Authorization") == *wanted => {
            return relay(&client, &request);
        }
        Reply::Connect(_) => "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
        Reply::Say(answer) => answer,
        Reply::Nothing => {
            return client.read_to_end(&mut Vec::new()).map(drop);
        }
    };
    trickle(&client, answer.as_bytes())
}

fn relay(client: &TcpStream, request: &Request) -> io::Result<()> {
    let authority = request.line().strip_prefix("CONNECT ").unwrap().strip_suffix(" HTTP/1.1").unwrap();
    let port: u16 = authority.rsplit_once(':').unwrap().1.parse().unwrap();
    let server = TcpStream::connect(("127.0.0.1", port))?;
    trickle(client, b"HTTP/1.1 200 Connection established\r\nVia: a test\r\n\r\n")?;
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || carry(from, &to));
    carry(server, client);
    Ok(())
}

fn carry(mut from: TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

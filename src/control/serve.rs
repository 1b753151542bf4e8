//! The agent's side: a thread waits for connections, and each is served by one of its own.
//!
//! Every wait has an end, so a client that says nothing, reads nothing or dawdles holds up nobody but itself, and that for
//! seconds. There are few of these threads at a time; whoever comes then waits in the socket's queue.

use super::listener::Bound;
use super::place::{self, Surroundings};
use super::{Answer, Question, Request};
use crate::burst::Burst;
use crossbeam_channel::{Receiver, Sender, bounded};
use log::{debug, info, log};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that are served at a time.
const AT_A_TIME: usize = 8;

/// How long a client may take to say what it wants. It says it at once.
const SAYS: Duration = Duration::from_secs(1);
/// How long the main thread may take. It is at once where nothing hangs.
const MAIN: Duration = Duration::from_secs(2);
/// How long the other threads may take in all: a flush of a slow card is shorter.
const OTHERS: Duration = Duration::from_secs(1);
/// How long a client may take to read the answer.
const READS: Duration = Duration::from_secs(5);

/// Bytes of a question.
const LONGEST: usize = 64;

/// Bytes of the stack of a thread that serves one connection.
const STACK: usize = 256 * 1024;

/// How long nobody is let in after the system let nobody in, as where all files are open that may be.
const AGAIN: Duration = Duration::from_secs(1);

/// The socket, and the thread that waits on it.
pub struct Server {
    spool: PathBuf,
    /// The socket's, once the spool is open. Kept, for a disk that does not answer must not hold up who looks.
    name: Option<String>,
    bound: Option<Bound>,
    questions: Sender<Question>,
    failures: Burst,
}

impl Server {
    /// For the agent of this spool; where its questions will come. It listens from the first [`Server::look`] on.
    #[must_use]
    pub fn new(spool: &Path) -> (Server, Receiver<Question>) {
        let (questions, asked) = bounded(AT_A_TIME);
        (Server { spool: spool.to_owned(), name: None, bound: None, questions, failures: Burst::default() }, asked)
    }

    /// Makes the socket, and makes it anew where it was taken away. That it cannot is logged, and tried again the next time:
    /// an agent works without. Where it is in its place that costs a system call.
    pub fn look(&mut self) {
        if self.bound.as_ref().is_none_or(|bound| !bound.is_in_place()) {
            // The former one ends first.
            self.bound = None;
            self.bind();
        }
    }

    fn bind(&mut self) {
        let name = self.name.get_or_insert_with(|| place::name(&self.spool));
        let bound = Bound::new(name, &Surroundings::present()).map_err(|error| error.to_string());
        match bound.and_then(|bound| self.listen(&bound).map(|()| bound).map_err(|error| error.to_string())) {
            Ok(bound) => {
                if self.failures.ended().is_some() {
                    info!("the agent can be asked again socket={}", bound.path().display());
                }
                debug!("the agent can be asked socket={}", bound.path().display());
                self.bound = Some(bound);
            }
            Err(error) => log!(self.failures.failed(), "`packhorse status` cannot ask this agent: {error}"),
        }
    }

    fn listen(&self, bound: &Bound) -> io::Result<()> {
        let (listener, questions) = (bound.listener.try_clone()?, self.questions.clone());
        let builder = thread::Builder::new().name("control".to_owned()).stack_size(STACK);
        builder.spawn(move || accept(&listener, &questions)).map(drop)
    }
}

/// Lets clients in until the socket is shut down.
fn accept(listener: &UnixListener, questions: &Sender<Question>) {
    let (done, free) = bounded(AT_A_TIME);
    for _ in 0..AT_A_TIME {
        let _ = done.send(());
    }
    loop {
        match listener.accept() {
            Ok((client, _)) => {
                // Each ends by itself, so this is a matter of seconds.
                let _ = free.recv();
                let (served, questions) = (done.clone(), questions.clone());
                let serve = move || {
                    if let Err(error) = serve(client, &questions) {
                        debug!("a question was not answered error={error}");
                    }
                    let _ = served.send(());
                };
                let builder = thread::Builder::new().name("answer".to_owned()).stack_size(STACK);
                if let Err(error) = builder.spawn(serve) {
                    debug!("a question was not answered: no thread can be started error={error}");
                    let _ = done.send(());
                }
            }
            // It was shut down.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(error) => {
                debug!("nobody can ask error={error}");
                thread::sleep(AGAIN);
            }
        }
    }
}

/// Reads what a client wants, has it answered, and writes the answer.
fn serve(mut client: UnixStream, questions: &Sender<Question>) -> io::Result<()> {
    let line = read_line(&mut client, Instant::now() + SAYS)?;
    let answer = match Request::of(&line) {
        Some(request) => answer(request, questions),
        None => problem(&format!(
            "packhorse {} does not know this question; the agent may be older than the command",
            env!("CARGO_PKG_VERSION")
        )),
    };
    let deadline = Instant::now() + READS;
    let mut rest = answer.as_slice();
    while !rest.is_empty() {
        client.set_write_timeout(Some(left(deadline)?))?;
        match client.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(request: Request, questions: &Sender<Question>) -> Vec<u8> {
    let (reply, replied) = bounded::<Answer>(1);
    let deadline = Instant::now() + MAIN;
    let asked = questions.send_deadline(Question { request, reply }, deadline).is_ok();
    match replied.recv_deadline(deadline) {
        Ok(answer) if asked => answer(Instant::now() + OTHERS),
        _ => problem("the main thread does not answer"),
    }
}

fn problem(text: &str) -> Vec<u8> {
    serde_json::json!({"error": text}).to_string().into_bytes()
}

/// One line, or all that comes before the client ends it.
fn read_line(client: &mut UnixStream, deadline: Instant) -> io::Result<String> {
    let (mut bytes, mut length) = ([0; LONGEST], 0);
    while length < LONGEST && !bytes[..length].contains(&b'\n') {
        client.set_read_timeout(Some(left(deadline)?))?;
        match client.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// The time that is left until then.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

//! The command's side: finds the agent of a spool, and asks it.

use super::Request;
use super::listener::{PATH_MAX, dial};
use super::place::{Surroundings, name, sockets};
use crate::foreign;
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of an answer: a thousand sources have less than one.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error("no agent runs with the spool `{}`: no socket {name} in {}", foreign::path(spool), listed(places))]
    NotRunning { spool: PathBuf, name: String, places: Vec<PathBuf> },
    #[error(
        "no agent runs with the spool `{}`: it was killed, and left `{}`",
        foreign::path(spool),
        foreign::path(socket)
    )]
    Killed { spool: PathBuf, socket: PathBuf },
    #[error("the agent ended before it had answered: `{}`", foreign::path(.0))]
    Ended(PathBuf),
    #[error("the agent does not answer within {}: `{}`; it hangs, or was stopped by a signal", humantime::format_duration(*.1), foreign::path(.0))]
    Silent(PathBuf, Duration),
    #[error("this user may not ask the agent: `{}`: {}; root may, and who is in the agent's group", foreign::path(.0), .1)]
    Forbidden(PathBuf, io::Error),
    #[error("asking the agent failed: `{}`: {}", foreign::path(.0), .1)]
    System(PathBuf, io::Error),
}

fn listed(places: &[PathBuf]) -> String {
    places.iter().map(|place| foreign::path(place)).collect::<Vec<_>>().join(", ")
}

/// Asks the agent of this spool; its answer, one JSON object. Takes no longer than `patience`.
///
/// # Errors
/// [`Unanswered`].
pub fn ask(spool: &Path, request: Request, patience: Duration) -> Result<Vec<u8>, Unanswered> {
    let (name, mut places) = (name(spool), Surroundings::present().of_asker(Some(spool)));
    let paths = places.iter().map(|place| place.join(&name));
    ask_first(paths, spool, request, patience)?.ok_or_else(|| {
        places.dedup();
        Unanswered::NotRunning { spool: spool.to_owned(), name, places }
    })
}

/// Asks the agent of this machine, where the spool is not known: the only one of the first folder that has any. `None`: there is
/// none, or more than one.
///
/// # Errors
/// [`Unanswered`].
pub fn ask_the_only_one(request: Request, patience: Duration) -> Result<Option<Vec<u8>>, Unanswered> {
    let alive = |socket: &PathBuf| !matches!(dial(socket), Err(Errno::CONNREFUSED));
    let folders = Surroundings::present().of_asker(None);
    let agents = folders.iter().map(|folder| sockets(folder).into_iter().filter(alive).collect::<Vec<_>>());
    match agents.into_iter().find(|agents| !agents.is_empty()).as_deref() {
        Some([socket]) => ask_first(std::iter::once(socket.clone()), Path::new("?"), request, patience),
        Some(_) | None => Ok(None),
    }
}

/// Asks at the first of these sockets where somebody listens; `None`: there is none of them.
fn ask_first(
    paths: impl Iterator<Item = PathBuf>,
    spool: &Path,
    request: Request,
    patience: Duration,
) -> Result<Option<Vec<u8>>, Unanswered> {
    let deadline = Instant::now() + patience;
    let mut reason = None;
    for path in paths.filter(|path| path.as_os_str().len() <= PATH_MAX) {
        match dial(&path) {
            Ok(socket) => {
                let failed = |error: io::Error| match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Unanswered::Silent(path.clone(), patience),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Unanswered::Ended(path.clone()),
                    _ => Unanswered::System(path.clone(), error),
                };
                let answer = exchange(UnixStream::from(socket), request, deadline).map_err(failed)?;
                // A whole one is an object.
                return if answer.ends_with(b"}") { Ok(Some(answer)) } else { Err(Unanswered::Ended(path)) };
            }
            // There is no room in its queue, which it does not look at.
            Err(Errno::AGAIN) => return Err(Unanswered::Silent(path, patience)),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error @ (Errno::ACCESS | Errno::PERM)) => reason = Some(Unanswered::Forbidden(path, error.into())),
            Err(Errno::CONNREFUSED) => {
                reason.get_or_insert(Unanswered::Killed { spool: spool.to_owned(), socket: path });
            }
            Err(error) => reason = Some(Unanswered::System(path, error.into())),
        }
    }
    reason.map_or(Ok(None), Err)
}

fn exchange(mut agent: UnixStream, request: Request, deadline: Instant) -> io::Result<Vec<u8>> {
    agent.set_nonblocking(false)?;
    agent.set_write_timeout(Some(left(deadline)?))?;
    agent.write_all(format!("{request}\n").as_bytes())?;
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        agent.set_read_timeout(Some(left(deadline)?))?;
        match agent.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            // As after this process was stopped and continued (signal(7)).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if answer.len() as u64 > LARGEST {
            return Err(io::Error::other("the answer has no end"));
        }
    }
}

/// The time that is left until then.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

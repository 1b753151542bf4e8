//! Standard output and standard error of a running agent: lines that hold nobody up.
//!
//! A terminal after Ctrl-S, a pager, a pipe that nobody reads and a journal that hangs block whoever writes to them, for ever if need
//! be. So each of the two streams has a thread that writes, and a queue before it. Guarantees that [`Outlet::put`] never waits
//! for the stream, that the lines come in order, and that a line of the log says how many found no room. What is in the queue is lost
//! with a process that is killed; log files, which are written at once, have it. At rest the thread sleeps.

use log::warn;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, write};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of lines that may wait: some 2,000 lines.
const ROOM: usize = 256 * 1024;
/// How long [`Outlet::flush`] waits for a stream that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long [`Outlet::flush`] waits for one that takes lines slowly.
const PATIENCE_WHILE_IT_TAKES: Duration = Duration::from_secs(2);
/// Of the thread that writes.
const STACK: usize = 256 * 1024;

static OUTPUT: Outlet = Outlet::new(Stream::Output);
static ERROR: Outlet = Outlet::new(Stream::Error);

/// The process's standard output.
pub fn output() -> &'static Outlet {
    &OUTPUT
}

/// The process's standard error.
pub fn error() -> &'static Outlet {
    &ERROR
}

/// A stream of this process, and the lines that wait for it.
#[derive(Debug)]
pub struct Outlet {
    stream: Stream,
    queue: Mutex<Queue>,
    /// There is something to write.
    filled: Condvar,
    /// Everything is written.
    emptied: Condvar,
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Output,
    Error,
}

#[derive(Debug)]
struct Queue {
    lines: VecDeque<String>,
    /// Bytes of `lines`.
    size: usize,
    /// Lines that found no room since the queue was empty.
    left_out: u64,
    writer: Writer,
    /// When the stream took something last, or began to be asked to.
    moved: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// There is no thread yet.
    Absent,
    Resting,
    Writing,
}

impl Outlet {
    const fn new(stream: Stream) -> Self {
        let queue = Queue { lines: VecDeque::new(), size: 0, left_out: 0, writer: Writer::Absent, moved: None };
        Self { stream, queue: Mutex::new(queue), filled: Condvar::new(), emptied: Condvar::new() }
    }

    /// Has a line written, which ends with its line break. Where there is no room it is left out and counted, and so are those that
    /// follow until the queue is empty: the lines that are written have no unmarked gap.
    pub fn put(&'static self, line: String) {
        let mut queue = self.lock();
        if queue.writer == Writer::Absent {
            let thread = thread::Builder::new().name("console".to_owned()).stack_size(STACK);
            if thread.spawn(|| self.write_all()).is_ok() {
                queue.writer = Writer::Resting;
            }
        }
        if queue.writer == Writer::Absent || queue.left_out > 0 || queue.size + line.len() > ROOM {
            queue.left_out += 1;
            return;
        }
        if queue.lines.is_empty() && queue.writer == Writer::Resting {
            queue.moved = Some(Instant::now());
        }
        queue.size += line.len();
        queue.lines.push_back(line);
        self.filled.notify_one();
    }

    /// Waits until everything is written, or until the stream has taken nothing for a second; two seconds at most.
    pub fn flush(&self) {
        let end = Instant::now() + PATIENCE_WHILE_IT_TAKES;
        let mut queue = self.lock();
        while queue.writer == Writer::Writing || !queue.lines.is_empty() {
            let until = queue.moved.map_or(end, |moved| end.min(moved + PATIENCE));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.emptied.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What the thread does.
    fn write_all(&self) {
        loop {
            let line = self.next();
            self.stream.write(line.as_bytes());
            drop(line);
            self.lock().moved = Some(Instant::now());
        }
    }

    /// Waits for a line. When the last one is written, the log says how many were left out.
    fn next(&self) -> String {
        let mut queue = self.lock();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.size -= line.len();
                queue.writer = Writer::Writing;
                return line;
            }
            let left_out = std::mem::take(&mut queue.left_out);
            if left_out > 0 {
                drop(queue);
                warn!("{} took no lines for a while; left out lines={left_out}", self.stream.name());
                queue = self.lock();
                continue;
            }
            queue.writer = Writer::Resting;
            self.emptied.notify_all();
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Output => "standard output",
            Self::Error => "standard error",
        }
    }

    /// Past the standard library's buffer and its lock, which whoever ends the process would have to wait for. There is nowhere left to report
    /// that a stream is gone.
    fn write(self, bytes: &[u8]) {
        match self {
            Self::Output => write_to(std::io::stdout().as_fd(), bytes),
            Self::Error => write_to(std::io::stderr().as_fd(), bytes),
        }
    }
}

fn write_to(stream: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(stream, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Another process that has the same terminal or pipe does not want to wait for it.
            Err(Errno::AGAIN) => {
                if poll(&mut [PollFd::from_borrowed_fd(stream, PollFlags::OUT)], None).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
